// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"
)

// returnAfter is how long the preferred endpoint is left alone after it failed.
const returnAfter = 30 * time.Second

// Endpoints are the base URLs of one control plane, the preferred first. One that gives no answer, or an error of its own,
// makes room for the next; the preferred one is tried again by one call every 30 s. It is safe for concurrent use.
type Endpoints struct {
	urls []*url.URL

	mu     sync.Mutex
	active int
	failed time.Time // when the preferred one was last found wanting
}

// ParseEndpoints reads a list of URLs, separated by commas; each is as ParseEndpoint wants it.
func ParseEndpoints(list string, allowPlainHTTP bool) (*Endpoints, error) {
	e := &Endpoints{}
	var problems []error
	for raw := range strings.SplitSeq(list, ",") {
		u, err := ParseEndpoint(strings.TrimSpace(raw), allowPlainHTTP)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		e.urls = append(e.urls, u)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return e, nil
}

// All are the URLs, the preferred first.
func (e *Endpoints) All() []*url.URL { return append([]*url.URL(nil), e.urls...) }

// Pick returns the number of the endpoint to try now, and its URL, which must not be changed.
func (e *Endpoints) Pick(now time.Time) (int, *url.URL) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.active
	if n != 0 && now.Sub(e.failed) >= returnAfter {
		n, e.failed = 0, now // the others stay where they are until this one says that it is back
	}
	return n, e.urls[n]
}

// Report tells how a try at the endpoint of that number went.
func (e *Endpoints) Report(n int, ok bool, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case ok && n == 0:
		e.active = 0
	case !ok && n == e.active:
		e.active = (n + 1) % len(e.urls)
		if n == 0 {
			e.failed = now
		}
	}
}
