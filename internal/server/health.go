// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// checkTimeout bounds one round of all checks.
	checkTimeout = 5 * time.Second
	// checkAge is how long a round's result stands: anybody may ask.
	checkAge = time.Second
)

// Check is one line of /readyz?verbose.
type Check struct {
	Name string // kebab-case
	// Reason is shown to anybody when the check fails, so it says no more than
	// what is wrong: "the store does not answer". Run's error goes to the log.
	Reason string
	Run    func(context.Context) error
}

type health struct {
	checks   []Check
	now      func() time.Time
	log      *slog.Logger
	stopping func() bool

	mu     sync.Mutex
	at     time.Time // of the last round
	failed []bool    // by check
	errs   []error
}

func newHealth(checks []Check, now func() time.Time, log *slog.Logger, stopping func() bool) *health {
	return &health{checks: checks, now: now, log: log, stopping: stopping, failed: make([]bool, len(checks)), errs: make([]error, len(checks))}
}

var errStopping = errors.New("the server is stopping")

func (h *health) ready(ctx context.Context) error {
	if h.stopping() {
		return errStopping
	}
	for i, err := range h.round(ctx) {
		if err != nil {
			return fmt.Errorf("check %s: %w", h.checks[i].Name, err)
		}
	}
	return nil
}

// round returns each check's error, from a run that is at most checkAge old.
func (h *health) round(ctx context.Context) []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if age := now.Sub(h.at); !h.at.IsZero() && age >= 0 && age < checkAge {
		return h.errs
	}
	// Others may wait for the result: a caller who goes must not spoil it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	errs := make([]error, len(h.checks))
	for i, c := range h.checks {
		errs[i] = c.Run(ctx)
		switch failed := errs[i] != nil; {
		case failed && !h.failed[i]:
			h.log.WarnContext(ctx, "check fails", "check", c.Name, "err", errs[i])
		case !failed && h.failed[i]:
			h.log.InfoContext(ctx, "check passes again", "check", c.Name)
		}
		h.failed[i] = errs[i] != nil
	}
	h.at, h.errs = h.now(), errs
	return errs
}

func (h *health) serveLive(w http.ResponseWriter, r *http.Request) {
	answer(w, r, "livez", "[+]ping ok\n", true)
}

func (h *health) serveReady(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	var b strings.Builder
	ok := true
	line := func(name, reason string, failed bool) {
		if !failed {
			b.WriteString("[+]" + name + " ok\n")
			return
		}
		ok = false
		b.WriteString("[-]" + name + " failed: " + reason + "\n")
	}
	line("ping", "", false)
	for i, err := range h.round(r.Context()) {
		line(h.checks[i].Name, h.checks[i].Reason, err != nil)
	}
	line("shutdown", "the server is stopping", h.stopping())
	answer(w, r, "readyz", b.String(), ok)
}

// answer writes what Kubernetes' own /livez and /readyz write.
func answer(w http.ResponseWriter, r *http.Request, name, lines string, ok bool) {
	if !readOnly(w, r) {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache, private")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, verbose := r.URL.Query()["verbose"]
	body := "ok"
	switch {
	case !ok:
		w.WriteHeader(http.StatusServiceUnavailable)
		body = lines + name + " check failed\n"
	case verbose:
		body = lines + name + " check passed\n"
	}
	_, _ = io.WriteString(w, body) // a prober that is gone is nobody's error
}

func readOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return false
}
