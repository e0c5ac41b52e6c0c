// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package objects runs the real operator between a real API server and a real
// control plane: what becomes of podid.dev's objects, and which pods it finds
// that were not injected.
package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"podid/api/v1alpha1"
	"podid/test/cluster/apiserver"
	"podid/test/cluster/process"
)

const (
	roleA = "arn:aws:iam::111122223333:role/app-a"
	roleB = "arn:aws:iam::111122223333:role/app-b"
	roleX = "arn:aws:iam::111122223333:role/admin"
	limit = 30 * time.Second
)

var (
	server *apiserver.Server
	bin    string // folder of the binaries under test
)

func TestMain(m *testing.M) { os.Exit(build(m)) }

// build makes the binaries as they are released.
func build(m *testing.M) int {
	log.SetLogger(logr.Discard()) // of clients
	var err error
	if bin, err = os.MkdirTemp("", "podid-bin-"); err == nil {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", bin, "./cmd/podid", "./cmd/podid-operator")
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

// rights are those of the chart's ClusterRole, as far as these tests need them.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAMESPACE}
rules:
- {apiGroups: [""], resources: [pods, serviceaccounts, namespaces], verbs: [get, list, watch]}
- {apiGroups: ["", events.k8s.io], resources: [events], verbs: [create, patch]}
- {apiGroups: [podid.dev], resources: [podidentityassociations], verbs: [get, list, watch, update, patch]}
- {apiGroups: [podid.dev], resources: [podidentityassociations/status, podidentityassociations/finalizers], verbs: [get, update, patch]}
- {apiGroups: [podid.dev], resources: [podidentityrolepolicies], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, update, patch, delete]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE}
subjects: [{kind: ServiceAccount, name: podid-operator, namespace: NAMESPACE}]
`

// world is a control plane that knows the cluster, and what an operator needs.
type world struct {
	t                     *testing.T
	kube                  client.Client
	dir, ns, apps         string
	address               string
	plane                 *process.Process
	kubeconfig, tokenFile string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := undefined(t)
	w.define()
	return w
}

// define has the API server know podid.dev's kinds.
func (w *world) define() {
	w.t.Helper()
	for _, kind := range []string{"podidentityassociations", "podidentityrolepolicies"} {
		if err := server.ApplyFile(w.t.Context(), "../../../../api/v1alpha1/crds/podid.dev_"+kind+".yaml"); err != nil {
			w.t.Fatal(err)
		}
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("podid.dev's kinds to be served", func(ctx context.Context) (err error) {
		if w.kube, err = client.New(server.Config, client.Options{Scheme: scheme}); err != nil {
			return err
		}
		return errors.Join(w.kube.List(ctx, &v1alpha1.PodIdentityAssociationList{}), w.kube.List(ctx, &v1alpha1.PodIdentityRolePolicyList{}))
	})
}

// undefined is a world without podid.dev's kinds, unless a test before had them.
func undefined(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), ns: server.Namespace(t, nil), apps: server.Namespace(t, map[string]string{"team": "data"}), address: freeAddress(t)}
	server.ServiceAccount(t, w.ns, "podid-operator", nil)
	w.apply(strings.ReplaceAll(rights, "NAMESPACE", w.ns))
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
	w.podid("register", "cluster", "c", "--kubeconfig", server.Kubeconfig, "--operator-namespace", w.ns, "--operator-pass-role", "arn:aws:iam::111122223333:role/app-*")
	for _, role := range []string{"app-a", "app-b", "admin"} {
		w.podid("create", "role", role, "--trust", "pod-identity", "--cluster", "c")
	}
	return w
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

func (w *world) apply(manifest string) {
	w.t.Helper()
	if err := server.Apply(w.t.Context(), []byte(manifest)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) eventually(what string, ask func(context.Context) error) {
	w.t.Helper()
	apiserver.Eventually(w.t, limit, what, ask)
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
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
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

func (w *world) endpoint() string {
	_, port, _ := net.SplitHostPort(w.address)
	return "https://localhost:" + port
}

func (w *world) ca() string { return filepath.Join(w.dir, "data", "tls", "ca.crt") }

// podid runs the CLI as the admin and returns its standard output.
func (w *world) podid(args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(bin, "podid"), args...)
	cmd.Dir = w.dir // what registration writes lies there
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+w.endpoint(), "AWS_REGION=us-west-2", "AWS_CONFIG_FILE=/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(w.dir, "data", "admin-credentials"), "AWS_CA_BUNDLE="+w.ca())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("podid %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// operator runs the real operator to the end of the test.
func (w *world) operator(more ...string) *process.Process {
	w.t.Helper()
	args := append([]string{
		"server", "--cluster-name", "c", "--region", "us-west-2", "--endpoint", w.endpoint(), "--ca-file", w.ca(),
		"--operator-role-arn", "arn:aws:iam::111122223333:role/podid-operator-c", "--operator-token-file", w.tokenFile,
		"--namespace", w.ns, "--kubeconfig", w.kubeconfig, "--health-address", "127.0.0.1:0", "--metrics-address", "0", "--webhook-address", "",
	}, more...)
	p, err := process.Start(w.dir, "podid-operator", filepath.Join(bin, "podid-operator"), args...)
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

// association is one as the CLI shows it.
type association struct {
	AssociationID, RoleARN string
	Tags                   map[string]string
}

// bound returns the association of a service account; nil for none.
func (w *world) bound(account string) *association {
	w.t.Helper()
	var list []struct {
		AssociationID string `json:"associationId"`
	}
	w.decode(w.podid("get", "pia", "--cluster", "c", "--namespace", w.apps, "--service-account-name", account, "-o", "json"), &list)
	if len(list) == 0 {
		return nil
	}
	var one struct {
		AssociationID string            `json:"associationId"`
		RoleARN       string            `json:"roleArn"`
		Tags          map[string]string `json:"tags"`
	}
	w.decode(w.podid("get", "pia", "--cluster", "c", "--association-id", list[0].AssociationID, "-o", "json"), &one)
	return &association{one.AssociationID, one.RoleARN, one.Tags}
}

func (w *world) decode(text string, into any) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		w.t.Fatalf("%v in %s", err, text)
	}
}

// is waits for a condition of an object, as "status reason".
func (w *world) is(name, kind, want string) *v1alpha1.PodIdentityAssociation {
	w.t.Helper()
	o := &v1alpha1.PodIdentityAssociation{}
	w.eventually(name+"'s "+kind+" to be "+want, func(ctx context.Context) error {
		if err := w.kube.Get(ctx, client.ObjectKey{Namespace: w.apps, Name: name}, o); err != nil {
			return err
		}
		c := meta.FindStatusCondition(o.Status.Conditions, kind)
		if c == nil {
			return errors.New("there is none yet")
		}
		if got := string(c.Status) + " " + c.Reason; got != want || c.ObservedGeneration != o.Generation {
			return fmt.Errorf("it is %s (%s) of generation %d, the object is of %d", got, c.Message, c.ObservedGeneration, o.Generation)
		}
		return nil
	})
	return o
}

// told waits for an Event about an object.
func (w *world) told(name, reason string) {
	w.t.Helper()
	w.eventually("an Event "+reason+" about "+name, func(ctx context.Context) error {
		var list corev1.EventList
		if err := w.kube.List(ctx, &list, client.InNamespace(w.apps)); err != nil {
			return err
		}
		var seen []string
		for _, e := range list.Items {
			if e.InvolvedObject.Name == name && e.Reason == reason {
				return nil
			}
			seen = append(seen, e.InvolvedObject.Name+" "+e.Reason)
		}
		return fmt.Errorf("there are %q", seen)
	})
}

func (w *world) object(name, account, role string) *v1alpha1.PodIdentityAssociation {
	w.t.Helper()
	o := &v1alpha1.PodIdentityAssociation{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.apps, Name: name},
		Spec:       v1alpha1.PodIdentityAssociationSpec{ServiceAccount: account, RoleARN: v1alpha1.RoleARN(role), Tags: map[string]v1alpha1.TagValue{"cost": "7"}},
	}
	if err := w.kube.Create(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *world) policy(name string, roles ...v1alpha1.Pattern) *v1alpha1.PodIdentityRolePolicy {
	w.t.Helper()
	p := &v1alpha1.PodIdentityRolePolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PodIdentityRolePolicySpec{
		NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.apps}},
		ServiceAccounts:   []v1alpha1.Pattern{"*"}, RoleARNs: roles,
	}}
	if err := w.kube.Create(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// patch changes an object's spec by a merge patch.
func (w *world) patch(o client.Object, patch string) error {
	return w.kube.Patch(w.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch)))
}
