// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Bounds of the figures: what podid promises.
const (
	maxExchangeRatio   = 3.0
	maxAssumeRoleRatio = 2.0
	maxHitRatio        = 1.6
	maxReady           = 1500 * time.Millisecond
	maxServerRSS       = 80e6
	maxAgentRSS        = 15e6
)

// pair is the rounds of one comparison.
type pair struct {
	name      string
	proto     protocol
	got, base []result
}

type report struct {
	options
	readyWall, readyCPU        time.Duration
	idleRSS, loadRSS, agentRSS int64
	pairs                      []*pair
}

func newReport(o options) *report { return &report{options: o} }

func (r *report) ready(w *world) {
	r.readyWall, r.readyCPU, r.idleRSS = w.readyWall, w.readyCPU, w.idleRSS
}

// pair begins a comparison.
func (r *report) pair(name string, proto protocol) *pair {
	p := &pair{name: name, proto: proto}
	r.pairs = append(r.pairs, p)
	return p
}

// median is by CPU per request: neither the luckiest round nor the unluckiest.
func median(rounds []result) result {
	s := slices.Clone(rounds)
	slices.SortFunc(s, func(a, b result) int { return int(a.cpuPerRequest() - b.cpuPerRequest()) })
	return s[len(s)/2]
}

// ratio is the median of the rounds' ratios: the two halves of a round were
// measured one right after the other, so a busy minute meets both.
func (p *pair) ratio() float64 {
	var all []float64
	for i := range p.got {
		if base := p.base[i].cpuPerRequest(); base > 0 { // 0: a round too short for the clock
			all = append(all, float64(p.got[i].cpuPerRequest())/float64(base))
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func (p *pair) bound() float64 {
	switch p.name {
	case agentHit:
		return maxHitRatio
	case assumeRole:
		return maxAssumeRoleRatio
	default:
		return maxExchangeRatio
	}
}

// comparison is a pair in the JSON line. Durations are in microseconds.
type comparison struct {
	Name         string  `json:"name"`
	Protocol     string  `json:"protocol"`
	CPU          float64 `json:"cpuMicroseconds"`
	FloorCPU     float64 `json:"floorCpuMicroseconds"`
	Ratio        float64 `json:"ratio"`
	Bound        float64 `json:"bound"`
	PerSecond    float64 `json:"requestsPerSecond"`
	PerCore      float64 `json:"requestsPerCoreSecond"` // 0: a round too short for the clock
	P50          int64   `json:"p50Microseconds"`
	P99          int64   `json:"p99Microseconds"`
	AnswerLength int     `json:"answerBytes"`
}

func (p *pair) comparison() comparison {
	got, base := median(p.got), median(p.base)
	return comparison{
		Name: p.name, Protocol: string(p.proto), CPU: micro(got.cpuPerRequest()), FloorCPU: micro(base.cpuPerRequest()),
		Ratio: p.ratio(), Bound: p.bound(), PerSecond: float64(got.requests) / got.wall.Seconds(),
		PerCore: perCore(got), P50: percentile(got.took, 50).Microseconds(), P99: percentile(got.took, 99).Microseconds(), AnswerLength: got.answer,
	}
}

func perCore(r result) float64 {
	if r.cpu <= 0 {
		return 0
	}
	return float64(r.requests) / r.cpu.Seconds()
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// write prints one line of JSON and a table.
func (r *report) write(w io.Writer) error {
	line := struct {
		Go          string       `json:"go"`
		CPUs        int          `json:"cpus"`
		Load        string       `json:"loadAverage"`
		Connections int          `json:"connections"`
		Requests    int          `json:"requestsPerRound"`
		Rounds      int          `json:"rounds"`
		ReadyMs     int64        `json:"readyMilliseconds"`
		ReadyCPUMs  int64        `json:"readyCpuMilliseconds"`
		IdleRSS     int64        `json:"serverIdleBytes"`
		LoadRSS     int64        `json:"serverAfterLoadBytes"`
		AgentRSS    int64        `json:"agentIdleBytes,omitempty"`
		Comparisons []comparison `json:"comparisons"`
	}{
		runtime.Version(), runtime.NumCPU(), loadAverage(), r.connections, r.requests, r.rounds,
		r.readyWall.Milliseconds(), r.readyCPU.Milliseconds(), r.idleRSS, r.loadRSS, r.agentRSS, nil,
	}
	for _, p := range r.pairs {
		line.Comparisons = append(line.Comparisons, p.comparison())
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s\n\n", text); err != nil {
		return err
	}
	return r.table(w, line.Comparisons)
}

func (r *report) table(w io.Writer, all []comparison) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(t, strings.Join(cells, "\t")) } //nolint:errcheck // Flush tells
	row("figure", "podid", "floor", "ratio", "bound", "requests/s", "a core-second", "p50", "p99")
	for _, c := range all {
		row(c.Name+", CPU, "+c.Protocol, fmt.Sprintf("%.0f us", c.CPU), fmt.Sprintf("%.0f us", c.FloorCPU), fmt.Sprintf("%.2f", c.Ratio),
			fmt.Sprintf("%.1f", c.Bound), fmt.Sprintf("%.0f", c.PerSecond), fmt.Sprintf("%.0f", c.PerCore),
			fmt.Sprintf("%d us", c.P50), fmt.Sprintf("%d us", c.P99))
	}
	row("empty directory to ready", fmt.Sprintf("%d ms (CPU %d ms)", r.readyWall.Milliseconds(), r.readyCPU.Milliseconds()), "", "", fmt.Sprintf("%d ms", maxReady.Milliseconds()))
	row("server, resident, idle", mega(r.idleRSS), "", "", mega(maxServerRSS))
	row("server, resident, after load", mega(r.loadRSS))
	if r.agentRSS > 0 {
		row("agent, resident, idle", mega(r.agentRSS), "", "", mega(maxAgentRSS))
	}
	return t.Flush()
}

func mega(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// loadAverage is of the last minute; "" where it cannot be read.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// verdict is an error that names every figure over its bound.
func (r *report) verdict() error {
	var over []error
	for _, p := range r.pairs {
		if got := p.ratio(); got > p.bound() {
			over = append(over, fmt.Errorf("%s over %s: %.2f times the floor's CPU, at most %.1f", p.name, p.proto, got, p.bound()))
		}
	}
	if r.readyWall > maxReady {
		over = append(over, fmt.Errorf("ready after %s, at most %s", r.readyWall.Round(time.Millisecond), maxReady))
	}
	if r.idleRSS > maxServerRSS {
		over = append(over, fmt.Errorf("the idle server holds %s, at most %s", mega(r.idleRSS), mega(maxServerRSS)))
	}
	if r.agentRSS > maxAgentRSS {
		over = append(over, fmt.Errorf("the idle agent holds %s, at most %s", mega(r.agentRSS), mega(maxAgentRSS)))
	}
	return errors.Join(over...)
}
