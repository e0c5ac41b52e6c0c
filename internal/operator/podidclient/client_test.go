// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidclient_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"podid/internal/operator/podidclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNew(t *testing.T) {
	good := podidclient.Config{Endpoint: "https://podid:8443", Region: "r", RoleARN: "arn", TokenFile: "f"}
	tests := []struct {
		name   string
		change func(*podidclient.Config)
		want   []string
	}{
		{"good", func(*podidclient.Config) {}, nil},
		{"plain on loopback", func(c *podidclient.Config) { c.Endpoint = "http://127.0.0.1:1" }, nil},
		{"plain on localhost", func(c *podidclient.Config) { c.Endpoint = "http://localhost:1" }, nil},
		{"plain where it is allowed", func(c *podidclient.Config) { c.Endpoint, c.AllowPlainHTTP = "http://10.0.0.1:1", true }, nil},
		{"plain", func(c *podidclient.Config) { c.Endpoint = "http://10.0.0.1:1" }, []string{"is plain HTTP"}},
		{"another scheme", func(c *podidclient.Config) { c.Endpoint = "ftp://10.0.0.1:1" }, []string{"want https://host:port"}},
		{"keys instead of role and token", func(c *podidclient.Config) {
			c.RoleARN, c.TokenFile, c.Credentials = "", "", credentials.NewStaticCredentialsProvider("a", "b", "")
		}, nil},
		{"all at once", func(c *podidclient.Config) { *c = podidclient.Config{} }, []string{"want https://host:port", "region is missing", "role ARN and token file"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			_, err := podidclient.New(cfg)
			if (err != nil) != (tc.want != nil) {
				t.Fatalf("error %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in %v", want, err)
				}
			}
		})
	}
}

// plane is a control plane with one role and a handler for podid's own API.
func plane(t *testing.T, tokens string, f http.HandlerFunc) *podidclient.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("RoleArn") != "arn:aws:iam::111122223333:role/o" || r.FormValue("WebIdentityToken") != "tok" || r.FormValue("RoleSessionName") != "pod-1" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAX</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"+ //nolint:errcheck // a test server
			"<SessionToken>session</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	mux.HandleFunc("/podid/v1/", f)
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	c, err := podidclient.New(podidclient.Config{
		Endpoint: srv.URL, Region: "eu-west-1", RootCAs: roots, RoleARN: "arn:aws:iam::111122223333:role/o", TokenFile: file, SessionName: "pod-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCall(t *testing.T) {
	c := plane(t, "tok", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		auth := r.Header.Get("Authorization")
		if !strings.Contains(auth, "Credential=ASIAX/") || !strings.Contains(auth, "/eu-west-1/podid/aws4_request") || r.Header.Get("X-Amz-Security-Token") != "session" {
			t.Errorf("signed as %s", auth)
		}
		content := r.Header.Get("Content-Type")
		if want := map[bool]string{true: "application/json"}[len(body) > 0]; content != want {
			t.Errorf("Content-Type %q of %q", content, body)
		}
		fmt.Fprintf(w, `{"method":%q,"url":%q,"body":%q}`, r.Method, r.URL, body) //nolint:errcheck // a test server
	})
	var got struct{ Method, URL, Body string }
	if err := c.Call(t.Context(), http.MethodPut, "/podid/v1/x?y=1", map[string]int{"a": 1}, &got); err != nil || got.Method != "PUT" || got.URL != "/podid/v1/x?y=1" || got.Body != `{"a":1}` {
		t.Errorf("%+v, %v", got, err)
	}
	if err := c.Call(t.Context(), http.MethodGet, "/podid/v1/x", nil, nil); err != nil {
		t.Error(err)
	}
	var text string
	if err := c.Stream(t.Context(), http.MethodGet, "/podid/v1/s", func(r io.Reader) error {
		all, err := io.ReadAll(r)
		text = string(all)
		return err
	}); err != nil || text != `{"method":"GET","url":"/podid/v1/s","body":""}` {
		t.Errorf("%s, %v", text, err)
	}
	mine := errors.New("mine")
	if err := c.Stream(t.Context(), http.MethodGet, "/podid/v1/s", func(io.Reader) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("%v", err)
	}
	if err := c.Call(t.Context(), http.MethodGet, "/podid/v1/x", nil, &[]int{}); err == nil || !strings.Contains(err.Error(), "decode answer") {
		t.Errorf("%v", err)
	}
	if err := c.Call(t.Context(), http.MethodGet, "/podid/v1/x", make(chan int), nil); err == nil || !strings.Contains(err.Error(), "encode request") {
		t.Errorf("%v", err)
	}
	if cfg := c.AWS(); cfg.Region != "eu-west-1" || cfg.BaseEndpoint == nil {
		t.Errorf("%+v", cfg)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name          string
		status        int
		header, body  string
		code, message string
		away          bool
	}{
		{"denied", 403, "AccessDeniedException", `{"message":"no"}`, "AccessDeniedException", "no", false},
		{"no such cluster", 404, "ResourceNotFoundException", `{"message":"none"}`, "ResourceNotFoundException", "none", false},
		{"away", 503, "ServiceUnavailableException", `{"message":"soon"}`, "ServiceUnavailableException", "soon", true},
		{"from something between", 502, "", "<html>", "Bad Gateway", "", true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			c := plane(t, "tok", func(w http.ResponseWriter, _ *http.Request) {
				if tc.header != "" {
					w.Header().Set("X-Amzn-ErrorType", tc.header)
				}
				w.WriteHeader(tc.status)
				io.WriteString(w, tc.body) //nolint:errcheck // a test server
			})
			err := c.Call(t.Context(), http.MethodGet, "/podid/v1/x", nil, nil)
			var api smithy.APIError
			if !errors.As(err, &api) || api.ErrorCode() != tc.code || api.ErrorMessage() != tc.message || podidclient.Away(err) != tc.away {
				t.Errorf("%v, away %t", err, podidclient.Away(err))
			}
		})
	}
}

func TestCredentialsRefused(t *testing.T) {
	c := plane(t, "another", func(http.ResponseWriter, *http.Request) { t.Error("asked without credentials") })
	if err := c.Call(t.Context(), http.MethodGet, "/podid/v1/x", nil, nil); err == nil || !strings.Contains(err.Error(), "get credentials") {
		t.Errorf("%v", err)
	}
}

// TestTooLarge: an answer without end is not read to its end.
func TestTooLarge(t *testing.T) {
	c := plane(t, "tok", func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for range 80 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	err := c.Stream(t.Context(), http.MethodGet, "/podid/v1/x", func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "is larger than") {
		t.Errorf("%v", err)
	}
}

func TestAway(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":     {nil, false},
		"refused":     {&url.Error{Op: "Get", Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}, true},
		"late":        {fmt.Errorf("call: %w", &url.Error{Op: "Get", Err: context.DeadlineExceeded}), true},
		"cut off":     {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		"client's":    {&smithy.GenericAPIError{Fault: smithy.FaultClient}, false},
		"server's":    {fmt.Errorf("call: %w", &smithy.GenericAPIError{Fault: smithy.FaultServer}), true},
		"of the file": {os.ErrNotExist, false},
	} {
		if got := podidclient.Away(tc.err); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
