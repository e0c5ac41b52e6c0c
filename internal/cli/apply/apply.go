// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apply owns what files of associations come to on a control plane:
// the plan of what is there already, what is to be made and what is there but
// otherwise, and carrying it out. It changes nothing that exists and deletes
// nothing but what it made a moment ago: a file whose roles or associations
// exist with other contents is refused before the first change. It stands
// between clusterconfig, which reads the files, and setup, which makes each
// thing whole or not at all.
package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/cli/clients"
	"podid/internal/cli/clusterconfig"
	"podid/internal/cli/setup"
)

// The kinds of lines.
const (
	KindPolicy      = "policy"
	KindRole        = "role"
	KindAssociation = "association"
)

// The actions of a plan, and what became of them.
const (
	Create   = "create"
	Keep     = "keep"     // it exists as the file says
	Conflict = "conflict" // it exists otherwise, or cannot be made

	Created = "created"
	Kept    = "kept"
	Failed  = "failed"
	NotDone = "not done" // something else kept it from being tried
)

// Line is one thing of the plan.
type Line struct {
	Kind    string `json:"kind"`
	Cluster string `json:"cluster,omitempty"`
	Name    string `json:"name"`
	Action  string `json:"action"`
	Note    string `json:"note,omitempty"` // the role of an association; why it is a conflict
	Place   string `json:"place"`          // file:line
	Result  string `json:"result,omitempty"`
	Error   string `json:"error,omitempty"`

	Err error                       `json:"-"`
	run func(context.Context) error // nil when there is nothing to do
}

// Plan is what is to be done, in order.
type Plan struct{ Lines []*Line }

// Options are what a plan needs beside the files.
type Options struct {
	// Account makes a service account where there is none; nil when there is
	// no Kubernetes cluster to make it in.
	Account  func(ctx context.Context, namespace, name string) error
	Progress func(string)
}

// Make reads the control plane and plans. The error joins what is wrong with
// the files for this control plane, each with its place; conflicts are no
// error but lines of the plan.
func Make(ctx context.Context, c *clients.Clients, set *clusterconfig.Set, o Options) (*Plan, error) {
	id, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("ask for the account: %w", err)
	}
	p := &planner{c: c, o: o, account: aws.ToString(id.Account), partition: strings.SplitN(aws.ToString(id.Arn), ":", 3)[1], made: map[string]bool{}, roles: map[string]*setup.Role{}}
	if err := p.fits(set); err != nil {
		return nil, err
	}
	for _, cfg := range set.IAM {
		for _, x := range cfg.Policies {
			if err := p.policy(ctx, x); err != nil {
				return nil, err
			}
		}
	}
	for _, cfg := range set.IAM {
		for _, x := range cfg.Roles {
			if err := p.role(ctx, x); err != nil {
				return nil, err
			}
		}
	}
	for _, cfg := range set.Clusters {
		if err := p.cluster(ctx, cfg); err != nil {
			return nil, err
		}
	}
	return &Plan{p.lines}, nil
}

// BadFile is an error that the files' author can mend.
type BadFile struct{ Err error }

func (e *BadFile) Error() string { return e.Err.Error() }
func (e *BadFile) Unwrap() error { return e.Err }

// Conflicts are the lines that keep the plan from being carried out.
func (p *Plan) Conflicts() int {
	n := 0
	for _, l := range p.Lines {
		if l.Action == Conflict {
			n++
		}
	}
	return n
}

// Run carries the plan out and writes the results into its lines. What fails
// is rolled back and the rest goes on; an interrupt ends it. It returns the
// number of lines that were not done. A plan with conflicts is not begun.
func (p *Plan) Run(ctx context.Context) int {
	undone := 0
	if p.Conflicts() > 0 {
		for _, l := range p.Lines {
			l.Result = NotDone
		}
		return len(p.Lines)
	}
	var associations, rest []*Line
	for _, l := range p.Lines {
		if l.Kind == KindAssociation {
			associations = append(associations, l)
		} else {
			rest = append(rest, l)
		}
	}
	// A trust policy may name a role that comes later: as long as roles are
	// made, those that were refused for their documents are tried again.
	for tried := len(rest) + 1; len(rest) > 0 && len(rest) < tried; {
		tried = len(rest)
		rest = steps(ctx, rest)
	}
	steps(ctx, associations)
	for _, l := range p.Lines {
		if l.Result == Failed || l.Result == NotDone {
			undone++
		}
	}
	return undone
}

// steps does what the lines say and returns those that may be tried again.
func steps(ctx context.Context, lines []*Line) []*Line {
	var again []*Line
	for _, l := range lines {
		if ctx.Err() != nil {
			if l.Result == "" {
				l.Result = NotDone
			}
			continue
		}
		if l.step(ctx); l.Kind == KindRole && strings.HasPrefix(clients.Code(l.Err), "MalformedPolicyDocument") {
			again = append(again, l)
		}
	}
	return again
}

func (l *Line) step(ctx context.Context) {
	l.Err, l.Result = nil, Kept
	if l.Action == Create {
		l.Result = Created
	}
	if l.run == nil {
		return
	}
	if l.Err = l.run(ctx); l.Err != nil {
		l.Result = Failed
	}
}

type planner struct {
	c                  *clients.Clients
	o                  Options
	account, partition string
	made               map[string]bool        // ARNs of roles that the files make
	roles              map[string]*setup.Role // that were looked for, by name; nil for none
	lines              []*Line
}

func (p *planner) add(l *Line) { p.lines = append(p.lines, l) }

// fits finds what the files say of another account or region.
func (p *planner) fits(set *clusterconfig.Set) error {
	var faults []error
	fault := func(at clusterconfig.Place, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
	}
	for _, cfg := range set.IAM {
		if cfg.Account != "" && cfg.Account != p.account {
			fault(cfg.At, "the file is of account %s and the caller of %s: the ARNs in it would name nothing", cfg.Account, p.account)
		}
	}
	wants := ""
	for _, cfg := range set.Clusters {
		if cfg.Region != "" && cfg.Region != p.c.Config.Region {
			fault(cfg.At, "cluster %s is of region %s and the caller of %s", cfg.Name, cfg.Region, p.c.Config.Region)
		}
		for _, a := range cfg.Associations {
			if f := strings.Split(a.RoleARN, ":"); a.RoleARN != "" && (len(f) < 6 || f[4] != p.account) {
				fault(a.At, "%s: role %s is none of account %s; targetRoleARN is for roles of other accounts", a.Subject(), a.RoleARN, p.account)
			}
			switch {
			case !a.CreateServiceAccount:
			case p.o.Account == nil:
				fault(a.At, "%s: createServiceAccount needs a kubeconfig", a.Subject())
			case wants != "" && wants != cfg.Name:
				fault(a.At, "%s: createServiceAccount in clusters %s and %s: a kubeconfig's context is one cluster; give the clusters in files of their own", a.Subject(), wants, cfg.Name)
			default:
				wants = cfg.Name
			}
		}
	}
	if len(faults) > 0 {
		return &BadFile{errors.Join(faults...)}
	}
	return nil
}
