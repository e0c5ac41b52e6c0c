// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package refusals_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"podid/internal/operator/refusals"
)

// plane answers one question after the other; then it waits.
type plane struct {
	answers []any // string or error

	mu    sync.Mutex
	calls []string
}

func (p *plane) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

func (p *plane) Call(ctx context.Context, method, path string, _, out any) error {
	p.mu.Lock()
	p.calls = append(p.calls, method+" "+path)
	p.mu.Unlock()
	if len(p.answers) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	a := p.answers[0]
	p.answers = p.answers[1:]
	if err, ok := a.(error); ok {
		return err
	}
	return json.Unmarshal([]byte(a.(string)), out)
}

func answer(revision int, list ...string) string {
	return fmt.Sprintf(`{"clusterUid": "u", "revision": %d, "complete": false, "refusals": [%s]}`, revision, strings.Join(list, ","))
}

func refusal(pod, more string) string {
	return fmt.Sprintf(`{"namespace": "n", "pod": %q, "podUid": "uid-%s", "serviceAccount": "s", "reason": "trust-policy-denied", "firstSeen": 1795341000.1, "lastSeen": 1795341002.5, "requestId": "r-1"%s}`, pod, pod, more)
}

func newTeller(t *testing.T, p *plane, funcs interceptor.Funcs) (*refusals.Teller, client.Client) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	kube := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(funcs).Build()
	m, err := refusals.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return refusals.New(refusals.Config{Cluster: "my/cluster", Caller: p, Client: kube, Metrics: m, Log: slog.New(slog.DiscardHandler)}), kube
}

func events(t *testing.T, kube client.Client) []corev1.Event {
	t.Helper()
	var list corev1.EventList
	if err := kube.List(context.Background(), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// TestTell: one Event for a pod and a reason, which counts, and the same one
// for another leader.
func TestTell(t *testing.T) {
	full := refusal("app-1", `, "count": 2, "associationId": "a-1", "sid": "Only", "conditionKey": "aws:SourceArn"`)
	p := &plane{answers: []any{answer(7, full), answer(9, refusal("app-1", `, "count": 5`), `{"namespace": "n", "reason": "x"}`), answer(9, full)}}
	teller, kube := newTeller(t, p, interceptor.Funcs{})
	if err := teller.Step(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	got := events(t, kube)
	if len(got) != 1 {
		t.Fatalf("%d events", len(got))
	}
	e := got[0]
	const want = "EKS Auth refused credentials: the role's trust policy does not let this pod assume it. Reason trust-policy-denied, association a-1, statement Only, condition key aws:SourceArn, request id r-1"
	if e.Message != want || e.Type != "Warning" || e.Reason != "CredentialsRefused" || e.InvolvedObject.UID != "uid-app-1" || e.InvolvedObject.Kind != "Pod" || e.Count != 2 || e.LastTimestamp.Unix() != 1795341002 {
		t.Errorf("%+v", e)
	}
	if err := teller.Step(t.Context(), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if got = events(t, kube); len(got) != 1 || got[0].Count != 5 {
		t.Errorf("%+v", got)
	}
	if fmt.Sprint(p.asked()) != "[GET /podid/v1/clusters/my%2Fcluster/refusals? GET /podid/v1/clusters/my%2Fcluster/refusals?after=7&clusterUid=u&wait=20]" {
		t.Errorf("asked %q", p.asked())
	}
	if !teller.NeedLeaderElection() {
		t.Error("every replica would tell")
	}
}

// TestTellTrouble: what can never be told is left; what could be later is
// asked for again.
func TestTellTrouble(t *testing.T) {
	group := schema.GroupResource{Resource: "events"}
	for name, c := range map[string]struct {
		err   error
		again bool
	}{
		"namespace is going": {apierrors.NewForbidden(group, "x", errors.New("being terminated")), false},
		"no such namespace":  {apierrors.NewNotFound(group, "x"), false},
		"API server is away": {errors.New("connection refused"), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := &plane{answers: []any{answer(7, refusal("a", "")), answer(7, refusal("a", ""))}}
			teller, _ := newTeller(t, p, interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return c.err }})
			if err := teller.Step(t.Context(), 0); (err != nil) != c.again {
				t.Errorf("got %v", err)
			}
			_ = teller.Step(t.Context(), 0)
			if again := !strings.Contains(p.asked()[1], "after=7"); again != c.again {
				t.Errorf("asked %q", p.asked())
			}
		})
	}
	p := &plane{answers: []any{"{}"}}
	teller, _ := newTeller(t, p, interceptor.Funcs{})
	if err := teller.Step(t.Context(), 0); err == nil {
		t.Error("an answer about no cluster is taken")
	}
}

// TestStart: it goes on after failures, sooner after those that pass.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := &smithy.GenericAPIError{Code: "AccessDeniedException", Fault: smithy.FaultClient}
		p := &plane{answers: []any{errors.New("away"), denied, answer(1), answer(2)}}
		teller, _ := newTeller(t, p, interceptor.Funcs{})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- teller.Start(ctx) }()
		for _, c := range []struct {
			after time.Duration
			asked int
		}{{0, 1}, {time.Second, 2}, {10 * time.Second, 2}, {20 * time.Second, 5}} {
			time.Sleep(c.after)
			synctest.Wait()
			if len(p.asked()) != c.asked {
				t.Errorf("after %s: asked %q", c.after, p.asked())
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
