// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"podid/internal/agent/nodesign"
	"podid/test/cluster/apiserver"
	"podid/test/cluster/node"
)

const (
	// pace of each of the four clients of a loaded pod: forty requests a second on each node.
	loadPace = "100ms"
	// loadRest is how much load an agent has to bear before it is looked at.
	loadRest = 200
	// restartLimit is how long pods may be refused while the agent's container starts again.
	restartLimit = 30 * time.Second
)

// TestUpgrade: the DaemonSet is rolled twice under load. No request fails, none of the pods is exchanged for a second
// time, and the nodes say all the time that their agents serve.
func TestUpgrade(t *testing.T) {
	w := lab.work(t)
	before := lab.agents(t)
	since := map[string]metav1.Time{}
	for _, n := range lab.Nodes {
		since[n.Name] = lab.signed(t, n)
	}
	for round := range 2 {
		lab.taint(t) // as nodes have that have just been registered
		lab.roll(t)
		after := lab.agents(t)
		for _, n := range lab.Nodes {
			if after[n.Name].UID == before[n.Name].UID {
				t.Errorf("round %d: the agent's pod on %s is the one of before", round+1, n.Name)
			}
			w.bear(t, n)
			hits, misses := lab.cache(t, n)
			if hits < loadRest || misses > 0 {
				t.Errorf("round %d: the new agent of %s had %.0f hits and %.0f misses: the cache was not handed over", round+1, n.Name, hits, misses)
			}
			if changed := lab.signed(t, n); !changed.Equal(new(since[n.Name])) {
				t.Errorf("round %d: %s's condition changed at %s", round+1, n.Name, changed)
			}
		}
		before = after
	}
	w.unharmed(t)
}

// TestFailedUpgrade: an agent that starts and never serves, as one with a mistake in it, is not taken for a ready one,
// although it is on the network of the one before. That one serves on.
func TestFailedUpgrade(t *testing.T) {
	w := lab.work(t)
	before := lab.agents(t)
	change := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"agent","image":%q,"args":[]}]}}}}`, node.PauseImage)
	if _, err := lab.kubectl(t.Context(), "-n", system, "patch", "daemonset/podid-agent", "-p", change); err != nil {
		t.Fatal(err)
	}
	undone := false
	undo := func(ctx context.Context) {
		if undone {
			return
		}
		undone = true
		for _, args := range [][]string{{"undo", "daemonset/podid-agent"}, {"status", "daemonset/podid-agent", "--timeout=180s"}} {
			if _, err := lab.kubectl(ctx, append([]string{"-n", system, "rollout"}, args...)...); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 4*time.Minute)
		defer cancel()
		undo(ctx)
	})
	apiserver.Eventually(t, 2*time.Minute, "the new agent to run", func(ctx context.Context) error {
		pods, err := lab.Client.CoreV1().Pods(system).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
		if err != nil {
			return err
		}
		for i := range pods.Items {
			for _, c := range pods.Items[i].Status.ContainerStatuses {
				if c.Image == node.PauseImage && c.State.Running != nil {
					return nil
				}
			}
		}
		return fmt.Errorf("none of %d does", len(pods.Items))
	})
	for _, n := range lab.Nodes { // long enough for a probe or two
		w.bear(t, n)
	}
	for _, n := range lab.Nodes {
		got, err := lab.Client.CoreV1().Pods(system).Get(t.Context(), before[n.Name].Name, metav1.GetOptions{})
		if err != nil || got.DeletionTimestamp != nil {
			t.Errorf("the agent of %s was taken away for one that does not serve: %v", n.Name, err)
		}
	}
	undo(t.Context())
	for _, n := range lab.Nodes {
		w.bear(t, n)
	}
	w.unharmed(t)
}

// TestRestartInPlace: the agent's container is killed. It starts again with the cache of before; what fails meanwhile ends
// within seconds.
func TestRestartInPlace(t *testing.T) {
	w := lab.work(t)
	agents := lab.agents(t)
	for _, n := range lab.Nodes {
		w.kept(t, n, agents[n.Name])
		if err := n.Kill(t.Context(), system, "agent"); err != nil {
			t.Fatal(err)
		}
		apiserver.Eventually(t, time.Minute, "the agent of "+n.Name+" to have started again", func(ctx context.Context) error {
			got, err := lab.Client.CoreV1().Pods(system).Get(ctx, agents[n.Name].Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if c := got.Status.ContainerStatuses[0]; c.RestartCount == agents[n.Name].Status.ContainerStatuses[0].RestartCount || !c.Ready {
				return fmt.Errorf("%d restarts, ready: %v", c.RestartCount, c.Ready)
			}
			return nil
		})
		w.bear(t, n)
		hits, misses := lab.cache(t, n)
		if hits < loadRest || misses > 0 {
			t.Errorf("the agent of %s had %.0f hits and %.0f misses: it did not read what was kept", n.Name, hits, misses)
		}
		r := w.report(t, n)
		if took := r.LastFailure.Sub(r.FirstFailure); took > restartLimit || r.Gap() > restartLimit {
			t.Errorf("%s: requests failed for %s, the longest gap is %s: %v", n.Name, took, r.Gap(), r.Errors)
		}
		lab.signed(t, n)
	}
	w.once(t)
	w.tell(t)
}

// work is a loaded pod on each node, and others whose credentials are cached there.
type work struct {
	*bed
	namespace string
	pods      map[types.UID]string
}

// A report is what a loaded pod prints.
type report struct {
	Asked        int       `json:"asked"`
	Failed       int       `json:"failed"`
	FirstGood    time.Time `json:"firstGood"`
	FirstFailure time.Time `json:"firstFailure"`
	LastFailure  time.Time `json:"lastFailure"`
	GapMs        int64     `json:"gapMs"`
	SlowestMs    int64     `json:"slowestMs"`
	Keys         []string  `json:"keys"`
	Errors       []string  `json:"errors"`
}

// Gap is the longest time between two good answers.
func (r report) Gap() time.Duration { return time.Duration(r.GapMs) * time.Millisecond }

// work starts the pods and returns when all have credentials.
func (b *bed) work(t *testing.T) *work {
	t.Helper()
	w := &work{bed: b, namespace: b.namespace(t, nil), pods: map[types.UID]string{}}
	b.associate(t, w.namespace, "default", "upgrade-"+w.namespace)
	for _, n := range b.Nodes {
		for _, pod := range []*corev1.Pod{
			newPod("load-"+n.Name, "default", on(n), running("load", loadPace)),
			newPod("sdk-"+n.Name, "default", on(n), running("credentials", "250ms")),
			newPod("quiet-"+n.Name, "default", on(n), running("credentials", "2s")),
		} {
			made := b.run(t, w.namespace, pod)
			w.pods[made.UID] = made.Name
		}
	}
	for _, n := range b.Nodes {
		for _, pod := range []string{"sdk-", "quiet-"} {
			b.waitLine(t, 2*time.Minute, w.namespace, pod+n.Name, "credentials", func(l line) bool { return l.AccessKeyID != "" })
		}
		w.bear(t, n)
	}
	return w
}

// report is the last one of a node's loaded pod.
func (w *work) report(t *testing.T, n *node.Node) (r report) {
	t.Helper()
	apiserver.Eventually(t, time.Minute, "a report of the load on "+n.Name, func(ctx context.Context) error {
		var err error
		r, err = w.lastReport(ctx, n)
		return err
	})
	return r
}

func (w *work) lastReport(ctx context.Context, n *node.Node) (r report, err error) {
	tail := int64(1)
	text, err := w.Client.CoreV1().Pods(w.namespace).GetLogs("load-"+n.Name, &corev1.PodLogOptions{TailLines: &tail}).DoRaw(ctx)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// bear waits until a node's loaded pod has asked a good while longer.
func (w *work) bear(t *testing.T, n *node.Node) {
	t.Helper()
	from := -1
	apiserver.Eventually(t, time.Minute, "load on "+n.Name, func(ctx context.Context) error {
		r, err := w.lastReport(ctx, n)
		switch good := r.Asked - r.Failed; {
		case err != nil:
			return err
		case good == 0:
			return fmt.Errorf("nothing but failures: %v", r.Errors)
		case from < 0:
			from = good
			fallthrough
		case good < from+2*loadRest:
			return fmt.Errorf("%d good answers more", good-from)
		}
		return nil
	})
}

// unharmed requires that no request failed and no pod was exchanged for twice.
func (w *work) unharmed(t *testing.T) {
	t.Helper()
	for _, n := range w.Nodes {
		if r := w.report(t, n); r.Failed > 0 || len(r.Keys) != 1 {
			t.Errorf("%s: %d of %d requests failed, with %d sessions: %v", n.Name, r.Failed, r.Asked, len(r.Keys), r.Errors)
		}
		for _, pod := range []string{"sdk-" + n.Name, "quiet-" + n.Name} {
			lines, err := w.lines(t.Context(), w.namespace, pod)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range lines {
				if l.Error != "" {
					t.Errorf("at %s %s was told %s", l.At.Format(time.TimeOnly), pod, l.Error)
				}
			}
		}
	}
	w.once(t)
	w.tell(t)
}

// once requires that the control plane issued one session to each pod: its audit log has them all.
func (w *work) once(t *testing.T) {
	t.Helper()
	text, err := w.log(t.Context(), system, "podid-0", "podid")
	if err != nil {
		t.Fatal(err)
	}
	issued := map[string]int{}
	for raw := range strings.Lines(text) {
		if !strings.Contains(raw, w.namespace) {
			continue
		}
		var e struct {
			EventName string `json:"eventName"`
			Podid     struct {
				AccessKeyIDIssued string       `json:"accessKeyIdIssued"`
				SessionTags       []sessionTag `json:"sessionTags"`
			} `json:"podid"`
		}
		if json.Unmarshal([]byte(raw), &e) != nil || e.EventName != "AssumeRoleForPodIdentity" || e.Podid.AccessKeyIDIssued == "" {
			continue
		}
		for _, tag := range e.Podid.SessionTags {
			if name := w.pods[types.UID(tag.Value)]; tag.Key == "kubernetes-pod-uid" && name != "" {
				issued[name]++
			}
		}
	}
	for _, name := range w.pods {
		if issued[name] != 1 {
			t.Errorf("%d sessions were issued to %s instead of 1", issued[name], name)
		}
	}
	t.Logf("%d pods, sessions issued: %v", len(w.pods), issued)
}

func (w *work) tell(t *testing.T) {
	t.Helper()
	for _, n := range w.Nodes {
		r := w.report(t, n)
		t.Logf("%s: %d requests, %d failed, longest gap %s, slowest answer %d ms", n.Name, r.Asked, r.Failed, r.Gap(), r.SlowestMs)
		if r.Failed > 0 {
			t.Logf("%s: failures for %s: %v", n.Name, r.LastFailure.Sub(r.FirstFailure), r.Errors)
		}
	}
}

// kept waits until the agent has kept what the node's pods have.
func (w *work) kept(t *testing.T, n *node.Node, agent *corev1.Pod) {
	t.Helper()
	since := w.report(t, n).FirstGood
	file := filepath.Join(n.EmptyDir(agent, "state"), "state")
	apiserver.Eventually(t, time.Minute, "the state of the agent of "+n.Name, func(context.Context) error {
		info, err := os.Stat(file)
		if err == nil && !info.ModTime().After(since) {
			err = fmt.Errorf("it is of %s, before %s", info.ModTime(), since)
		}
		return err
	})
}

// roll starts all agents anew, and returns when the new ones are ready and the old ones gone.
func (b *bed) roll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	b.restart(ctx, t, "daemonset/podid-agent")
}

// agents are the pods of the agent by node, when there is one on each and it is ready.
func (b *bed) agents(t *testing.T) map[string]*corev1.Pod {
	t.Helper()
	var found map[string]*corev1.Pod
	apiserver.Eventually(t, time.Minute, "one agent on each node", func(ctx context.Context) error {
		pods, err := b.Client.CoreV1().Pods(system).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
		if err != nil {
			return err
		}
		found = map[string]*corev1.Pod{}
		for i := range pods.Items {
			p := &pods.Items[i]
			if len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].Ready {
				found[p.Spec.NodeName] = p
			}
		}
		if len(found) != len(b.Nodes) || len(pods.Items) != len(b.Nodes) {
			return fmt.Errorf("%d agents, ready on %d nodes", len(pods.Items), len(found))
		}
		return nil
	})
	return found
}

// cache is how many requests the agent of a node, the process that serves now, answered from the cache, and how many it did not.
func (b *bed) cache(t *testing.T, n *node.Node) (hits, misses float64) {
	t.Helper()
	out, err := n.Command(t.Context(), filepath.Join(b.bin, "test", "app"), "get", "http://127.0.0.1:2705/metrics").Output()
	if err != nil {
		t.Fatalf("metrics of the agent of %s: %v", n.Name, err)
	}
	for state, value := range map[string]*float64{"hit": &hits, "miss": &misses} {
		_, rest, ok := strings.Cut(string(out), fmt.Sprintf("\npod_identity_cache_state{state=%q} ", state))
		if !ok {
			t.Fatalf("no %s in the metrics of the agent of %s", state, n.Name)
		}
		if _, err := fmt.Sscan(rest, value); err != nil {
			t.Fatal(err)
		}
	}
	return hits, misses
}

// taint gives all nodes the startup taint.
func (b *bed) taint(t *testing.T) {
	t.Helper()
	for _, n := range b.Nodes {
		if _, err := b.kubectl(t.Context(), "taint", "node", n.Name, nodesign.Taint+"=:NoSchedule", "--overwrite"); err != nil {
			t.Fatal(err)
		}
	}
}

// signed waits until a node has no startup taint and the condition that its agent serves, and returns since when it has that.
func (b *bed) signed(t *testing.T, n *node.Node) (since metav1.Time) {
	t.Helper()
	apiserver.Eventually(t, 2*time.Minute, n.Name+" to show that its agent serves", func(ctx context.Context) error {
		got, err := b.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, taint := range got.Spec.Taints {
			if taint.Key == nodesign.Taint {
				return errors.New("it has the startup taint")
			}
		}
		for _, c := range got.Status.Conditions {
			if c.Type == nodesign.Condition && c.Status == corev1.ConditionTrue && c.Reason == nodesign.ReasonServing {
				since = c.LastTransitionTime
				return nil
			}
		}
		return fmt.Errorf("conditions: %+v", got.Status.Conditions)
	})
	return since
}
