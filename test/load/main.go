// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command load measures podid end to end and compares it with an empty
// net/http handler in the same run. It owns the figures that README and
// docs/performance.md name: server CPU per exchange and
// per AssumeRole, agent CPU per cache hit and the agent's other figures, time from an empty directory to
// ready, and resident memory when idle. It starts the real binaries, speaks only the wire, stays on loopback,
// and is bounded in count and time. It refuses to report a round in which any
// answer was not 200: a refusal is cheap and would flatter the figure.
//
// CPU is that of the server's process (user and system time by its
// CPU-time clock), so the generator's own work does not count, and a busy
// machine disturbs it far less than it does latencies.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

// Sets of figures.
const (
	setAll      = "all"
	setAgent    = "agent"
	setOperator = "operator"
	setFleet    = "fleet"
)

// options bound a run.
type options struct {
	server, agent string // binaries; an empty agent is not measured
	awsAgent      string // binary of AWS' agent; empty: ours is measured alone
	requests      int    // per round
	rounds        int
	connections   int
	settle        time.Duration // between ready and the look at memory
	limit         time.Duration // of the whole run
	check         bool
	keep          bool
	only          string // of the comparisons; empty: all
	set           string // of figures
	pods          int    // of the agent's set
	nodes         int    // of the fleet's set
	fleetPods     int
	fleetTime     time.Duration // in which they start
	operator      string        // binary of the operator's set
	awsWebhook    string        // binary of AWS' webhook; empty: ours is measured alone
	associations  int           // of the operator's set
	many          int           // associations of its large cluster
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == floorCommand {
		return floor(ctx, args[1:], stdout)
	}
	if len(args) > 0 && args[0] == attackCommand {
		return attackUntilEOF(ctx, args[1:], os.Stdin, stdout)
	}
	fs := flag.NewFlagSet("load", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var o options
	fs.StringVar(&o.server, "podid", "bin/podid", "the podid binary")
	fs.StringVar(&o.agent, "agent", "bin/podid-agent", "the podid-agent binary; empty: leave the agent out")
	fs.StringVar(&o.awsAgent, "aws-agent", "", "a binary of AWS' eks-pod-identity-agent to measure beside it in the agent's set")
	fs.IntVar(&o.requests, "n", 2500, "requests per round")
	fs.IntVar(&o.rounds, "rounds", 5, "rounds per target and protocol")
	fs.IntVar(&o.connections, "c", 16, "connections")
	fs.StringVar(&o.only, "only", "", "measure only this comparison: exchange or AssumeRole")
	fs.StringVar(&o.set, "set", setAll, "figures to make: all; agent, which needs no podid; operator; or fleet, pods that start on many nodes")
	fs.IntVar(&o.pods, "pods", 1000, "pods of the agent's set")
	fs.IntVar(&o.nodes, "nodes", 50, "nodes of the fleet's set, each a podid-agent")
	fs.IntVar(&o.fleetPods, "fleet-pods", 5000, "pods of the fleet's set")
	fs.DurationVar(&o.fleetTime, "fleet-time", 40*time.Second, "time in which they start")
	fs.StringVar(&o.operator, "operator", "bin/podid-operator", "the podid-operator binary of the operator's set")
	fs.StringVar(&o.awsWebhook, "aws-webhook", "", "a binary of AWS' amazon-eks-pod-identity-webhook to measure beside it in the operator's set")
	fs.IntVar(&o.associations, "associations", 1000, "associations of the operator's set")
	fs.IntVar(&o.many, "many", 100_000, "associations of its large cluster")
	fs.DurationVar(&o.settle, "settle", 3*time.Second, "idle time before memory is read")
	fs.DurationVar(&o.limit, "limit", 10*time.Minute, "bound of the whole run")
	fs.BoolVar(&o.check, "check", false, "fail when a figure is over its bound")
	fs.BoolVar(&o.keep, "keep", false, "keep the data directory, for a look at logs and audit")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.requests < 1 || o.requests > 50_000 || o.rounds < 1 || o.rounds > 20 || o.connections < 1 || o.connections > 256 {
		return errors.New("want 1 to 50000 requests, 1 to 20 rounds, 1 to 256 connections")
	}
	if o.only != "" && o.only != exchange && o.only != assumeRole {
		return fmt.Errorf("-only %q: want %s or %s", o.only, exchange, assumeRole)
	}
	if o.set != setAll && o.set != setAgent && o.set != setOperator && o.set != setFleet || o.pods < 1 || o.pods > 2000 {
		return fmt.Errorf("-set %q, -pods %d: want %s, %s, %s or %s, and 1 to 2000 pods", o.set, o.pods, setAll, setAgent, setOperator, setFleet)
	}
	if o.associations < 1 || o.associations > 5000 || o.many < 1 || o.many > 200_000 {
		return errors.New("want 1 to 5000 associations, and 1 to 200000 in the large cluster")
	}
	if o.nodes < 1 || o.nodes > 200 || o.fleetPods < 1 || o.fleetPods > 20_000 || o.fleetTime <= 0 || o.fleetTime > o.limit {
		return errors.New("want 1 to 200 nodes, and 1 to 20000 pods that start within the limit")
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	if o.set == setAgent {
		return measureAgent(ctx, o, stdout, stderr)
	}
	if o.set == setFleet {
		return measureFleet(ctx, o, stdout, stderr)
	}
	if o.set == setOperator {
		return measureOperator(ctx, o, stdout, stderr)
	}
	rep, err := measure(ctx, o, stderr)
	if err != nil {
		return err
	}
	if err := rep.write(stdout); err != nil {
		return err
	}
	if o.check {
		return rep.verdict()
	}
	return nil
}
