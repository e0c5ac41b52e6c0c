// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package plane stands in for a control plane in tests of the operator that
// need no more of one than its feed of associations.
package plane

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"podid/internal/operator/podidclient"
)

// Plane tells a feed. Make one with New.
type Plane struct {
	// Client is an operator's way to it.
	Client *podidclient.Client

	mu         sync.Mutex
	associated map[string]int
	revision   int
	changed    chan struct{}
	stopped    chan struct{}
}

// New serves the associations, NAMESPACE/SERVICEACCOUNT each, until the test ends.
func New(t testing.TB, associations ...string) *Plane {
	t.Helper()
	p := &Plane{associated: map[string]int{}, changed: make(chan struct{}), stopped: make(chan struct{})}
	for _, a := range associations {
		p.Associate(a, true)
	}
	s := httptest.NewServer(p)
	var err error
	if p.Client, err = podidclient.New(podidclient.Config{
		Endpoint: s.URL, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(p.stopped)
		s.Close()
		p.Client.Close()
	})
	return p
}

// Associate makes an association, or takes one away.
func (p *Plane) Associate(association string, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision++
	if delete(p.associated, association); on {
		p.associated[association] = p.revision
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// ServeHTTP answers with all associations whenever one has changed.
func (p *Plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.Atoi(r.URL.Query().Get("after"))
	wait := r.URL.Query().Get("wait")
	p.mu.Lock()
	revision, changed := p.revision, p.changed
	p.mu.Unlock()
	if after == revision && wait != "" && wait != "0" {
		select {
		case <-changed:
		case <-r.Context().Done():
		case <-p.stopped:
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []map[string]any{}
	if after != p.revision {
		for i, a := range slices.Sorted(maps.Keys(p.associated)) {
			namespace, account, _ := strings.Cut(a, "/")
			all = append(all, map[string]any{"namespace": namespace, "serviceAccount": account, "associationId": fmt.Sprintf("a-%017d", i), "revision": p.associated[a]})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"clusterUid": "c", "revision": p.revision, "complete": after != p.revision, "associations": all})
}
