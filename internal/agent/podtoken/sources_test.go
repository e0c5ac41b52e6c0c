// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podtoken

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAPIServer(t *testing.T) {
	answer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) }
	var authorization string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		answer(w, r)
	}))
	defer srv.Close()
	ca := write(t, "ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	token := write(t, "token", "own-token\n")
	source, err := NewAPIServer(srv.URL+"/openid/v1/jwks", token, ca)
	if err != nil {
		t.Fatal(err)
	}
	got, err := source.Keys(t.Context())
	if err != nil || string(got.JWKS) != `{"keys":[]}` || authorization != "Bearer own-token" {
		t.Errorf("%s, %v, sent %q", got.JWKS, err, authorization)
	}
	for name, bad := range map[string]func(http.ResponseWriter, *http.Request){
		"status 403": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"status 302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) },
		"larger":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxKeySetBytes+1)) },
	} {
		answer = bad
		if _, err := source.Keys(t.Context()); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "own-token") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for name, files := range map[string][2]string{
		"no token": {filepath.Join(t.TempDir(), "none"), ca}, "no CA": {token, filepath.Join(t.TempDir(), "none")}, "CA is no PEM": {token, token},
		"another CA": {token, ""},
	} {
		source, err := NewAPIServer(srv.URL, files[0], files[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := source.Keys(t.Context()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, bad := range []string{"http://api/jwks", "https://", "https://u@api/", "::", ""} {
		if _, err := NewAPIServer(bad, "", ""); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestControlPlane(t *testing.T) {
	body := `{"cluster":{"name":"c","issuer":"https://i","jwks":{"keys":[]}}}`
	var path, authorization string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, authorization = r.URL.Path, r.Header.Get("Authorization")
		_, _ = io.WriteString(w, body)
	}))
	defer srv.Close()
	base, err := url.Parse(srv.URL + "/prefix/")
	if err != nil {
		t.Fatal(err)
	}
	away := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	source := ControlPlane{
		Endpoints: []*url.URL{away, base}, Cluster: "my-cluster", Region: "eu-west-1", HTTP: srv.Client(), Now: time.Now,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "ASIANODE", SecretAccessKey: "hush"}, nil
		}),
	}
	got, err := source.Keys(t.Context())
	if err != nil || string(got.JWKS) != `{"keys":[]}` || got.Issuer != "https://i" || path != "/prefix/podid/v1/clusters/my-cluster" ||
		!strings.Contains(authorization, "/eu-west-1/podid/aws4_request") {
		t.Errorf("%+v, %v; asked %s as %s", got, err, path, authorization)
	}
	for _, body = range []string{"{}", "x", `{"cluster":{"issuer":"i"}}`} {
		if _, err := source.Keys(t.Context()); err == nil {
			t.Errorf("%s accepted", body)
		}
	}
	source.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("none") })
	if _, err := source.Keys(t.Context()); err == nil {
		t.Error("asked without credentials")
	}
	if s := source.String(); !strings.Contains(s, srv.URL) {
		t.Errorf("called %s", s)
	}
}

func TestReadIdentity(t *testing.T) {
	enc := func(payload string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".AA\n"
	}
	got, err := ReadIdentity(write(t, "token", enc(`{"iss":"https://i","kubernetes.io":{"node":{"name":"n","uid":"u"}}}`)))
	if err != nil || got != (Identity{"https://i", "n", "u"}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "a.b.c", enc("[]"), enc(`{"iss":1}`)} {
		if _, err := ReadIdentity(write(t, "token", bad)); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	if _, err := ReadIdentity(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

type fixedSource struct {
	name string
	keys string
	err  error
}

func (s fixedSource) Keys(context.Context) (KeySet, error) {
	return KeySet{JWKS: []byte(s.keys)}, s.err
}
func (s fixedSource) String() string { return s.name }

func TestEither(t *testing.T) {
	refused, away := errors.New("status 401"), errors.New("connection refused")
	for _, tc := range []struct {
		name        string
		first, then fixedSource
		want        string
		errs        []error
	}{
		{"the first answers", fixedSource{"a", "1", nil}, fixedSource{"b", "2", away}, "1", nil},
		{"the first refuses", fixedSource{"a", "", refused}, fixedSource{"b", "2", nil}, "2", nil},
		{"both fail", fixedSource{"a", "", refused}, fixedSource{"b", "", away}, "", []error{refused, away}},
	} {
		got, err := Either{tc.first, tc.then}.Keys(t.Context())
		if string(got.JWKS) != tc.want || (err == nil) != (tc.errs == nil) {
			t.Errorf("%s: %s, %v", tc.name, got.JWKS, err)
		}
		for _, e := range tc.errs {
			if !errors.Is(err, e) {
				t.Errorf("%s: %v does not wrap %v", tc.name, err, e)
			}
		}
	}
}
