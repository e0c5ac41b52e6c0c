// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package agentnode tries the node agent's calls of the API server against a real one, with the rights and under the
// admission policy of the manifest: what it does to its own node, and that it can do nothing else.
package agentnode

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"podid/internal/agent/kubeapi"
	"podid/internal/agent/nodesign"
	"podid/internal/agent/podwatch"
	"podid/test/cluster/apiserver"
)

const namespace = "podid-system"

var server *apiserver.Server

func TestMain(m *testing.M) { os.Exit(apiserver.Main(m, &server, apiserver.Options{})) }

// install applies what of the manifest concerns the agent and the API server.
func install(t *testing.T) {
	t.Helper()
	manifest, err := os.ReadFile("../../../../deploy/podid.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kinds := []string{"kind: Namespace\n", "name: podid-agent\n", "name: podid-agent-node\n"}
	found := 0
	for doc := range strings.SplitSeq(string(manifest), "\n---\n") {
		if strings.Contains(doc, "kind: DaemonSet") || !slices.ContainsFunc(kinds, func(k string) bool { return strings.Contains(doc+"\n", k) }) {
			continue
		}
		found++
		if err := server.Apply(t.Context(), []byte(doc)); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
	}
	if found < 6 {
		t.Fatalf("%d objects of the agent in the manifest, want its namespace, account, role, binding, policy and binding of that", found)
	}
}

func node(t *testing.T, name string, taints ...string) {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"a": "b"}}}
	for _, key := range taints {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule})
	}
	made, err := server.Client.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	made.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}}
	if _, err := server.Client.CoreV1().Nodes().UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func pod(t *testing.T, name, node, account string) *corev1.Pod {
	t.Helper()
	p, err := server.Client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{NodeName: node, ServiceAccountName: account, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tokenOf is a token of the agent as kubelet mounts it; nil: one that is bound to nothing.
func tokenOf(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	return server.Token(t, namespace, "podid-agent", "https://kubernetes.default.svc", p)
}

func agentAPI(t *testing.T, token string) *kubeapi.Client {
	t.Helper()
	dir := t.TempDir()
	files := map[string][]byte{"token": []byte(token), "ca.crt": server.CA()}
	if block, _ := pem.Decode(server.CA()); block == nil {
		t.Fatal("the API server's CA is no PEM")
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	api, err := kubeapi.New(kubeapi.Config{Address: server.Config.Host, TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.crt")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return api
}

type gone struct {
	mu   sync.Mutex
	uids []string
}

func (g *gone) PodUIDs() []string { return nil }

func (g *gone) Gone(uid string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uids = append(g.uids, uid)
}

func (g *gone) has(uid types.UID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.uids, string(uid))
}

func run(t *testing.T, what interface{ Run(context.Context) error }) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- what.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestAgent: taint, condition, and pods that end.
func TestAgent(t *testing.T) {
	install(t)
	node(t, "n1", "other", nodesign.Taint, "third")
	node(t, "n2", nodesign.Taint)
	own := pod(t, "agent-1", "n1", "podid-agent")
	active(t, own)
	t.Run("signs its own node", func(t *testing.T) { signs(t, own) })
	t.Run("hears of pods that end", func(t *testing.T) { hears(t, own) })
	t.Run("can do nothing else", func(t *testing.T) { cannot(t, own) })
}

func as(t *testing.T, token string) kubernetes.Interface {
	t.Helper()
	cfg := rest.AnonymousClientConfig(server.Config)
	cfg.BearerToken = token
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// active waits until the API server judges by the policy, of which it hears a moment after it was made.
func active(t *testing.T, own *corev1.Pod) {
	t.Helper()
	client := as(t, tokenOf(t, own))
	apiserver.Eventually(t, 30*time.Second, "the policy to be in force", func(ctx context.Context) error {
		_, err := client.CoreV1().Nodes().Patch(ctx, "n2", types.MergePatchType, []byte(`{"metadata":{"annotations":{"try":"1"}}}`), metav1.PatchOptions{DryRun: []string{"All"}})
		if err == nil {
			return errors.New("allowed")
		}
		return nil
	})
}

func signs(t *testing.T, own *corev1.Pod) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	sign, err := nodesign.New(nodesign.Config{API: agentAPI(t, tokenOf(t, own)), Node: "n1", Log: log, State: func(context.Context) nodesign.State {
		return nodesign.State{Ready: true, Reason: nodesign.ReasonServing}
	}})
	if err != nil {
		t.Fatal(err)
	}
	condition := func(ctx context.Context) (*corev1.Node, corev1.NodeCondition) {
		n, err := server.Client.CoreV1().Nodes().Get(ctx, "n1", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range n.Status.Conditions {
			if c.Type == nodesign.Condition {
				return n, c
			}
		}
		return n, corev1.NodeCondition{}
	}
	stop := run(t, sign)
	apiserver.Eventually(t, 30*time.Second, "taint gone, condition set", func(ctx context.Context) error {
		n, c := condition(ctx)
		there := slices.ContainsFunc(n.Spec.Taints, func(x corev1.Taint) bool { return x.Key == nodesign.Taint })
		if there || len(n.Spec.Taints) < 2 || c.Status != corev1.ConditionTrue || len(n.Status.Conditions) != 2 {
			return fmt.Errorf("taints %v, conditions %v", n.Spec.Taints, n.Status.Conditions)
		}
		return nil
	})
	stop()
	if _, c := condition(t.Context()); c.Status != corev1.ConditionFalse || c.Reason != nodesign.ReasonStopped {
		t.Errorf("condition after the end %+v", c)
	}
}

func hears(t *testing.T, own *corev1.Pod) {
	ends, finishes, elsewhere := pod(t, "ends", "n1", "podid-agent"), pod(t, "finishes", "n1", "podid-agent"), pod(t, "elsewhere", "n2", "podid-agent")
	told := &gone{}
	following := make(chan bool, 16)
	watch, err := podwatch.New(podwatch.Config{
		API: agentAPI(t, tokenOf(t, own)), Node: "n1", Cache: told, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Following: func(on bool) { following <- on },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer run(t, watch)()
	if !<-following {
		t.Fatal("not followed")
	}
	finishes.Status.Phase = corev1.PodSucceeded
	if _, err := server.Client.CoreV1().Pods(namespace).UpdateStatus(t.Context(), finishes, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	now := int64(0)
	for _, p := range []*corev1.Pod{ends, elsewhere} {
		if err := server.Client.CoreV1().Pods(namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Fatal(err)
		}
	}
	apiserver.Eventually(t, 30*time.Second, "pods gone", func(context.Context) error {
		if !told.has(ends.UID) || !told.has(finishes.UID) {
			return errors.New("not told")
		}
		return nil
	})
	if told.has(elsewhere.UID) || told.has(own.UID) {
		t.Errorf("told of %v", told.uids)
	}
}

func cannot(t *testing.T, own *corev1.Pod) {
	bound, loose := as(t, tokenOf(t, own)), as(t, tokenOf(t, nil))
	const removes = `[{"op":"test","path":"/spec/taints/0/key","value":"podid.dev/agent-not-ready"},{"op":"remove","path":"/spec/taints/0"}]`
	const condition = `{"status":{"conditions":[{"type":"PodIdentityAgentReady","status":"True","reason":"Serving"}]}}`
	for name, c := range map[string]struct {
		client      kubernetes.Interface
		node        string
		kind        types.PatchType
		patch       string
		subresource string
		want        string // in the refusal; empty: it may
	}{
		"own condition":            {bound, "n1", types.StrategicMergePatchType, condition, "status", ""},
		"another node's taint":     {bound, "n2", types.JSONPatchType, removes, "", "bound to"},
		"another node's condition": {bound, "n2", types.StrategicMergePatchType, condition, "status", "bound to"},
		"a token bound to nothing": {loose, "n1", types.StrategicMergePatchType, condition, "status", "bound to"},
		"another taint":            {bound, "n1", types.JSONPatchType, `[{"op":"remove","path":"/spec/taints/0"}]`, "", "only removes the taint"},
		"a new taint":              {bound, "n1", types.JSONPatchType, `[{"op":"add","path":"/spec/taints/-","value":{"key":"x","effect":"NoExecute"}}]`, "", "only removes the taint"},
		"cordon":                   {bound, "n1", types.MergePatchType, `{"spec":{"unschedulable":true}}`, "", "nothing else of a node's spec"},
		"provider id":              {bound, "n1", types.MergePatchType, `{"spec":{"providerID":"x"}}`, "", "nothing else of a node's spec"},
		"label":                    {bound, "n1", types.MergePatchType, `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`, "", "no metadata"},
		"label by status":          {bound, "n1", types.MergePatchType, `{"metadata":{"labels":{"a":"c"}}}`, "status", "no metadata"},
		"annotation":               {bound, "n1", types.MergePatchType, `{"metadata":{"annotations":{"a":"c"}}}`, "", "no metadata"},
		"finalizer":                {bound, "n1", types.MergePatchType, `{"metadata":{"finalizers":["a/b"]}}`, "", "no metadata"},
		"another condition":        {bound, "n1", types.StrategicMergePatchType, `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`, "status", "only sets the condition"},
		"one more condition":       {bound, "n1", types.StrategicMergePatchType, `{"status":{"conditions":[{"type":"New","status":"False"}]}}`, "status", "only sets the condition"},
		"addresses":                {bound, "n1", types.MergePatchType, `{"status":{"addresses":[]}}`, "status", "nothing else of a node's status"},
		"capacity":                 {bound, "n1", types.MergePatchType, `{"status":{"capacity":{"cpu":"99"}}}`, "status", "nothing else of a node's status"},
		"node information":         {bound, "n1", types.MergePatchType, `{"status":{"nodeInfo":{"kernelVersion":"x"}}}`, "status", "nothing else of a node's status"},
	} {
		_, err := c.client.CoreV1().Nodes().Patch(t.Context(), c.node, c.kind, []byte(c.patch), metav1.PatchOptions{}, strings.Fields(c.subresource)...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	nodes := bound.CoreV1().Nodes()
	for name, err := range map[string]error{
		"delete":  nodes.Delete(t.Context(), "n1", metav1.DeleteOptions{}),
		"evict":   bound.CoreV1().Pods(namespace).Delete(t.Context(), own.Name, metav1.DeleteOptions{}),
		"secrets": func() error { _, err := bound.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}); return err }(),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Nobody else is held to the policy.
	if _, err := server.Client.CoreV1().Nodes().Patch(t.Context(), "n2", types.JSONPatchType, []byte(removes), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
}
