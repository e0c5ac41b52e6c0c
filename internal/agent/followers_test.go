// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"podid/internal/agent/kubeapi"
	"podid/internal/agent/nodesign"
)

// kube is an API server with a watch of pods that a test writes.
type kube struct{ watch chan io.ReadCloser }

func (k *kube) Do(ctx context.Context, in kubeapi.Request) (*http.Response, error) {
	if in.Query.Get("watch") == "" {
		return &http.Response{Body: io.NopCloser(strings.NewReader(`{"metadata":{"resourceVersion":"1"},"items":[]}`))}, nil
	}
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { _ = w.CloseWithError(ctx.Err()) })
	go func() {
		defer w.Close() //nolint:errcheck // a test
		select {
		case body := <-k.watch:
			_, _ = io.Copy(w, body)
			<-ctx.Done()
		case <-ctx.Done():
		}
	}()
	return &http.Response{Body: r}, nil
}

func TestPodsGone(t *testing.T) {
	auth, api := newStubAuth(t), newAPIServer(t)
	cfg := testConfig(t, auth, io.Discard)
	cfg.Tokens = api.config()
	k := &kube{watch: make(chan io.ReadCloser)}
	cfg.Kubernetes = &Kubernetes{API: k, Node: "node-1", Pods: true}
	a := startAgent(t, cfg)
	ask(t, a.Addrs()[0], api.token("p", "node-1", 1))
	ask(t, a.Addrs()[0], api.token("q", "node-1", 1))
	k.watch <- io.NopCloser(strings.NewReader(`{"type":"DELETED","object":{"metadata":{"uid":"p","resourceVersion":"2"}}}`))
	waitFor(t, func() bool { return metric(t, a, "podid_agent_cache_entries") == "1" })
	if metric(t, a, `podid_agent_following{what="pods"}`) != "1" {
		t.Error("the metric does not say that pods are watched")
	}
}

// TestState: the node shows whether the agent can serve, and an outage is no reason against it.
func TestState(t *testing.T) {
	auth := newStubAuth(t)
	cfg := testConfig(t, auth, io.Discard)
	missing := errors.New("no session")
	cfg.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		if missing != nil {
			return aws.Credentials{}, missing
		}
		return nodeIdentity(ctx)
	})
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := func(reason, text string) {
		t.Helper()
		s := a.state(t.Context())
		if s.Reason != reason || !strings.Contains(s.Message, text) || s.Ready != (reason != nodesign.ReasonNot) {
			t.Errorf("%+v, want %s", s, reason)
		}
	}
	want(nodesign.ReasonNot, "no session")
	missing = nil
	want(nodesign.ReasonServing, "")
	a.metrics.down.Store(true)
	missing = errors.New("lost")
	want(nodesign.ReasonCached, "EKS Auth does not answer")
	a.addrs = []string{"127.0.0.1:1"}
	want(nodesign.ReasonNot, "127.0.0.1:1")
}

// TestAssociationChanged: what the feed tells takes a denied pod's credentials away at once.
func TestAssociationChanged(t *testing.T) {
	auth, api := newStubAuth(t), newAPIServer(t)
	cfg := testConfig(t, auth, io.Discard)
	cfg.Tokens = api.config()
	cfg.FollowAssociations = true
	change := make(chan string)
	auth.feed = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") == "" {
			fmt.Fprint(w, `{"clusterUid":"u","revision":1,"complete":true}`) //nolint:errcheck // a test server
			return
		}
		select {
		case body := <-change:
			fmt.Fprint(w, body) //nolint:errcheck // a test server
		case <-r.Context().Done():
		}
	}
	a := startAgent(t, cfg)
	token := api.token("p", "node-1", 1)
	if status, body := ask(t, a.Addrs()[0], token); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	auth.respond(refuse(http.StatusNotFound, "ResourceNotFoundException", "no association"))
	change <- `{"clusterUid":"u","revision":2,"deleted":[{"namespace":"ns","serviceAccount":"sa"}]}`
	waitFor(t, func() bool { status, _ := ask(t, a.Addrs()[0], token); return status == http.StatusNotFound })
	if metric(t, a, `podid_agent_following{what="associations"}`) != "1" {
		t.Error("the metric does not say that the feed is followed")
	}
}
