// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sigv4_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"podid/internal/sigv4"
)

const (
	testKeyID  = "ASIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	testToken  = "IQoJb3JpZ2luX2VjE+/=session"
	skew       = 5 * time.Minute
)

var testTime = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func hashOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// received passes a client's request over the wire form, as a server sees it.
func received(t testing.TB, client *http.Request) *http.Request {
	t.Helper()
	var wire strings.Builder
	if err := client.Write(&wire); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire.String())))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func clientRequest(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = nil, 0
	}
	return r
}

// signed returns a request signed by the AWS SDK, as the server receives it.
func signed(t testing.TB, method, url, body string, edit func(*http.Request)) *http.Request {
	t.Helper()
	r := clientRequest(t, method, url, body)
	if edit != nil {
		edit(r)
	}
	creds := aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret, SessionToken: testToken}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hashOf(body), "eks", "eu-west-1", testTime); err != nil {
		t.Fatal(err)
	}
	return received(t, r)
}

func presigned(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	creds := aws.Credentials{AccessKeyID: testKeyID, SecretAccessKey: testSecret, SessionToken: testToken}
	signedURL, _, err := v4.NewSigner().PresignHTTP(context.Background(), creds, clientRequest(t, method, url, body), hashOf(body), "sts", "eu-west-1", testTime)
	if err != nil {
		t.Fatal(err)
	}
	return received(t, clientRequest(t, method, signedURL, body))
}

func verify(r *http.Request, body, secret string, now time.Time) error {
	s, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	return s.Verify(r, hashOf(body), sigv4.DeriveKey(secret, s.Date, s.Region, s.Service), now, skew)
}

func TestVerifySDKHeader(t *testing.T) {
	cases := []struct {
		name, method, url, body string
		edit                    func(*http.Request)
	}{
		{"get root", "GET", "https://eks.example.com/", "", nil},
		{"no path", "GET", "https://eks.example.com", "", nil},
		{"port in host", "GET", "https://127.0.0.1:8443/clusters", "", nil},
		{"default port", "GET", "https://eks.example.com:443/clusters", "", nil},
		{"ipv6 host", "GET", "https://[::1]:8443/clusters", "", nil},
		{"post body", "POST", "https://eks.example.com/clusters/my-cluster/pod-identity-associations", `{"roleArn":"x"}`, nil},
		{"encoded arn", "GET", "https://eks.example.com/tags/arn%3Aaws%3Aeks%3Aeu-west-1%3A111122223333%3Apodidentityassociation%2Fmy-cluster%2Fa-1", "", nil},
		{"plain arn", "GET", "https://eks.example.com/tags/arn:aws:eks:eu-west-1:111122223333:cluster/my-cluster", "", nil},
		{"query order and escapes", "DELETE", "https://eks.example.com/tags/x?tagKeys=b&tagKeys=a%2Fb&tagKeys=a-b&b=%20%2B&a&c=%E1%88%B4", "", nil},
		{"plus is space", "GET", "https://eks.example.com/x?k=a+b", "", nil},
		{"repeated header", "GET", "https://eks.example.com/x", "", func(r *http.Request) {
			r.Header["X-Amz-Meta"] = []string{"b", "a   a", " c "}
		}},
		{"payload header", "POST", "https://eks.example.com/x", "hello", func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", hashOf("hello"))
		}},
		{"hidden files are no dot segments", "GET", "https://eks.example.com/.well-known/a..b", "", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := signed(t, c.method, c.url, c.body, c.edit)
			if err := verify(r, c.body, testSecret, testTime.Add(time.Minute)); err != nil {
				t.Errorf("Verify = %v", err)
			}
			if err := verify(r, c.body, testSecret+"x", testTime); reason(err) != sigv4.ReasonMismatch {
				t.Errorf("wrong secret: %v", err)
			}
		})
	}
}

func TestParseClaims(t *testing.T) {
	s, err := sigv4.Parse(signed(t, "GET", "https://eks.example.com/clusters", "", nil))
	if err != nil {
		t.Fatal(err)
	}
	if s.AccessKeyID != testKeyID || s.Date != "20261122" || s.Region != "eu-west-1" || s.Service != "eks" ||
		s.SecurityToken != testToken || !s.Time.Equal(testTime) || s.Presigned || s.Expires != 0 {
		t.Errorf("claims = %s %q", s, s.SecurityToken)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); strings.Contains(text, testToken) {
		t.Errorf("the claim prints its token: %s", text)
	}
	if err := s.RequireScope("eks", "eu-west-1"); err != nil {
		t.Errorf("RequireScope = %v", err)
	}
	if err := s.RequireScope("sts", "eu-west-1"); err == nil || !strings.Contains(err.Error(), "correct service: 'sts'") {
		t.Errorf("RequireScope of another service = %v", err)
	}
	if err := s.RequireScope("eks", "us-east-1"); err == nil || !strings.Contains(err.Error(), "not 'eu-west-1'") {
		t.Errorf("RequireScope of another region = %v", err)
	}
}

func TestVerifySDKPresigned(t *testing.T) {
	const url = "https://sts.example.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=600"
	r := presigned(t, "GET", url, "")
	for name, c := range map[string]struct {
		at   time.Duration
		want string
	}{
		"at once":       {0, ""},
		"a bit early":   {-4 * time.Minute, ""},
		"too early":     {-6 * time.Minute, sigv4.ReasonNotYetCurrent},
		"last moment":   {10 * time.Minute, ""},
		"after its end": {10*time.Minute + time.Second, sigv4.ReasonExpired},
	} {
		if err := verify(r, "", testSecret, testTime.Add(c.at)); reason(err) != c.want {
			t.Errorf("%s: %v, want reason %q", name, err, c.want)
		}
	}
	s, err := sigv4.Parse(r)
	if err != nil || !s.Presigned || s.Expires != 10*time.Minute || s.SecurityToken != testToken {
		t.Errorf("Parse = %v, %v", s, err)
	}
	if err := verify(presigned(t, "POST", url, "body"), "body", testSecret, testTime); err != nil {
		t.Errorf("presigned with a body: %v", err)
	}
	plain := presigned(t, "GET", "https://sts.example.com/?Action=GetCallerIdentity", "")
	if err := verify(plain, "", testSecret, testTime.Add(6*time.Minute)); reason(err) != sigv4.ReasonExpired {
		t.Errorf("without X-Amz-Expires the skew counts: %v", err)
	}
}

func reason(err error) string {
	if e := (*sigv4.Error)(nil); errors.As(err, &e) {
		return e.Reason
	}
	if err != nil {
		return "untyped: " + err.Error()
	}
	return ""
}

// TestTampered changes one thing of a good request after signing.
func TestTampered(t *testing.T) {
	const body = `{"a":1}`
	cases := []struct {
		name string
		edit func(*http.Request)
		want string
	}{
		{"method", func(r *http.Request) { r.Method = "PUT" }, sigv4.ReasonMismatch},
		{"host", func(r *http.Request) { r.Host = "evil.example.com" }, sigv4.ReasonMismatch},
		{"path", func(r *http.Request) { r.URL.Path = "/clusters/b" }, sigv4.ReasonMismatch},
		{"dot segment", func(r *http.Request) { r.URL.Path = "/b/../clusters/a" }, sigv4.ReasonPath},
		{"double slash", func(r *http.Request) { r.URL.Path = "/clusters//a" }, sigv4.ReasonPath},
		{"star path", func(r *http.Request) { r.URL.Path = "*" }, sigv4.ReasonPath},
		{"query", func(r *http.Request) { r.URL.RawQuery = "a=2" }, sigv4.ReasonMismatch},
		{"bad query", func(r *http.Request) { r.URL.RawQuery = "a=%zz" }, sigv4.ReasonMalformed},
		{"semicolon query", func(r *http.Request) { r.URL.RawQuery = "a=1;b=2" }, sigv4.ReasonMalformed},
		{"query signature in header form", func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=0" }, sigv4.ReasonMalformed},
		{"session token", func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "other") }, sigv4.ReasonMismatch},
		{"session token dropped", func(r *http.Request) { r.Header.Del("X-Amz-Security-Token") }, sigv4.ReasonUnsignedHeader},
		{"unsigned header that a signed one is another case of", func(r *http.Request) { r.Header["X-Amz-\u017fecurity-Token"] = []string{"t"} }, sigv4.ReasonUnsignedHeader},
		{"unsigned x-amz header", func(r *http.Request) { r.Header.Set("X-Amz-Target", "t") }, sigv4.ReasonUnsignedHeader},
		{"two tokens", func(r *http.Request) { r.Header.Add("X-Amz-Security-Token", "other") }, sigv4.ReasonMalformed},
		{"two dates", func(r *http.Request) { r.Header.Add("X-Amz-Date", "20261122T100000Z") }, sigv4.ReasonMalformed},
		{"two authorizations", func(r *http.Request) { r.Header.Add("Authorization", "x") }, sigv4.ReasonMalformed},
		{"no date", func(r *http.Request) { r.Header.Del("X-Amz-Date") }, sigv4.ReasonMalformed},
		{"bad date", func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }, sigv4.ReasonMalformed},
		{"date of another day", func(r *http.Request) { r.Header.Set("X-Amz-Date", "20261121T235959Z") }, sigv4.ReasonScope},
		{"content type", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, sigv4.ReasonMismatch},
		{"content length", func(r *http.Request) { r.Header.Del("Content-Length"); r.ContentLength = -1 }, sigv4.ReasonUnsignedHeader},
		{"no authorization", func(r *http.Request) { r.Header.Del("Authorization") }, sigv4.ReasonMissing},
		{"unsigned payload", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, sigv4.ReasonPayload},
		{"streaming payload", func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
		}, sigv4.ReasonPayload},
		{"other payload", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hashOf("x")) }, sigv4.ReasonPayload},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := signed(t, "POST", "https://eks.example.com/clusters/a?a=1", body, func(r *http.Request) {
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("X-Amz-Content-Sha256", hashOf(body))
			})
			c.edit(r)
			if err := verify(r, body, testSecret, testTime); reason(err) != c.want {
				t.Errorf("got %v, want reason %q", err, c.want)
			}
		})
	}
	r := signed(t, "POST", "https://eks.example.com/clusters/a", body, nil)
	if err := verify(r, body+" ", testSecret, testTime); reason(err) != sigv4.ReasonMismatch {
		t.Errorf("another body: %v", err)
	}
	s, err := sigv4.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(r, hashOf(body), sigv4.SigningKey{}, testTime, skew); reason(err) != sigv4.ReasonMismatch {
		t.Errorf("zero key: %v", err)
	}
	if err := s.Verify(r, "UNSIGNED-PAYLOAD", sigv4.SigningKey{}, testTime, skew); reason(err) != sigv4.ReasonPayload {
		t.Errorf("no hash: %v", err)
	}
}

func TestMissing(t *testing.T) {
	_, err := sigv4.Parse(httptest.NewRequest("GET", "/", nil))
	if !errors.Is(err, sigv4.ErrMissing) {
		t.Errorf("Parse = %v, want ErrMissing", err)
	}
}

func TestTimeWindow(t *testing.T) {
	r := signed(t, "GET", "https://eks.example.com/", "", nil)
	cases := []struct {
		name string
		at   time.Duration
		want string
	}{
		{"edge late", 5 * time.Minute, ""},
		{"edge early", -5 * time.Minute, ""},
		{"late", 5*time.Minute + time.Second, "SignatureDoesNotMatch: Signature expired: 20261122T100000Z is now earlier than 20261122T100001Z (20261122T100501Z - 5 min.)"},
		{"early", -5*time.Minute - time.Second, "SignatureDoesNotMatch: Signature not yet current: 20261122T100000Z is still later than 20261122T095959Z (20261122T095459Z + 5 min.)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := verify(r, "", testSecret, testTime.Add(c.at))
			if got := fmt.Sprint(err); (c.want == "") != (err == nil) || c.want != "" && got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}
