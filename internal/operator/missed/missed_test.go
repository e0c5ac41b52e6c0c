// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package missed

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"podid/internal/operator/podpatch"
)

// world is a cluster whose service accounts named sa have an association.
type world struct {
	t   *testing.T
	c   client.WithWatch
	f   *Finder
	now time.Time

	registry *prometheus.Registry
}

func (w *world) Known(_, account string) (string, int64, bool) {
	return "a-0123456789abcdefg", 7, account == "sa" || account == "default"
}

func newWorld(t *testing.T, rate Rate) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), c: fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "apps"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "off", Labels: map[string]string{"podid.dev/injection": "disabled"}}},
	).Build()}
	w.f = w.finder(rate)
	return w
}

// finder is that of a leader that knows nothing yet.
func (w *world) finder(rate Rate) *Finder {
	w.t.Helper()
	w.registry = prometheus.NewRegistry()
	m, err := NewMetrics(w.registry)
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := New(Config{
		Client: w.c, Feed: w, Namespace: "podid-system", Restart: rate, Metrics: m, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// pod is one of the service account sa, a minute old.
func (w *world) pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name, UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(w.now.Add(-time.Minute))},
		Spec:       corev1.PodSpec{ServiceAccountName: "sa"}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func ownedBy(kind, name, hash string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: name, Controller: &yes}}
		if hash != "" {
			p.Labels = map[string]string{"pod-template-hash": hash}
		}
	}
}

func (w *world) look(times int) {
	for range times {
		w.f.look(w.t.Context())
	}
}

func (w *world) events() []corev1.Event {
	w.t.Helper()
	var list corev1.EventList
	if err := w.c.List(w.t.Context(), &list); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// counted is the metric.
func (w *world) counted() (n float64) {
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "podid_operator_missed_pods" {
			n = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return n
}

func TestKeep(t *testing.T) {
	w := newWorld(t, Rate{})
	label := func(k, v string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Labels = map[string]string{k: v} }
	}
	for _, tc := range []struct {
		name   string
		change func(*corev1.Pod)
		kept   bool
	}{
		{"plain", func(*corev1.Pod) {}, true},
		{"injected", label(podpatch.LabelEnabled, "enabled"), false},
		{"injected by a webhook without label", func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "x"}, {Name: volume}} }, false},
		{"with a role of the service account", func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "aws-iam-token"}} }, true},
		{"wants none", label(podpatch.LabelSkip, "true"), false},
		{"wants none, without a value", label(podpatch.LabelSkip, ""), false},
		{"going", func(p *corev1.Pod) { now := metav1.Now(); p.DeletionTimestamp = &now }, false},
		{"static", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := keep(w.pod("p", tc.change)); (got != nil) != tc.kept {
				t.Errorf("kept %+v", got)
			}
		})
	}
}

func TestTold(t *testing.T) {
	w := newWorld(t, Rate{})
	s := sink{w.f}
	s.Replace([]*corev1.Pod{w.pod("a"), w.pod("other", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "none" })})
	w.look(1)
	if len(w.events()) != 0 {
		t.Error("told at the first look")
	}
	w.look(3)
	events := w.events()
	if len(events) != 1 || w.counted() != 1 {
		t.Fatalf("%d events, %v counted", len(events), w.counted())
	}
	e := events[0]
	if e.InvolvedObject.UID != "uid-a" || e.InvolvedObject.Kind != "Pod" || e.Type != "Warning" || e.Reason != "NotInjected" ||
		!strings.Contains(e.Message, "The service account sa has the pod identity association a-0123456789abcdefg") {
		t.Errorf("told %+v", e)
	}

	w.f = w.finder(Rate{}) // another leader
	s = sink{w.f}
	s.Set(w.pod("a"))
	w.look(3)
	if n := len(w.events()); n != 1 {
		t.Errorf("another leader told again: %d events", n)
	}
	w.now = w.now.Add(tellAgain)
	w.look(2)
	if n := len(w.events()); n != 2 {
		t.Errorf("%d events after hours", n)
	}

	s.Set(w.pod("a", func(p *corev1.Pod) { now := metav1.Now(); p.DeletionTimestamp = &now }))
	w.look(1)
	if w.counted() != 0 {
		t.Error("a pod that goes is counted")
	}
	s.Set(w.pod("b"))
	s.Delete(w.pod("b"))
	w.look(2)
	if w.counted() != 0 || len(w.events()) != 2 {
		t.Error("a pod that is gone is counted or told")
	}
}

func TestAdvice(t *testing.T) {
	w := newWorld(t, Rate{})
	for _, tc := range []struct {
		name, namespace, want string
		change                func(*corev1.Pod)
	}{
		{"deployment", "apps", "kubectl -n apps rollout restart deployment/web", ownedBy("ReplicaSet", "web-5d4f", "5d4f")},
		{"replica set of nobody", "apps", "kubectl -n apps delete pod p, and the ReplicaSet web-5d4f replaces it", ownedBy("ReplicaSet", "web-5d4f", "")},
		{"stateful set", "apps", "kubectl -n apps rollout restart statefulset/db", ownedBy("StatefulSet", "db", "")},
		{"job", "apps", "kubectl -n apps delete pod p, and the Job j replaces it", ownedBy("Job", "j", "")},
		{"bare", "apps", "nothing owns it", func(*corev1.Pod) {}},
		{"excluded by label", "off", "Take the label podid.dev/injection=disabled off", func(*corev1.Pod) {}},
		{"kube-system", "kube-system", "the webhook is not asked about pods of this namespace", func(*corev1.Pod) {}},
		{"the operator's own", "podid-system", "the webhook is not asked about pods of this namespace", func(*corev1.Pod) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := keep(w.pod("p", tc.change))
			p.namespace = tc.namespace
			if got := message(p, "a-1", w.f.isExcluded(t.Context(), tc.namespace)); !strings.Contains(got, tc.want) || len(got) > 1024 {
				t.Errorf("said %q", got)
			}
		})
	}
}

// deployment makes an owner of pods.
func (w *world) deployment(name string, annotations, template map[string]string) {
	w.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: name, Annotations: annotations}}
	d.Spec.Template.Annotations = template
	if err := w.c.Create(w.t.Context(), d); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) restarted(name string) string {
	w.t.Helper()
	d := &appsv1.Deployment{}
	if err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: "apps", Name: name}, d); err != nil {
		w.t.Fatal(err)
	}
	return d.Spec.Template.Annotations[RestartedAt]
}

func TestRestart(t *testing.T) {
	w := newWorld(t, Rate{Every: time.Minute})
	w.deployment("web", nil, map[string]string{"kept": "yes"})
	w.deployment("no", map[string]string{RestartMissed: "off"}, nil)
	s := sink{w.f}
	for i := range 3 {
		s.Set(w.pod(fmt.Sprint("web-", i), ownedBy("ReplicaSet", "web-5d4f", "5d4f")))
	}
	s.Set(w.pod("no-1", ownedBy("ReplicaSet", "no-5d4f", "5d4f")))
	s.Set(w.pod("bare"))
	s.Set(w.pod("job-1", ownedBy("Job", "job", "")))
	w.look(3)
	first := w.restarted("web")
	if first != "2026-11-23T12:00:00Z" {
		t.Fatalf("restarted at %q", first)
	}
	for range 100 { // its pods stay missed: the webhook is away
		w.now = w.now.Add(2 * time.Minute)
		w.look(1)
	}
	if got := w.restarted("web"); got != first {
		t.Errorf("restarted again at %s", got)
	}
	w.now = w.now.Add(restartAgain)
	w.look(1)
	if w.restarted("web") == first {
		t.Error("not restarted after hours")
	}
	if got := w.restarted("no"); got != "" {
		t.Errorf("what wants no restart was restarted at %s", got)
	}
}

func TestRestartRate(t *testing.T) {
	w := newWorld(t, Rate{Every: 10 * time.Minute})
	s := sink{w.f}
	for _, name := range []string{"a", "b", "c"} {
		w.deployment(name, nil, nil)
		s.Set(w.pod(name+"-1", ownedBy("ReplicaSet", name+"-5d4f", "5d4f")))
	}
	count := func() (n int) {
		for _, name := range []string{"a", "b", "c"} {
			if w.restarted(name) != "" {
				n++
			}
		}
		return n
	}
	for want := 1; want <= 3; want++ {
		w.look(5)
		if got := count(); got != want {
			t.Fatalf("%d owners were restarted, want %d", got, want)
		}
		w.now = w.now.Add(11 * time.Minute)
	}
}

func TestNoRestartUnlessAsked(t *testing.T) {
	for _, tc := range []struct{ name, namespace string }{{"off", "apps"}, {"excluded", "off"}} {
		t.Run(tc.name, func(t *testing.T) {
			rate := Rate{}
			if tc.namespace == "off" {
				rate.Every = time.Second
			}
			w := newWorld(t, rate)
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: tc.namespace, Name: "web"}}
			if err := w.c.Create(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			sink{w.f}.Set(w.pod("web-1", ownedBy("ReplicaSet", "web-5d4f", "5d4f"), func(p *corev1.Pod) { p.Namespace = tc.namespace }))
			w.look(5)
			if err := w.c.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
				t.Fatal(err)
			}
			if d.Spec.Template.Annotations[RestartedAt] != "" {
				t.Error("restarted")
			}
		})
	}
}

func TestParseRate(t *testing.T) {
	for _, tc := range []struct {
		text  string
		every time.Duration
		ok    bool
	}{
		{"off", 0, true},
		{"10/h", 6 * time.Minute, true},
		{"1/30s", 30 * time.Second, true},
		{"2/m", 30 * time.Second, true},
		{"", 0, false},
		{"0/h", 0, false},
		{"-1/h", 0, false},
		{"10", 0, false},
		{"10/", 0, false},
		{"10/x", 0, false},
		{"1/100ms", 0, false},
		{"1/48h", 0, false},
		{"99999/h", 0, false},
	} {
		got, err := ParseRate(tc.text)
		if (err == nil) != tc.ok || got.Every != tc.every {
			t.Errorf("ParseRate(%q) = %v, %v", tc.text, got, err)
		}
	}
}
