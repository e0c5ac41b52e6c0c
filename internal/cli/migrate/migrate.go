// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package migrate owns what `podid import irsa` and `podid import eks` do: it
// compares what is to be taken over with what the control plane has, and makes
// a plan of lines, each a role, policy or association with what becomes of it
// and why. A plan is carried out line by line: a line that fails takes those
// along that need it, and no others. Every change is in an undo file before it
// is made, so that Revert can take it back after a crash as well.
//
// It refuses to overwrite: what exists and differs is left as it is, with the
// difference named. It changes a trust policy only if it is still the one that
// was judged, and takes back only what nobody has changed since. Where things
// are read from is none of its business: internal/cli/irsa and
// internal/cli/ekssource read.
package migrate

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/cli/clients"
)

// Action is what becomes of a line.
type Action string

// The actions.
const (
	Create Action = "create"
	Extend Action = "extend" // a trust policy, by one cluster
	Keep   Action = "keep"   // it is there and as it should be
	Refuse Action = "refuse" // nothing is done, for the reason given
)

// The kinds of lines.
const (
	KindPolicy         = "policy"
	KindRole           = "role"
	KindAssociation    = "association"
	KindServiceAccount = "service account" // one that cannot become an association
)

// Result is what came of a line.
type Result string

// The results. A line without one was only planned.
const (
	Done    Result = "done"
	Failed  Result = "failed"
	NotDone Result = "not done" // because of another line, or an interrupt
	Left    Result = "left"     // not taken back, for the reason given
	Gone    Result = "gone"     // there was nothing to take back
)

// Line is one thing of a plan.
type Line struct {
	Kind   string
	Name   string
	Action Action
	Why    string
	Notes  []string // what is changed on the way: values rewritten, statements dropped
	Diff   string   // of a trust policy that is extended
	Result Result
	Err    error

	change change
	needs  []*Line
}

// Pending reports whether the line is something to do.
func (l *Line) Pending() bool { return l.Action == Create || l.Action == Extend }

func (l *Line) refuse(format string, args ...any) {
	l.Action, l.Why = Refuse, fmt.Sprintf(format, args...)
}

// Plan is what an import would do, in the order in which it is done.
type Plan struct {
	Import   string // irsa or eks
	Target   Target
	Lines    []*Line
	Undo     string // name of the undo file, once there is one
	Approved bool
}

// Target is where things are taken to.
type Target struct {
	Account, Partition  string
	Cluster, ClusterARN string
}

// FindTarget asks for the account and the cluster.
func FindTarget(ctx context.Context, c *clients.Clients, cluster string) (Target, error) {
	id, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Target{}, fmt.Errorf("ask for the account: %w", err)
	}
	about, err := c.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &cluster})
	if err != nil {
		return Target{}, err
	}
	t := Target{Account: aws.ToString(id.Account), Cluster: cluster, ClusterARN: aws.ToString(about.Cluster.Arn)}
	t.Partition = strings.SplitN(t.ClusterARN, ":", 3)[1]
	return t, nil
}

// Count counts the lines by action.
func (p *Plan) Count(a Action) int {
	n := 0
	for _, l := range p.Lines {
		if l.Action == a {
			n++
		}
	}
	return n
}

// Pending reports whether there is something to do.
func (p *Plan) Pending() bool { return p.Count(Create)+p.Count(Extend) > 0 }

// Complete reports whether every line is, or would be, as it should: nothing
// refused, nothing failed, nothing left.
func (p *Plan) Complete() bool {
	for _, l := range p.Lines {
		if l.Action == Refuse || l.Result == Failed || l.Result == NotDone || l.Result == Left {
			return false
		}
	}
	return true
}

func (p *Plan) add(l *Line) *Line {
	p.Lines = append(p.Lines, l)
	return l
}
