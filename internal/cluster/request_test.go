// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"strings"
	"testing"

	"podid/internal/cluster"
	"podid/internal/fault"
)

func TestRequestRepeats(t *testing.T) {
	type input struct{ A, B string }
	before := cluster.NewRequest("123456789012", "token", input{"a", "b"})
	for _, tc := range []struct {
		name   string
		now    cluster.Request
		again  bool
		reason string
	}{
		{"the same", cluster.NewRequest("123456789012", "token", input{"a", "b"}), true, ""},
		{"other input", cluster.NewRequest("123456789012", "token", input{"ab", ""}), false, "client-request-token"},
		{"another token", cluster.NewRequest("123456789012", "token2", input{"a", "b"}), false, ""},
		{"another account", cluster.NewRequest("210987654321", "token", input{"a", "b"}), false, ""},
		{"no token", cluster.NewRequest("123456789012", "", input{"a", "b"}), false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			again, err := tc.now.Repeats(before)
			if again != tc.again || (err != nil) != (tc.reason != "") || err != nil && fault.As(err).Reason != tc.reason {
				t.Errorf("%v %v", again, err)
			}
		})
	}
	if again, err := (cluster.Request{}).Repeats(cluster.Request{}); again || err != nil {
		t.Errorf("calls without tokens: %v %v", again, err)
	}
}

func TestCheckToken(t *testing.T) {
	if err := cluster.CheckToken(strings.Repeat("x", 256)); err != nil {
		t.Error(err)
	}
	if err := cluster.CheckToken(strings.Repeat("x", 257)); fault.As(err).Reason != "client-request-token" {
		t.Errorf("too long: %v", err)
	}
}
