// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"podid/internal/agent/podtoken"
)

// unsigned is a token as kubelet writes it, but for its signature, which nobody checks in one's own.
func unsigned(t *testing.T, claims string) string {
	t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(enc([]byte(`{"alg":"RS256"}`))+"."+enc([]byte(claims))+".AA"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSourceOfKeys(t *testing.T) {
	own := unsigned(t, `{"iss":"https://issuer","kubernetes.io":{"node":{"name":"node-1","uid":"u-1"}}}`)
	old := unsigned(t, `{"iss":"https://issuer"}`)
	inPod := []string{"KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBERNETES_SERVICE_PORT=443"}
	tests := []struct {
		name   string
		args   []string
		env    []string
		source string // "" for none
		issuer string
		node   string
		warns  string
		err    string
	}{
		{name: "nothing", warns: "tokens are not verified"},
		{name: "file", args: []string{"--jwks-file=/keys"}, source: "file /keys", warns: "issuer is not known"},
		{name: "file and issuer", args: []string{"--jwks-file=/keys", "--issuer=https://i"}, source: "file /keys", issuer: "https://i"},
		{name: "issuer of the environment", args: []string{"--jwks-file=/keys"}, env: []string{"PODID_ISSUER=https://i"}, source: "file /keys", issuer: "https://i"},
		{name: "in a pod", args: []string{"--jwks-token-file=" + own}, env: inPod, source: "https://10.0.0.1:443/openid/v1/jwks", issuer: "https://issuer", node: "node-1/u-1"},
		{name: "in a pod, switched off", args: []string{"--jwks-token-file=" + own, "--jwks-source=none"}, env: inPod, warns: "tokens are not verified"},
		{name: "in a pod without a token", args: []string{"--jwks-token-file=/none"}, env: inPod, warns: "tokens are not verified"},
		{name: "old Kubernetes", args: []string{"--jwks-token-file=" + old}, env: append(inPod, "NODE_NAME=node-2"), source: "https://10.0.0.1:443/openid/v1/jwks", issuer: "https://issuer", node: "node-2/"},
		{name: "the control plane's token", args: []string{"--jwks-file=/keys", "--node-role-arn=arn:aws:iam::111122223333:role/n", "--node-token-file=" + own}, source: "file /keys", issuer: "https://issuer", node: "node-1/u-1"},
		{name: "address", args: []string{"--jwks-url=https://api/openid/v1/jwks", "--issuer=i"}, source: "https://api/openid/v1/jwks", issuer: "i"},
		{name: "control plane", args: []string{"--jwks-source=control-plane"}, source: "control plane [https://podid]"},
		{name: "address without TLS", args: []string{"--jwks-url=http://api/openid/v1/jwks"}, err: "want https"},
		{name: "API server nowhere", args: []string{"--jwks-source=api-server"}, err: "want --jwks-url"},
		{name: "unknown source", args: []string{"--jwks-source=x"}, err: "want auto, api-server"},
		{name: "two sources", args: []string{"--jwks-source=none", "--jwks-file=/keys"}, err: "one source"},
		{name: "spoilt token", args: []string{"--jwks-file=/keys", "--jwks-token-file=" + unsigned(t, "[]")}, source: "file /keys", warns: "read issuer and node"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var o options
			flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
			o.register(flags)
			if err := flags.Parse(append([]string{"-c=c", "--region=r", "--endpoint=https://podid"}, tc.args...)); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			err := o.resolve(environ(tc.env...), flags.Changed)
			var cfg podtoken.Config
			if err == nil {
				cfg, err = o.tokenConfig(nil, nil, slog.New(slog.NewTextHandler(&log, nil)))
			}
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			source := ""
			if cfg.Source != nil {
				source = cfg.Source.String()
			}
			node := strings.TrimSuffix(cfg.Node+"/"+cfg.NodeUID, "/")
			if source != tc.source || cfg.Issuer != tc.issuer || node != strings.TrimSuffix(tc.node, "/") {
				t.Errorf("source %q, issuer %q, node %q", source, cfg.Issuer, node)
			}
			if !strings.Contains(log.String(), tc.warns) || tc.warns == "" && log.Len() > 0 {
				t.Errorf("log %q, want %q", log.String(), tc.warns)
			}
		})
	}
}
