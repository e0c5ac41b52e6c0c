// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"strings"
	"testing"

	"podid/internal/exchange"
	"podid/internal/fault"
)

// Nothing but the token that the cluster signed is exchanged, nothing panics,
// and every refusal has a reason that does not quote the token.
func FuzzToken(f *testing.F) {
	w, c, _ := textbook(f)
	agent := c.Agent("node-1")
	good := c.Token()
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for _, s := range []string{
		good, "", "a.b.c", good + "=", good[:len(good)-1], header + "." + payload + ".", header + ".." + signature,
		"eyJhbGciOiJub25lIn0." + payload + ".", c.Sign(c.Claims("podid.dev/control-plane")), strings.Repeat("a", 30000),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		out, err := w.Exchange.AssumeRoleForPodIdentity(bg, agent, exchange.Request{ClusterName: c.Name, Token: token})
		if err == nil {
			if token != good {
				t.Fatalf("%q is exchanged", token)
			}
			return
		}
		fl := fault.As(err)
		if out != nil || fl.Reason == "" || fl.Kind != fault.InvalidToken && fl.Kind != fault.ExpiredToken {
			t.Fatalf("%q: %+v, %d %q", token, out, fl.Kind, fl.Reason)
		}
		if len(token) > 24 && strings.Contains(fl.Error(), token) {
			t.Fatalf("the refusal quotes the token: %v", fl)
		}
	})
}
