// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"podid/internal/controlplane/controlplanetest"
)

// TestHostile: what somebody in between, a curious user and a stranger try.
func TestHostile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	t.Run("request bent on the way", func(t *testing.T) { testBent(t, w) })
	t.Run("signed for another service", func(t *testing.T) { testOtherService(t, w) })
	t.Run("roles that may not be passed", func(t *testing.T) { testPassRoleDodges(t, w) })
	t.Run("issuers inside", func(t *testing.T) { testInnerIssuers(t, w) })
	t.Run("lines for the audit log", func(t *testing.T) { testAuditInjection(t, w) })
}

// signedHeaders signs a request without body for the host and returns what a
// client would send beside Host.
func signedHeaders(t *testing.T, w *world, service, method, path string, more http.Header) []string {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, "https://localhost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range more {
		r.Header[name] = values
	}
	cred := aws.Credentials{AccessKeyID: w.AdminID, SecretAccessKey: w.Secret}
	if err := v4.NewSigner().SignHTTP(context.Background(), cred, r, sha256Hex(""), service, controlplanetest.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	var out []string
	for name, values := range r.Header {
		for _, v := range values {
			out = append(out, name+": "+v)
		}
	}
	return out
}

// open is a connection that cannot be half closed: to a server that looks like
// a client that went away.
type open struct{ net.Conn }

// testBent: one good signature, and everything that can be changed around it.
func testBent(t *testing.T, w *world) {
	const path = "/clusters/my-cluster"
	good := signedHeaders(t, w, "eks", "GET", path, nil)
	send := func(line, host string, headers ...string) (int, string) {
		t.Helper()
		c, err := tls.Dial("tcp", strings.TrimPrefix(w.Endpoint, "https://"), &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		return converse(t, open{c}, line+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n"+strings.Join(append(headers, ""), "\r\n")+"\r\n")
	}
	if status, code := send("GET "+path, "localhost", good...); status != 200 {
		t.Fatalf("the signature is not good: %d %s", status, code)
	}
	with := func(more ...string) []string { return append(append([]string(nil), good...), more...) }
	authorization := ""
	for _, h := range good {
		if strings.HasPrefix(h, "Authorization: ") {
			authorization = h
		}
	}
	for name, tc := range map[string]struct {
		line, host string
		headers    []string
	}{
		"method":                {"DELETE " + path, "localhost", good},
		"method override":       {"DELETE " + path, "localhost", with("X-HTTP-Method-Override: GET")},
		"another cluster":       {"GET /clusters/other", "localhost", good},
		"list":                  {"GET /clusters", "localhost", good},
		"empty segment":         {"GET /" + path, "localhost", good},
		"empty segment inside":  {"GET /clusters//my-cluster", "localhost", good},
		"slash at the end":      {"GET " + path + "/", "localhost", good},
		"dot":                   {"GET /clusters/./my-cluster", "localhost", good},
		"dots":                  {"GET /clusters/x/../my-cluster", "localhost", good},
		"encoded dots":          {"GET /clusters/x/%2e%2e/my-cluster", "localhost", good},
		"encoded letter":        {"GET /clusters/%6dy-cluster", "localhost", good},
		"encoded slash":         {"GET /clusters%2fmy-cluster", "localhost", good},
		"double encoding":       {"GET /clusters/%256dy-cluster", "localhost", good},
		"case of the path":      {"GET /Clusters/my-cluster", "localhost", good},
		"parameters":            {"GET " + path + ";x=y", "localhost", good},
		"query":                 {"GET " + path + "?maxResults=1", "localhost", good},
		"fragment":              {"GET " + path + "#x", "localhost", good},
		"own API":               {"GET /podid/v1" + path, "localhost", good},
		"host":                  {"GET " + path, "elsewhere", good},
		"port of the host":      {"GET " + path, "localhost:1", good},
		"dot after the host":    {"GET " + path, "localhost.", good},
		"absolute form":         {"GET https://elsewhere" + path, "localhost", good},
		"token added":           {"GET " + path, "localhost", with("X-Amz-Security-Token: x")},
		"date added":            {"GET " + path, "localhost", with("X-Amz-Date: 20260101T000000Z")},
		"header added":          {"GET " + path, "localhost", with("x-amz-target: DeleteCluster")},
		"payload hash added":    {"GET " + path, "localhost", with("X-Amz-Content-Sha256: UNSIGNED-PAYLOAD")},
		"authorization twice":   {"GET " + path, "localhost", with(authorization)},
		"query signature added": {"GET " + path + "?X-Amz-Signature=x&X-Amz-Credential=y", "localhost", good},
		"body added":            {"GET " + path, "localhost", with("Content-Length: 2\r\n\r\n{}")},
		"upper-case signature":  {"GET " + path, "localhost", []string{strings.Replace(authorization, "Signature=", "Signature=A", 1)}},
	} {
		if status, code := send(tc.line, tc.host, tc.headers...); status < 400 || status >= 500 {
			t.Errorf("%s: %d %s", name, status, code)
		}
	}
}

// testOtherService: a signature counts for the service that it names only.
func testOtherService(t *testing.T, w *world) {
	for path, own := range map[string]string{
		"/clusters": "eks", "/clusters/my-cluster": "eks", "/podid/v1/clusters/my-cluster": "podid",
	} {
		for _, service := range []string{"eks", "podid", "eks-auth", "sts", "iam", "s3"} {
			a := rest(t, w.ControlPlane, w.Admin, service, http.MethodGet, path, nil)
			if service == own {
				a.Want(t, 200, "", "")
				continue
			}
			a.Want(t, 403, "InvalidSignatureException", "")
		}
	}
}

// testPassRoleDodges: who may pass some roles tries to pass another by a name
// that looks like theirs.
func testPassRoleDodges(t *testing.T, w *world) {
	w.Role("admin-of-all", podTrust(nil), "arn:aws:iam::aws:policy/AdministratorAccess")
	caller := w.User("passer", controlplanetest.Document(
		controlplanetest.Statement("Allow", []string{"eks:*"}, "*", nil),
		controlplanetest.Statement("Allow", []string{"iam:PassRole"}, roleARN+"team/*", nil),
		controlplanetest.Statement("Allow", []string{"iam:PassRole"}, roleARN+"s3-*", nil),
	))
	const base = "arn:aws:iam::" + controlplanetest.Account + ":role/"
	for _, arn := range []string{
		base + "admin-of-all", base + "team/admin-of-all", base + "team/../admin-of-all", base + "s3-x/../admin-of-all", base + "s3-/admin-of-all",
		base + "team//admin-of-all", base + "team/%2e%2e/admin-of-all", base + "/admin-of-all", base + "ADMIN-OF-ALL", base + "team/ADMIN-OF-ALL",
		base + "admin-of-all ", " " + base + "admin-of-all", base + "team/\u202eadmin-of-all", base + "team/*", base + "*", "ARN:aws:iam::" + controlplanetest.Account + ":role/team/x",
		"arn:aws:iam:us-west-2:" + controlplanetest.Account + ":role/team/admin-of-all", "arn:aws:sts::" + controlplanetest.Account + ":assumed-role/team/admin-of-all",
		"arn:aws-cn:iam::" + controlplanetest.Account + ":role/team/admin-of-all", "arn:aws:iam::" + controlplanetest.Account + ":role:team/admin-of-all",
	} {
		a := rest(t, w.ControlPlane, caller, "eks", http.MethodPost, "/clusters/my-cluster/pod-identity-associations",
			object{"namespace": "dodge", "serviceAccount": "dodge", "roleArn": arn})
		if a.Status != 400 && a.Status != 403 {
			t.Errorf("%q: %d %s", arn, a.Status, a.Raw)
		}
	}
	a := rest(t, w.ControlPlane, caller, "eks", http.MethodPost, "/clusters/my-cluster/pod-identity-associations",
		object{"namespace": "dodge", "serviceAccount": "dodge", "roleArn": w.role})
	a.Want(t, 200, "", "")
}

// testInnerIssuers: an issuer is an address that somebody else chose.
func testInnerIssuers(t *testing.T, w *world) {
	port := w.Endpoint[strings.LastIndexByte(w.Endpoint, ':'):]
	for _, issuer := range []string{
		"https://127.0.0.1" + port, "https://localhost" + port, "https://[::1]" + port, "https://[::ffff:127.0.0.1]" + port, "https://0.0.0.0" + port,
		"https://[::]" + port, "https://[64:ff9b::7f00:1]" + port, "https://[64:ff9b::a9fe:a9fe]", "https://[2002:7f00:1::]", "https://169.254.169.254",
		"https://[::ffff:169.254.169.254]", "https://[fd00:ec2::254]", "https://[fe80::1]", "https://2130706433" + port, "https://0x7f.1" + port, "https://127.1" + port,
		"http://169.254.169.254", "file:///etc/passwd", "https://user@localhost", "gopher://localhost",
	} {
		a := rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPost, "/podid/v1/clusters", object{"name": "inner", "issuer": issuer, "discover": true})
		if a.Status != 400 {
			t.Errorf("%s: %d %s", issuer, a.Status, a.Raw)
		}
	}
}

// testAuditInjection: one call is one line, whatever a stranger puts into it.
func testAuditInjection(t *testing.T, w *world) {
	const fake = "x\"}\n{\"eventName\":\"Forged\",\"eventTime\":\"2026-01-01T00:00:00Z\"}\r\n\u2028\x00\x1b[2J"
	before := len(w.Audit())
	calls := 0
	for _, form := range []url.Values{
		{"Action": {fake}},
		{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {fake}, "RoleSessionName": {fake}, "WebIdentityToken": {fake}, "Policy": {fake}},
		{"Action": {"GetCallerIdentity"}, "Version": {fake}},
	} {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.Endpoint+"/", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("User-Agent", `{"eventName":"Forged"}`)
		if a := w.DoQuery(r); a.Status != 400 && a.Status != 403 {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
		calls++
	}
	rest(t, w.ControlPlane, nil, "eks", http.MethodGet, "/clusters/"+url.PathEscape(fake), nil)
	events := w.Audit() // fails where a line is not one event
	if got := len(events) - before; got != calls+1 {
		t.Errorf("%d calls left %d events", calls+1, got)
	}
	for _, e := range events[before:] {
		if e.EventName == "Forged" || e.UserIdentity.Type != "Unknown" {
			t.Errorf("event %q of %+v", e.EventName, e.UserIdentity)
		}
	}
	text, err := os.ReadFile(filepath.Join(w.Dir, "audit", "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range string(text) {
		if c < ' ' && c != '\n' || c == '\u2028' {
			t.Fatalf("the audit log holds the character %q", c)
		}
	}
}
