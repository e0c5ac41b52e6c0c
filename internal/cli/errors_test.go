// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

func said(code, message string) error { return &smithy.GenericAPIError{Code: code, Message: message} }

// framed is how the SDK returns a service's answer.
func framed(err error) error {
	return &smithy.OperationError{ServiceID: "EKS", OperationName: "CreatePodIdentityAssociation", Err: fmt.Errorf("https response error StatusCode: 409, RequestID: x, %w", err)}
}

func TestReport(t *testing.T) {
	inUse := framed(said("ResourceInUseException", "Association already exists: a-1"))
	for _, tc := range []struct {
		name   string
		err    error
		status int
		want   string
	}{
		{"nothing", nil, 0, ""},
		{"silent", exit(3), 3, ""},
		{"plain", errors.New("read x: broken"), 1, "podid: read x: broken\n"},
		{"an answer in the SDK's frame", inUse, 5, "podid: ResourceInUseException: Association already exists: a-1\n  hint: podid get podidentityassociation shows it; podid update podidentityassociation changes its role\n"},
		{"with our words before it", fmt.Errorf("attach p: %w", framed(said("NoSuchEntity", "no p"))), 4, "podid: attach p: NoSuchEntity: no p\n"},
		{"of podid's own API", said("AccessDeniedException", "no"), 3, "podid: AccessDeniedException: no\n  hint: podid whoami shows as whom you call\n"},
		{"an answer without a known code", framed(said("ServerException", "oops")), 1, "podid: ServerException: oops\n"},
		{
			"no answer", &smithy.OperationError{ServiceID: "STS", OperationName: "GetCallerIdentity", Err: fmt.Errorf("exceeded maximum number of attempts, 3, %w", &url.Error{Op: "Post", URL: "https://x", Err: io.ErrUnexpectedEOF})},
			1, "podid: STS GetCallerIdentity: unexpected EOF\n",
		},
		{"interrupted", framed(context.Canceled), 1, "podid: interrupted\n"},
		{"usage", &usageError{errors.New("x is needed"), "podid get"}, 2, "podid: x is needed\n  hint: podid get --help\n"},
		{"usage that cobra found", errors.New(`unknown command "x" for "podid"`), 2, "podid: unknown command \"x\" for \"podid\"\n"},
		{"settings", &clients.SetupError{Message: "m", Hint: "h"}, 1, "podid: m\n  hint: h\n"},
		{"a role that exists", &setup.Failure{Err: fmt.Errorf("%w: r", setup.ErrRoleExists), Hint: "h"}, 5, "podid: role exists: r\n  hint: h\n"},
		{"a role in use", setup.InUse([]string{"a", "b"}), 5, "podid: the role is in use by a, b\n"},
		{"no association", fmt.Errorf("%w for x", setup.ErrNoAssociation), 4, "podid: no association found for x\n"},
		{"a command's own", &statusError{errors.New("start x: not found"), 127}, 127, "podid: start x: not found\n"},
		{
			"rolled back", &setup.Undone{Cause: inUse, RolledBack: []string{"role r"}, Left: []setup.Leftover{{What: "policy p", Err: framed(said("AccessDenied", "no"))}}}, 5,
			"podid: ResourceInUseException: Association already exists: a-1\n  rolled back: role r\n  left, please look after it: policy p: AccessDenied: no\n" +
				"  hint: podid get podidentityassociation shows it; podid update podidentityassociation changes its role\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b strings.Builder
			if got := Report(&b, tc.err); got != tc.status {
				t.Errorf("status %d, want %d", got, tc.status)
			}
			if d := cmp.Diff(tc.want, b.String()); d != "" {
				t.Error(d)
			}
		})
	}
}
