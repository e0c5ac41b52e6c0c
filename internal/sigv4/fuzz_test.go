// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sigv4_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"podid/internal/sigv4"
)

func signInPlace(t testing.TB, r *http.Request, body string) {
	t.Helper()
	creds := aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret, SessionToken: testToken}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hashOf(body), "eks", "eu-west-1", testTime); err != nil {
		t.Fatal(err)
	}
}

// FuzzCanonical holds our canonical request against the AWS SDK's: whatever
// the SDK signs verifies, unless the path or query is one that is refused.
func FuzzCanonical(f *testing.F) {
	f.Add("/clusters/a", "a=1&b=2", "v")
	f.Add("/tags/arn%3Aaws%3Aeks", "tagKeys=a%2Fb&tagKeys=a-b", "  a   b ")
	f.Add("/", "k=a+b&&=&x", "\tx")
	f.Add("/%e1%88%b4/~", "%7e=%41;", "é")
	f.Add("/a/../b", "X-Amz-Meta=1&x-amz-meta=2", "")
	f.Fuzz(func(t *testing.T, path, query, header string) {
		u, err := url.Parse("https://eks.example.com" + path)
		if err != nil || u.Host != "eks.example.com" || u.RawQuery != "" || u.Fragment != "" {
			return
		}
		u.RawQuery = query
		r := httptest.NewRequest("GET", "https://eks.example.com/", nil)
		r.URL = u
		r.Header.Set("My-Header", header)
		wellFormed := header == "" || printable(header)
		_, queryErr := url.ParseQuery(query)
		signInPlace(t, r, "")
		r.URL.RawQuery = query // the signer rewrites it; the wire form is what we got
		err = verify(r, "", testSecret, testTime)
		if wellFormed && queryErr == nil && reason(err) == sigv4.ReasonMismatch {
			t.Errorf("the SDK's signature of %q?%q is refused: %v", path, query, err)
		}
	})
}

// printable is what net/http lets through in a header, less the white space
// that signers are known to fold in different ways.
func printable(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return true
}

// FuzzParse feeds an Authorization header and a query to the parser.
func FuzzParse(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/eks/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "20150830T123600Z", "")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20150830%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
	f.Fuzz(func(t *testing.T, authorization, date, query string) {
		r := &http.Request{Method: "GET", Host: "h", URL: &url.URL{Path: "/", RawQuery: query}, Header: http.Header{}}
		if authorization != "" {
			r.Header["Authorization"], r.Header["X-Amz-Date"] = []string{authorization}, []string{date}
		}
		s, err := sigv4.Parse(r)
		if err != nil {
			if reason(err) == "" {
				t.Errorf("untyped refusal: %v", err)
			}
			return
		}
		if s.Verify(r, hashOf(""), sigv4.DeriveKey("never", s.Date, s.Region, s.Service), s.Time, skew) == nil {
			t.Error("a made-up signature verifies")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	const body = `{"token":"x"}`
	r := signed(b, "POST", "https://eks.example.com/clusters/my-cluster/assume-role-for-pod-identity", body, func(r *http.Request) {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
		r.Header.Set("Amz-Sdk-Invocation-Id", "0b2d4cb5-2c8b-4b6f-9a74-0d7a3e3c7a11")
	})
	hash := hashOf(body)
	for name, cache := range map[string]*sigv4.KeyCache{"cached": sigv4.NewKeyCache(16), "cold": nil} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := sigv4.Parse(r)
				if err != nil {
					b.Fatal(err)
				}
				var key sigv4.SigningKey
				if cache != nil {
					key = cache.Key(s, testSecret)
				} else {
					key = sigv4.DeriveKey(testSecret, s.Date, s.Region, s.Service)
				}
				if err := s.Verify(r, hash, key, testTime, skew); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
