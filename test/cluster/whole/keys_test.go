// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"context"
	"testing"
	"time"
)

// TestKeySwap: the API server gets another signing key at once, the old one is
// gone. As Kubernetes wants it then, what lives on its own tokens is
// restarted, operator, agents and control plane; nobody tells podid the key.
func TestKeySwap(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.associate(t, ns, "default", "swap-"+ns)
	lab.expect(t, ns, "before", "swap-"+ns)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := lab.SwapTokenKey(ctx, false); err != nil {
		t.Fatal(err)
	}
	for _, object := range []string{"deployment/podid-operator", "statefulset/podid", "daemonset/podid-agent"} {
		if _, err := lab.kubectl(ctx, "-n", system, "rollout", "restart", object); err != nil {
			t.Fatal(err)
		}
	}
	for _, object := range []string{"deployment/podid-operator", "statefulset/podid", "daemonset/podid-agent"} {
		if _, err := lab.kubectl(ctx, "-n", system, "rollout", "status", object, "--timeout=180s"); err != nil {
			t.Fatal(err)
		}
	}
	lab.expect(t, ns, "after", "swap-"+ns)
}
