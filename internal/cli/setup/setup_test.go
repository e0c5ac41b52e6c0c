// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"podid/internal/cli/wellknown"
)

func TestChange(t *testing.T) {
	refused := &smithy.GenericAPIError{Code: "AccessDenied", Message: "no"}
	gone := &smithy.GenericAPIError{Code: "NoSuchEntity", Message: "gone"}
	lost := errors.New("connection reset")
	for _, tc := range []struct {
		name       string
		fail       error    // of the third step
		undo       [2]error // of the first two
		undone     []string
		rolledBack []string
		left       []string
	}{
		{"refused", refused, [2]error{}, []string{"b", "a"}, []string{"b", "a"}, nil},
		{"gone already", refused, [2]error{nil, gone}, []string{"b", "a"}, []string{"b", "a"}, nil},
		{"undoing is refused too", refused, [2]error{nil, refused}, []string{"b", "a"}, []string{"a"}, []string{"b"}},
		{"the answer was lost", lost, [2]error{}, []string{"b", "a"}, []string{"b", "a"}, []string{"perhaps c"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var undone, told []string
			ch := &change{progress: func(s string) { told = append(told, s) }}
			for i, what := range []string{"a", "b"} {
				if err := ch.do(what, "did "+what, func() error { return nil }, func(ctx context.Context) error {
					undone = append(undone, what)
					return errors.Join(ctx.Err(), tc.undo[i])
				}); err != nil {
					t.Fatal(err)
				}
			}
			cause := ch.do("c", "did c", func() error { return tc.fail }, nil)
			cancel() // an interrupt must not stop the roll-back
			err := ch.failed(ctx, cause)
			var u *Undone
			if !errors.As(err, &u) || !errors.Is(err, tc.fail) {
				t.Fatalf("error %v", err)
			}
			var left []string
			for _, l := range u.Left {
				left = append(left, l.What)
			}
			if !slices.Equal(undone, tc.undone) || !slices.Equal(u.RolledBack, tc.rolledBack) || !slices.Equal(left, tc.left) {
				t.Errorf("undone %v, rolled back %v, left %v", undone, u.RolledBack, left)
			}
			for _, what := range append(left, u.RolledBack...) {
				if !strings.Contains(err.Error(), what) {
					t.Errorf("%q does not name %q", err, what)
				}
			}
			if got := fmt.Sprint(told); got != "[did a did b]" {
				t.Errorf("told %s", got)
			}
		})
	}
	t.Run("nothing was done", func(t *testing.T) {
		if err := (&change{}).failed(t.Context(), refused); err != error(refused) { //nolint:errorlint // the very same
			t.Errorf("error %v", err)
		}
	})
}

func TestNames(t *testing.T) {
	for _, tc := range []struct{ arn, want string }{
		{"arn:aws:iam::111122223333:role/a", "a"},
		{"arn:aws-cn:iam::111122223333:role/path/to/a", "a"},
		{"arn:aws:iam::111122223333:role/", ""},
		{"arn:aws:iam::111122223333:user/a", ""},
		{"a", ""},
	} {
		if got, err := RoleName(tc.arn); got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("RoleName(%q) = %q, %v", tc.arn, got, err)
		}
	}
	long := strings.Repeat("x", 100)
	for name, cluster := range map[string]string{"short": "my-cluster", "just fits": long[:53], "too long": long[:54], "longest": long} {
		if got := NodeRoleName(cluster); len(got) > maxRoleName || !strings.HasPrefix(got, "podid-node-") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if NodeRoleName(long) == NodeRoleName(long[:99]+"y") {
		t.Error("two clusters have the same node role")
	}
}

func TestPodRole(t *testing.T) {
	in := &AssociationInput{
		Cluster: "c", Namespace: "n", ServiceAccount: "s", RoleName: "r", Boundary: "b", Tags: map[string]string{"a": "b"},
		PolicyARNs: []string{"x", "arn:aws-cn:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy", "x"},
		Inline:     []InlinePolicy{{"mine", "{}"}}, WellKnown: wellknown.Set{"ebsCSIController": true, "autoScaler": true},
	}
	got, err := PodRole(in, "111122223333", "arn:aws-cn:eks:cn-north-1:111122223333:cluster/c")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"x", "arn:aws-cn:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"}; !slices.Equal(got.PolicyARNs, want) {
		t.Errorf("policies %v, want %v", got.PolicyARNs, want)
	}
	if len(got.Inline) != 2 || got.Inline[0].Name != "mine" || got.Inline[1].Name != "PolicyAutoScaling" || len(in.Inline) != 1 {
		t.Errorf("inline policies %+v", got.Inline)
	}
	if got.Boundary != "b" || got.Description != "Pods of n/s in cluster c" || !strings.Contains(got.Trust, "cluster/c") {
		t.Errorf("got %+v", got)
	}
}

func TestPodRoleName(t *testing.T) {
	long := strings.Repeat("x", 100)
	seen := map[string]bool{}
	for _, tc := range []struct{ name, cluster, namespace, account string }{
		{"short", "c", "n", "s"},
		{"hyphens elsewhere", "c-n", "n", "s"},
		{"and there", "c", "n-n", "s"},
		{"long", long, long, long},
		{"long, other end", long, long, long + "y"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := PodRoleName(tc.cluster, tc.namespace, tc.account)
			if len(got) > 64 || seen[got] || got != PodRoleName(tc.cluster, tc.namespace, tc.account) || !strings.HasPrefix(got, "podid-") {
				t.Errorf("got %q", got)
			}
			seen[got] = true
		})
	}
}

func TestRoleTags(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   RoleInput
		want string
	}{
		{"made here", RoleInput{Tags: map[string]string{"z": "1", "a": "2"}}, "a=2 podid.dev/created-by=podid z=1"},
		{"nobody pretends", RoleInput{Tags: map[string]string{TagCreatedBy: "me"}}, "podid.dev/created-by=podid"},
		{"copied", RoleInput{TagsAsGiven: true, Tags: map[string]string{"a": "2"}}, "a=2"},
		{"copied without", RoleInput{TagsAsGiven: true}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out []string
			for _, tag := range tc.in.tags() {
				out = append(out, *tag.Key+"="+*tag.Value)
			}
			if got := strings.Join(out, " "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
