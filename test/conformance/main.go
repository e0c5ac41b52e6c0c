// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command conformance plays AWS' own clients, unmodified, against a `podid dev` of its own and says in one table, client
// by operation, what passes, what differs and what is absent. It owns docs/compat/matrix.md and the JSON report. Every row
// is written once and played through each client: the SDKs for Go, JavaScript and Python by a driver of few lines each, the
// AWS CLI, eksctl and Terraform as they are installed, and, where a program is not there, the requests that it was seen to
// send. It is a client: it reaches podid by its binary and the wire alone, and imports nothing of it. It refuses to call a
// client that is not on the machine anything but absent, and ends with an error when anything differs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// options are what a run is told.
type options struct {
	podid    string
	clients  []string // empty: all
	rows     []string // ids; empty: all
	json     string
	matrix   string // written to; "" leaves it
	clouds   string // directory of the JavaScript and Python drivers, with their node_modules
	eksctl   string
	awsAgent string
	old      string // directory with an old boto3 in it
	plugins  string // directory of Terraform's plugins
	verbose  bool
	keep     bool
	limit    time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == driverCommand {
		return serveDriver(ctx, stdin, stdout)
	}
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	begun := time.Now()
	b, err := newBed(ctx, o, stderr)
	if err != nil {
		return err
	}
	rep, err := play(ctx, b, everything())
	rep.Seconds = int(time.Since(begun).Seconds())
	rep.print(stdout, o.verbose)
	if err = errors.Join(err, b.close()); err != nil {
		return err // what was played is printed; it is not the whole
	}
	return errors.Join(rep.write(o), rep.verdict())
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var clients, rows string
	fs := flag.NewFlagSet("conformance", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.podid, "podid", "bin/podid", "the podid binary")
	fs.StringVar(&clients, "clients", "", "play these clients only, by comma: "+strings.Join(clientIDs(), ","))
	fs.StringVar(&rows, "rows", "", "play these rows only, by comma; rows of one section may need those before them")
	fs.StringVar(&o.json, "json", "", "write the report as JSON to this file")
	fs.StringVar(&o.matrix, "matrix", "", "write the table to this file; columns of clients that are not here are kept")
	fs.StringVar(&o.clouds, "drivers", "test/clients", "directory of the JavaScript and Python drivers")
	fs.StringVar(&o.eksctl, "eksctl", os.Getenv("EKSCTL"), "the eksctl binary (EKSCTL)")
	fs.StringVar(&o.awsAgent, "aws-agent", os.Getenv("AWS_AGENT"), "the binary of AWS' eks-pod-identity-agent (AWS_AGENT)")
	fs.StringVar(&o.old, "old-boto3", os.Getenv("OLD_BOTO3"), "directory of a boto3 older than Pod Identity, for PYTHONPATH (OLD_BOTO3)")
	fs.StringVar(&o.plugins, "terraform-plugins", os.Getenv("TERRAFORM_PLUGINS"), "directory of Terraform's plugins (TERRAFORM_PLUGINS)")
	fs.BoolVar(&o.verbose, "v", false, "say of each cell how it went")
	fs.BoolVar(&o.keep, "keep", false, "keep the directory of the run, for a look at logs")
	fs.DurationVar(&o.limit, "limit", 30*time.Minute, "bound of the whole run")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", fs.Arg(0))
	}
	if clients != "" {
		o.clients = strings.Split(clients, ",")
	}
	if rows != "" {
		o.rows = strings.Split(rows, ",")
	}
	for _, r := range o.rows {
		if !slices.Contains(rowIDs(), r) {
			return o, fmt.Errorf("-rows: there is no row %q", r)
		}
	}
	for _, c := range o.clients {
		if !slices.Contains(clientIDs(), c) {
			return o, fmt.Errorf("-clients: %q is none of %s", c, strings.Join(clientIDs(), ", "))
		}
	}
	return o, nil
}

// rowIDs are the names that -rows takes.
func rowIDs() []string {
	var ids []string
	for _, s := range everything() {
		for _, r := range s.Rows {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// M is a JSON object, as clients take and give it.
type M = map[string]any

func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // only literals of this program get here
		return fmt.Sprintf("%v", v)
	}
	return string(text)
}
