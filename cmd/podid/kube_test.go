// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// kubeAPI is as much of an API server as service accounts need: objects by
// path, made with POST and read with GET.
type kubeAPI struct {
	mu      sync.Mutex
	objects map[string]json.RawMessage
}

func (k *kubeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	refuse := func(code int, reason string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind": "Status", "reason": %q, "message": "%s %s"}`, reason, r.Method, r.URL.Path)
	}
	if r.Header.Get("Authorization") != "Bearer of-the-test" {
		refuse(http.StatusForbidden, "Forbidden")
		return
	}
	if r.Method == http.MethodGet {
		if o, ok := k.objects[r.URL.Path]; ok {
			_, _ = w.Write(o)
			return
		}
		refuse(http.StatusNotFound, "NotFound")
		return
	}
	text, err := io.ReadAll(r.Body)
	var o struct{ Metadata struct{ Name string } }
	if err != nil || json.Unmarshal(text, &o) != nil {
		refuse(http.StatusBadRequest, "BadRequest")
		return
	}
	if namespace, ok := strings.CutSuffix(r.URL.Path, "/serviceaccounts"); ok && k.objects[namespace] == nil {
		refuse(http.StatusNotFound, "NotFound")
		return
	}
	if o.Metadata.Name == "forbidden" {
		refuse(http.StatusForbidden, "Forbidden")
		return
	}
	k.objects[r.URL.Path+"/"+o.Metadata.Name] = text
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(text)
}

// startKube is the command `kube FILE [PATH=JSON…]`: it starts an API server
// with the namespace default, and what the JSON files hold at the paths, and
// writes a kubeconfig for it.
func startKube(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: kube FILE [PATH=JSON...]")
	}
	objects := map[string]json.RawMessage{"/api/v1/namespaces/default": json.RawMessage(`{"metadata": {"name": "default"}}`)}
	for _, arg := range args[1:] {
		path, file, _ := strings.Cut(arg, "=")
		objects[path] = json.RawMessage(ts.ReadFile(file))
	}
	srv := httptest.NewTLSServer(&kubeAPI{objects: objects})
	ts.Defer(srv.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	text := fmt.Sprintf(`{"current-context": "test", "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}, {"name": "nobody", "context": {"cluster": "c"}}],
		"clusters": [{"name": "c", "cluster": {"server": %q, "certificate-authority-data": %q}}], "users": [{"name": "u", "user": {"token": "of-the-test"}}]}`, srv.URL, ca)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
