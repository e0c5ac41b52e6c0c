// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"podid/internal/controlplane/controlplanetest"
)

// inCluster is an API server that has what `podid server` asks for.
type inCluster struct {
	jwks json.RawMessage

	mu      sync.Mutex
	objects map[string]json.RawMessage
}

func (a *inCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer of-the-test" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	body, _ := io.ReadAll(r.Body)
	switch r.Method {
	case http.MethodPost:
		var o struct{ Metadata struct{ Name string } }
		_ = json.Unmarshal(body, &o)
		a.objects[r.URL.Path+"/"+o.Metadata.Name] = body
	case http.MethodPatch:
		a.objects[r.URL.Path] = body // whole enough for a ConfigMap of one key
	}
	answers := map[string]json.RawMessage{
		"/.well-known/openid-configuration": json.RawMessage(`{"issuer": "https://kubernetes.default.svc"}`), "/openid/v1/jwks": a.jwks, "/version": json.RawMessage(`{"major": "1", "minor": "34"}`),
	}
	if text, ok := answers[r.URL.Path]; ok {
		_, _ = w.Write(text)
	} else if text, ok := a.objects[r.URL.Path]; ok {
		_, _ = w.Write(text)
	} else if r.Method == http.MethodPost {
		_, _ = w.Write(body)
	} else {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind": "Status", "reason": "NotFound"}`)
	}
}

func (a *inCluster) has(path string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return string(a.objects[path])
}

// TestHomeCluster: a server registers the cluster that it runs in and shows its
// CA there; whoever can run a command beside it has the admin's key. All of it
// holds at the next start. There is no home directory.
func TestHomeCluster(t *testing.T) {
	api := &inCluster{jwks: controlplanetest.JWKS(t, "key-1", controlplanetest.NewKey(t)), objects: map[string]json.RawMessage{}}
	srv := httptest.NewTLSServer(api)
	defer srv.Close()
	dir := t.TempDir()
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	kubeconfig := fmt.Sprintf(`{"current-context": "test", "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
		"clusters": [{"name": "c", "cluster": {"server": %q, "certificate-authority-data": %q}}], "users": [{"name": "u", "user": {"token": "of-the-test"}}]}`, srv.URL, ca)
	if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", "")
	data := filepath.Join(dir, "data")
	for start := range 2 {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, []string{
				"server", "--data-dir", data, "--account-id", "111122223333", "--region", "us-west-2", "--listen", address, "--metrics-address", "", "--tls-names", "podid.podid-system.svc",
				"--register-cluster", "home", "--operator-pass-role", "arn:aws:iam::111122223333:role/app/*", "--publish-ca-configmap", "podid-ca", "--kubeconfig", filepath.Join(dir, "kubeconfig"), "--namespace", "podid-system",
			}, nil, strings.NewReader(""), io.Discard, t.Output())
		}()
		var out bytes.Buffer
		podid := func(args ...string) (string, bool) {
			out.Reset()
			env := []string{"AWS_ENDPOINT_URL=https://" + address, "AWS_CA_BUNDLE=" + filepath.Join(data, "tls", "ca.crt"), "AWS_REGION=us-west-2", "PATH=" + os.Getenv("PATH")}
			return out.String(), run(ctx, args, env, strings.NewReader(""), &out, io.Discard) == 0
		}
		var key struct{ AccessKeyId, SecretAccessKey string }
		wantSoon(t, ended, func() bool {
			_, ok := podid("admin", "credentials", "--data-dir", data, "--format", "json")
			return ok && json.Unmarshal(out.Bytes(), &key) == nil && key.AccessKeyId != ""
		})
		t.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyId)
		t.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
		t.Setenv("AWS_CONFIG_FILE", os.DevNull)
		t.Setenv("AWS_REGION", "us-west-2")
		t.Setenv("AWS_ENDPOINT_URL", "https://"+address)
		t.Setenv("AWS_CA_BUNDLE", filepath.Join(data, "tls", "ca.crt"))
		wantSoon(t, ended, func() bool {
			_, ok := podid("get", "role", "podid-operator-home")
			return ok && strings.Contains(out.String(), "podid-operator-pass-role")
		})
		wantSoon(t, ended, func() bool {
			return strings.Contains(api.has("/api/v1/namespaces/podid-system/configmaps/podid-ca"), "BEGIN CERTIFICATE")
		})
		if _, ok := podid("get", "cluster", "home"); !ok || !strings.Contains(out.String(), "key-1") {
			t.Errorf("start %d: %s", start, out.String())
		}
		api.mu.Lock()
		clear(api.objects) // it is shown again
		api.mu.Unlock()
		stop()
		if status := <-ended; status != 0 {
			t.Fatalf("start %d: exit status %d", start, status)
		}
	}
	var env, profile bytes.Buffer
	for format, to := range map[string]*bytes.Buffer{"env": &env, "profile": &profile} {
		if status := run(t.Context(), []string{"admin", "credentials", "--data-dir", data, "--format", format}, nil, strings.NewReader(""), to, io.Discard); status != 0 {
			t.Errorf("--format %s: exit status %d", format, status)
		}
	}
	if !strings.HasPrefix(env.String(), "export AWS_ACCESS_KEY_ID=AKIA") || !strings.Contains(profile.String(), "\naws_secret_access_key = ") {
		t.Errorf("env %d bytes, profile %d bytes", env.Len(), profile.Len())
	}
	var problem bytes.Buffer
	for _, args := range [][]string{{"--data-dir", dir}, {"--data-dir", data, "--format", "xml"}} {
		if run(t.Context(), append([]string{"admin", "credentials"}, args...), nil, strings.NewReader(""), io.Discard, &problem) == 0 {
			t.Errorf("%v: printed", args)
		}
	}
	if !strings.Contains(problem.String(), "admin-credentials: no such file") || !strings.Contains(problem.String(), "want env, json or profile") {
		t.Errorf("problems: %s", problem.String())
	}
}

// wantSoon waits for what is to come, as long as the server runs.
func wantSoon(t *testing.T, ended <-chan int, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(30 * time.Second)
	for !is() {
		select {
		case status := <-ended:
			t.Fatalf("the server ended with status %d", status)
		case <-timeout:
			t.Fatal("it did not come")
		case <-tick.C:
		}
	}
}
