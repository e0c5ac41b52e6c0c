// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"podid/internal/cli"
)

const (
	docsFile = "../../docs/cli.md"
	docsMark = "<!-- Below this line the text is made of the commands' own help: go test ./cmd/podid -run Docs -update -->\n"
)

// TestDocs holds that every command teaches, by a long help and an example,
// and that docs/cli.md says what the commands say.
func TestDocs(t *testing.T) {
	var b strings.Builder
	for _, c := range newRoot(nil, cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}).Commands() {
		if c.Name() != "completion" && c.Name() != "help" {
			document(t, &b, c)
		}
	}
	text, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	head, reference, ok := strings.Cut(string(text), docsMark)
	if !ok {
		t.Fatalf("%s has no line %q", docsFile, docsMark)
	}
	if *update {
		if err := os.WriteFile(docsFile, []byte(head+docsMark+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(b.String(), reference); d != "" {
		t.Errorf("%s differs from the commands' help; run: go test ./cmd/podid -run Docs -update\n%s", docsFile, d)
	}
}

var update = flag.Bool("update", false, "rewrite docs/cli.md")

func document(t *testing.T, w io.Writer, c *cobra.Command) {
	t.Helper()
	if c.IsAdditionalHelpTopicCommand() {
		return // the head of the page has them
	}
	if c.Runnable() && (c.Short == "" || c.Long == "" || c.Example == "") {
		t.Errorf("%s has no short help, long help or example", c.CommandPath())
	}
	if !c.HasSubCommands() || c.Name() == "server" {
		fmt.Fprintf(w, "\n## %s\n\n", c.CommandPath())
		fmt.Fprintf(w, "%s.\n\n```text\n%s\n```\n\n", c.Short, indented(c))
		if rows := flagRows(c); rows != "" {
			fmt.Fprint(w, "| flag | meaning |\n|---|---|\n"+rows)
		}
	}
	for _, sub := range c.Commands() {
		document(t, w, sub)
	}
}

func indented(c *cobra.Command) string {
	long, _, _ := strings.Cut(c.Long, "\n\nEvery setting is a flag") // docs/operations/server.md lists the server's settings
	return strings.TrimSpace(long) + "\n\nUsage: " + c.UseLine() + "\n\n" + strings.TrimRight(c.Example, "\n")
}

// flagRows lists the flags of one command but those of every client command.
func flagRows(c *cobra.Command) string {
	if c.Name() == "server" || c.HasParent() && within(c, "server") {
		return ""
	}
	var b strings.Builder
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if strings.Contains(" help endpoint-url region profile ca-bundle output ", " "+f.Name+" ") && c.Name() != "dev" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if value != "" {
			name += " " + strings.ToUpper(strings.ReplaceAll(value, " ", "-"))
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, strings.ReplaceAll(usage, "|", `\|`))
	})
	return b.String()
}

func within(c *cobra.Command, name string) bool {
	for ; c != nil; c = c.Parent() {
		if c.Name() == name {
			return true
		}
	}
	return false
}
