// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/migrate"
	"podid/internal/cli/undofile"
)

// takeover are the flags of imports that plan first.
type takeover struct {
	cluster string
	approve bool
	dry     bool
	undo    string
	revert  string
}

func (a *app) takeoverFlags(cmd *cobra.Command, t *takeover) {
	a.clusterFlag(cmd, &t.cluster)
	f := cmd.Flags()
	f.BoolVar(&t.approve, "approve", false, "do what the plan says")
	f.StringVar(&t.undo, "undo", "", "undo `file` to write; it must not exist (default podid-import-TIME.undo in the current directory)")
	f.StringVar(&t.revert, "revert", "", "take back what this undo `file` says was done")
	f.BoolVar(&t.dry, "dry-run", false, "with --revert: only show what would be taken back")
	cmd.MarkFlagsMutuallyExclusive("approve", "dry-run")
	cmd.MarkFlagsMutuallyExclusive("revert", "undo")
}

// check refuses flags that make no sense together; sourceFlags say what to
// import.
func (t *takeover) check(cmd *cobra.Command, sourceFlags ...string) error {
	if t.revert == "" {
		if t.dry {
			return usagef("--dry-run belongs to --revert: without --approve nothing is changed")
		}
		return missing("cluster", t.cluster)
	}
	for _, name := range sourceFlags {
		if cmd.Flags().Changed(name) {
			return usagef("--revert takes all it needs from its file: give no --%s with it", name)
		}
	}
	return nil
}

// planned makes a plan for a cluster.
type planned func(ctx context.Context, c *clients.Clients, t migrate.Target) (*migrate.Plan, error)

// takeOver plans, and does what is planned if that is approved.
func (a *app) takeOver(ctx context.Context, t *takeover, make planned) error {
	c, err := a.clients(ctx)
	if err != nil {
		return err
	}
	target, err := migrate.FindTarget(ctx, c, t.cluster)
	if err != nil {
		return err
	}
	p, err := make(ctx, c, target)
	if err != nil {
		return err
	}
	var ended error
	if t.approve && p.Pending() {
		j, err := a.journal(t, p)
		if err != nil {
			return err
		}
		ended = errors.Join(migrate.Run(ctx, c, p, j, a.tellLine), j.Close())
	}
	if err := errors.Join(ended, a.printTakeover(p)); err != nil {
		return err
	}
	switch {
	case p.Approved:
		a.say("to take this back: podid import %s --revert %s", p.Import, p.Undo)
	case p.Pending():
		a.say("nothing was changed; --approve does what the plan says")
	default:
		a.say("nothing to do")
	}
	if !p.Complete() {
		return exit(StatusError)
	}
	return nil
}

func (a *app) journal(t *takeover, p *migrate.Plan) (*undofile.File, error) {
	name := t.undo
	if name == "" {
		name = "podid-import-" + a.now().UTC().Format("20060102T150405Z") + ".undo"
	}
	j, err := undofile.Create(name, migrate.Head(p, a.now()))
	if err != nil {
		return nil, fmt.Errorf("nothing was changed: %w", err)
	}
	return j, nil
}

func (a *app) revert(ctx context.Context, t *takeover, kind string) error {
	c, err := a.clients(ctx)
	if err != nil {
		return err
	}
	p, err := migrate.Revert(ctx, c, kind, t.revert, t.dry, a.tellLine)
	if p == nil {
		return err
	}
	if err := errors.Join(err, a.printTakeover(p)); err != nil {
		return err
	}
	switch {
	case len(p.Lines) == 0:
		a.say("nothing to take back")
	case t.dry:
		a.say("nothing was changed, as this is a dry run")
	}
	if !p.Complete() {
		return exit(StatusError)
	}
	return nil
}

// tellLine says what came of a line while others are still to come.
func (a *app) tellLine(l *migrate.Line) {
	if l.Err != nil {
		a.say("%s %s: %s: %s", l.Kind, l.Name, l.Result, describe(l.Err))
		return
	}
	a.say("%s %s: %s: %s", l.Kind, l.Name, l.Action, l.Result)
}

type lineJSON struct {
	Kind   string   `json:"kind"`
	Name   string   `json:"name"`
	Action string   `json:"action"`
	Why    string   `json:"why"`
	Notes  []string `json:"notes,omitempty"`
	Diff   string   `json:"trustPolicyDiff,omitempty"`
	Result string   `json:"result,omitempty"`
	Error  string   `json:"error,omitempty"`
}

type planJSON struct {
	Import   string     `json:"import"`
	Account  string     `json:"account"`
	Cluster  string     `json:"clusterArn"`
	Approved bool       `json:"approved"`
	Complete bool       `json:"complete"` // nothing refused, failed or left
	UndoFile string     `json:"undoFile,omitempty"`
	Lines    []lineJSON `json:"lines"`
}

// printTakeover shows a plan, or what came of it.
func (a *app) printTakeover(p *migrate.Plan) error {
	out := planJSON{Import: p.Import, Account: p.Target.Account, Cluster: p.Target.ClusterARN, Approved: p.Approved, Complete: p.Complete(), UndoFile: p.Undo, Lines: []lineJSON{}}
	for _, l := range p.Lines {
		x := lineJSON{Kind: l.Kind, Name: l.Name, Action: string(l.Action), Why: l.Why, Notes: l.Notes, Diff: l.Diff, Result: string(l.Result)}
		if l.Err != nil {
			x.Error = describe(l.Err)
		}
		out.Lines = append(out.Lines, x)
	}
	return a.print(out, func(w io.Writer) error { return planTable(w, &out) })
}

func planTable(w io.Writer, p *planJSON) error {
	lines := make([][]string, len(p.Lines))
	head := "KIND NAME ACTION WHY"
	if p.Approved {
		head = "KIND NAME ACTION RESULT WHY"
	}
	for i, l := range p.Lines {
		why := l.Why
		if l.Error != "" {
			why = l.Error
		}
		lines[i] = []string{l.Kind, l.Name, l.Action, why}
		if p.Approved {
			lines[i] = []string{l.Kind, l.Name, l.Action, l.Result, why}
		}
	}
	if err := rows(w, head, lines); err != nil {
		return err
	}
	var b strings.Builder
	for _, l := range p.Lines {
		if len(l.Notes) > 0 {
			fmt.Fprintf(&b, "\n%s %s:\n", l.Kind, l.Name)
			for _, n := range l.Notes {
				fmt.Fprintf(&b, "  %s\n", n)
			}
		}
		if l.Diff != "" && !p.Approved {
			fmt.Fprintf(&b, "\n%s", l.Diff)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
