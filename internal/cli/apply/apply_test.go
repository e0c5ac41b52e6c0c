// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/aws/smithy-go"
)

// TestRun holds the order of things: roles again as long as that helps,
// associations last, and nothing when there is a conflict or an interrupt.
func TestRun(t *testing.T) {
	malformed := &smithy.GenericAPIError{Code: "MalformedPolicyDocument", Message: "Invalid principal in policy"}
	for _, tc := range []struct {
		name    string
		needs   map[string]string // what must be made before; itself for never
		action  string
		cancel  string // the line that interrupts
		order   []string
		results []string
		undone  int
	}{
		{"as it stands", nil, Create, "", []string{"a", "b", "x"}, []string{Created, Created, Created}, 0},
		{"a role names a later one", map[string]string{"a": "b"}, Create, "", []string{"a", "b", "a", "x"}, []string{Created, Created, Created}, 0},
		{"a role names one that is never made", map[string]string{"a": "a"}, Create, "", []string{"a", "b", "a", "x"}, []string{Failed, Created, Created}, 1},
		{"an association fails", map[string]string{"x": "x"}, Create, "", []string{"a", "b", "x"}, []string{Created, Created, Failed}, 1},
		{"interrupted", nil, Create, "a", []string{"a"}, []string{Created, NotDone, NotDone}, 2},
		{"a conflict", nil, Conflict, "", nil, []string{NotDone, NotDone, NotDone}, 3},
		{"kept", nil, Keep, "", []string{"a", "b", "x"}, []string{Kept, Created, Created}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			made := map[string]bool{}
			var order []string
			p := &Plan{}
			for i, name := range []string{"a", "b", "x"} {
				l := &Line{Kind: KindRole, Name: name, Action: Create}
				if i == 0 {
					l.Action = tc.action
				}
				if name == "x" {
					l.Kind = KindAssociation
				}
				l.run = func(context.Context) error {
					order = append(order, name)
					if tc.cancel == name {
						cancel()
					}
					if need := tc.needs[name]; need != "" && !made[need] {
						return malformed
					}
					made[name] = true
					return nil
				}
				p.Lines = append(p.Lines, l)
			}
			undone := p.Run(ctx)
			var results []string
			for _, l := range p.Lines {
				results = append(results, l.Result)
				if (l.Result == Failed) != errors.Is(l.Err, malformed) {
					t.Errorf("%s: %s with error %v", l.Name, l.Result, l.Err)
				}
			}
			if !slices.Equal(order, tc.order) || !slices.Equal(results, tc.results) || undone != tc.undone {
				t.Errorf("did %v with %v, %d undone; want %v, %v, %d", order, results, undone, tc.order, tc.results, tc.undone)
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	if got := joined(differences("a", true, "b", false, "c", false), "", differences("d", true), "e"); got != "b, c, e" {
		t.Errorf("got %q", got)
	}
}
