// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	probeTimeout = 10 * time.Second
	// selfCheckInterval is how often the agent asks itself without being probed.
	selfCheckInterval = 15 * time.Second
)

// probe asks the agent's own addresses the way a pod would, and wants the answer that only this agent can give. An outage
// of EKS Auth is said in the body but is no failure: it must not take the agent away from pods that it can still serve.
type probe struct {
	addrs        func() []string
	witness      *witness
	upstreamDown func() bool
	client       *http.Client
}

func newProbe(addrs func() []string, w *witness, upstreamDown func() bool) *probe {
	return &probe{addrs: addrs, witness: w, upstreamDown: upstreamDown, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext},
	}}
}

// check asks every address; what is missing from the answer is well.
func (p *probe) check(ctx context.Context) map[string]error {
	wrong := map[string]error{}
	for _, addr := range p.addrs() {
		if err := p.ask(ctx, addr); err != nil {
			wrong[addr] = err
		}
	}
	return wrong
}

func (p *probe) ask(ctx context.Context, addr string) error {
	nonce, path := p.witness.question()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return errors.Unwrap(err) // without the nonce
	}
	return errors.Join(p.witness.check(resp, nonce), resp.Body.Close())
}

// ready answers 200, with a word when EKS Auth gave no answer the last time; 408 when an address did not answer in time,
// else 500, with the reason.
func (p *probe) ready(w http.ResponseWriter, r *http.Request) {
	p.answer(w, r, func(error) bool { return true })
}

// healthy is ready but for what another start of the agent would not help against: a port that something else takes.
func (p *probe) healthy(w http.ResponseWriter, r *http.Request) {
	p.answer(w, r, func(err error) bool {
		var stolen *stolenError
		return !errors.As(err, &stolen) && !errors.Is(err, errOtherAgent)
	})
}

func (p *probe) answer(w http.ResponseWriter, r *http.Request, counts func(error) bool) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	status := http.StatusOK
	var text strings.Builder
	for addr, err := range p.check(ctx) {
		fmt.Fprintf(&text, "not serving: %s: %v\n", addr, err)
		switch {
		case !counts(err):
		case errors.Is(err, context.DeadlineExceeded):
			status = http.StatusRequestTimeout
		default:
			status = http.StatusInternalServerError
		}
	}
	if text.Len() == 0 && p.upstreamDown() {
		text.WriteString("serving from cache, upstream down\n")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text.String()) // whoever asked does not wait for the text
}

// selfCheck tells log and metrics when something else answers on the agent's addresses, or nobody does.
func (a *Agent) selfCheck(ctx context.Context) {
	tick := time.NewTicker(selfCheckInterval)
	defer tick.Stop()
	before := map[string]string{}
	for {
		asking, cancel := context.WithTimeout(ctx, probeTimeout)
		wrong := a.probe.check(asking)
		cancel()
		if ctx.Err() != nil {
			return
		}
		a.report(ctx, wrong, before)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// report logs what is other than before.
func (a *Agent) report(ctx context.Context, wrong map[string]error, before map[string]string) {
	for _, addr := range a.Addrs() {
		err, text := wrong[addr], ""
		answering := 1.0
		if err != nil {
			answering, text = 0, err.Error()
		}
		a.metrics.answering.WithLabelValues(addr).Set(answering)
		switch {
		case text == before[addr]:
		case err != nil:
			a.cfg.Log.ErrorContext(ctx, "pods cannot ask for credentials", slog.String("address", addr), slog.String("err", text))
		default:
			a.cfg.Log.InfoContext(ctx, "pods can ask for credentials again", slog.String("address", addr))
		}
		before[addr] = text
	}
}

// probeMux serves the probes, and the metrics when there is something to gather.
func probeMux(p *probe, gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", p.healthy)
	mux.HandleFunc("/readyz", p.ready)
	if gatherer != nil {
		mux.Handle("/metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: probeTimeout}))
	}
	return mux
}
