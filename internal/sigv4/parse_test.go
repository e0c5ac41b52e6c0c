// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sigv4_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"podid/internal/sigv4"
)

// TestPublishedExamples replays AWS' published Signature Version 4 examples.
func TestPublishedExamples(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	now := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	cases := []struct{ name, request, signedHeaders, scope, signature string }{
		{
			"get-vanilla", "GET / HTTP/1.1\nHost:example.amazonaws.com\nX-Amz-Date:20150830T123600Z\n\n", "host;x-amz-date", "service",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		{
			"get-vanilla-query-order-key-case", "GET /?Param2=value2&Param1=value1 HTTP/1.1\nHost:example.amazonaws.com\nX-Amz-Date:20150830T123600Z\n\n",
			"host;x-amz-date", "service", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
		},
		{
			"get-vanilla-query-unreserved",
			"GET /?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz HTTP/1.1\nHost:example.amazonaws.com\nX-Amz-Date:20150830T123600Z\n\n",
			"host;x-amz-date", "service", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
		},
		{
			"get-header-value-trim", "GET / HTTP/1.1\nHost:example.amazonaws.com\nMy-Header1: value1\nMy-Header2: \"a   b   c\"\nX-Amz-Date:20150830T123600Z\n\n",
			"host;my-header1;my-header2;x-amz-date", "service", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
		},
		{
			"get-header-value-order", "GET / HTTP/1.1\nHost:example.amazonaws.com\nMy-Header1:value4\nMy-Header1:value1\nMy-Header1:value3\nMy-Header1:value2\nX-Amz-Date:20150830T123600Z\n\n",
			"host;my-header1;x-amz-date", "service", "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
		},
		{
			"post-vanilla", "POST / HTTP/1.1\nHost:example.amazonaws.com\nX-Amz-Date:20150830T123600Z\n\n", "host;x-amz-date", "service",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
		},
		{
			"iam-list-users", "GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\nHost: iam.amazonaws.com\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\nX-Amz-Date: 20150830T123600Z\n\n",
			"content-type;host;x-amz-date", "iam", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(c.request, "\n", "\r\n"))))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", fmt.Sprintf(
				"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/%s/aws4_request, SignedHeaders=%s, Signature=%s", c.scope, c.signedHeaders, c.signature))
			if err := verify(r, "", secret, now); err != nil {
				t.Errorf("Verify = %v", err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		cred = "Credential=AKIDEXAMPLE/20150830/us-east-1/eks/aws4_request"
		head = "SignedHeaders=host;x-amz-date"
		sign = "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
	)
	cases := []struct{ name, authorization, wantCode, wantText string }{
		{"bearer", "Bearer abc", "IncompleteSignature", "AWS4-HMAC-SHA256"},
		{"sigv4a", "AWS4-ECDSA-P256-SHA256 " + cred + ", " + head + ", " + sign, "IncompleteSignature", "AWS4-HMAC-SHA256"},
		{"empty", "AWS4-HMAC-SHA256 ", "IncompleteSignature", "must hold"},
		{"only signature", "AWS4-HMAC-SHA256 " + sign, "IncompleteSignature", "requires 'Credential' parameter. Authorization header requires 'SignedHeaders' parameter."},
		{"repeated", "AWS4-HMAC-SHA256 " + cred + ", " + cred + ", " + head + ", " + sign, "IncompleteSignature", "repeats 'Credential'"},
		{"unknown parameter", "AWS4-HMAC-SHA256 " + cred + ", " + head + ", " + sign + ", X=1", "IncompleteSignature", "must hold"},
		{"short scope", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/aws4_request, " + head + ", " + sign, "IncompleteSignature", "got 4"},
		{"terminator", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/eks/aws5_request, " + head + ", " + sign, "SignatureDoesNotMatch", "terminator"},
		{"bad key id", "AWS4-HMAC-SHA256 Credential=AKID-X/20150830/us-east-1/eks/aws4_request, " + head + ", " + sign, "IncompleteSignature", "access key id"},
		{"bad scope date", "AWS4-HMAC-SHA256 Credential=AKID/2015083/us-east-1/eks/aws4_request, " + head + ", " + sign, "IncompleteSignature", "YYYYMMDD"},
		{"bad region", "AWS4-HMAC-SHA256 Credential=AKID/20150830/US/eks/aws4_request, " + head + ", " + sign, "IncompleteSignature", "Region"},
		{"no host", "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=x-amz-date, " + sign, "SignatureDoesNotMatch", "'Host'"},
		{"no date signed", "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=host, " + sign, "SignatureDoesNotMatch", "'X-Amz-Date'"},
		{"unsorted", "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=x-amz-date;host, " + sign, "IncompleteSignature", "sorted"},
		{"doubled", "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=host;host;x-amz-date, " + sign, "IncompleteSignature", "sorted"},
		{"upper case", "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=Host;x-amz-date, " + sign, "IncompleteSignature", "lower-case"},
		{"empty name", "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=;host, " + sign, "IncompleteSignature", "lower-case"},
		{"short signature", "AWS4-HMAC-SHA256 " + cred + ", " + head + ", Signature=abc", "IncompleteSignature", "64"},
		{"upper signature", "AWS4-HMAC-SHA256 " + cred + ", " + head + ", " + "Signature=" + strings.ToUpper(sign[10:]), "IncompleteSignature", "64 lower"},
		{"too many headers", "AWS4-HMAC-SHA256 " + cred + ", SignedHeaders=" + strings.Repeat("a;", 200) + "host, " + sign, "IncompleteSignature", "more than"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", c.authorization)
			r.Header.Set("X-Amz-Date", "20150830T123600Z")
			_, err := sigv4.Parse(r)
			if err == nil || !strings.HasPrefix(err.Error(), c.wantCode+": ") || !strings.Contains(err.Error(), c.wantText) {
				t.Errorf("Parse = %v, want %s … %s", err, c.wantCode, c.wantText)
			}
		})
	}
}

func TestParsePresignedRefuses(t *testing.T) {
	good := presigned(t, "GET", "https://sts.example.com/?Action=GetCallerIdentity&X-Amz-Expires=60", "")
	cases := []struct {
		name string
		edit func(*http.Request)
		want string
	}{
		{"repeated parameter", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Security-Token=x" }, "must not be repeated"},
		{"repeated in other case", func(r *http.Request) { r.URL.RawQuery += "&x-amz-date=x" }, "must not be repeated"},
		{"token header", func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, "must not carry"},
		{"both forms", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") }, "Only one"},
		{"zero life", func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=0", 1)
		}, "1 to 604800"},
		{"long life", func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=604801", 1)
		}, "1 to 604800"},
		{"signed life", func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=%2B6", 1)
		}, "1 to 604800"},
		{"longer life breaks the signature", func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=600", 1)
		}, "does not match the signature"},
		{"another token breaks the signature", func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Security-Token=", "X-Amz-Security-Token=A", 1)
		}, "does not match the signature"},
		{"no date", func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Date", "Y-Amz-Date", 1)
		}, "must include 'X-Amz-Date'"},
		{"payload parameter", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD" }, "must be signed"},
		{"algorithm", func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "HMAC-SHA256", "NONE", 1) }, "X-Amz-Algorithm must be"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := good.Clone(t.Context())
			c.edit(r)
			if err := verify(r, "", testSecret, testTime); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestOverTLS signs real requests over HTTP/1.1 and HTTP/2.
func TestOverTLS(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%v", http2), func(t *testing.T) {
			const body = `{"token":"x"}`
			var proto string
			var got error
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				proto, got = r.Proto, verify(r, body, testSecret, testTime)
			}))
			srv.EnableHTTP2 = http2
			srv.StartTLS()
			defer srv.Close()
			r := clientRequest(t, "POST", srv.URL+"/clusters/my-cluster/assume-role-for-pod-identity?x=1", body)
			signInPlace(t, r, body)
			resp, err := srv.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got != nil || http2 != (proto == "HTTP/2.0") {
				t.Errorf("%s: %v", proto, got)
			}
		})
	}
}

func TestKeyCache(t *testing.T) {
	c := sigv4.NewKeyCache(2)
	scope := func(id string) *sigv4.Signed {
		return &sigv4.Signed{AccessKeyID: id, Date: "20261122", Region: "eu-west-1", Service: "eks"}
	}
	r := signed(t, "GET", "https://eks.example.com/", "", nil)
	s, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // miss, then hit
		if err := s.Verify(r, hashOf(""), c.Key(s, testSecret), testTime, skew); err != nil {
			t.Errorf("Verify = %v", err)
		}
	}
	if err := s.Verify(r, hashOf(""), c.Key(s, "rotated"), testTime, skew); err == nil {
		t.Error("a changed secret found the old key")
	}
	for i := range 100 {
		c.Key(scope(fmt.Sprint("AKIA", i)), testSecret)
	}
	if c.Len() > 4 {
		t.Errorf("cache holds %d keys", c.Len())
	}
	if text := fmt.Sprintf("%v %+v %#v %s", c.Key(s, "x"), c.Key(s, "x"), c.Key(s, "x"), c.Key(s, "x")); text != "[secret] [secret] [secret] [secret]" {
		t.Errorf("a signing key prints itself: %s", text)
	}
}
