// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"podid/internal/cli/apply"
	"podid/internal/cli/clusterconfig"
)

// besideFiles are the flags that --config-file goes with; the files say all
// else.
func besideFiles() []string { return []string{"config-file", "dry-run", "kubeconfig", "kube-context"} }

// createFromFiles plans what the files say and does it.
func (a *app) createFromFiles(cmd *cobra.Command, cr *creation) error {
	var wrong error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if cmd.InheritedFlags().Lookup(f.Name) == nil && !slices.Contains(besideFiles(), f.Name) {
			wrong = usagef("--%s and --config-file exclude each other: the file says it", f.Name)
		}
	})
	if wrong != nil {
		return wrong
	}
	set, err := a.readConfigs(cr.files)
	if err != nil {
		return err
	}
	for _, what := range set.Ignored {
		a.say("not used: %s", what)
	}
	o := apply.Options{Progress: a.progress}
	switch {
	case !wantsAccounts(set):
	case cr.dry: // nothing is called, so no kubeconfig is needed
		o.Account = func(context.Context, string, string) error { return errors.New("a dry run makes nothing") }
	default:
		k, err := a.kubernetes(&cr.kube)
		if err != nil {
			return err
		}
		o.Account = func(ctx context.Context, namespace, name string) error {
			_, err := a.ensureAccount(ctx, k, namespace, name)
			return err
		}
	}
	c, err := a.clients(cmd.Context())
	if err != nil {
		return err
	}
	plan, err := apply.Make(cmd.Context(), c, set, o)
	var bad *apply.BadFile
	if errors.As(err, &bad) {
		return &usageError{err: err}
	}
	if err != nil {
		return err
	}
	return a.carryOut(cmd.Context(), plan, cr.dry)
}

func wantsAccounts(set *clusterconfig.Set) bool {
	return slices.ContainsFunc(set.Clusters, func(c *clusterconfig.ClusterConfig) bool {
		return slices.ContainsFunc(c.Associations, func(x *clusterconfig.Association) bool { return x.CreateServiceAccount })
	})
}

// carryOut shows the plan and what became of it.
func (a *app) carryOut(ctx context.Context, plan *apply.Plan, dry bool) error {
	conflicts := plan.Conflicts()
	if dry || conflicts > 0 {
		if err := a.printPlan(plan); err != nil {
			return err
		}
		if conflicts > 0 {
			return &statusError{fmt.Errorf("%d of %d are in conflict with what exists: nothing was changed", conflicts, len(plan.Lines)), StatusConflict}
		}
		return nil
	}
	if err := planRows(a.Err, plan.Lines); err != nil {
		return err
	}
	undone := plan.Run(ctx)
	for _, l := range plan.Lines {
		if l.Err != nil {
			l.Error = describe(l.Err)
			a.say("%s %s: %s", l.Kind, l.Name, l.Error)
			reportUndone(a.Err, l.Err)
			if h := hint(l.Err); h != "" {
				a.say("  hint: %s", h)
			}
		}
	}
	if err := a.printPlan(plan); err != nil {
		return err
	}
	if undone > 0 {
		return &statusError{fmt.Errorf("%d of %d were not done", undone, len(plan.Lines)), StatusError}
	}
	return nil
}

func (a *app) printPlan(plan *apply.Plan) error {
	lines := plan.Lines
	if lines == nil {
		lines = []*apply.Line{}
	}
	return a.print(lines, func(w io.Writer) error { return planRows(w, lines) })
}

func planRows(w io.Writer, lines []*apply.Line) error {
	table := make([][]string, len(lines))
	for i, l := range lines {
		what := l.Action
		if l.Result != "" {
			what = l.Result
		}
		table[i] = []string{what, l.Kind, l.Cluster, l.Name, l.Note}
	}
	return rows(w, "ACTION KIND CLUSTER NAME NOTE", table)
}

// readConfigs reads all files, - for standard input and a directory for the
// files in it.
func (a *app) readConfigs(names []string) (*clusterconfig.Set, error) {
	set := &clusterconfig.Set{}
	var faults []error
	for _, name := range names {
		files, err := filesOf(name)
		if err != nil {
			return nil, usagef("--config-file: %w", err)
		}
		for _, file := range files {
			text, err := a.readConfig(file)
			if err != nil {
				return nil, usagef("--config-file: %w", err)
			}
			faults = append(faults, set.Read(file, text))
		}
	}
	if err := errors.Join(errors.Join(faults...), set.Check()); err != nil {
		return nil, &usageError{err: err}
	}
	return set, nil
}

func (a *app) readConfig(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(a.In, clusterconfig.MaxSize+1))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, clusterconfig.MaxSize+1))
}

func filesOf(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return []string{name}, err
	}
	entries, err := os.ReadDir(name) // in the order of names
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(e.Name()))) && !e.IsDir() {
			out = append(out, filepath.Join(name, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("directory %s has no .yaml, .yml or .json file", name)
	}
	return out, nil
}
