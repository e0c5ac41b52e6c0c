// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package feed runs the real operator between a real API server and a real
// control plane: what it knows of associations, what it keeps of them for the
// time when the control plane is away, and what it takes of the node for it.
package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"podid/test/cluster/apiserver"
	"podid/test/cluster/process"
)

var (
	server *apiserver.Server
	bin    string // folder of the binaries under test
)

func TestMain(m *testing.M) { os.Exit(build(m)) }

// build makes the binaries as they are released.
func build(m *testing.M) int {
	var err error
	if bin, err = os.MkdirTemp("", "podid-bin-"); err == nil {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "./cmd/podid", "./cmd/podid-operator")
		cmd.Dir, cmd.Env = "../../../..", append(os.Environ(), "CGO_ENABLED=0")
		var out []byte
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("build podid: %w\n%s", err, out)
		}
	}
	code := 1
	if err == nil {
		code = apiserver.Main(m, &server, apiserver.Options{})
	}
	if err = errors.Join(err, os.RemoveAll(bin)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// rights are what the operator needs for all that is tested here.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: podid-operator, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, update, delete]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
- {apiGroups: [""], resources: [events], verbs: [create, patch]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: podid-operator, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: podid-operator}
subjects: [{kind: ServiceAccount, name: podid-operator, namespace: NAMESPACE}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: podid-operator}
rules:
- {apiGroups: [""], resources: [serviceaccounts, namespaces, pods], verbs: [get, list, watch]}
- {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [get]}
- {apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], verbs: [get, list, watch, update, patch]}
- {apiGroups: [podid.dev], resources: ["*"], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: podid-operator-NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: podid-operator}
subjects: [{kind: ServiceAccount, name: podid-operator, namespace: NAMESPACE}]
`

// world is a control plane that knows the cluster, and what an operator needs.
type world struct {
	t                     *testing.T
	dir, ns, address      string
	plane                 *process.Process
	health, metrics       string
	kubeconfig, tokenFile string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), ns: server.Namespace(t, nil), address: freeAddress(t), health: freeAddress(t), metrics: freeAddress(t)}
	server.ServiceAccount(t, w.ns, "podid-operator", nil)
	if err := server.Apply(t.Context(), []byte(strings.ReplaceAll(rights, "NAMESPACE", w.ns))); err != nil {
		t.Fatal(err)
	}
	w.tokenFile, w.kubeconfig = filepath.Join(w.dir, "token"), filepath.Join(w.dir, "kubeconfig")
	if err := os.WriteFile(w.tokenFile, []byte(server.Token(t, w.ns, "podid-operator", "podid.dev/control-plane", nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	as := server.AsServiceAccount(t, w.ns, "podid-operator")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: as.Host, CertificateAuthorityData: as.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: as.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}, w.kubeconfig); err != nil {
		t.Fatal(err)
	}
	w.startPlane()
	w.podid("register", "cluster", "c", "--kubeconfig", server.Kubeconfig, "--operator-namespace", w.ns)
	w.podid("create", "role", "app", "--trust", "pod-identity", "--cluster", "c")
	return w
}

func (w *world) startPlane() {
	w.t.Helper()
	p, err := process.Start(w.dir, "podid-server", filepath.Join(bin, "podid"), "server", "--data-dir", filepath.Join(w.dir, "data"),
		"--account-id", "111122223333", "--region", "us-west-2", "--listen", w.address, "--metrics-address", "")
	if err != nil {
		w.t.Fatal(err)
	}
	w.plane = p
	w.t.Cleanup(func() { _ = p.Stop() })
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Ready(ctx, "the control plane", func(context.Context) error {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			return err
		}
		return c.Close()
	}); err != nil {
		w.t.Fatal(err)
	}
}

// podid runs the CLI as the admin.
func (w *world) podid(args ...string) string {
	w.t.Helper()
	_, port, _ := net.SplitHostPort(w.address)
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(bin, "podid"), args...)
	cmd.Dir = w.dir // what registration writes lies there
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL=https://localhost:"+port, "AWS_REGION=us-west-2", "AWS_CONFIG_FILE=/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(w.dir, "data", "admin-credentials"),
		"AWS_CA_BUNDLE="+filepath.Join(w.dir, "data", "tls", "ca.crt"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("podid %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (w *world) associate(account string) {
	w.t.Helper()
	w.podid("create", "pia", "--cluster", "c", "--namespace", "shop", "--service-account-name", account, "--role-arn", "arn:aws:iam::111122223333:role/app")
}

// operator runs the real operator to the end of the test, or until it is stopped.
func (w *world) operator() *process.Process {
	w.t.Helper()
	_, port, _ := net.SplitHostPort(w.address)
	p, err := process.Start(w.dir, "podid-operator", filepath.Join(bin, "podid-operator"), "server", "--cluster-name", "c", "--region", "us-west-2",
		"--endpoint", "https://localhost:"+port, "--ca-file", filepath.Join(w.dir, "data", "tls", "ca.crt"),
		"--operator-role-arn", "arn:aws:iam::111122223333:role/podid-operator-c", "--operator-token-file", w.tokenFile,
		"--namespace", w.ns, "--kubeconfig", w.kubeconfig, "--health-address", w.health, "--metrics-address", w.metrics,
		"--write-aws-webhook-config-file", w.file(), "--webhook-address", freeAddress(w.t), "--webhook-drain", "0s")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = p.Stop()
		if w.t.Failed() {
			w.t.Log(p.Tail())
		}
	})
	return p
}

func (w *world) file() string { return filepath.Join(w.dir, "identities.json") }

func (w *world) eventually(limit time.Duration, what string, ask func(context.Context) error) {
	w.t.Helper()
	apiserver.Eventually(w.t, limit, what, ask)
}

func (w *world) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.health+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 2 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// knows waits until AWS' webhook would know these service accounts, and no others.
func (w *world) knows(names ...string) {
	w.t.Helper()
	w.eventually(30*time.Second, "the file of AWS' webhook", func(context.Context) error {
		text, err := os.ReadFile(w.file())
		if err != nil {
			return err
		}
		var file struct {
			Identities []struct{ Namespace, ServiceAccount string } `json:"identities"`
		}
		if err := json.Unmarshal(text, &file); err != nil {
			return err
		}
		var got []string
		for _, i := range file.Identities {
			got = append(got, i.Namespace+"/"+i.ServiceAccount)
		}
		if want := strings.Join(names, " "); strings.Join(got, " ") != want {
			return fmt.Errorf("it holds %v, want %s", got, want)
		}
		return nil
	})
}

// kept waits until a number of Secrets keeps the associations.
func (w *world) kept(n int) {
	w.t.Helper()
	w.eventually(45*time.Second, "the Secrets", func(ctx context.Context) error {
		list, err := server.Client.CoreV1().Secrets(w.ns).List(ctx, metav1.ListOptions{LabelSelector: "podid.dev/associations=last-known"})
		if err != nil {
			return err
		}
		if len(list.Items) != n {
			return fmt.Errorf("there are %d", len(list.Items))
		}
		return nil
	})
}

// TestOutage: an operator that starts while the control plane is away knows what the one before it knew.
func TestOutage(t *testing.T) {
	w := newWorld(t)
	w.associate("cart")
	first := w.operator()
	w.eventually(30*time.Second, "the operator to be ready", w.ready)
	w.knows("shop/cart")
	w.associate("bill")
	w.knows("shop/bill", "shop/cart")
	w.kept(1)
	if err := errors.Join(first.Stop(), w.plane.Stop(), os.Remove(w.file())); err != nil {
		t.Fatal(err)
	}
	second := w.operator()
	w.eventually(30*time.Second, "the operator to be ready without a control plane", w.ready)
	w.eventually(5*time.Second, "the first association", func(context.Context) error { // the second may have come within the 30 s between two writes
		text, err := os.ReadFile(w.file())
		if err == nil && !strings.Contains(string(text), `"cart"`) {
			err = fmt.Errorf("the file holds %s", text)
		}
		return err
	})
	w.startPlane()
	w.podid("delete", "pia", "--cluster", "c", "--namespace", "shop", "--service-account-name", "cart")
	w.knows("shop/bill")
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
}

// idleLimit is what an idle operator may have resident, and idleAfter when it
// counts: what the start needed is given back after 5 s, and some of it comes
// back with the work of an idle operator.
const (
	idleLimit = 30_000_000
	idleAfter = 15 * time.Second
)

// TestIdleMemory measures the operator when it has settled.
func TestIdleMemory(t *testing.T) {
	w := newWorld(t)
	p := w.operator()
	w.eventually(30*time.Second, "the operator to be ready", w.ready)
	<-time.After(idleAfter)
	rss, err := resident(p.Pid())
	if err != nil || rss > idleLimit {
		t.Errorf("%.1f MB resident, at most %.1f: %v", float64(rss)/1e6, idleLimit/1e6, err)
	}
	t.Logf("%.1f MB resident", float64(rss)/1e6)
}

func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
