// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
)

// signedBySDK is the same request as AWS' SDK signs it.
func signedBySDK(t testing.TB, address, region string, creds aws.Credentials, body string, now time.Time) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(sum[:]), SigningName, region, now); err != nil {
		t.Fatal(err)
	}
	return req
}

func callTo(t testing.TB, address string) *call {
	t.Helper()
	c, err := newCall(address, "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSignature: headers and host are those of AWS' own signer, for every kind of endpoint and caller, also when the key
// that was derived for one day or secret is not the next one's.
func TestSignature(t *testing.T) {
	user := aws.Credentials{AccessKeyID: "AKIAEXAMPLE000000000", SecretAccessKey: "EXAMPLESECRET"}
	session := aws.Credentials{AccessKeyID: "ASIAEXAMPLE000000000", SecretAccessKey: "another/EXAMPLE+SECRET", SessionToken: strings.Repeat("EXAMPLE+/TOKEN", 200) + "=="}
	evening := time.Date(2026, 11, 24, 23, 59, 59, 1e8, time.UTC)
	for name, address := range map[string]string{
		"AWS":               "https://eks-auth.eu-west-1.api.aws/clusters/my-cluster/assume-role-for-pod-identity",
		"port":              "https://control-plane.podid.svc:8443/clusters/my-cluster/assume-role-for-pod-identity",
		"the scheme's port": "https://control-plane:443/clusters/my-cluster/assume-role-for-pod-identity",
		"plain":             "http://127.0.0.1:80/clusters/my_cluster/assume-role-for-pod-identity",
		"the other's port":  "http://127.0.0.1:443/clusters/my_cluster/assume-role-for-pod-identity",
		"IPv6":              "https://[fd00::1]:8443/clusters/my_cluster/assume-role-for-pod-identity",
		"prefix":            "https://proxy/eks%20auth/a=b~.c/%C3%A4/clusters/my-cluster/assume-role-for-pod-identity",
	} {
		t.Run(name, func(t *testing.T) {
			c := callTo(t, address)
			for _, now := range []time.Time{evening, evening.Add(time.Second), evening.In(time.FixedZone("", 7200))} {
				for _, creds := range []aws.Credentials{user, session, session} {
					for _, body := range []string{`{"token":"head.body.sig"}`, `{"token":"` + strings.Repeat("x", 3000) + `"}`} {
						want := signedBySDK(t, address, "eu-west-1", creds, body, now)
						got := c.sign(t.Context(), creds, []byte(body), now)
						if diff := cmp.Diff(want.Header, got.Header); diff != "" {
							t.Errorf("headers (-SDK's +ours):\n%s", diff)
						}
						if wantHost := firstOf(want.Host, want.URL.Host); got.Host != wantHost || got.URL.String() != want.URL.String() || got.ContentLength != want.ContentLength {
							t.Errorf("%s %s, %d bytes; want %s %s, %d", got.Host, got.URL, got.ContentLength, wantHost, want.URL, want.ContentLength)
						}
						for _, of := range []func() (io.ReadCloser, error){func() (io.ReadCloser, error) { return got.Body, nil }, got.GetBody, got.GetBody} {
							r, err := of()
							if err != nil {
								t.Fatal(err)
							}
							if sent, err := io.ReadAll(r); err != nil || string(sent) != body {
								t.Errorf("the body is %q, %v", sent, err)
							}
						}
					}
				}
			}
		})
	}
}

// TestHostOf: where AWS' signer cuts the scheme's port off an IPv6 address it cuts the brackets too, which makes it no host.
func TestHostOf(t *testing.T) {
	u, err := url.Parse("https://[fd00::1]:443/")
	if err != nil {
		t.Fatal(err)
	}
	if got := hostOf(u); got != "[fd00::1]" {
		t.Errorf("got %s", got)
	}
}

// FuzzSignature holds the signature against that of AWS' SDK, for paths, tokens and times of all kinds.
func FuzzSignature(f *testing.F) {
	f.Add("/prefix", "secret", "token", "body", int64(1795400957))
	f.Add("/%20/%C3%A4//.", "", "", "", int64(0))
	f.Fuzz(func(t *testing.T, path, secret, token, body string, seconds int64) {
		u, err := url.Parse("https://host" + path)
		now := time.Unix(seconds, 0).UTC()
		if err != nil || u.Host != "host" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || !strings.HasPrefix(u.EscapedPath(), "/") ||
			now.Year() < 1970 || now.Year() > 9999 || body == "" || strings.Join(strings.Fields(token), " ") != token {
			return // no endpoint, clock or token is like that
		}
		creds := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: secret, SessionToken: token}
		want := signedBySDK(t, u.String(), "eu-west-1", creds, body, now)
		got := callTo(t, u.String()).sign(t.Context(), creds, []byte(body), now)
		if diff := cmp.Diff(want.Header, got.Header); diff != "" {
			t.Errorf("headers (-SDK's +ours):\n%s", diff)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	c := callTo(b, "https://control-plane.podid.svc:8443/clusters/my-cluster/assume-role-for-pod-identity")
	creds := aws.Credentials{AccessKeyID: "ASIAEXAMPLE000000000", SecretAccessKey: "EXAMPLESECRET", SessionToken: strings.Repeat("x", 900)}
	body := []byte(strings.Repeat("x", 1200))
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		c.sign(b.Context(), creds, body, now)
	}
}
