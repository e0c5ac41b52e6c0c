// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestOpenID(t *testing.T) {
	good := map[string]string{
		"/.well-known/openid-configuration": `{"issuer":"https://kubernetes.default.svc","jwks_uri":"https://elsewhere.example.com/keys"}`,
		"/openid/v1/jwks":                   `{"keys":[]}`, "/version": `{"major":"1","minor":"34+","gitVersion":"v1.34.2-eks"}`,
	}
	for _, tc := range []struct{ name, path, answer, want string }{
		{"good", "", "", ""},
		{"no issuer", "/.well-known/openid-configuration", `{}`, "read the issuer: the API server names none"},
		{"issuer is no JSON", "/.well-known/openid-configuration", `x`, "read the issuer: read answer"},
		{"keys are no JSON", "/openid/v1/jwks", `x`, "read the keys: read answer"},
		{"no version", "/version", `{"major":"1"}`, "read the version: the API server names none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := startFake(t, nil)
			f.before = func(w http.ResponseWriter, r *http.Request) bool {
				text, ok := good[r.URL.Path]
				if strings.HasSuffix(r.URL.Path, "/jwks") && !strings.Contains(r.Header.Get("Accept"), "application/jwk-set+json") {
					status(w, http.StatusNotAcceptable, "NotAcceptable", "Available representations: application/jwk-set+json")
					return true
				}
				if r.URL.Path == tc.path {
					text = tc.answer
				}
				_, _ = io.WriteString(w, text)
				return ok
			}
			c := f.load(t, `"token": "abc"`)
			id, err := c.OpenID(t.Context())
			version := ""
			if err == nil {
				version, err = c.Version(t.Context())
			}
			switch {
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%v, want %q", err, tc.want)
			case tc.want == "" && (err != nil || id.Issuer != "https://kubernetes.default.svc" || string(id.JWKS) != `{"keys":[]}` || version != "1.34" || !bytes.Equal(c.CA(), f.caPEM())):
				t.Errorf("%+v %q %v", id, version, err)
			}
		})
	}
	f := startFake(t, nil)
	f.before = func(w http.ResponseWriter, _ *http.Request) bool {
		status(w, http.StatusForbidden, "Forbidden", "no")
		return true
	}
	if _, err := f.load(t, ``).OpenID(t.Context()); !IsRefused(err) {
		t.Errorf("%v", err)
	}
}
