// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const probeTimeout = 10 * time.Second

// probe asks the agent's own addresses the way a pod would, and wants the 404 that only the agent's door answers to "/".
// An outage of EKS Auth is said in the body but is no failure: it must not take the agent away from pods that it can
// still serve.
type probe struct {
	urls         []string
	upstreamDown func() bool
	client       *http.Client
}

func newProbe(addrs []string, upstreamDown func() bool) *probe {
	p := &probe{upstreamDown: upstreamDown, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext},
	}}
	for _, addr := range addrs {
		p.urls = append(p.urls, "http://"+addr+"/")
	}
	return p
}

// ServeHTTP answers 200, with a word when EKS Auth gave no answer the last time; 408 when an address did not answer in time, or 500.
func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	for _, url := range p.urls {
		err := p.ask(ctx, url)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			http.Error(w, "Request timed out", http.StatusRequestTimeout)
			return
		case err != nil:
			http.Error(w, "Internal Server Error occurred", http.StatusInternalServerError)
			return
		}
	}
	if p.upstreamDown() {
		_, _ = io.WriteString(w, "serving from cache, upstream down\n") // whoever asked does not wait for the text
	}
}

func (p *probe) ask(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusNotFound {
		return errors.New("answered by something else than the agent")
	}
	return nil
}

// probeMux serves the probes, and the metrics when there is something to gather.
func probeMux(p *probe, gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/healthz", p)
	mux.Handle("/readyz", p)
	if gatherer != nil {
		mux.Handle("/metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: probeTimeout}))
	}
	return mux
}
