// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chartargs finds in the renders of the chart what its pods start a
// program with, so that each program's own tests can hold every flag against
// those that it has. It owns no rules of the chart; it refuses renders that do
// not start the program at all.
package chartargs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Check parses the arguments of all containers of the image, podid.dev/NAME,
// in all renders below dir, each with a new root command.
func Check(t *testing.T, dir, image string, root func() *cobra.Command) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no renders of the chart: %v", err)
	}
	checked := 0
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // the test names the directory
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range arguments(text, image+":") {
			checked++
			cmd, rest, err := root().Find(args)
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil {
				t.Errorf("%s: %v: %v", filepath.Base(file), args, err)
			}
		}
	}
	if checked == 0 {
		t.Errorf("the chart does not start %s", image)
	}
}

// arguments are those of all containers of an image in a stream of objects, and of their probes.
func arguments(stream []byte, image string) [][]string {
	type container struct {
		Image        string
		Args         []string
		StartupProbe struct{ Exec struct{ Command []string } }
	}
	var out [][]string
	for dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(stream), 4096); ; {
		var o struct {
			Spec struct {
				Template struct {
					Spec struct{ InitContainers, Containers []container }
				}
			}
		}
		switch err := dec.Decode(&o); {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			continue // an object of another form
		}
		for _, c := range append(o.Spec.Template.Spec.InitContainers, o.Spec.Template.Spec.Containers...) {
			if strings.HasPrefix(c.Image, image) {
				out = append(out, c.Args)
				if probe := c.StartupProbe.Exec.Command; len(probe) > 0 {
					out = append(out, probe[1:])
				}
			}
		}
	}
}
