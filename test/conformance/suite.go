// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A row is one thing that clients do, and what has to come of it.
type row struct {
	ID    string // stable: reports are compared by it
	Title string
	run   func(ctx context.Context, s *session) error
}

// A section is a table of the report: rows, by the clients that play them.
type section struct {
	ID      string
	Title   string
	Note    string
	Clients []string // ids of players
	Rows    []row
}

// A player is a column: a client, how to find it and how to start it.
type player struct {
	ID, Title string
	// find says which version is here, or why none is.
	find func(ctx context.Context, b *bed) (version string, absent string)
	// start starts it in an environment; nil for one whose rows start it themselves.
	start func(ctx context.Context, b *bed, env []string) (caller, error)
	// agent starts the agent that its pods ask; nil for podid dev's own.
	agent func(ctx context.Context, s *session) (url string, err error)
}

var errTooLong = errors.New("not done after four minutes")

// everything is what the suite has.
func everything() []section {
	return []section{
		associationRows(), errorRows(), pageRows(), tagRows(), clusterRows(), addonRows(), accessRows(), stsRows(), iamRows(), stackRows(),
		exchangeRows(), podRows(), awsAgentRows(), oldRows(), captureRows(), eksctlRows(), eksctlAloneRows(), terraformRows(), ackRows(), crossplaneRows(),
	}
}

// play plays every section: clients beside each other, the rows of one in order.
func play(ctx context.Context, b *bed, sections []section) (*report, error) {
	rep := newReport(sections)
	var here []player
	for _, p := range players() {
		if len(b.o.clients) > 0 && !slices.Contains(b.o.clients, p.ID) {
			rep.absent(p, "not asked for")
			continue
		}
		version, absent := p.find(ctx, b)
		if absent != "" {
			rep.absent(p, absent)
			continue
		}
		rep.present(p, version)
		here = append(here, p)
	}
	var g errgroup.Group
	g.SetLimit(2)
	for _, p := range here {
		g.Go(func() error { return playAs(ctx, b, &p, sections, rep) })
	}
	return rep, g.Wait()
}

// playAs plays all rows of one client.
func playAs(ctx context.Context, b *bed, p *player, sections []section, rep *report) (err error) {
	w, err := newWitness(b.env["AWS_ENDPOINT_URL"], b.ca, b.client())
	if err != nil {
		return err
	}
	s := &session{bed: b, player: p, witness: w, tag: newTag(p.ID), made: map[string]any{}}
	defer func() { err = errors.Join(err, s.close(), w.close()) }()
	if p.start != nil {
		if s.admin, err = s.start(ctx, b.adminEnv(w.url)); err != nil {
			return err
		}
	}
	for _, sec := range sections {
		if !slices.Contains(sec.Clients, p.ID) {
			continue
		}
		for _, r := range sec.Rows {
			if len(b.o.rows) > 0 && !slices.Contains(b.o.rows, r.ID) {
				rep.leave(sec, r, p.ID)
				continue
			}
			begun := time.Now()
			err := playRow(ctx, r, s)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			rep.add(sec, r, p.ID, err, time.Since(begun))
		}
	}
	return nil
}

func playRow(ctx context.Context, r row, s *session) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 4*time.Minute, errTooLong)
	defer cancel()
	err := r.run(ctx, s)
	if err != nil && errors.Is(context.Cause(ctx), errTooLong) {
		return errTooLong
	}
	return err
}

// clientIDs are the names that -clients takes.
func clientIDs() []string {
	var ids []string
	for _, p := range players() {
		ids = append(ids, p.ID)
	}
	return ids
}

// sdks are the clients that play the rows of AWS' operations.
var sdks = []string{"go", "js", "boto3", "cli"}

// players are all columns, in the report's order.
func players() []player {
	return []player{
		{ID: "go", Title: "SDK for Go v2", find: findGo, start: startGo},
		{ID: "js", Title: "SDK for JavaScript v3", find: findJS, start: startJS},
		{ID: "boto3", Title: "boto3", find: findBoto3, start: startBoto3},
		{ID: "cli", Title: "AWS CLI", find: findCLI, start: startCLI},
		{ID: "old-boto3", Title: "old boto3", find: findOldBoto3, start: startOldBoto3},
		{ID: awsAgentID, Title: "AWS' agent", find: findAWSAgent, start: startGo, agent: startAWSAgent},
		{ID: "captures", Title: "captures", find: always("requests as clients sent them, signed anew")},
		{ID: "eksctl", Title: "eksctl", find: findEksctl},
		{ID: "terraform", Title: "Terraform", find: findTerraform},
		{ID: "sequences", Title: "sequence", find: findGo, start: startGo},
	}
}

func always(version string) func(context.Context, *bed) (string, string) {
	return func(context.Context, *bed) (string, string) { return version, "" }
}

func findGo(context.Context, *bed) (version, absent string) { return goSDKVersion(), "" }

func startGo(ctx context.Context, _ *bed, env []string) (caller, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startChild(ctx, "the SDK for Go", env, self, driverCommand)
}

// probe runs a command in the suite's plain environment and gives the first line that it prints.
func probe(ctx context.Context, b *bed, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env, cmd.Dir = b.plainEnv(), b.o.clouds
	out, err := output(cmd)
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	return line, err
}

func findJS(ctx context.Context, b *bed) (version, absent string) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", "Node is not installed"
	}
	version, err := probe(ctx, b, "node", "-p", `require("@aws-sdk/client-eks/package.json").version + " on Node " + process.version`)
	if err != nil {
		return "", "its modules are not installed: make test-clients does that"
	}
	return version, ""
}

func startJS(ctx context.Context, b *bed, env []string) (caller, error) {
	return startChild(ctx, "the SDK for JavaScript", env, "node", filepath.Join(b.o.clouds, "driver.mjs"))
}

// pythonOf is the first Python that has a boto3.
func pythonOf(ctx context.Context, b *bed) (python, version string) {
	for _, python := range []string{"python3", "python", "/usr/bin/python3"} {
		if version, err := probe(ctx, b, python, "-c", "import boto3; print(boto3.__version__)"); err == nil {
			return python, version
		}
	}
	return "", ""
}

func findBoto3(ctx context.Context, b *bed) (version, absent string) {
	python, version := pythonOf(ctx, b)
	if python == "" {
		return "", "no Python has it"
	}
	if _, err := probe(ctx, b, python, "-c", `import boto3; boto3.client("eks-auth", region_name="us-west-2")`); err != nil {
		return "", "boto3 " + version + " is older than Pod Identity"
	}
	return version, ""
}

func startBoto3(ctx context.Context, b *bed, env []string) (caller, error) {
	python, _ := pythonOf(ctx, b)
	return startChild(ctx, "boto3", env, python, filepath.Join(b.o.clouds, "driver.py"))
}

func findCLI(ctx context.Context, b *bed) (version, absent string) {
	if _, err := exec.LookPath("aws"); err != nil {
		return "", "it is not installed"
	}
	line, err := probe(ctx, b, "aws", "--version")
	if err != nil {
		return "", "it does not start"
	}
	if _, err := probe(ctx, b, "aws", "eks-auth", "assume-role-for-pod-identity", "--generate-cli-skeleton"); err != nil {
		return "", line + " is older than Pod Identity"
	}
	version, _, _ = strings.Cut(strings.TrimPrefix(line, "aws-cli/"), " ")
	return version, ""
}

func startCLI(_ context.Context, _ *bed, env []string) (caller, error) {
	path, err := exec.LookPath("aws")
	return &awsCLI{path: path, env: env}, err
}

func findOldBoto3(ctx context.Context, b *bed) (version, absent string) {
	if b.o.old == "" {
		return "", "OLD_BOTO3 names none"
	}
	code := fmt.Sprintf("import sys; sys.path.insert(0, %q); import boto3; print(boto3.__version__)", b.o.old)
	version, err := probe(ctx, b, "python3", "-c", code)
	if err != nil {
		return "", "there is none in OLD_BOTO3"
	}
	return version, ""
}

func startOldBoto3(ctx context.Context, b *bed, env []string) (caller, error) {
	return startChild(ctx, "the old boto3", append(env, "PYTHONPATH="+b.o.old), "python3", filepath.Join(b.o.clouds, "driver.py"))
}

// goSDKVersion is the one that this program was built with.
func goSDKVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/aws/aws-sdk-go-v2/service/eks" {
				return "eks " + m.Version
			}
		}
	}
	return "as go.mod has it"
}
