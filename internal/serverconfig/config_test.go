// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package serverconfig

import (
	"flag"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"podid/internal/iam"
)

var update = flag.Bool("update", false, "rewrite golden files")

// environment is an Env of maps.
func environment(vars, files map[string]string) Env {
	env := Env{Home: "/people/alice"}
	env.Lookup = func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	for name := range vars {
		env.Names = append(env.Names, name)
	}
	env.ReadFile = func(path string) ([]byte, error) {
		text, ok := files[path]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return []byte(text), nil
	}
	env.Exists = func(path string) error { _, err := env.ReadFile(path); return err }
	return env
}

func load(t *testing.T, args []string, env Env) (Config, error) {
	t.Helper()
	f := NewFlags()
	set := pflag.NewFlagSet("server", pflag.ContinueOnError)
	f.AddTo(set)
	if err := set.Parse(args); err != nil {
		t.Fatalf("parse flags: %v", err)
	}
	return f.Load(env)
}

var required = []string{"--account-id=111122223333", "--region=us-west-2"}

func defaults() Config {
	return Config{
		DataDir: "/people/alice/.podid", AccountID: "111122223333", Region: "us-west-2", Partition: "aws", Listen: ":8443",
		RequestTimeout: 30 * time.Second, MaxConnections: 10_000, MetricsAddress: "127.0.0.1:9443",
		RootKeyFile: "/people/alice/.podid/root.key", SessionKeyRotation: 24 * time.Hour, TokenMaxLife: 24 * time.Hour,
		ClockSkew: 5 * time.Minute, AssociationLimit: 5000, AuditLog: "/people/alice/.podid/audit/audit.log",
		AuditMaxSize: 100 << 20, AuditMaxAge: 24 * time.Hour, AuditKeep: 30, LogLevel: slog.LevelInfo, LogFormat: "text",
	}
}

func TestDefaults(t *testing.T) {
	got, err := load(t, required, environment(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(defaults(), got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Error(d)
	}
	if got.TLSDir() != "/people/alice/.podid/tls" {
		t.Errorf("TLS directory %s", got.TLSDir())
	}
	env := environment(nil, nil)
	env.Root = true
	if got, err = load(t, required, env); err != nil || got.DataDir != "/var/lib/podid" {
		t.Errorf("root's data directory is %q (%v)", got.DataDir, err)
	}
}

func TestPrecedence(t *testing.T) {
	const file = "etc/podid.yaml"
	for _, tc := range []struct {
		name string
		args []string
		vars map[string]string
		yaml string
		want string
	}{
		{"default", nil, nil, "", ":8443"},
		{"file over default", nil, nil, "listen: 127.0.0.1:1", "127.0.0.1:1"},
		{"environment over file", nil, map[string]string{"PODID_LISTEN": "127.0.0.1:2"}, "listen: 127.0.0.1:1", "127.0.0.1:2"},
		{"flag over environment", []string{"--listen=127.0.0.1:3"}, map[string]string{"PODID_LISTEN": "127.0.0.1:2"}, "listen: 127.0.0.1:1", "127.0.0.1:3"},
		{"a value that is not used is not judged", []string{"--listen=127.0.0.1:3"}, map[string]string{"PODID_LISTEN": "bad"}, "", "127.0.0.1:3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := load(t, append([]string{"--config", file}, append(required, tc.args...)...), environment(tc.vars, map[string]string{file: tc.yaml}))
			if err != nil || got.Listen != tc.want {
				t.Errorf("listen %q (%v), want %q", got.Listen, err, tc.want)
			}
		})
	}
}

func TestEverySettingFromEveryPlace(t *testing.T) {
	files := map[string]string{"c.pem": "", "k.pem": ""}
	want := Config{
		DataDir: "/data", AccountID: "000011112222", Region: "eu-central-1", Partition: "aws-cn", OrgID: "o-abcdefghij",
		Listen: "0.0.0.0:443", TLSNames: []string{"a.example.com", "192.0.2.1"}, PlainHTTP: true, AllowPlainHTTP: true,
		RequestTimeout: time.Minute, MaxConnections: 7, EtcdEndpoints: []string{"https://a:2379", "https://b:2379"}, EtcdCA: "c.pem",
		EtcdCert: "c.pem", EtcdKey: "k.pem", EtcdInsecure: true, RootKeyFile: "/key", SessionKeyRotation: 12 * time.Hour, TokenMaxLife: time.Hour,
		ClockSkew: time.Minute, AssociationLimit: 9, IAMQuotas: iam.Quotas{iam.RolesPerAccount: 7, iam.PoliciesPerRole: 20}, AllowIssuerCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		AllowJWKSOrigins: []string{"https://keys.example.com", "https://b:8443"}, OIDCIssuerURL: "https://podid.example.com/oidc", TokenReview: true, TokenReviewHosts: []string{"sts.us-west-2.amazonaws.com", "podid.example.com:8443"},
		RegisterCluster: "home", OperatorPassRoles: []string{"arn:aws:iam::000011112222:role/a", "arn:aws:iam::000011112222:role/b/*"}, EnrolmentSecret: "enrolment", Kubeconfig: "c.pem", Namespace: "podid",
		AuditLog: AuditStdout, AuditMaxSize: 1 << 30, AuditMaxAge: 0, AuditKeep: 0, LogLevel: slog.LevelDebug, LogFormat: "json",
	}
	rows := [][2]string{
		{"data-dir", "/data"},
		{"account-id", "000011112222"},
		{"region", "eu-central-1"},
		{"partition", "aws-cn"},
		{"org-id", "o-abcdefghij"},
		{"listen", "0.0.0.0:443"},
		{"tls-names", "a.example.com,192.0.2.1"},
		{"plain-http", "true"},
		{"allow-plain-http", "true"},
		{"request-timeout", "1m"},
		{"max-connections", "7"},
		{"metrics-address", ""},
		{"etcd-endpoints", "https://a:2379,https://b:2379"},
		{"etcd-ca", "c.pem"},
		{"etcd-cert", "c.pem"},
		{"etcd-key", "k.pem"},
		{"etcd-insecure", "true"},
		{"root-key-file", "/key"},
		{"session-key-rotation", "12h"},
		{"token-max-life", "1h"},
		{"clock-skew", "1m"},
		{"association-limit", "9"},
		{"iam-quota", "RolesPerAccount=7,PoliciesPerRole=20"},
		{"allow-issuer-cidr", "10.0.0.0/8,fd00::/8"},
		{"allow-jwks-origin", "https://keys.example.com,https://b:8443"},
		{"oidc-issuer-url", "https://podid.example.com/oidc"},
		{"token-review", "true"},
		{"token-review-host", "sts.us-west-2.amazonaws.com,podid.example.com:8443"},
		{"register-cluster", "home"},
		{"operator-pass-role", "arn:aws:iam::000011112222:role/a,arn:aws:iam::000011112222:role/b/*"},
		{"enrolment-secret", "enrolment"},
		{"kubeconfig", "c.pem"},
		{"namespace", "podid"},
		{"audit-log", "stdout"},
		{"audit-max-size", "1GiB"},
		{"audit-max-age", "0s"},
		{"audit-keep", "0"},
		{"log-level", "debug"},
		{"log-format", "json"},
	}
	var args []string
	var doc strings.Builder
	vars := map[string]string{}
	seen := map[string]bool{"tls-cert": true, "tls-key": true, "publish-ca-configmap": true} // they exclude plain-http; TestProblems has them
	for _, r := range rows {
		name, v := r[0], r[1]
		seen[name] = true
		args = append(args, "--"+name+"="+v)
		vars["PODID_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = v
		switch {
		case strings.Contains(v, ","):
			doc.WriteString(name + ": [\"" + strings.ReplaceAll(v, ",", "\", \"") + "\"]\n")
		case v == "true" || name == "audit-keep":
			doc.WriteString(name + ": " + v + "\n")
		default:
			doc.WriteString(name + ": \"" + v + "\"\n")
		}
	}
	for _, s := range settings() {
		if !seen[s.name] {
			t.Errorf("%s is not tested", s.name)
		}
	}
	withYAML := map[string]string{"c.pem": "", "k.pem": "", "podid.yaml": doc.String()}
	for name, from := range map[string]struct {
		args []string
		env  Env
	}{
		"flags":                         {args, environment(nil, files)},
		"environment":                   {nil, environment(vars, files)},
		"file":                          {[]string{"--config=podid.yaml"}, environment(nil, withYAML)},
		"file named by the environment": {nil, environment(map[string]string{"PODID_CONFIG": "podid.yaml"}, withYAML)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := load(t, from.args, from.env)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRegionOfAWS(t *testing.T) {
	args := []string{"--account-id=111122223333"}
	for _, tc := range []struct {
		name string
		vars map[string]string
		want string
	}{
		{"AWS_REGION", map[string]string{"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"},
		{"AWS_DEFAULT_REGION", map[string]string{"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"},
		{"PODID_REGION", map[string]string{"AWS_REGION": "eu-west-1", "PODID_REGION": "eu-west-3"}, "eu-west-3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := load(t, args, environment(tc.vars, nil)); err != nil || got.Region != tc.want {
				t.Errorf("region %q (%v), want %q", got.Region, err, tc.want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "17": 17, "5B": 5, "2KiB": 2048, "3 MiB": 3 << 20, "1GB": 1e9, "64KB": 64000,
		"": -1, "x": -1, "-1": -1, "1.5MiB": -1, "MiB": -1, "9999999999999GiB": -1, "1 TiB": -1,
	} {
		got, err := parseSize(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %d (%v), want %d", text, got, err, want)
		}
	}
}

func TestHelpGolden(t *testing.T) {
	path := filepath.Join("testdata", "help.golden")
	got := NewFlags().Usage()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
	for _, s := range settings() {
		if strings.Count(got, "\n  --"+s.name+" ") != 1 {
			t.Errorf("--%s is not in the help once", s.name)
		}
	}
}

func TestOS(t *testing.T) {
	t.Setenv("PODID_REGION", "eu-west-3")
	path := filepath.Join(t.TempDir(), "podid.yaml")
	if err := os.WriteFile(path, []byte("account-id: \"111122223333\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := load(t, []string{"--config", path, "--data-dir", t.TempDir()}, OS())
	if err != nil || got.Region != "eu-west-3" || got.AccountID != "111122223333" {
		t.Errorf("%+v, %v", got, err)
	}
	if OS().Exists(path) != nil || OS().Exists(path+"x") == nil {
		t.Error("Exists is wrong")
	}
}
