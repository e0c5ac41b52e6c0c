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
