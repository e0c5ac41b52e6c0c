// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test's own program stand for an exec plugin.
func TestMain(m *testing.M) {
	if answer, ok := os.LookupEnv("TEST_PLUGIN_ANSWER"); ok {
		if name := os.Getenv("TEST_PLUGIN_NOTES"); name != "" {
			f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				panic(err)
			}
			fmt.Fprintln(f, os.Getenv("KUBERNETES_EXEC_INFO"))
			_ = f.Close()
		}
		fmt.Print(answer)
		if answer == "fail" {
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestWays(t *testing.T) {
	cert, key, pool := clientCert(t)
	b64 := base64.StdEncoding.EncodeToString
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	for name, text := range map[string][]byte{"token": []byte(" from-file\n"), "cert": cert, "key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name, user string
		certs      bool
		want       map[string]string
	}{
		{"nobody", ``, false, map[string]string{"Authorization": ""}},
		{"token", `"token": "abc"`, false, map[string]string{"Authorization": "Bearer abc"}},
		{"token file before token", fmt.Sprintf(`"token": "abc", "tokenFile": %q`, token), false, map[string]string{"Authorization": "Bearer from-file"}},
		{"token where its file is gone", `"token": "abc", "tokenFile": "/no/such/file"`, false, map[string]string{"Authorization": "Bearer abc"}},
		{"password", `"username": "jane", "password": "secret"`, false, map[string]string{"Authorization": "Basic amFuZTpzZWNyZXQ="}},
		{"certificate", fmt.Sprintf(`"client-certificate-data": %q, "client-key-data": %q`, b64(cert), b64(key)), true, nil},
		{"certificate files", fmt.Sprintf(`"client-certificate": %q, "client-key": %q`, filepath.Join(dir, "cert"), filepath.Join(dir, "key")), true, nil},
		{"impersonation", `"token": "abc", "as": "bob", "as-uid": "7", "as-groups": ["dev"], "as-user-extra": {"Scopes": ["x"]}`, false, map[string]string{
			"Impersonate-User": "bob", "Impersonate-Uid": "7", "Impersonate-Group": "dev", "Impersonate-Extra-Scopes": "x",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			clients := pool
			if !tc.certs {
				clients = nil
			}
			f := startFake(t, clients)
			c := f.load(t, tc.user)
			if _, err := c.Namespace(t.Context(), "default"); err != nil {
				t.Fatal(err)
			}
			for k, v := range tc.want {
				if got := f.last().Header.Get(k); got != v {
					t.Errorf("%s: got %q, want %q", k, got, v)
				}
			}
			if tc.certs && f.last().TLS.PeerCertificates[0].Subject.CommonName != "jane" {
				t.Error("another certificate")
			}
		})
	}
}

func TestExecPlugin(t *testing.T) {
	cert, key, pool := clientCert(t)
	text := func(status map[string]any) string {
		out, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	user := fmt.Sprintf(`"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": %q, "args": ["-x"], "interactiveMode": "IfAvailable",
		"provideClusterInfo": true, "installHint": "get it there", "env": [{"name": "TEST_PLUGIN_NOTES", "value": %q}]}`, self, "@notes@")
	run := func(t *testing.T, f *fakeServer, answer string) (string, *Client, error) {
		notes := filepath.Join(t.TempDir(), "notes")
		c := f.load(t, strings.ReplaceAll(user, "@notes@", notes), "TEST_PLUGIN_ANSWER="+answer)
		_, err := c.Namespace(t.Context(), "default")
		return notes, c, err
	}

	t.Run("token, kept until it is refused", func(t *testing.T) {
		f := startFake(t, nil)
		notes, c, err := run(t, f, text(map[string]any{"token": "one"}))
		if err != nil || f.last().Header.Get("Authorization") != "Bearer one" {
			t.Fatalf("got %v, %q", err, f.last().Header.Get("Authorization"))
		}
		if _, err := c.Namespace(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
		f.before = func(w http.ResponseWriter, _ *http.Request) bool { status(w, 401, "Unauthorized", "who?"); return true }
		if _, err := c.Namespace(t.Context(), "default"); !IsRefused(err) {
			t.Errorf("got %v", err)
		}
		asked, err := os.ReadFile(notes)
		if err != nil || strings.Count(string(asked), "\n") != 2 {
			t.Errorf("asked: %s, %v", asked, err)
		}
		want := fmt.Sprintf(`"spec":{"cluster":{"server":%q,"certificate-authority-data":%q},"interactive":false}`, f.URL, f.caData())
		if !strings.Contains(string(asked), want) {
			t.Errorf("told %s, want %s", asked, want)
		}
	})
	t.Run("certificate", func(t *testing.T) {
		f := startFake(t, pool)
		_, _, err := run(t, f, text(map[string]any{"clientCertificateData": string(cert), "clientKeyData": string(key), "expirationTimestamp": time.Now().Add(time.Hour)}))
		if err != nil || f.last().TLS.PeerCertificates[0].Subject.CommonName != "jane" {
			t.Errorf("got %v", err)
		}
	})
	for _, tc := range []struct{ name, answer, want string }{
		{"no JSON", "token-abc", "its output is no ExecCredential"},
		{"another kind", "{}", `it answered "" of ""`},
		{"no credentials", text(map[string]any{}), "without credentials"},
		{"half a certificate", text(map[string]any{"clientCertificateData": "x"}), "half of a client certificate"},
		{"expired", text(map[string]any{"token": "abc", "expirationTimestamp": time.Unix(1, 0)}), "credentials that are expired"},
		{"failure", "fail", "exit status 3"},
		{"long", strings.Repeat("x", 100_000), "no ExecCredential"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := run(t, startFake(t, nil), tc.answer)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "abc") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	t.Run("not installed", func(t *testing.T) {
		f := startFake(t, nil)
		c := f.load(t, strings.ReplaceAll(user, self, "/no/such/program"))
		if _, err := c.Namespace(t.Context(), "default"); err == nil || !strings.Contains(err.Error(), "get it there") {
			t.Errorf("got %v", err)
		}
	})
}

func TestExecExpiry(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	at := now.Add(time.Minute)
	p := &plugin{now: func() time.Time { return now }, answer: &execStatus{Token: "one", Expires: &at}, config: &execConfig{Command: "/no/such/program"}}
	if a, err := p.credentials(t.Context(), nil); err != nil || a.Token != "one" {
		t.Errorf("kept: got %v, %v", a, err)
	}
	now = at
	if _, err := p.credentials(t.Context(), nil); err == nil {
		t.Error("an expired answer is given")
	}
}

func TestLoadRefuses(t *testing.T) {
	_, key, _ := clientCert(t)
	b64 := base64.StdEncoding.EncodeToString
	const server = `"server": "https://127.0.0.1:1"`
	exec := func(members string) string {
		return `"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1"` + members + `}`
	}
	for _, tc := range []struct{ name, cluster, user, want string }{
		{"no server", ``, ``, "no http or https URL"},
		{"a socket", `"server": "unix:///x"`, ``, "no http or https URL"},
		{"a password in the URL", `"server": "https://a:b@x"`, ``, "no http or https URL"},
		{"clear text", `"server": "http://example.com"`, `"token": "abc"`, "credentials are not sent in clear text"},
		{"CA and insecure", server + `, "insecure-skip-tls-verify": true, "certificate-authority-data": "` + b64(key) + `"`, ``, "exclude each other"},
		{"CA that is none", server + `, "certificate-authority-data": "` + b64([]byte("abc")) + `"`, ``, "holds no PEM certificate"},
		{"CA that is no base64", server + `, "certificate-authority-data": "_"`, ``, "is not base64"},
		{"CA file that is gone", server + `, "certificate-authority": "gone.pem"`, ``, "read certificate-authority"},
		{"key without certificate", server, `"client-key-data": "` + b64(key) + `"`, "read client certificate"},
		{"proxy", server + `, "proxy-url": "ftp://user:abc@x"`, ``, "proxy-url is no URL of an http, https or socks5 proxy"},
		{"auth provider", server, `"auth-provider": {"name": "gcp"}`, "auth-provider is not supported"},
		{"groups of nobody", server, `"token": "abc", "as-groups": ["dev"]`, "need as: whom to act for"},
		{"exec and token", server, `"token": "abc", "exec": {}`, "which one counts is not clear"},
		{"exec without command", server, `"exec": {"apiVersion": "client.authentication.k8s.io/v1"}`, "no command"},
		{"exec of another version", server, `"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}`, "v1 and v1beta1 are known"},
		{"exec without a mode", server, exec(``), "needs interactiveMode"},
		{"exec of another mode", server, exec(`, "interactiveMode": "Sometimes"`), `interactiveMode is "Sometimes"`},
		{"exec that asks", server, exec(`, "interactiveMode": "Always"`), "standard input is no terminal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Load(Options{Kubeconfig: kubeconfig(t, tc.cluster, tc.user), Stdin: strings.NewReader(""), Now: time.Now})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "abc") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestFind(t *testing.T) {
	one := kubeconfig(t, `"server": "https://one"`, ``)
	two := kubeconfig(t, `"server": "https://two"`, ``)
	extra := filepath.Join(t.TempDir(), "extra")
	if err := os.WriteFile(extra, []byte("contexts:\n- {name: other, context: {cluster: c}}\n- {name: lost, context: {cluster: gone}}\n- {name: nobody, context: {cluster: c, user: gone}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".kube"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(kubeconfig(t, `"server": "https://home"`, ``), filepath.Join(home, ".kube", "config")); err != nil {
		t.Fatal(err)
	}
	list := strings.Join([]string{"/no/such/file", extra, two, one, ""}, string(filepath.ListSeparator))
	for _, tc := range []struct {
		name          string
		options       Options
		context, want string
	}{
		{"given", Options{Kubeconfig: one, Environ: []string{"KUBECONFIG=" + two}}, "test", "https://one"},
		{"of the environment, the first counts", Options{Environ: []string{"KUBECONFIG=x", "KUBECONFIG=" + list}}, "test", "https://two"},
		{"a context of another file", Options{Environ: []string{"KUBECONFIG=" + list}, Context: "other"}, "other", "https://two"},
		{"at home", Options{Environ: []string{"HOME=" + home}}, "test", "https://home"},
		{"given and gone", Options{Kubeconfig: "/no/such/file"}, "", "read kubeconfig"},
		{"none", Options{Environ: []string{"KUBECONFIG=/no/such/file"}}, "", ErrNoConfig.Error()},
		{"no home", Options{}, "", ErrNoConfig.Error()},
		{"no such context", Options{Kubeconfig: one, Context: "x"}, "", `has no context "x"`},
		{"no current context", Options{Kubeconfig: extra}, "", "no current context"},
		{"no such cluster", Options{Kubeconfig: extra, Context: "lost"}, "", `names cluster "gone"`},
		{"no such user", Options{Environ: []string{"KUBECONFIG=" + list}, Context: "nobody"}, "", `names user "gone"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Load(tc.options)
			got := fmt.Sprint(err)
			if err == nil {
				got = c.Server()
				if c.Context() != tc.context {
					t.Errorf("context %q, want %q", c.Context(), tc.context)
				}
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("got %s, want %q", got, tc.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
		is     func(error) bool
	}{
		{"not found", func(w http.ResponseWriter, _ *http.Request) { status(w, 404, "NotFound", "no") }, "get namespace x: Kubernetes: no", IsNotFound},
		{"another server's not found", http.NotFound, "Kubernetes: status 404 Not Found", func(err error) bool { return !IsNotFound(err) }},
		{"forbidden", func(w http.ResponseWriter, _ *http.Request) { status(w, 403, "Forbidden", "jane cannot") }, "jane cannot", IsRefused},
		{"conflict", func(w http.ResponseWriter, _ *http.Request) { status(w, 409, "Conflict", "changed") }, "changed", IsConflict},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com", http.StatusFound)
		}, "status 302 Found", func(error) bool { return true }},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "read answer of Kubernetes", func(error) bool { return true }},
		{"dropped", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "call Kubernetes", func(error) bool { return true }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := startFake(t, nil)
			f.before = func(w http.ResponseWriter, r *http.Request) bool { tc.answer(w, r); return true }
			_, err := f.load(t, `"token": "abc"`).Namespace(t.Context(), "x")
			if err == nil || !strings.Contains(err.Error(), tc.want) || !tc.is(err) || strings.Contains(err.Error(), "abc") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	t.Run("an unknown CA", func(t *testing.T) {
		f := startFake(t, nil)
		c, err := Load(Options{Kubeconfig: kubeconfig(t, fmt.Sprintf(`"server": %q`, f.URL), ``)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Namespace(t.Context(), "default"); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v", err)
		}
		c, err = Load(Options{Kubeconfig: kubeconfig(t, fmt.Sprintf(`"server": %q, "insecure-skip-tls-verify": true`, f.URL), ``)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Namespace(t.Context(), "default"); err != nil {
			t.Errorf("insecure: got %v", err)
		}
	})
	t.Run("names that are paths", func(t *testing.T) {
		c := startFake(t, nil).load(t, ``)
		for _, name := range []string{"", "..", "a/b", "a%2fb", "a?b"} {
			if _, err := c.ServiceAccount(t.Context(), "default", name); err == nil || !strings.Contains(err.Error(), "no name of a Kubernetes object") {
				t.Errorf("%q: got %v", name, err)
			}
		}
	})
}

func TestProxy(t *testing.T) {
	f := startFake(t, nil)
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.Host
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusOK)
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(up, down); _ = up.Close() }()
		_, _ = io.Copy(down, up)
		_ = down.Close()
	}))
	defer proxy.Close()
	c, err := Load(Options{Kubeconfig: kubeconfig(t, fmt.Sprintf(`"server": "%s/k8s/c-1/", "certificate-authority-data": %q, "proxy-url": %q, "tls-server-name": "example.com"`, f.URL, f.caData(), proxy.URL), ``)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.http.CloseIdleConnections()
	if _, err := c.Namespace(t.Context(), "default"); !IsNotFound(err) || !strings.Contains(err.Error(), "/k8s/c-1/api/v1/namespaces/default") {
		t.Errorf("got %v", err)
	}
	if asked != "CONNECT "+strings.TrimPrefix(f.URL, "https://") {
		t.Errorf("the proxy was asked %q", asked)
	}
}

func TestObjects(t *testing.T) {
	f := startFake(t, nil)
	c := f.load(t, `"token": "abc"`)
	ctx := t.Context()
	for _, tc := range []struct {
		name string
		want Ensured
	}{{"first", Ensured{Namespace: true, ServiceAccount: true}}, {"again", Ensured{}}} {
		if got, err := c.EnsureServiceAccount(ctx, "backend", "reader"); err != nil || got != tc.want {
			t.Fatalf("%s: got %+v, %v", tc.name, got, err)
		}
	}
	if got, err := c.EnsureServiceAccount(ctx, "default", "one"); err != nil || got != (Ensured{ServiceAccount: true}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	sa, err := c.ServiceAccount(ctx, "backend", "reader")
	if err != nil || sa.Metadata.Labels[LabelManagedBy] != ManagedBy {
		t.Fatalf("got %+v, %v", sa, err)
	}
	made, err := c.CreateServiceAccount(ctx, ServiceAccount{ObjectMeta{Name: "old", Namespace: "backend", UID: "given", Annotations: map[string]string{"a": "1", "b": "2"}}})
	if err != nil || made.Metadata.UID == "given" {
		t.Fatalf("got %+v, %v", made, err)
	}
	if _, err := c.CreateServiceAccount(ctx, *made); !IsExists(err) {
		t.Errorf("twice: got %v", err)
	}
	three := "3"
	changed, err := c.PatchServiceAccount(ctx, "backend", "old", Patch{ResourceVersion: "1", Annotations: map[string]*string{"a": nil, "c": &three}})
	if err != nil || !cmp.Equal(changed.Metadata.Annotations, map[string]string{"b": "2", "c": "3"}) {
		t.Errorf("got %+v, %v", changed, err)
	}
	if got := f.last().Header.Get("Content-Type"); got != "application/merge-patch+json" {
		t.Errorf("patched by %q", got)
	}
	if err := c.DeleteServiceAccount(ctx, "backend", "old", "another"); !IsConflict(err) {
		t.Errorf("another: got %v", err)
	}
	if err := c.DeleteServiceAccount(ctx, "backend", "old", made.Metadata.UID); err != nil {
		t.Error(err)
	}
	all, err := c.ServiceAccounts(ctx, "backend")
	if err != nil || len(all) != 1 || all[0].Metadata.Name != "reader" {
		t.Errorf("got %+v, %v", all, err)
	}
	spaces, err := c.Namespaces(ctx)
	if err != nil || len(spaces) != 2 {
		t.Errorf("got %+v, %v", spaces, err)
	}
	if _, err := c.CreateNamespace(ctx, "backend", nil); !IsExists(err) {
		t.Errorf("got %v", err)
	}
	if got := fmt.Sprintf("%v %+v %#v %v", c, c, c, c.user); strings.Contains(got, "abc") {
		t.Errorf("prints its token: %s", got)
	}
}

func TestPages(t *testing.T) {
	for _, tc := range []struct {
		name  string
		pages map[string]string // by continue; "" the first, "all" without a limit
		want  []string
		err   string
	}{
		{"two", map[string]string{"": `{"metadata": {"continue": "2"}, "items": [{"metadata": {"name": "a"}}]}`, "2": `{"items": [{"metadata": {"name": "b"}}]}`}, []string{"a", "b"}, ""},
		{"gone", map[string]string{"": `{"metadata": {"continue": "2"}, "items": [{"metadata": {"name": "a"}}]}`, "all": `{"items": [{"metadata": {"name": "c"}}]}`}, []string{"c"}, ""},
		{"in a circle", map[string]string{"": `{"metadata": {"continue": "2"}}`, "2": `{"metadata": {"continue": "2"}}`}, nil, "the same page twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := startFake(t, nil)
			f.before = func(w http.ResponseWriter, r *http.Request) bool {
				page := r.URL.Query().Get("continue")
				if page == "" && r.URL.Query().Get("limit") == "" {
					page = "all"
				}
				if tc.pages[page] == "" {
					status(w, http.StatusGone, "Expired", "too old")
					return true
				}
				_, _ = io.WriteString(w, tc.pages[page])
				return true
			}
			all, err := f.load(t, ``).ServiceAccounts(t.Context(), "")
			var names []string
			for _, sa := range all {
				names = append(names, sa.Metadata.Name)
			}
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) || !cmp.Equal(names, tc.want) {
				t.Errorf("got %v, %v", names, err)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("current-context: a\ncontexts:\n- {name: a, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: 'https://x'}}\nusers:\n- {name: u, user: {exec: {command: ./x}}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(text)
		if err != nil {
			return
		}
		c.resolve("/dir")
		ch, err := c.choose("")
		if err != nil {
			return
		}
		ch.cluster.CAFile, ch.user.CertFile, ch.user.KeyFile = "", "", "" // no files of this machine
		made, err := newClient(ch, &Options{Stdin: strings.NewReader(""), Now: time.Now})
		if err == nil && made.Server() == "" {
			t.Error("a client without a server")
		}
		var status *StatusError
		if errors.As(err, &status) {
			t.Error("something was called")
		}
	})
}
