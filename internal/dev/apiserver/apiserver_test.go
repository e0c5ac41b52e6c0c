// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kube is a server that runs, and a client of it.
type kube struct {
	t      *testing.T
	server *Server
	client *http.Client
}

func start(t *testing.T, file string) *kube {
	t.Helper()
	s, err := New(Config{
		Cluster: "my-cluster", File: file, Log: slog.New(slog.DiscardHandler), Now: time.Now, Rand: rand.Reader,
		Review: func(_ context.Context, token string) (User, error) {
			switch token {
			case "admin":
				return User{"admin", []string{"other", AdminGroup}}, nil
			case "viewer":
				return User{"viewer", []string{"podid.dev:cluster:AmazonEKSViewPolicy"}}, nil
			case "broken":
				return User{}, errors.New("secret cause")
			}
			return User{}, ErrUnauthenticated
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return &kube{t, s, &http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

type reply struct {
	code int
	text string
	object
	Reason, Message string
	Items           []object
}

func (k *kube) call(token, method, path, contentType, body string) reply {
	k.t.Helper()
	req, err := http.NewRequestWithContext(k.t.Context(), method, k.server.Endpoint()+path, strings.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := k.client.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		k.t.Fatal(err)
	}
	r := reply{code: resp.StatusCode, text: string(text)}
	if err := json.Unmarshal(text, &r); err != nil {
		k.t.Fatalf("%s: %v", text, err)
	}
	return r
}

func (k *kube) want(r reply, code int, reason string) reply {
	k.t.Helper()
	if r.code != code || r.Reason != reason {
		k.t.Errorf("%d %s, want %d %s: %s", r.code, r.Reason, code, reason, r.text)
	}
	return r
}

const accounts = "/api/v1/namespaces/apps/serviceaccounts"

// protobuf is an object as client-go sends it.
func protobuf(kind, namespace, name string, labels map[string]string) string {
	field := func(b []byte, n protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
	}
	var meta []byte
	meta = field(meta, 1, []byte(name))
	meta = field(meta, 3, []byte(namespace))
	meta = protowire.AppendVarint(protowire.AppendTag(meta, 7, protowire.VarintType), 1)
	meta = field(meta, 8, nil)
	for k, v := range labels {
		meta = field(meta, 11, field(field(nil, 1, []byte(k)), 2, []byte(v)))
		meta = field(meta, 12, field(field(nil, 1, []byte(k)), 2, []byte(v)))
	}
	what := field(field(nil, 1, []byte("v1")), 2, []byte(kind))
	return "k8s\x00" + string(field(field(nil, 1, what), 2, field(nil, 1, meta)))
}

// TestObjects does what eksctl does with a service account, in the forms that
// it sends, and finds it again after another start.
func TestObjects(t *testing.T) {
	file := filepath.Join(t.TempDir(), "objects.json")
	k := start(t, file)
	k.want(k.call("admin", "GET", "/api/v1/namespaces/apps", "", ""), 404, "NotFound")
	k.want(k.call("admin", "POST", accounts, "", `{"metadata":{"name":"sa"}}`), 404, "NotFound")
	ns := k.want(k.call("admin", "POST", "/api/v1/namespaces", "application/vnd.kubernetes.protobuf", protobuf("Namespace", "", "apps", nil)), 201, "")
	if ns.Kind != "Namespace" || ns.APIVersion != "v1" || ns.Metadata.Name != "apps" || ns.Metadata.UID == "" || ns.Metadata.CreationTimestamp == "" {
		t.Errorf("namespace %+v", ns.object)
	}
	labels := map[string]string{"app.kubernetes.io/managed-by": "eksctl"}
	made := k.want(k.call("admin", "POST", accounts, "application/vnd.kubernetes.protobuf", protobuf("ServiceAccount", "apps", "sa", labels)), 201, "")
	if made.Metadata.Namespace != "apps" || made.Metadata.Labels["app.kubernetes.io/managed-by"] != "eksctl" || made.Metadata.Annotations["app.kubernetes.io/managed-by"] != "eksctl" {
		t.Errorf("made %s", made.text)
	}
	k.want(k.call("admin", "POST", accounts, "", `{"metadata":{"name":"sa"}}`), 409, "AlreadyExists")
	k.want(k.call("admin", "PUT", accounts+"/sa", "application/json", `{"kind":"ServiceAccount","metadata":{"name":"sa","namespace":"apps","resourceVersion":"1"}}`), 409, "Conflict")
	put := k.want(k.call("admin", "PUT", accounts+"/sa", "application/json", `{"metadata":{"name":"sa","annotations":{"a":"b"}}}`), 200, "")
	if put.Metadata.UID != made.Metadata.UID || put.Metadata.ResourceVersion == made.Metadata.ResourceVersion || put.Metadata.Annotations["a"] != "b" || len(put.Metadata.Labels) != 0 {
		t.Errorf("put %s", put.text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info.Mode(), err)
	}

	k = start(t, file)
	if got := k.want(k.call("admin", "GET", accounts+"/sa", "", ""), 200, ""); got.Metadata.UID != made.Metadata.UID {
		t.Errorf("after another start: %s", got.text)
	}
	for path, want := range map[string]int{
		"/api/v1/serviceaccounts": 1, accounts: 1, "/api/v1/namespaces": 3, "/api/v1/namespaces/default/serviceaccounts": 0, "/api/v1/serviceaccounts?labelSelector=x%3Dy": 0,
	} {
		if got := k.want(k.call("admin", "GET", path, "", ""), 200, ""); len(got.Items) != want || !strings.HasSuffix(got.Kind, "List") || !strings.Contains(got.text, `"items":[`) {
			t.Errorf("%s: %s", path, got.text)
		}
	}
	k.want(k.call("admin", "DELETE", accounts+"/sa", "", ""), 200, "")
	k.want(k.call("admin", "DELETE", accounts+"/sa", "", ""), 404, "NotFound")
	k.want(k.call("admin", "POST", accounts, "", `{"metadata":{"name":"other"}}`), 201, "")
	k.want(k.call("admin", "DELETE", "/api/v1/namespaces/apps", "", ""), 200, "")
	k.want(k.call("admin", "GET", accounts+"/other", "", ""), 404, "NotFound")
	if v := k.call("admin", "GET", "/version", "", ""); v.code != 200 || !strings.Contains(v.text, `"minor":"34"`) {
		t.Errorf("version %s", v.text)
	}
}

// TestRefusals: nobody but an administrator is let in, and what cannot be read
// or is not kept here is refused with a reason.
func TestRefusals(t *testing.T) {
	k := start(t, filepath.Join(t.TempDir(), "objects.json"))
	for _, tc := range []struct {
		name, token, method, path, contentType, body string
		code                                         int
		reason                                       string
	}{
		{"no token", "", "GET", "/api/v1/namespaces", "", "", 401, "Unauthorized"},
		{"a token of nobody", "nobody", "GET", "/api/v1/namespaces", "", "", 401, "Unauthorized"},
		{"the version without a token", "", "GET", "/version", "", "", 401, "Unauthorized"},
		{"no administrator", "viewer", "GET", "/api/v1/namespaces", "", "", 403, "Forbidden"},
		{"a webhook that is away", "broken", "GET", "/api/v1/namespaces", "", "", 500, "InternalError"},
		{"another resource", "admin", "GET", "/api/v1/pods", "", "", 404, "NotFound"},
		{"another resource of a namespace", "admin", "GET", "/api/v1/namespaces/default/secrets", "", "", 404, "NotFound"},
		{"a deeper path", "admin", "GET", "/api/v1/namespaces/default/serviceaccounts/a/token", "", "", 404, "NotFound"},
		{"another group", "admin", "GET", "/apis/apps/v1/deployments", "", "", 404, "NotFound"},
		{"an empty name", "admin", "GET", "/api/v1/namespaces/", "", "", 404, "NotFound"},
		{"a watch", "admin", "GET", "/api/v1/namespaces?watch=1", "", "", 400, "BadRequest"},
		{"a dry run", "admin", "POST", "/api/v1/namespaces?dryRun=All", "", `{"metadata":{"name":"x"}}`, 400, "BadRequest"},
		{"a patch", "admin", "PATCH", "/api/v1/namespaces/default", "", "{}", 405, "MethodNotAllowed"},
		{"an account without a namespace", "admin", "POST", "/api/v1/serviceaccounts", "", "{}", 405, "MethodNotAllowed"},
		{"no JSON", "admin", "POST", "/api/v1/namespaces", "", "{", 400, "BadRequest"},
		{"no protobuf", "admin", "POST", "/api/v1/namespaces", "application/vnd.kubernetes.protobuf", "k8s\x00\x0a", 400, "BadRequest"},
		{"a protobuf of others", "admin", "POST", "/api/v1/namespaces", "application/vnd.kubernetes.protobuf", "\x0a\x00", 400, "BadRequest"},
		{"YAML", "admin", "POST", "/api/v1/namespaces", "application/yaml", "a: b", 400, "BadRequest"},
		{"another kind", "admin", "POST", "/api/v1/namespaces", "", `{"kind":"Pod","metadata":{"name":"x"}}`, 400, "BadRequest"},
		{"another namespace", "admin", "POST", "/api/v1/namespaces/default/serviceaccounts", "", `{"metadata":{"name":"x","namespace":"kube-system"}}`, 400, "BadRequest"},
		{"another name", "admin", "PUT", "/api/v1/namespaces/default/serviceaccounts/x", "", `{"metadata":{"name":"y"}}`, 400, "BadRequest"},
		{"a name in capitals", "admin", "POST", "/api/v1/namespaces", "", `{"metadata":{"name":"X"}}`, 422, "Invalid"},
		{"a long name", "admin", "POST", "/api/v1/namespaces", "", `{"metadata":{"name":"` + strings.Repeat("x", 64) + `"}}`, 422, "Invalid"},
		{"a namespace with a dot", "admin", "POST", "/api/v1/namespaces", "", `{"metadata":{"name":"a.b"}}`, 422, "Invalid"},
		{"a large body", "admin", "POST", "/api/v1/namespaces", "", strings.Repeat(" ", maxBody+1), 413, "RequestEntityTooLarge"},
		{"an absent account", "admin", "PUT", "/api/v1/namespaces/default/serviceaccounts/x", "", `{"metadata":{"name":"x"}}`, 404, "NotFound"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k.t = t
			if r := k.want(k.call(tc.token, tc.method, tc.path, tc.contentType, tc.body), tc.code, tc.reason); strings.Contains(r.text, "secret cause") {
				t.Errorf("the answer shows %s", r.text)
			}
		})
	}
}

// TestBrokenFile: a file that cannot be read is not overwritten.
func TestBrokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "objects.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Cluster: "c", File: file, Now: time.Now, Rand: rand.Reader}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "{" {
		t.Errorf("file %q, %v", text, err)
	}
}

// FuzzDecode: whatever a body holds, it is read or refused.
func FuzzDecode(f *testing.F) {
	f.Add("application/json", []byte(`{"metadata":{"name":"a","labels":{"k":"v"}}}`))
	f.Add("application/vnd.kubernetes.protobuf", []byte(protobuf("ServiceAccount", "n", "a", map[string]string{"k": "v"})))
	f.Add("application/vnd.kubernetes.protobuf", []byte("k8s\x00\x12\x02\x0a\x7f"))
	f.Add("text/plain; x", []byte("x"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		o, err := decode(contentType, body)
		if err != nil && err.Error() == "" {
			t.Errorf("%+v: no reason", o)
		}
	})
}
