// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

// TestFirstFaultIsReported joins two statements with a fault each, either way
// round: the message is the one that AWS reports first, wherever it stands.
func TestFirstFaultIsReported(t *testing.T) {
	// In AWS' order.
	faults := []struct{ name, statement, message string }{
		{"unknown element", `{"Effect":"Allow","Action":"s3:*","Resource":"*","Extra":1}`, msgSyntax},
		{"Effect in small letters", `{"Effect":"allow","Action":"s3:*","Resource":"*"}`, msgLegacy},
		{"characters of a Sid", `{"Sid":"a-b","Effect":"Allow","Action":"s3:*","Resource":"*"}`, msgSidCharacters},
		{"no action", `{"Effect":"Allow","Resource":"*"}`, msgNoActions},
		{"resource is no ARN", `{"Effect":"Allow","Action":"s3:*","Resource":"b"}`, `Resource b must be in ARN format or "*".`},
		{"action without vendor", `{"Effect":"Allow","Action":"GetObject","Resource":"*"}`, msgActionPrefix},
		{"no resource", `{"Effect":"Allow","Action":"s3:*"}`, msgNoResources},
		{"principal", `{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`, msgNoPrincipalHere},
	}
	for i, first := range faults {
		for _, second := range faults[i:] {
			t.Run(first.name+" and "+second.name, func(t *testing.T) {
				for _, text := range []string{doc(first.statement, second.statement), doc(second.statement, first.statement)} {
					if _, err := Parse(Identity, text); message(err) != first.message {
						t.Errorf("message %q, want %q: %s", message(err), first.message, text)
					}
				}
			})
		}
	}
}
