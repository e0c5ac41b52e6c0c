// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"podid/internal/jwt"
	"podid/internal/jwt/jwttest"
)

var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaTwo = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ec256  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	ec384  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	ec521  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// sign lets go-jose, the independent signer, make a token.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key crypto.Signer, kid, payload string) string {
	t.Helper()
	header := map[jose.HeaderKey]any{}
	if kid != "" {
		header["kid"] = kid
	}
	return jwttest.Sign(t, alg, key, header, []byte(payload))
}

// jwks lets go-jose write a key set.
func jwks(t testing.TB, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	return must(json.Marshal(jose.JSONWebKeySet{Keys: keys}))
}

func keySet(t testing.TB, keys ...jose.JSONWebKey) *jwt.KeySet {
	t.Helper()
	s, err := jwt.ParseKeySet(jwks(t, keys...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVerifyEveryAlgorithm(t *testing.T) {
	set := keySet(t,
		jose.JSONWebKey{KeyID: "rsa", Key: rsaKey().Public(), Use: "sig"},
		jose.JSONWebKey{KeyID: "256", Key: ec256().Public(), Algorithm: "ES256"},
		jose.JSONWebKey{KeyID: "384", Key: ec384().Public()},
		jose.JSONWebKey{KeyID: "521", Key: ec521().Public()},
	)
	cases := []struct {
		alg  jose.SignatureAlgorithm
		key  crypto.Signer
		kid  string
		want error
	}{
		{jose.RS256, rsaKey(), "rsa", nil},
		{jose.RS384, rsaKey(), "rsa", nil},
		{jose.RS512, rsaKey(), "rsa", nil},
		{jose.PS256, rsaKey(), "rsa", nil},
		{jose.ES256, ec256(), "256", nil},
		{jose.ES384, ec384(), "384", nil},
		{jose.ES512, ec521(), "521", nil},
		{jose.PS384, rsaKey(), "rsa", jwt.ErrAlgorithm},
		{jose.PS512, rsaKey(), "rsa", jwt.ErrAlgorithm},
		{jose.RS256, rsaTwo(), "rsa", jwt.ErrSignature},
		{jose.ES256, ec256(), "384", jwt.ErrAlgorithm},
		{jose.RS256, rsaKey(), "256", jwt.ErrAlgorithm},
		{jose.RS256, rsaKey(), "gone", jwt.ErrUnknownKey},
	}
	for _, c := range cases {
		for _, kid := range []string{c.kid, ""} {
			if kid == "" && c.want != nil {
				continue
			}
			t.Run(fmt.Sprintf("%s kid=%s", c.alg, kid), func(t *testing.T) {
				token := sign(t, c.alg, c.key, kid, `{"iss":"x"}`)
				for range 2 { // the second time with the header remembered
					payload, h, err := set.Verify(token)
					if !errors.Is(err, c.want) {
						t.Fatalf("Verify = %v, want %v", err, c.want)
					}
					if err == nil && (string(payload) != `{"iss":"x"}` || h.Algorithm != string(c.alg) || h.KeyID != kid) {
						t.Errorf("Verify = %q, %+v", payload, h)
					}
					if err != nil && payload != nil {
						t.Error("a refused token yields a payload")
					}
				}
			})
		}
	}
}

func TestUnknownKeyCarriesKid(t *testing.T) {
	set := keySet(t, jose.JSONWebKey{KeyID: "a", Key: rsaKey().Public()})
	_, _, err := set.Verify(sign(t, jose.RS256, rsaKey(), "next", "{}"))
	var unknown *jwt.UnknownKeyError
	if !errors.As(err, &unknown) || unknown.KeyID != "next" {
		t.Errorf("Verify = %v", err)
	}
	_, _, err = set.Verify(sign(t, jose.ES256, ec256(), "", "{}"))
	if !errors.As(err, &unknown) || unknown.KeyID != "" {
		t.Errorf("no kid, no key of the type: %v", err)
	}
}

func TestSeveralKeys(t *testing.T) {
	set := keySet(t,
		jose.JSONWebKey{KeyID: "same", Key: rsaKey().Public(), Algorithm: "RS256"},
		jose.JSONWebKey{KeyID: "same", Key: ec256().Public(), Algorithm: "ES256"},
		jose.JSONWebKey{KeyID: "two", Key: rsaTwo().Public()},
	)
	for _, token := range []string{
		sign(t, jose.RS256, rsaKey(), "same", "{}"), sign(t, jose.ES256, ec256(), "same", "{}"),
		sign(t, jose.RS512, rsaTwo(), "", "{}"), sign(t, jose.RS256, rsaTwo(), "two", "{}"),
	} {
		if _, _, err := set.Verify(token); err != nil {
			t.Errorf("Verify = %v", err)
		}
	}
	if _, _, err := set.Verify(sign(t, jose.RS512, rsaKey(), "same", "{}")); !errors.Is(err, jwt.ErrAlgorithm) {
		t.Errorf("another alg than the JWK's own: %v", err)
	}
	if set.Len() != 3 || len(set.Keys()) != 3 {
		t.Errorf("Len = %d", set.Len())
	}
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestVerifyRefuses(t *testing.T) {
	set := keySet(t, jose.JSONWebKey{KeyID: "k", Key: rsaKey().Public()})
	good := sign(t, jose.RS256, rsaKey(), "k", `{"a":1}`)
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	with := func(h string) string { return b64(h) + "." + payload + "." + signature }
	last := signature[len(signature)-1]
	cases := []struct {
		name, token string
		want        error
	}{
		{"empty", "", jwt.ErrMalformed},
		{"two parts", header + "." + payload, jwt.ErrMalformed},
		{"four parts", good + ".x", jwt.ErrMalformed},
		{"no signature", header + "." + payload + ".", jwt.ErrMalformed},
		{"padded", good + "==", jwt.ErrMalformed},
		{"new line", good[:10] + "\n" + good[10:], jwt.ErrMalformed},
		{"new line in signature", good + "\n", jwt.ErrMalformed},
		{"std alphabet", "+" + good, jwt.ErrMalformed},
		{"loose last bits", good[:len(good)-1] + string(last+1), jwt.ErrMalformed},
		{"too long", strings.Repeat("a", jwt.MaxTokenLen) + good, jwt.ErrMalformed},
		{"header no JSON", with("x"), jwt.ErrMalformed},
		{"header array", with("[]"), jwt.ErrMalformed},
		{"header null", with("null"), jwt.ErrMalformed},
		{"header not UTF-8", with("{\"alg\":\"\xff\"}"), jwt.ErrMalformed},
		{"trailing data", with(`{"alg":"RS256","kid":"k"}{}`), jwt.ErrMalformed},
		{"cut header", with(`{"alg":"RS256","kid":"k"`), jwt.ErrMalformed},
		{"alg twice", with(`{"alg":"none","alg":"RS256"}`), jwt.ErrMalformed},
		{"kid twice", with(`{"alg":"RS256","kid":"a","kid":"k"}`), jwt.ErrMalformed},
		{"kid twice, escaped", with(`{"alg":"RS256","kid":"a","k\u0069d":"k"}`), jwt.ErrMalformed},
		{"none", with(`{"alg":"none"}`), jwt.ErrAlgorithm},
		{"None", with(`{"alg":"None","kid":"k"}`), jwt.ErrAlgorithm},
		{"HS256", with(`{"alg":"HS256","kid":"k"}`), jwt.ErrAlgorithm},
		{"EdDSA", with(`{"alg":"EdDSA","kid":"k"}`), jwt.ErrAlgorithm},
		{"lower case", with(`{"alg":"rs256","kid":"k"}`), jwt.ErrAlgorithm},
		{"no alg", with(`{"kid":"k"}`), jwt.ErrAlgorithm},
		{"Alg", with(`{"Alg":"RS256","kid":"k"}`), jwt.ErrAlgorithm},
		{"alg no string", with(`{"alg":256,"kid":"k"}`), jwt.ErrHeader},
		{"alg null", with(`{"alg":null,"kid":"k"}`), jwt.ErrHeader},
		{"kid no string", with(`{"alg":"RS256","kid":1}`), jwt.ErrHeader},
		{"long kid", with(`{"alg":"RS256","kid":"` + strings.Repeat("k", 600) + `"}`), jwt.ErrHeader},
		{"long header", with(`{"alg":"RS256","kid":"k","x":"` + strings.Repeat("k", 5000) + `"}`), jwt.ErrMalformed},
		{"jku", with(`{"alg":"RS256","kid":"k","jku":"https://evil"}`), jwt.ErrHeader},
		{"x5u", with(`{"alg":"RS256","kid":"k","x5u":"https://evil"}`), jwt.ErrHeader},
		{"x5c", with(`{"alg":"RS256","kid":"k","x5c":[]}`), jwt.ErrHeader},
		{"jwk", with(`{"alg":"RS256","kid":"k","jwk":{}}`), jwt.ErrHeader},
		{"crit", with(`{"alg":"RS256","kid":"k","crit":["b64"],"b64":false}`), jwt.ErrHeader},
		{"another header", with(`{"alg":"RS256","kid":"k" }`), jwt.ErrSignature},
		{"another payload", header + "." + b64(`{"a":2}`) + "." + signature, jwt.ErrSignature},
		{"another signature", header + "." + payload + "." + b64(strings.Repeat("x", 256)), jwt.ErrSignature},
		{"short signature", header + "." + payload + "." + b64("x"), jwt.ErrSignature},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := set.Verify(c.token)
			if !errors.Is(err, c.want) || got != nil {
				t.Errorf("Verify = %q, %v, want %v", got, err, c.want)
			}
			if err != nil && len(signature) > 20 && strings.Contains(err.Error(), signature[:20]) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
	if _, _, err := set.Verify(good); err != nil {
		t.Errorf("the good token: %v", err)
	}
}

// TestECSignatureForms: the fixed-length form only, not ASN.1, and no zeros.
func TestECSignatureForms(t *testing.T) {
	set := keySet(t, jose.JSONWebKey{Key: ec256().Public()})
	good := sign(t, jose.ES256, ec256(), "", "{}")
	head := good[:strings.LastIndexByte(good, '.')+1]
	asn1 := must(ecdsa.SignASN1(rand.Reader, ec256(), make([]byte, 32)))
	for name, s := range map[string]string{"zeros": strings.Repeat("\x00", 64), "asn1": string(asn1), "long": strings.Repeat("x", 65)} {
		if _, _, err := set.Verify(head + b64(s)); !errors.Is(err, jwt.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPeekUnverified(t *testing.T) {
	h, payload, err := jwt.PeekUnverified(sign(t, jose.ES384, ec384(), "k", `{"sub":"s"}`))
	if err != nil || h.KeyID != "k" || h.Algorithm != "ES384" || string(payload) != `{"sub":"s"}` {
		t.Errorf("PeekUnverified = %+v, %q, %v", h, payload, err)
	}
	for _, bad := range []string{"", "a.b.c", b64("{}") + ".x.y"} {
		if _, _, err := jwt.PeekUnverified(bad); err == nil {
			t.Errorf("PeekUnverified(%q) accepts", bad)
		}
	}
}

func TestParseKeySetRefuses(t *testing.T) {
	small := must(rsa.GenerateKey(rand.Reader, 1024)).PublicKey
	ed, _, _ := ed25519.GenerateKey(rand.Reader)
	x, y := b64(strings.Repeat("a", 32)), b64(strings.Repeat("b", 32))
	rsaJSON := string(jwks(t, jose.JSONWebKey{Key: rsaKey().Public()}))
	n := strings.Split(strings.Split(rsaJSON, `"n":"`)[1], `"`)[0]
	cases := []struct{ name, jwks, want string }{
		{"no JSON", "x", "not a JSON object"},
		{"no keys", "{}", `"keys" is no array`},
		{"keys null", `{"keys":null}`, `"keys" is no array`},
		{"keys empty", `{"keys":[]}`, "holds no key"},
		{"keys twice", `{"keys":[],"keys":[]}`, "comes twice"},
		{"trailing", `{"keys":[]} x`, "data after"},
		{"key no object", `{"keys":[1]}`, "key 1: not a JSON object"},
		{"symmetric", `{"keys":[{"kty":"oct","kid":"s","k":"AAAA"}]}`, `key 1 (kid "s"): holds secret key material`},
		{"oct without k", `{"keys":[{"kty":"oct"}]}`, `kty "oct" is refused`},
		{"private RSA", string(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: rsaKey()}}}))), "secret key material"},
		{"private EC", string(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: ec256()}}}))), "secret key material"},
		{"OKP", string(jwks(t, jose.JSONWebKey{KeyID: "ed", Key: ed})), `key 1 (kid "ed"): kty "OKP" is refused`},
		{"small RSA", string(jwks(t, jose.JSONWebKey{Key: &small})), "RSA modulus of 1024 bits, want 2048 to 8192"},
		{"huge RSA", `{"keys":[{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("A", 60000) + `"}]}`, "more than 8192 bits"},
		{"RSA without n", `{"keys":[{"kty":"RSA","e":"AQAB"}]}`, "n is no base64url number"},
		{"RSA e 1", `{"keys":[{"kty":"RSA","e":"AQ","n":"` + n + `"}]}`, "exponent"},
		{"RSA e even", `{"keys":[{"kty":"RSA","e":"AQAA","n":"` + n + `"}]}`, "exponent"},
		{"RSA e long", `{"keys":[{"kty":"RSA","e":"AQABAAAA","n":"` + n + `"}]}`, "e is no base64url"},
		{"n a number", `{"keys":[{"kty":"RSA","e":"AQAB","n":5}]}`, `member "n" is no string`},
		{"P-224", `{"keys":[{"kty":"EC","crv":"P-224","x":"` + x + `","y":"` + y + `"}]}`, `curve "P-224" is refused`},
		{"secp256k1", `{"keys":[{"kty":"EC","crv":"secp256k1","x":"` + x + `","y":"` + y + `"}]}`, `curve "secp256k1" is refused`},
		{"off the curve", `{"keys":[{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `"}]}`, "not on its curve"},
		{"short x", `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"` + y + `"}]}`, "32 bytes each"},
		{"no kty", `{"keys":[{"kid":"k"}]}`, "kty is missing"},
		{"alg of another type", string(jwks(t, jose.JSONWebKey{Key: ec256().Public(), Algorithm: "RS256"})), "alg RS256 does not fit"},
		{"alg unknown", string(jwks(t, jose.JSONWebKey{Key: rsaKey().Public(), Algorithm: "PS512"})), `alg "PS512" is none of`},
		{"alg none", string(jwks(t, jose.JSONWebKey{Key: rsaKey().Public(), Algorithm: "none"})), `alg "none" is none of`},
		{"only for encryption", string(jwks(t, jose.JSONWebKey{Key: rsaKey().Public(), Use: "enc"})), "holds no key"},
		{"only for wrapping", `{"keys":[{"kty":"RSA","key_ops":["wrapKey"]}]}`, "holds no key"},
		{"bad key_ops", `{"keys":[{"kty":"RSA","key_ops":"verify"}]}`, "key_ops is no list"},
		{
			"kid twice", string(jwks(t, jose.JSONWebKey{KeyID: "k", Key: rsaKey().Public()}, jose.JSONWebKey{KeyID: "k", Key: rsaTwo().Public(), Algorithm: "RS256"})),
			`key 2 (kid "k"): an earlier key has the same kid`,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := jwt.ParseKeySet([]byte(c.jwks))
			if err == nil || !strings.Contains(err.Error(), c.want) || s != nil {
				t.Errorf("ParseKeySet = %v, want %q", err, c.want)
			}
		})
	}
	_, err := jwt.ParseKeySet([]byte(`{"keys":[{"kty":"oct"},{"kty":"OKP","kid":"b"}]}`))
	if err == nil || !strings.Contains(err.Error(), "key 1") || !strings.Contains(err.Error(), `key 2 (kid "b")`) {
		t.Errorf("not every bad key is listed: %v", err)
	}
	if _, err := jwt.NewKeySet(make([]jwt.Key, 101)...); err == nil {
		t.Error("101 empty keys accepted")
	}
	if _, err := jwt.NewKeySet(jwt.Key{Public: ed}); err == nil {
		t.Error("an Ed25519 key accepted")
	}
}

// FuzzVerify holds Verify against go-jose: what we accept, it accepts too.
func FuzzVerify(f *testing.F) {
	set := keySet(f, jose.JSONWebKey{KeyID: "k", Key: ec256().Public()})
	good := sign(f, jose.ES256, ec256(), "k", `{"iss":"x"}`)
	f.Add(good)
	f.Add(good + "=")
	f.Add("a.b.c")
	f.Add(b64(`{"alg":"none"}`) + "." + b64("{}") + ".")
	f.Fuzz(func(t *testing.T, token string) {
		payload, _, err := set.Verify(token)
		if err != nil {
			return
		}
		object, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatalf("go-jose refuses what we accept: %v", err)
		}
		if theirs, err := object.Verify(ec256().Public()); err != nil || string(theirs) != string(payload) {
			t.Fatalf("go-jose disagrees: %q, %v", theirs, err)
		}
	})
}

// FuzzParseKeySet: a set that parses is usable and small.
func FuzzParseKeySet(f *testing.F) {
	f.Add(jwks(f, jose.JSONWebKey{KeyID: "k", Key: rsaKey().Public(), Algorithm: "RS256", Use: "sig"}))
	f.Add(jwks(f, jose.JSONWebKey{KeyID: "k", Key: ec521().Public()}))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := jwt.ParseKeySet(data)
		if err != nil {
			return
		}
		if _, err := jwt.NewKeySet(s.Keys()...); err != nil || s.Len() == 0 {
			t.Errorf("the set is not sound: %v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	payload := `{"aud":["pods.eks.amazonaws.com"],"exp":1,"iss":"https://oidc.example.com/id/0123456789ABCDEF","x":"` + strings.Repeat("x", 500) + `"}`
	for _, c := range []struct {
		alg jose.SignatureAlgorithm
		key crypto.Signer
	}{{jose.RS256, rsaKey()}, {jose.PS256, rsaKey()}, {jose.ES256, ec256()}} {
		b.Run(string(c.alg), func(b *testing.B) {
			set, token := keySet(b, jose.JSONWebKey{KeyID: "k", Key: c.key.Public()}), sign(b, c.alg, c.key, "k", payload)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := set.Verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("go-jose RS256", func(b *testing.B) {
		token := sign(b, jose.RS256, rsaKey(), "k", payload)
		b.ReportAllocs()
		for b.Loop() {
			object, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := object.Verify(rsaKey().Public()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
