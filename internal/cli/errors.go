// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/kubeclient"
	"podid/internal/cli/setup"
)

// The exit statuses.
const (
	StatusOK       = 0
	StatusError    = 1
	StatusUsage    = 2
	StatusRefused  = 3 // access denied, or explain says that the exchange is refused
	StatusNotFound = 4
	StatusConflict = 5
)

// A usageError is a command line that makes no sense.
type usageError struct {
	err     error
	command string // whose help says more; may be ""
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usage error.
func usagef(format string, args ...any) error { return &usageError{err: fmt.Errorf(format, args...)} }

func usageOf(cmd *cobra.Command, err error) error { return &usageError{err, cmd.CommandPath()} }

// An exitError ends the program with a status and says nothing more: the
// output has said it.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exit is an error with which a command ends the program silently.
func exit(status int) error { return exitError(status) }

// A statusError is an error with a status of its own.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

// status is the exit status for an error of Execute.
func status(err error) int {
	var usage *usageError
	var silent exitError
	var own *statusError
	switch {
	case err == nil:
		return StatusOK
	case errors.As(err, &silent):
		return int(silent)
	case errors.As(err, &own):
		return own.status
	case errors.As(err, &usage) || isCobraUsage(err):
		return StatusUsage
	case clients.IsRefused(err) || kubeclient.IsRefused(err):
		return StatusRefused
	case clients.IsNotFound(err) || errors.Is(err, setup.ErrNoAssociation):
		return StatusNotFound
	case clients.IsConflict(err) || errors.Is(err, setup.ErrRoleExists) || setup.IsInUse(err):
		return StatusConflict
	}
	return StatusError
}

// isCobraUsage knows cobra's errors about the command line, which have no
// type.
func isCobraUsage(err error) bool {
	for _, p := range []string{"unknown command ", "unknown flag", "unknown shorthand", "accepts ", "requires at least ", "if any flags in the group "} {
		if strings.HasPrefix(err.Error(), p) {
			return true
		}
	}
	return false
}

// Report writes an error as people read it: what the service said, what was
// rolled back, and a hint. It returns the exit status.
func Report(w io.Writer, err error) int {
	var silent exitError
	if err == nil || errors.As(err, &silent) {
		return status(err)
	}
	fmt.Fprintf(w, "podid: %s\n", describe(err))
	reportUndone(w, err)
	if h := hint(err); h != "" {
		fmt.Fprintf(w, "  hint: %s\n", h)
	}
	return status(err)
}

// reportUndone writes what was rolled back and what is left.
func reportUndone(w io.Writer, err error) {
	var undone *setup.Undone
	if !errors.As(err, &undone) {
		return
	}
	for _, what := range undone.RolledBack {
		fmt.Fprintf(w, "  rolled back: %s\n", what)
	}
	for _, l := range undone.Left {
		fmt.Fprintf(w, "  left, please look after it: %s: %s\n", l.What, describe(l.Err))
	}
}

// describe keeps our words around a service's answer and drops the SDK's.
func describe(err error) string {
	var undone *setup.Undone
	if errors.As(err, &undone) {
		return describe(undone.Cause)
	}
	var op *smithy.OperationError
	var api smithy.APIError
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	if !errors.As(err, &api) {
		if errors.As(err, &op) {
			return strings.Replace(err.Error(), op.Error(), op.Service()+" "+op.Operation()+": "+root(op.Err).Error(), 1)
		}
		return err.Error()
	}
	said := api.ErrorCode() + ": " + api.ErrorMessage()
	inner := api.Error()
	if errors.As(err, &op) {
		inner = op.Error()
	}
	if before, _, ok := strings.Cut(err.Error(), inner); ok {
		return before + said
	}
	return said
}

// root is the innermost error.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// hint says what to do about an error, if that is known.
func hint(err error) string {
	var failure *setup.Failure
	var missing *clients.SetupError
	var usage *usageError
	switch {
	case errors.As(err, &failure):
		return failure.Hint
	case errors.As(err, &missing):
		return missing.Hint
	case errors.As(err, &usage):
		if usage.command != "" {
			return usage.command + " --help"
		}
		return ""
	}
	text := err.Error()
	for _, h := range hints {
		if (h.code == "" || clients.Code(err) == h.code) && strings.Contains(text, h.text) {
			return h.hint
		}
	}
	return ""
}

const (
	noCredentials = "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or AWS_SHARED_CREDENTIALS_FILE"
	unknownKey    = "the control plane does not know these credentials; for `podid dev`: . DIR/env"
	badSignature  = "check the secret access key, the region and this machine's clock"
)

// hints are by code of the answer and a part of the text; the first that fits
// is shown.
var hints = []struct{ code, text, hint string }{
	{"ResourceInUseException", "Association already exists", "podid get podidentityassociation shows it; podid update podidentityassociation changes its role"},
	{"ResourceInUseException", "cannot be deleted while it holds", "delete these first, with credentials of that account"},
	{"ResourceInUseException", "its number is not used again", "choose another number"},
	{"ResourceInUseException", "Account ", "podid get accounts lists the accounts"},
	{"AccessDeniedException", "only the first account of the installation may", "podid whoami shows whose credentials these are"},
	{"ResourceInUseException", "", "podid get cluster lists the clusters"},
	{"InvalidParameterException", "Trust policy of the role provided is invalid", "--extend-trust adds this cluster to the role's trust policy; podid get role NAME shows it"},
	{"InvalidParameterException", "Role provided in the request does not exist", "--role-name NAME creates a role; podid get role lists those that exist"},
	{"InvalidParameterException", "disableSessionTags", "--policy needs --disable-session-tags"},
	{"ResourceNotFoundException", "No account found", "podid get accounts lists the accounts"},
	{"ResourceNotFoundException", "No cluster found", "podid get cluster lists the clusters; podid register cluster adds one"},
	{"UnknownOperationException", "", "the control plane does not offer this; tokens are given by `podid dev` only"},
	{"AccessDeniedException", "", "podid whoami shows as whom you call"},
	{"AccessDenied", "", "podid whoami shows as whom you call"},
	{"", "x509: ", "set AWS_CA_BUNDLE or --ca-bundle to the control plane's CA certificate"},
	{"", "connection refused", "is the control plane running at that address? see AWS_ENDPOINT_URL"},
	{"", "no EC2 IMDS role found", noCredentials},
	{"", "failed to refresh cached credentials", noCredentials},
	{"UnrecognizedClientException", "", unknownKey},
	{"InvalidClientTokenId", "", unknownKey},
	{"SignatureDoesNotMatch", "", badSignature},
	{"InvalidSignatureException", "", badSignature},
}
