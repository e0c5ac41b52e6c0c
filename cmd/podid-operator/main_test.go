// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func environ(pairs ...string) lookup {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v, true
			}
		}
		return "", false
	}
}

// output is written by a running command and read by the test.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func TestUsage(t *testing.T) {
	const complete = " --cluster-name c --region r --endpoint https://localhost:1 --operator-role-arn r --operator-token-file f"
	tests := []struct {
		name   string
		args   string
		status int
		want   []string // in stdout or stderr
	}{
		{"help", "", 0, []string{"server", "write-identities", "version", "pod identity"}},
		{"server help", "server --help", 0, []string{
			"--cluster-name", "PODID_CLUSTER, CLUSTER_NAME", "--endpoint", "--operator-role-arn", "--operator-token-file", "--namespace", "--metrics-address",
			"--health-address", "--leader-election", "--write-aws-webhook-config-file", "podid.dev/control-plane",
		}},
		{"write-identities help", "write-identities --help", 0, []string{"--cluster-name", "--file", "--once", "AWS_ACCESS_KEY_ID", "--watch-container-credentials-config"}},
		{"uninstall help", "uninstall --help", 0, []string{"--namespace", "POD_NAMESPACE", "--kubeconfig", "--timeout", "finalizers"}},
		{"uninstall without a namespace", "uninstall --timeout -1s", 2, []string{"--namespace is required", "--timeout -1s"}},
		{"uninstall from nowhere", "uninstall --namespace x --kubeconfig /nonexistent", 2, []string{"read --kubeconfig"}},
		{"version", "version", 0, []string{"podid-operator dev"}},
		{"unknown command", "serve", 2, []string{"unknown command \"serve\""}},
		{"unknown flag", "server --cluster x", 2, []string{"unknown flag: --cluster"}},
		{"argument", "version now", 2, []string{"takes no arguments"}},
		{"all problems at once", "server --log-level loud", 2, []string{
			"--log-level", "--cluster-name is required", "--region is required", "--endpoint is required", "--operator-role-arn is required",
			"--operator-token-file is required", "--namespace is required",
		}},
		{"of write-identities too", "write-identities", 2, []string{"--cluster-name is required", "--operator-role-arn is required", "--file is required"}},
		{"missing CA", "server --namespace n --ca-file /nonexistent" + complete, 2, []string{"read --ca-file"}},
		{"plain HTTP", "server --namespace n" + complete + " --endpoint http://10.0.0.1", 2, []string{"is plain HTTP"}},
		{"no API server", "server --namespace n --kubeconfig /nonexistent" + complete, 2, []string{"read --kubeconfig"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var out output
			status := run(t.Context(), strings.Fields(tc.args), environ(), &out, &out)
			if status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			for _, want := range tc.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in:\n%s", want, out.String())
				}
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	tests := []struct {
		name string
		args []string
		env  []string
		want func(*options) string
		is   string
	}{
		{"flag beats all", []string{"--region=flag"}, []string{"AWS_REGION=env"}, func(o *options) string { return o.region }, "flag"},
		{"the first that is set", nil, []string{"AWS_DEFAULT_REGION=two"}, func(o *options) string { return o.region }, "two"},
		{"cluster", nil, []string{"PODID_CLUSTER=a", "CLUSTER_NAME=b"}, func(o *options) string { return o.cluster }, "a"},
		{"CA", nil, []string{"AWS_CA_BUNDLE=/ca"}, func(o *options) string { return o.caFile }, "/ca"},
		{"role and token", nil, []string{"AWS_ROLE_ARN=a", "AWS_WEB_IDENTITY_TOKEN_FILE=f"}, func(o *options) string { return o.role + o.tokenFile }, "af"},
		{"pod", nil, []string{"POD_NAMESPACE=n", "POD_NAME=p"}, func(o *options) string { return o.namespace + o.session }, "np"},
		{"no pod", nil, nil, func(o *options) string { return o.session }, "podid-operator"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var o options
			flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
			o.register(flags)
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			_ = o.resolve(environ(tc.env...), flags.Changed) // what is missing is not the matter here
			if got := tc.want(&o); got != tc.is {
				t.Errorf("got %q, want %q", got, tc.is)
			}
		})
	}
}

// controlPlane answers the two calls of write-identities; the second has to be signed with key.
func controlPlane(t *testing.T, key string) (*httptest.Server, string) {
	t.Helper()
	var told atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("WebIdentityToken") != "operator.token.sig" || r.FormValue("RoleSessionName") != "operator-1" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAOPERATOR</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"+ //nolint:errcheck // a test server
			"<SessionToken>operator-session</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	mux.HandleFunc("GET /podid/v1/clusters/my-cluster/associations", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential="+key+"/") || !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/podid/aws4_request") {
			w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"message":"not you"}`) //nolint:errcheck // a test server
			return
		}
		if r.URL.Query().Get("after") != "" && told.Add(1) > 1 {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, `{"clusterUid":"u","revision":7,"complete":true,"associations":[{"namespace":"ns","serviceAccount":"sa","associationId":"a-1","revision":7}]}`) //nolint:errcheck // a test server
	})
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return srv, ca
}

const identitiesText = "{\"identities\":[\n{\"namespace\":\"ns\",\"serviceAccount\":\"sa\"}\n]}\n"

func TestWriteIdentities(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("operator.token.sig"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, key string
		env       []string
	}{
		{"role and token", "ASIAOPERATOR", []string{"AWS_ROLE_ARN=arn:aws:iam::111122223333:role/o", "AWS_WEB_IDENTITY_TOKEN_FILE=" + token, "POD_NAME=operator-1"}},
		{"access key", "AKIAADMIN", []string{"AWS_ACCESS_KEY_ID=AKIAADMIN", "AWS_SECRET_ACCESS_KEY=s"}},
		{"role and token go first", "ASIAOPERATOR", []string{"AWS_ROLE_ARN=arn:aws:iam::111122223333:role/o", "AWS_WEB_IDENTITY_TOKEN_FILE=" + token, "POD_NAME=operator-1", "AWS_ACCESS_KEY_ID=AKIAADMIN", "AWS_SECRET_ACCESS_KEY=s"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			srv, ca := controlPlane(t, tc.key)
			file := filepath.Join(t.TempDir(), "identities.json")
			env := environ(append(tc.env, "CLUSTER_NAME=my-cluster", "AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL="+srv.URL, "AWS_CA_BUNDLE="+ca)...)
			var out output
			if status := run(t.Context(), []string{"write-identities", "--once", "--file", file}, env, &out, &out); status != 0 {
				t.Fatalf("status %d:\n%s", status, out.String())
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != identitiesText {
				t.Errorf("the file holds %q, %v", got, err)
			}
		})
	}
}

func TestWriteIdentitiesUntilTheSignal(t *testing.T) {
	srv, ca := controlPlane(t, "AKIAADMIN")
	file := filepath.Join(t.TempDir(), "identities.json")
	env := environ("AWS_ACCESS_KEY_ID=AKIAADMIN", "AWS_SECRET_ACCESS_KEY=topsecret", "CLUSTER_NAME=my-cluster", "AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL="+srv.URL, "AWS_CA_BUNDLE="+ca)
	ctx, stop := context.WithCancel(t.Context())
	var out output
	status := make(chan int, 1)
	go func() { status <- run(ctx, []string{"write-identities", "--file", file}, env, &out, &out) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		if got, err := os.ReadFile(file); err == nil && string(got) == identitiesText {
			break
		}
		<-tick.C
	}
	stop()
	if got := <-status; got != 0 {
		t.Errorf("status %d after a signal:\n%s", got, out.String())
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != identitiesText {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if strings.Contains(out.String(), "topsecret") {
		t.Errorf("the log holds a secret:\n%s", out.String())
	}
}

func TestWriteIdentitiesOnceWithoutAnswer(t *testing.T) {
	srv, ca := controlPlane(t, "AKIASOMEBODY")
	env := environ("AWS_ACCESS_KEY_ID=AKIAADMIN", "AWS_SECRET_ACCESS_KEY=s", "CLUSTER_NAME=my-cluster", "AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL="+srv.URL, "AWS_CA_BUNDLE="+ca)
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	var out output
	if status := run(ctx, []string{"write-identities", "--once", "--file", filepath.Join(t.TempDir(), "f")}, env, &out, &out); status != 1 || !strings.Contains(out.String(), "not you") {
		t.Errorf("status %d:\n%s", status, out.String())
	}
}

func TestSettling(t *testing.T) {
	settle(slog.New(slog.DiscardHandler))
	if err := withSettling(t.Context(), slog.New(slog.DiscardHandler), func(context.Context) error { return context.Canceled }); err == nil {
		t.Error("the error is lost")
	}
	if allocated() == 0 {
		t.Error("nothing was allocated: the metric has another name in this release of Go")
	}
}

func TestLull(t *testing.T) {
	var r lull
	for i, step := range []struct {
		allocs uint64 // KiB
		ticks  int    // that go by before
		due    bool
	}{{6000, 0, false}, {6500, 0, true}, {7000, 20, false}, {16000, 0, false}, {16500, 0, true}, {40000, 0, false}, {40100, 0, false}, {40200, 20, true}} {
		r.ticks += step.ticks
		if got := r.due(step.allocs << 10); got != step.due {
			t.Errorf("step %d: due %t", i, got)
		}
	}
}
