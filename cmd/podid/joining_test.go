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
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"podid/internal/controlplane/controlplanetest"
)

// TestJoining runs testdata/joining against a control plane that reviews
// tokens: clusters that come with a code, tokens for kubectl, access entries.
func TestJoining(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Options{Settings: map[string]string{"PODID_TOKEN_REVIEW": "true"}})
	cl := cp.Register("my-cluster", nil)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/joining", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "AWS_ENDPOINT_URL="+cp.Endpoint, "AWS_CA_BUNDLE="+cp.CAFile, "AWS_REGION="+controlplanetest.Region,
				"AWS_ACCESS_KEY_ID="+cp.AdminID, "AWS_SECRET_ACCESS_KEY="+cp.Secret,
				"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": wantStatus, "openid": startOpenID,
			"user":   makeUser,
			"podapi": func(ts *testscript.TestScript, neg bool, args []string) { startPodAPI(ts, cl, neg, args) },
			"review": func(ts *testscript.TestScript, neg bool, args []string) { reviewToken(ts, cp, neg, args) },
		},
	})
}

// startOpenID is the command `openid FILE KEYS`: it starts an API server with
// an issuer and those keys, and writes a kubeconfig for it.
func startOpenID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: openid FILE KEYS")
	}
	answers := map[string]string{
		"/.well-known/openid-configuration": `{"issuer": "https://kubernetes.example.com"}`, "/openid/v1/jwks": ts.ReadFile(args[1]),
		"/version": `{"major": "1", "minor": "34+"}`,
	}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer of-the-test" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, answers[r.URL.Path])
	}))
	ts.Defer(srv.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	text := fmt.Sprintf(`{"current-context": "test", "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}, {"name": "nobody", "context": {"cluster": "c"}}],
		"clusters": [{"name": "c", "cluster": {"server": %q, "certificate-authority-data": %q}}], "users": [{"name": "u", "user": {"token": "of-the-test"}}]}`, srv.URL, ca)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// reviewToken is the command `review CLUSTER FILE USER [GROUP…]`: what podid
// token printed into the file has to be that user's, for an API server that
// asks. With ! it has to be refused.
func reviewToken(ts *testscript.TestScript, cp *controlplanetest.ControlPlane, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: review CLUSTER FILE [USER GROUP…]")
	}
	made, err := cp.Call(context.Background(), cp.Admin, "podid", http.MethodPost, "/podid/v1/clusters/"+args[0]+"/review-token", nil)
	ts.Check(err)
	bearer, _ := made.Body["token"].(string)
	var printed struct{ Status struct{ Token string } }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &printed))
	text, err := json.Marshal(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": map[string]string{"token": printed.Status.Token}})
	ts.Check(err)
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, cp.Endpoint+"/podid/v1/clusters/"+args[0]+"/token-review", bytes.NewReader(text))
	ts.Check(err)
	r.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := cp.HTTP.Do(r)
	ts.Check(err)
	raw, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	var out struct {
		Status struct {
			Authenticated bool
			User          struct {
				Username string
				Groups   []string
			}
		}
	}
	ts.Check(json.Unmarshal(raw, &out))
	switch who := strings.Join(append([]string{out.Status.User.Username}, out.Status.User.Groups...), " "); {
	case neg == out.Status.Authenticated:
		ts.Fatalf("reviewed: %s", raw)
	case !neg && who != strings.Join(args[2:], " "):
		ts.Fatalf("the token is %q's, want %q", who, args[2:])
	}
}

// startPodAPI is the command `podapi FILE`: it starts an API server with the
// pod run/app-1 of my-cluster, makes tokens that are bound to it, and writes a
// kubeconfig for it.
func startPodAPI(ts *testscript.TestScript, cl *controlplanetest.Cluster, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: podapi FILE")
	}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "GET /api/v1/namespaces/run/pods/app-1":
			_, _ = io.WriteString(w, `{"metadata": {"name": "app-1", "namespace": "run", "uid": "uid-1"}, "spec": {"serviceAccountName": "sa", "nodeName": "node-1"}}`)
		case "POST /api/v1/namespaces/run/serviceaccounts/sa/token":
			var in struct {
				Spec struct {
					Audiences      []string
					BoundObjectRef struct{ Kind, Name, UID string }
				}
			}
			if json.NewDecoder(r.Body).Decode(&in) != nil || in.Spec.BoundObjectRef.Kind != "Pod" || in.Spec.BoundObjectRef.UID != "uid-1" || len(in.Spec.Audiences) != 1 {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			token := cl.Token(controlplanetest.Pod{Namespace: "run", ServiceAccount: "sa", Name: in.Spec.BoundObjectRef.Name, UID: "uid-1", Audience: in.Spec.Audiences[0]})
			_, _ = fmt.Fprintf(w, `{"status": {"token": %q, "expirationTimestamp": "2099-01-01T00:00:00Z"}}`, token)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind": "Status", "reason": "NotFound", "message": "no such thing"}`)
		}
	}))
	ts.Defer(srv.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	text := fmt.Sprintf(`{"current-context": "test", "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
		"clusters": [{"name": "c", "cluster": {"server": %q, "certificate-authority-data": %q}}], "users": [{"name": "u", "user": {"token": "of-the-test"}}]}`, srv.URL, ca)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
