// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package serverconfig

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// lines are the problems of an error, one a line.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestAllProblemsAtOnce(t *testing.T) {
	yaml := "# comment\nregoin: x\ntls-names:\n- a b\n- {x: 1}\nlog-level: loud\naccount-id: 111122223333\naudit-keep: [1]\nclock-skew: 1h\nplain-http: yes please\nlisten:\n"
	args := []string{"--config=p.yaml", "--association-limit=many", "--token-max-life=1s", "--etcd-ca=ca.pem", "--tls-key=key.pem"}
	_, err := load(t, args, environment(map[string]string{"PODID_LOG_FORMAT": "xml", "PODID_AUDIT_KEP": "3", "PODID_CLUSTER": "c"}, map[string]string{"p.yaml": yaml}))
	want := []string{
		`p.yaml:7: account-id: write the account in quotes: "111122223333"`,
		`p.yaml:8: audit-keep: want one value, not a list`,
		`p.yaml:11: listen: has no value: remove the field, or write "" for an empty one`,
		`p.yaml:2: regoin: unknown field; did you mean region?`,
		`p.yaml:3: tls-names[1]: want one value, not fields or lists of their own`,
		`PODID_AUDIT_KEP: no such setting; did you mean PODID_AUDIT_KEEP?`,
		`p.yaml:10: plain-http: "yes please" is neither true nor false`,
		`--association-limit: "many" is no whole number`,
		`p.yaml:6: log-level: "loud" is no level: use debug, info, warn or error`,
		`--region: required: the region that clients sign for, such as us-west-2; AWS_REGION does as well`,
		`--tls-key: needs its certificate: set tls-cert as well`,
		`--tls-key: cannot be read: open key.pem: file does not exist`,
		`--etcd-ca: is for an etcd cluster outside: set etcd-endpoints as well, or leave it out`,
		`--etcd-ca: cannot be read: open ca.pem: file does not exist`,
		`--token-max-life: choose between 10m, the shortest that Kubernetes issues, and 8784h`,
		`p.yaml:9: clock-skew: choose between 1s and 15m`,
		`PODID_LOG_FORMAT: "xml" is no format: use text or json`,
	}
	if got := lines(err); !slices.Equal(got, want) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestProblems(t *testing.T) {
	files := map[string]string{"c.pem": "", "k.pem": "", "twice.yaml": "region: a\nregion: b\n", "list.yaml": "- a\n", "bad.yaml": "a: [\n", "empty.yaml": "# nothing\n"}
	for _, tc := range []struct {
		name string
		args string
		want string // "" is no problem
	}{
		{"good", "", ""},
		{"account", "--account-id=12", `--account-id: "12" is no account`},
		{"region", "--region=US-west", `"US-west" is no region`},
		{"partition", "--partition=azure", "no partition"},
		{"own cluster", "--register-cluster=home --operator-pass-role=arn:aws:iam::111122223333:role/app/* --publish-ca-configmap=podid-ca --namespace=podid --kubeconfig=c.pem", ""},
		{"own cluster's name", "--register-cluster=a/b", `"a/b" is no name of a cluster`},
		{"passed role", "--register-cluster=home --operator-pass-role=*", `"*" is no role`},
		{"passed role of no cluster", "--operator-pass-role=arn:aws:iam::111122223333:role/a", "set register-cluster as well"},
		{"enrolment", "--register-cluster=home --enrolment-secret=A", `"A" is no name of a Secret`},
		{"enrolment of no cluster", "--enrolment-secret=a", "of no use without register-cluster"},
		{"configmap", "--publish-ca-configmap=A", `"A" is no name of a ConfigMap`},
		{"configmap without a certificate", "--publish-ca-configmap=a --plain-http --listen=127.0.0.1:1", "there is no certificate with plain-http"},
		{"namespace", "--register-cluster=home --namespace=a.b", `"a.b" is no namespace`},
		{"namespace of nothing", "--namespace=a", "is of no use without"},
		{"kubeconfig of nothing", "--kubeconfig=c.pem", "is of no use without"},
		{"kubeconfig", "--register-cluster=home --kubeconfig=nowhere", "cannot be read"},
		{"organization", "--org-id=x", "no organization"},
		{"listen without port", "--listen=localhost", "no address"},
		{"listen with a big port", "--listen=:70000", "port between"},
		{"listen on nonsense", "--listen=a/b:1", "no host"},
		{"plain HTTP outside", "--plain-http", "--plain-http: :8443 can be reached from outside"},
		{"plain HTTP on loopback", "--plain-http --listen=127.0.0.1:0", ""},
		{"plain HTTP on v6 loopback", "--plain-http --listen=[::1]:0", ""},
		{"plain HTTP on localhost", "--plain-http --listen=localhost:80", ""},
		{"plain HTTP allowed", "--plain-http --allow-plain-http", ""},
		{"metrics on the API's address", "--metrics-address=127.0.0.1:1 --listen=127.0.0.1:1", "choose another"},
		{"metrics off", "--metrics-address=", ""},
		{"metrics on nonsense", "--metrics-address=9443", "no address"},
		{"certificate", "--tls-cert=c.pem --tls-key=k.pem", ""},
		{"certificate without key", "--tls-cert=c.pem", "set tls-key"},
		{"certificate with plain HTTP", "--tls-cert=c.pem --tls-key=k.pem --plain-http --listen=127.0.0.1:1", "no use"},
		{"names beside a certificate", "--tls-cert=c.pem --tls-key=k.pem --tls-names=a", "self-made"},
		{"missing certificate", "--tls-cert=x.pem --tls-key=k.pem", "--tls-cert: cannot be read"},
		{"name with scheme", "--tls-names=https://a", "neither a DNS name"},
		{"several names", "--tls-names=a.example.com,*.b.example.com --tls-names=fd00::1", ""},
		{"request time-out", "--request-timeout=0s", "between 1s and 10m"},
		{"duration without unit", "--request-timeout=30", "number with a unit"},
		{"no connections", "--max-connections=0", "between 1 and 1000000"},
		{"no data directory", "--data-dir=", "--data-dir: required"},
		{"etcd", "--root-key-file=/key --etcd-endpoints=https://a:2379 --etcd-ca=c.pem --etcd-cert=c.pem --etcd-key=k.pem", ""},
		{"etcd URL", "--root-key-file=/key --etcd-insecure --etcd-endpoints=a:2379", "no URL"},
		{"etcd URL with a password", "--root-key-file=/key --etcd-insecure --etcd-endpoints=https://u:hunter2@a:2379", "no URL"},
		{"etcd certificate over plain HTTP", "--root-key-file=/key --etcd-insecure --etcd-endpoints=http://a:2379 --etcd-ca=c.pem", "write etcd-endpoints with https"},
		{"etcd certificate alone", "--root-key-file=/key --etcd-endpoints=https://a:2379 --etcd-cert=c.pem", "set etcd-key"},
		{"etcd key alone", "--root-key-file=/key --etcd-endpoints=https://a:2379 --etcd-key=k.pem", "set etcd-cert"},
		{"etcd without a root key", "--etcd-endpoints=https://a:2379 --etcd-cert=c.pem --etcd-key=k.pem", "--root-key-file: required with etcd-endpoints: make one with podid server new-root-key FILE"},
		{"etcd over plain HTTP", "--root-key-file=/key --etcd-endpoints=https://a:2379,http://b:2379 --etcd-cert=c.pem --etcd-key=k.pem", "would travel readable"},
		{"etcd without a client certificate", "--root-key-file=/key --etcd-endpoints=https://a:2379 --etcd-ca=c.pem", "etcd has to know who asks"},
		{"etcd that takes anybody", "--root-key-file=/key --etcd-endpoints=http://a:2379 --etcd-insecure", ""},
		{"insecure without etcd", "--etcd-insecure", "--etcd-insecure: is for an etcd cluster outside"},
		{"rotation", "--session-key-rotation=1m", "between 1h"},
		{"skew", "--clock-skew=-1s", "between 1s"},
		{"associations", "--association-limit=0", "between 1 and"},
		{"quota of no name", "--iam-quota=Rolls=7", `there is no quota "Rolls"`},
		{"quota of no number", "--iam-quota=RolesPerAccount", "is no quota: write it as RolesPerAccount=5000"},
		{"quota beyond", "--iam-quota=AccessKeysPerUser=3", "choose between 1 and 2"},
		{"network", "--allow-issuer-cidr=10.0.0.1", "no network"},
		{"token issuer without TLS", "--oidc-issuer-url=http://podid.example.com", "without a slash at the end"},
		{"token issuer with a slash", "--oidc-issuer-url=https://podid.example.com/oidc/", "without a slash at the end"},
		{"token issuer with a query", "--oidc-issuer-url=https://podid.example.com?x", "without a slash at the end"},
		{"token issuer with dots", "--oidc-issuer-url=https://podid.example.com/a/../b", "without a slash at the end"},
		{"token host without review", "--token-review-host=sts.us-west-2.amazonaws.com", "of no use without token-review"},
		{"origin with a path", "--allow-jwks-origin=https://keys.example.com/jwks", "write it as https://host or https://host:port"},
		{"origin without TLS", "--allow-jwks-origin=http://keys.example.com", "write it as https://host or https://host:port"},
		{"network with host bits", "--allow-issuer-cidr=10.0.0.1/8", "write 10.0.0.0/8, or /32"},
		{"audit size", "--audit-max-size=1KiB", "64KiB or more"},
		{"audit size nonsense", "--audit-max-size=big", "no size"},
		{"audit age", "--audit-max-age=1s", "1m or more"},
		{"audit keep", "--audit-keep=-1", "0 or more"},
		{"log format", "--log-format=xml", "no format"},
		{"file that is not there", "--config=none.yaml", "read configuration: open none.yaml"},
		{"field that is there twice", "--config=twice.yaml", "twice.yaml: "},
		{"file that is a list", "--config=list.yaml", "want fields with values"},
		{"file that is no YAML", "--config=bad.yaml", "bad.yaml: "},
		{"empty file", "--config=empty.yaml", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, append(slices.Clone(required), strings.Fields(tc.args)...), environment(nil, files))
			got := lines(err)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want)) && !strings.Contains(tc.name, "YAML") && !strings.Contains(tc.name, "twice"):
				t.Errorf("problems %q, want one with %q", got, tc.want)
			case tc.want != "" && !strings.Contains(strings.Join(got, "\n"), tc.want):
				t.Errorf("problems %q, want %q", got, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	c := defaults()
	if err := c.Validate(Env{}); err != nil {
		t.Error(err)
	}
	c.ClockSkew, c.LogFormat = time.Hour, ""
	if got := lines(c.Validate(Env{})); len(got) != 2 || !strings.HasPrefix(got[0], "--clock-skew: ") {
		t.Errorf("problems %q", got)
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{"", "region: us-west-2\n", "tls-names: [a, b]\n", "x: {y: 1}\n", "listen: null", "- a", "a: &a [*a]", "region: \"\\x00\"", "account-id: 0o17"} {
		f.Add([]byte(seed))
	}
	flags := NewFlags()
	f.Fuzz(func(t *testing.T, text []byte) {
		got, problems := flags.parseFile("p.yaml", text)
		for _, p := range problems {
			if p.Error() == "" {
				t.Error("a problem without words")
			}
		}
		for name, g := range got {
			if flags.values[name] == nil || !strings.HasPrefix(g.where, "p.yaml") {
				t.Errorf("field %q from %q", name, g.where)
			}
		}
	})
}
