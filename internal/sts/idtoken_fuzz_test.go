// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"testing"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
)

// FuzzIDToken: whatever a provider signs is refused with a fault that callers
// may see, or is good in all that a session is made of.
func FuzzIDToken(f *testing.F) {
	f.Add([]byte(`{"iss":"https://idp.example.com","sub":"u","aud":["app"],"azp":"app","amr":"mfa","iat":1000,"exp":4000,"nbf":1000}`))
	f.Add([]byte(`{"iss":"https://idp.example.com","sub":"u","aud":"app","iat":1000,"exp":4000,"https://aws.amazon.com/tags":{"principal_tags":{"a":["b"]},"transitive_tag_keys":["a"]},"https://aws.amazon.com/source_identity":"ann"}`))
	f.Add([]byte(`{"iss":"https://idp.example.com","sub":"u","aud":"app","iat":1e3,"exp":4e3,"https://aws.amazon.com/tags/principal_tags/a":"b","https://aws.amazon.com/tags/transitive_tag_keys":null}`))
	f.Add([]byte(`{"iss":null,"sub":1,"aud":null,"exp":-1}`))
	f.Add([]byte(`null`))
	p := &iam.OIDCProvider{URL: "idp.example.com", ClientIDs: []string{"app"}}
	f.Fuzz(func(t *testing.T, payload []byte) {
		tok, issuer, err := readIDToken(payload)
		var audience string
		if err == nil {
			audience, err = tok.check(p, issuer, time.Unix(2000, 0), 0, 0)
		}
		if err != nil {
			if k := fault.As(err).Kind; k != fault.InvalidToken && k != fault.IdPRejected && k != fault.ExpiredToken || fault.As(err).Reason == "" {
				t.Fatalf("err = %v (%v)", err, k)
			}
			return
		}
		if audience != "app" || issuer != p.Issuer() || tok.subject == "" || len(tok.tags) > maxTags || tok.ends.Sub(tok.issued) > defaultTokenLife {
			t.Fatalf("taken: %+v", tok)
		}
		for _, tag := range tok.tags {
			if tag.Key == "" || !tagText(tag.Key) || !tagText(tag.Value) {
				t.Fatalf("tag %+v", tag)
			}
		}
	})
}

// FuzzProviderKeySet: a key set is refused or can be used.
func FuzzProviderKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},{"kty":"OKP"}]}`))
	f.Add([]byte(`{"keys":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := verifyingKeys(raw)
		if err == nil && keys.Len() == 0 {
			t.Fatal("a set without keys is taken")
		}
	})
}
