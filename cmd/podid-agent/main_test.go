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
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"podid/internal/agent"
)

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
	tests := []struct {
		name   string
		args   string
		status int
		want   []string // in stdout or stderr
	}{
		{"help", "", 0, []string{"initialize", "server", "version", "169.254.170.23"}},
		{"server help", "server --help", 0, []string{
			"-c, --cluster-name", "-p, --port", "--probe-port", "--metrics-address", "--metrics-port", "--max-credential-retention-before-renewal",
			"--max-cache-size", "--max-service-qps", "-b, --bind-hosts", "--rotate-credentials", "--endpoint", "AWS_ENDPOINT_URL_EKS_AUTH, AWS_ENDPOINT_URL",
			"(default 2703)", "(default 2705)", "(default 80)", "127.0.0.1", "3h0m0s", "(default 2000)", "-v, --verbosity", "podid.dev/control-plane",
		}},
		{"version", "version", 0, []string{"podid-agent dev"}},
		{"unknown command", "serve", 2, []string{"unknown command \"serve\""}},
		{"unknown flag", "server --cluster x", 2, []string{"unknown flag: --cluster"}},
		{"argument", "version now", 2, []string{"takes no arguments"}},
		{"bad verbosity", "-v loud initialize", 2, []string{"want panic, error, info or trace"}},
		{"all problems at once", "server --max-cache-size -1 --max-service-qps 0 --max-attempts 0 --node-role-arn x --max-request-burst 0 -v loud --attempt-timeout -1s", 2, []string{
			"--cluster-name is required", "--region is required", "--max-cache-size -1", "--max-service-qps 0", "--max-attempts 0", "want both or none", "--max-request-burst 0", "--verbosity", "--attempt-timeout",
		}},
		{"the agent's problems at once", "server -c a/b --region r --endpoint http://10.0.0.1 -b 0.0.0.0 --max-service-qps 1 --max-credential-retention-before-renewal 1s --total-timeout 1h", 2, []string{
			"cluster name", "plain http", "every address of the node", "less than half", "total time-out",
		}},
		{"missing CA", "server -c a --region r --ca-file /nonexistent", 2, []string{"read CA file"}},
		{"bad role", "server -c a --region r --node-role-arn x --node-token-file y --sts-endpoint http://10.0.0.1", 2, []string{"node role", "STS endpoint"}},
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
		{"flag beats all", []string{"--endpoint=https://flag"}, []string{"AWS_ENDPOINT_URL_EKS_AUTH=https://service", "AWS_ENDPOINT_URL=https://all"}, func(o *options) string { return o.endpoint }, "https://flag"},
		{"service beats general", nil, []string{"AWS_ENDPOINT_URL_EKS_AUTH=https://service", "AWS_ENDPOINT_URL=https://all"}, func(o *options) string { return o.endpoint }, "https://service"},
		{"general", nil, []string{"AWS_ENDPOINT_URL=https://all"}, func(o *options) string { return o.endpoint }, "https://all"},
		{"STS", nil, []string{"AWS_ENDPOINT_URL_STS=https://sts", "AWS_ENDPOINT_URL=https://all"}, func(o *options) string { return o.stsEndpoint }, "https://sts"},
		{"region", nil, []string{"AWS_DEFAULT_REGION=x"}, func(o *options) string { return o.region }, "r"},
		{"CA", nil, []string{"AWS_CA_BUNDLE=/ca"}, func(o *options) string { return o.caFile }, "/ca"},
		{"role", nil, []string{"AWS_ROLE_ARN=a", "AWS_WEB_IDENTITY_TOKEN_FILE=f"}, func(o *options) string { return o.nodeRole + o.nodeTokenFile }, "af"},
		{"half a role in the environment is another's", nil, []string{"AWS_ROLE_ARN=a"}, func(o *options) string { return o.nodeRole }, ""},
		{"role flag, token by environment", []string{"--node-role-arn=flag"}, []string{"AWS_ROLE_ARN=a", "AWS_WEB_IDENTITY_TOKEN_FILE=f"}, func(o *options) string { return o.nodeRole + o.nodeTokenFile }, "flagf"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var o options
			flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
			o.register(flags)
			if err := flags.Parse(append([]string{"-c=c", "--region=r"}, tc.args...)); err != nil {
				t.Fatal(err)
			}
			if err := o.resolve(environ(tc.env...), flags.Changed); err != nil {
				t.Fatal(err)
			}
			if got := tc.want(&o); got != tc.is {
				t.Errorf("got %q, want %q", got, tc.is)
			}
		})
	}
}

func TestDefaultEndpoint(t *testing.T) {
	o := options{cluster: "c", region: "eu-west-1", port: 80, bindHosts: []string{"169.254.170.23", "[fd00:ec2::23]"}, cacheSize: 0, nodeRole: "arn:aws:iam::111122223333:role/n", nodeTokenFile: "f"}
	cfg, err := o.agentConfig(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Endpoint != "https://eks-auth.eu-west-1.api.aws" || o.stsEndpoint != "https://sts.eu-west-1.amazonaws.com" {
		t.Errorf("endpoints %s and %s", cfg.Endpoint, o.stsEndpoint)
	}
	if got := strings.Join(cfg.BindAddresses, " "); got != "169.254.170.23:80 [fd00:ec2::23]:80" {
		t.Errorf("bind addresses %s", got)
	}
	if cfg.MaxCacheSize >= 0 {
		t.Error("--max-cache-size 0 does not switch the cache off")
	}
}

// controlPlane answers the two calls of an agent and checks that the second is signed with the session of the first.
func controlPlane(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("WebIdentityToken") != "node.token.sig" || r.FormValue("RoleSessionName") != "node-1" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIANODE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"+ //nolint:errcheck // a test server
			"<SessionToken>node-session</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	mux.HandleFunc("POST /clusters/my-cluster/assume-role-for-pod-identity", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Security-Token") != "node-session" {
			w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `{"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/r/s"},"credentials":{"accessKeyId":"ASIAPOD","secretAccessKey":"s","sessionToken":"t","expiration":%d}}`, time.Now().Add(time.Hour).Unix()) //nolint:errcheck // a test server
	})
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestServe runs the program as a node would: CA file, node role, token file, signal to stop.
func TestServe(t *testing.T) {
	srv := controlPlane(t)
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(token, []byte("node.token.sig"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var out output
	status := make(chan int, 1)
	port := freePort(t)
	args := []string{
		"server", "-v", "trace", "-p", port, "-b", "127.0.0.1", "--probe-port", freePort(t), "--metrics-port", freePort(t),
		"--node-role-arn", "arn:aws:iam::111122223333:role/podid-node", "--node-token-file", token, "--node-name", "node/1", "--attempt-timeout", "5s",
	}
	go func() {
		status <- run(ctx, args, environ("CLUSTER_NAME=my-cluster", "AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL="+srv.URL, "AWS_CA_BUNDLE="+ca), &out, &out)
	}()
	body := askUntilUp(t, "http://127.0.0.1:"+port+agent.CredentialsPath)
	if !strings.Contains(body, `"AccessKeyId":"ASIAPOD"`) {
		t.Errorf("answer %s\n%s", body, out.String())
	}
	stop()
	if got := <-status; got != 0 {
		t.Errorf("status %d after a signal:\n%s", got, out.String())
	}
	if strings.Contains(out.String(), "node-session") || strings.Contains(out.String(), "node.token") {
		t.Errorf("the log holds a secret:\n%s", out.String())
	}
}

func askUntilUp(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "eyJhbGciOiJub25lIn0.e30.")
		if resp, err := client.Do(req); err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close() //nolint:errcheck // a test
			return string(body)
		}
		<-tick.C
	}
	t.Fatal("the agent does not come up")
	return ""
}

func TestNoAddressIsAFailure(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "")
	var out output
	status := run(t.Context(), []string{
		"server", "-c", "c", "--region", "r", "-b", "192.0.2.1", "--probe-port", "0", "--metrics-port", "0", "--endpoint", "https://127.0.0.1:1",
	}, environ(), &out, &out)
	if status != 1 || !regexp.MustCompile("no address to serve credentials on: listen on 192.0.2.1:80").MatchString(out.String()) {
		t.Errorf("status %d:\n%s", status, out.String())
	}
}
