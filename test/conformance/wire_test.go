// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWitness(t *testing.T) {
	served := 0
	behind := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		w.Header().Set("X-Host", r.Host)
		w.Header().Set("X-Path", r.URL.EscapedPath())
		_, _ = io.WriteString(w, "answer")
	}))
	defer behind.Close()
	ca, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWitness(behind.URL, ca, behind.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	post := func() (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/tags/arn%3Aaws%2Fx?a=b", strings.NewReader("Action=GetRole&RoleName=x"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261123/us-west-2/iam/aws4_request, SignedHeaders=host, Signature=00")
		answer, err := client.Do(r)
		if err == nil {
			defer answer.Body.Close()
			if _, err := io.ReadAll(answer.Body); err != nil {
				t.Error(err)
			}
		}
		return answer, err
	}

	answer, err := post()
	if err != nil {
		t.Fatal(err)
	}
	if host := answer.Header.Get("X-Host"); "https://"+host != w.url {
		t.Errorf("the host became %s, and it is signed", host)
	}
	if path := answer.Header.Get("X-Path"); path != "/tags/arn%3Aaws%2Fx" {
		t.Errorf("the path became %s, and it is signed", path)
	}
	got := w.last()
	if got.Service != "iam" || got.Operation != "GetRole" || got.Form.Get("RoleName") != "x" || got.Answer != "answer" || got.Query.Get("a") != "b" {
		t.Errorf("seen: %+v", got)
	}

	w.inject(fault{match: anything, drop: true}, fault{match: anything, code: 500, body: "once"})
	if _, err := post(); err == nil {
		t.Error("an answer was not dropped")
	}
	if served != 2 {
		t.Errorf("a request whose answer is dropped is served: %d", served)
	}
	if answer, err = post(); err != nil || answer.StatusCode != 500 || served != 2 {
		t.Errorf("the second fault: %v, served %d", err, served)
	}
	if answer, err = post(); err != nil || answer.StatusCode != 200 || w.count("GetRole") != 4 {
		t.Errorf("after the faults: %v, %d exchanges", err, w.count("GetRole"))
	}
	w.reset()
	if n := len(w.exchanges()); n != 0 {
		t.Errorf("%d exchanges after a reset", n)
	}
}

// protoField encodes a length-delimited field.
func protoField(number uint64, value string) string {
	b := binary.AppendUvarint(nil, number<<3|2)
	return string(binary.AppendUvarint(b, uint64(len(value)))) + value
}

func protoAccount() string {
	label := protoField(1, "app") + protoField(2, "web")
	note := protoField(1, "eks.amazonaws.com/role-arn") + protoField(2, "arn")
	meta := protoField(1, "sa") + protoField(3, "ns") + "\x38\x05" + protoField(11, label) + protoField(12, note)
	return "k8s\x00" + protoField(1, protoField(1, "v1")+protoField(2, "ServiceAccount")) + protoField(2, protoField(1, meta))
}

func TestReadObjectMeta(t *testing.T) {
	want := kubeMeta{Name: "sa", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"eks.amazonaws.com/role-arn": "arn"}}
	got, err := readObjectMeta([]byte(protoAccount()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := readObjectMeta([]byte(`{"metadata":{"name":"sa"}}`)); err != nil || got.Name != "sa" {
		t.Errorf("JSON: %+v, %v", got, err)
	}
	for _, broken := range []string{"k8s\x00", "k8s\x00\x12\x7f", "k8s\x00\xff", "k8s\x00\x0b", "k8s\x00\x09\x01", "{"} {
		if got, err := readObjectMeta([]byte(broken)); err == nil {
			t.Errorf("%q is read as %+v", broken, got)
		}
	}
}

func FuzzReadObjectMeta(f *testing.F) {
	f.Add([]byte(protoAccount()))
	f.Add([]byte(`{"metadata":{"name":"sa"}}`))
	f.Add([]byte("k8s\x00\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := readObjectMeta(body)
		if strings.HasPrefix(string(body), "k8s\x00") && err == nil && m.Name == "" {
			t.Error("an object without a name is taken")
		}
	})
}

func TestCheckToken(t *testing.T) {
	token := func(url string) string {
		return "Bearer k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(url))
	}
	const good = "https://sts/?Action=GetCallerIdentity&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id"
	if err := checkToken(token(good)); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]string{
		"nothing": "", "another scheme": "Bearer abc", "no base64": "Bearer k8s-aws-v1.!", "another action": token(strings.Replace(good, "GetCaller", "Get", 1)),
		"not of a cluster": token(strings.Replace(good, "x-k8s-aws-id", "x", 1)), "no URL": token(":"),
	} {
		if err := checkToken(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestKubeAPI(t *testing.T) {
	ca, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k, err := newKubeAPI(ca)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := k.close(); err != nil {
			t.Error(err)
		}
	}()
	token := "Bearer k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte("https://sts/?Action=GetCallerIdentity&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id"))
	const accounts = "/api/v1/namespaces/ns/serviceaccounts"
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"a namespace", "GET", "/api/v1/namespaces/ns", "", 200},
		{"none yet", "GET", accounts + "/sa", "", 404},
		{"create", "POST", accounts, protoAccount(), 201},
		{"get", "GET", accounts + "/sa", "", 200},
		{"list", "GET", "/api/v1/serviceaccounts", "", 200},
		{"replace", "PUT", accounts + "/sa", protoAccount(), 200},
		{"delete", "DELETE", accounts + "/sa", "", 200},
		{"gone", "GET", accounts + "/sa", "", 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, strings.NewReader(tc.body))
			r.Header.Set("Authorization", token)
			w := httptest.NewRecorder()
			k.serve(w, r)
			if w.Code != tc.status {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tc.status)
			}
		})
	}
	if err := k.complaints(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/apis/apps/v1/deployments", accounts} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		if path != accounts {
			r.Header.Set("Authorization", token)
		}
		k.serve(httptest.NewRecorder(), r)
		if err := k.complaints(); err == nil {
			t.Errorf("%s is not complained of", path)
		}
	}
}

func TestChild(t *testing.T) {
	c, err := startChild(t.Context(), "a shell", nil, "/bin/sh", "-c", `
		read -r line; echo '{"output":{"a":1}}'
		read -r line; echo '{"error":{"code":"NoSuchEntity","status":404}}'
		read -r line; echo last words >&2; exit 3`)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := c.call(t.Context(), request{}); err != nil || field(out, "a") != 1.0 {
		t.Errorf("an output: %v, %v", out, err)
	}
	if _, err := c.call(t.Context(), request{}); !isCode(err, "NoSuchEntity") {
		t.Errorf("a refusal: %v", err)
	}
	if _, err := c.call(t.Context(), request{}); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("a driver that ends: %v", err)
	}
	if err := c.close(); err == nil || !strings.Contains(err.Error(), "last words") {
		t.Errorf("its end: %v", err)
	}
}

func TestCLIRefusal(t *testing.T) {
	failed := exec.CommandContext(t.Context(), "/bin/false").Run()
	for _, tc := range []struct{ name, said, code, message string }{
		{"an answer", "\nAn error occurred (NoSuchEntity) when calling the GetRole operation: The role cannot be found.\n", "NoSuchEntity", "The role cannot be found."},
		{"after retries", "An error occurred (Throttling) when calling the GetRole operation (reached max retries: 2): Slow down", "Throttling", "Slow down"},
		{"an unknown command", "aws: error: argument operation: Invalid choice, valid choices are:", lacking, "the AWS CLI has no such operation"},
		{"its own", "Unable to locate credentials", "ClientError", "Unable to locate credentials"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := cliRefusal(failed, tc.said).(*refusal) //nolint:errorlint // what is made here is looked at
			if !ok || got.Code != tc.code || got.Message != tc.message {
				t.Errorf("got %+v", got)
			}
		})
	}
}
