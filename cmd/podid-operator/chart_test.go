// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"
)

// TestChartArguments: what the chart starts this program with are flags that it has.
func TestChartArguments(t *testing.T) {
	files, err := filepath.Glob("../../test/chart/testdata/golden/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no renders of the chart: %v", err)
	}
	checked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range argumentsOf(t, text, "podid.dev/podid-operator:") {
			checked++
			cmd, rest, err := newRoot(environ(), io.Discard, io.Discard).Find(args)
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err != nil {
				t.Errorf("%s: %v: %v", filepath.Base(file), args, err)
			}
		}
	}
	if checked == 0 {
		t.Error("the chart does not start this program")
	}
}

// argumentsOf are those of all containers of an image in a stream of objects.
func argumentsOf(t *testing.T, stream []byte, image string) [][]string {
	t.Helper()
	type container struct {
		Image string
		Args  []string
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
			}
		}
	}
}
