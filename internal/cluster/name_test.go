// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"strings"
	"testing"

	"podid/internal/cluster"
)

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "0": true, "my-cluster": true, "My_Cluster-9": true, strings.Repeat("n", 100): true,
		"": false, "-a": false, "_a": false, "a b": false, "a.b": false, "a/b": false, "é": false, "a\n": false, "a\x00": false, "a@": false, "a[": false, "a`": false,
		"a{": false, "a:": false, strings.Repeat("n", 101): false,
	} {
		if got := cluster.ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %t", name, got)
		}
	}
}
