// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// measureFleet starts pods on many nodes, each node a real agent, before one real control plane: every pod asks once, on
// a connection of its own, and is measured from its side.
func measureFleet(ctx context.Context, o options, stdout, note io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "podid-load-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := openWorld(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.server.stop()) }()
	fmt.Fprintln(note, "load: fleet:", o.nodes, "agents") //nolint:errcheck // progress
	agents, err := w.startFleet(ctx, o, dir)
	defer func() {
		for _, a := range agents {
			err = errors.Join(err, a.process.stop())
		}
	}()
	if err != nil {
		return err
	}
	tokens, err := w.tokens.podTokens(o.fleetPods, w.accounts)
	if err != nil {
		return err
	}
	before, err := w.server.cpu()
	if err != nil {
		return err
	}
	fmt.Fprintln(note, "load: fleet:", o.fleetPods, "pods in", o.fleetTime) //nolint:errcheck // progress
	took, failed := startPods(ctx, agents, tokens, o.fleetTime)
	after, err := w.server.cpu()
	if err != nil {
		return err
	}
	slices.Sort(took)
	var b figures
	name := fmt.Sprintf("%d pods in %s over %d nodes: ", o.fleetPods, o.fleetTime, o.nodes)
	b.row(len(failed) > 0, name+"first requests that failed", "0", "%d", len(failed))
	if len(took) > 0 {
		p99 := percentile(took, 99)
		b.row(p99 > 50*time.Millisecond, name+"p99", "50 ms", "%.1f ms", p99.Seconds()*1000)
		b.row(false, name+"p50, slowest", "", "%.1f ms, %.1f ms", took[len(took)/2].Seconds()*1000, took[len(took)-1].Seconds()*1000)
	}
	b.row(false, name+"the server's CPU", "", "%.0f us a pod", micro((after-before)/time.Duration(o.fleetPods)))
	if len(failed) > 0 {
		err = fmt.Errorf("%d pods were not served at once: %w", len(failed), failed[0])
	}
	return errors.Join(err, b.write(stdout, "podid", o.check))
}

// fleetAgent is the agent of one node.
type fleetAgent struct {
	process *process
	base    string
}

// startFleet starts the agents, which verify tokens as they do on nodes.
func (w *world) startFleet(ctx context.Context, o options, dir string) (agents []fleetAgent, err error) {
	keys, err := json.Marshal(w.tokens.jwks())
	if err != nil {
		return nil, err
	}
	jwks := filepath.Join(dir, "jwks")
	if err := os.WriteFile(jwks, keys, 0o600); err != nil {
		return nil, err
	}
	for i := range o.nodes {
		p, base, err := w.startAgent(ctx, o, filepath.Join(dir, "node-"+strconv.Itoa(i)), "--jwks-file", jwks, "--issuer", issuer)
		if err != nil {
			return agents, fmt.Errorf("node %d: %w", i, err)
		}
		agents = append(agents, fleetAgent{p, base})
	}
	return agents, nil
}

// startPods lets each pod ask at its time, and returns how long the served ones waited.
func startPods(ctx context.Context, agents []fleetAgent, tokens []string, within time.Duration) (took []time.Duration, failed []error) {
	var mu sync.Mutex
	var pods sync.WaitGroup
	begin := time.Now()
	for i, token := range tokens {
		if err := pause(ctx, time.Until(begin.Add(within*time.Duration(i)/time.Duration(len(tokens))))); err != nil {
			failed = append(failed, err)
			break
		}
		in := request{method: http.MethodGet, path: "/v1/credentials", host: "169.254.170.23", header: http.Header{"Authorization": {token}, "User-Agent": {"aws-sdk-go-v2/1.47.7"}}}
		pods.Go(func() {
			c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second}
			at := time.Now()
			_, err := send(ctx, c, agents[i%len(agents)].base, &in)
			waited := time.Since(at)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, fmt.Errorf("pod %d: %w", i, err))
				return
			}
			took = append(took, waited)
		})
	}
	pods.Wait()
	return took, failed
}
