// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stubMode is how the stub of EKS Auth answers.
type stubMode int

const (
	stubGrant stubMode = iota
	stubFail           // 500
	stubDeny           // 400, AccessDeniedException
	stubHang
)

// stub stands for EKS Auth where the agent is measured by itself.
type stub struct {
	srv  *http.Server
	base string
	done chan error

	mu    sync.Mutex
	mode  stubMode
	life  time.Duration
	calls []time.Time
	ends  time.Time // expiration of the last credentials
}

func newStub(ctx context.Context) (*stub, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &stub{base: "http://" + ln.Addr().String(), life: 6 * time.Hour, done: make(chan error, 1)}
	s.srv = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { s.done <- s.srv.Serve(ln) }()
	return s, nil
}

func (s *stub) close() error { return errors.Join(s.srv.Close(), ignoreClosed(<-s.done)) }

// set chooses the answers from now on, and forgets the calls until now.
func (s *stub) set(mode stubMode, life time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode, s.life, s.calls = mode, life, nil
}

// seen are the times of the calls since the last set.
func (s *stub) seen() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.calls...)
}

// end is when the last credentials expire.
func (s *stub) end() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends
}

// ServeHTTP answers one call.
func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // so that the end of a client that gave up is noticed
	if r.Method == http.MethodGet {
		feed(w, r)
		return
	}
	s.mu.Lock()
	s.calls = append(s.calls, time.Now())
	mode, ends := s.mode, time.Now().Add(s.life).Truncate(time.Second)
	if mode == stubGrant {
		s.ends = ends
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch mode {
	case stubHang:
		<-r.Context().Done()
	case stubFail:
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message":"outage"}`)
	case stubDeny:
		w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"message":"denied"}`)
	default:
		_, _ = fmt.Fprintf(w, `{"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/bench/eks-bench","assumeRoleId":"AROABENCH:eks-bench"},`+
			`"audience":"pods.eks.amazonaws.com","credentials":{"accessKeyId":"ASIABENCH00000000000","secretAccessKey":"%s","sessionToken":"%s","expiration":%d},`+
			`"podIdentityAssociation":{"associationArn":"arn:aws:eks:us-west-2:111122223333:podidentityassociation/c/a-bench","associationId":"a-bench"},`+
			`"subject":{"namespace":"bench","serviceAccount":"bench"}}`, strings.Repeat("k", 40), strings.Repeat("t", 1100), ends.Unix())
	}
}

// feed is podid's feed of associations, of which none ever changes.
func feed(w http.ResponseWriter, r *http.Request) {
	if seconds, err := strconv.Atoi(r.URL.Query().Get("wait")); err == nil {
		if pause(r.Context(), time.Duration(seconds)*time.Second) != nil {
			return
		}
	}
	_, _ = fmt.Fprintf(w, `{"clusterUid":"bench","revision":1,"complete":%t,"associations":[]}`, r.URL.Query().Get("clusterUid") == "")
}
