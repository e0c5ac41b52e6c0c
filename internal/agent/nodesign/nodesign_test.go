// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package nodesign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"podid/internal/agent/kubeapi"
)

// cluster is an API server with one node.
type cluster struct {
	mu        sync.Mutex // guards all
	t         *testing.T
	taints    []string
	condition *condition
	calls     []string
	fail      []error // of the next calls
	before    func()  // the next patch of taints
}

func (c *cluster) Do(_ context.Context, in kubeapi.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, strings.TrimPrefix(in.Method+" "+in.Path, "GET /api/v1/nodes/n%2F1"))
	if len(c.fail) > 0 {
		err := c.fail[0]
		if c.fail = c.fail[1:]; err != nil {
			return nil, err
		}
	}
	answer := "{}"
	switch {
	case in.Method == http.MethodGet:
		answer = c.node()
	case strings.HasSuffix(in.Path, "/status"):
		if in.ContentType != "application/strategic-merge-patch+json" {
			c.t.Errorf("type %s", in.ContentType)
		}
		var n node
		if err := json.Unmarshal(in.Body, &n); err != nil || len(n.Status.Conditions) != 1 {
			c.t.Errorf("patch %s", in.Body)
		}
		c.condition = &n.Status.Conditions[0]
	default:
		if c.before != nil {
			c.before()
			c.before = nil
		}
		if err := c.apply(in); err != nil {
			return nil, err
		}
	}
	return &http.Response{Body: io.NopCloser(strings.NewReader(answer))}, nil
}

func (c *cluster) node() string {
	var taints []string
	for _, key := range c.taints {
		taints = append(taints, fmt.Sprintf(`{"key":%q,"effect":"NoSchedule"}`, key))
	}
	conditions := []any{map[string]string{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}}
	if c.condition != nil {
		conditions = append(conditions, c.condition)
	}
	list, _ := json.Marshal(conditions)
	return `{"spec":{"taints":[` + strings.Join(taints, ",") + `]},"status":{"conditions":` + string(list) + `,"images":[{"names":["x"]}]}}`
}

func (c *cluster) apply(in kubeapi.Request) error {
	var ops []patchOp
	if err := json.Unmarshal(in.Body, &ops); err != nil || in.ContentType != "application/json-patch+json" {
		c.t.Errorf("patch %s %s", in.ContentType, in.Body)
	}
	taints := slices.Clone(c.taints)
	for _, op := range ops {
		var i int
		if _, err := fmt.Sscanf(op.Path, "/spec/taints/%d", &i); err != nil || i >= len(taints) || op.Op == "test" && taints[i] != op.Value {
			return &kubeapi.StatusError{Status: http.StatusUnprocessableEntity, Reason: "Invalid"}
		}
		if op.Op == "remove" {
			taints = slices.Delete(taints, i, i+1)
		}
	}
	c.taints = taints
	return nil
}

type bed struct {
	*cluster
	state     State
	succeeded bool
	log       strings.Builder
	on        bool
	stop      func()
}

func start(t *testing.T, state State, change func(*bed)) *bed {
	t.Helper()
	b := &bed{cluster: &cluster{t: t, taints: []string{"other", Taint, "third", Taint}}, state: state}
	if change != nil {
		change(b)
	}
	s, err := New(Config{
		API: b.cluster, Node: "n/1", State: func(context.Context) State { return seen(b, func() State { return b.state }) },
		Succeeded: func() bool { return b.succeeded }, Log: slog.New(slog.NewTextHandler(&b.log, nil)),
		Following: func(on bool) { seen(b, func() bool { b.on = on; return on }) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return b
}

// seen looks at what the sign changes, or changes what it looks at.
func seen[T any](b *bed, what func() T) T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return what()
}

var (
	ready = State{Ready: true, Reason: ReasonServing}
	not   = State{Reason: ReasonNot, Message: "why"}
)

func TestTaintGoesWhenReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, not, nil)
		wait := func(d time.Duration) {
			b.mu.Unlock()
			time.Sleep(d)
			synctest.Wait()
			b.mu.Lock()
		}
		b.mu.Lock()
		if len(b.taints) != 4 || b.condition.Status != "False" || b.condition.Message != "why" || b.condition.Reason != ReasonNot {
			t.Errorf("taints %v, condition %+v", b.taints, b.condition)
		}
		began := b.condition.LastTransitionTime
		wait(time.Minute)
		b.state = ready
		wait(eagerInterval)
		if d := cmp.Diff([]string{"other", "third"}, b.taints); d != "" || b.condition.Status != "True" || !b.on {
			t.Errorf("%s condition %+v", d, b.condition)
		}
		if !b.condition.LastTransitionTime.After(began) {
			t.Error("the transition has no time of its own")
		}
		// A calm node: one look a minute, one write in five.
		b.calls = nil
		began = b.condition.LastTransitionTime
		wait(10*time.Minute + time.Second)
		writes := 0
		for _, c := range b.calls {
			if strings.HasPrefix(c, "PATCH") {
				writes++
			}
		}
		if len(b.calls)-writes != 10 || writes != 2 || b.condition.LastTransitionTime != began {
			t.Errorf("%d looks and %d writes in ten minutes, transition %s", len(b.calls)-writes, writes, b.condition.LastTransitionTime)
		}
		// Somebody taints the node anew, as when it joins again.
		b.taints = []string{Taint}
		wait(calmInterval)
		if len(b.taints) != 0 {
			t.Errorf("taints %v", b.taints)
		}
		b.mu.Unlock()
		b.stop()
		if b.condition.Status != "False" || b.condition.Reason != ReasonStopped {
			t.Errorf("condition after the end %+v", b.condition)
		}
	})
}

func TestSuccessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, ready, func(b *bed) { b.succeeded = true })
		b.stop()
		if b.condition.Status != "True" {
			t.Errorf("condition %+v although another process serves", b.condition)
		}
	})
}

// TestConflict: taints that changed between reading and writing are read again, and nobody else's is removed.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, ready, func(b *bed) { b.before = func() { b.taints = []string{"x", "other", "y", Taint, "z"} } })
		defer b.stop()
		if d := cmp.Diff([]string{"x", "other", "y", "z"}, seen(b, func() []string { return b.taints })); d != "" {
			t.Error(d)
		}
	})
}

func TestTroubles(t *testing.T) {
	forbidden := &kubeapi.StatusError{Status: http.StatusForbidden}
	for name, tc := range map[string]struct {
		fail []error
		wait time.Duration
	}{
		"forbidden":          {[]error{forbidden, forbidden}, 2 * forbiddenPause},
		"status forbidden":   {[]error{nil, forbidden}, forbiddenPause},
		"lost":               {[]error{errors.New("lost"), errors.New("lost")}, calmInterval},
		"conflict for ever":  {[]error{nil, nil, &kubeapi.StatusError{Status: 409}, nil, &kubeapi.StatusError{Status: 409}, nil, &kubeapi.StatusError{Status: 409}, nil, &kubeapi.StatusError{Status: 409}, nil, &kubeapi.StatusError{Status: 409}}, calmInterval},
		"taint is forbidden": {[]error{nil, nil, forbidden}, forbiddenPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, ready, func(b *bed) { b.fail = tc.fail })
				defer b.stop() // after the unlocking below
				b.mu.Lock()
				if b.on || slices.Contains(b.taints, "x") || len(b.taints) != 4 {
					t.Errorf("on %v, taints %v", b.on, b.taints)
				}
				b.mu.Unlock()
				time.Sleep(tc.wait + time.Second)
				synctest.Wait()
				b.mu.Lock()
				defer b.mu.Unlock()
				if !b.on || len(b.taints) != 2 || strings.Count(b.log.String(), "does not show") != 1 {
					t.Errorf("on %v, taints %v; log: %s", b.on, b.taints, b.log.String())
				}
			})
		})
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no error")
	}
}
