// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubebin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	oldest, err := plan("")
	if err != nil {
		t.Fatal(err)
	}
	if oldest.version != Default || oldest.modFile != "go.mod" {
		t.Errorf("no version means %+v", oldest)
	}
	newest, err := plan("v1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	if newest.dir == oldest.dir || newest.modFile != "1.37.2.mod" {
		t.Errorf("1.37.2 is built as %+v", newest)
	}
	if again, err := plan(""); err != nil || again != oldest {
		t.Errorf("the same build is %+v, then %+v (%v)", oldest, again, err)
	}
	if !strings.Contains(newest.stamp(), "-X k8s.io/component-base/version.gitMinor=37") {
		t.Errorf("stamp %s", newest.stamp())
	}
	for version, modFile := range modFiles {
		text, err := os.ReadFile(filepath.Join(oldest.source, modFile))
		if err != nil || !strings.Contains(string(text), "k8s.io/kubernetes v"+version) {
			t.Errorf("%s does not pin %s (%v)", modFile, version, err)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	_, err := plan("1.20.0")
	if err == nil || !strings.Contains(err.Error(), "want one of 1.34.4, 1.37.2") {
		t.Errorf("an unknown version: %v", err)
	}
}

func TestDir(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("KUBEBUILDER_ASSETS", "")
	t.Setenv(Environment, "")
	if _, err := Dir(""); err == nil || !strings.Contains(err.Error(), "make test-apiserver") {
		t.Errorf("an empty cache: %v", err)
	}
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	if _, err := Dir(""); err == nil {
		t.Error("a folder without binaries was taken")
	}
	if err := os.WriteFile(filepath.Join(dir, "hyperkube"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is there already stays
		if err := Link(dir); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Dir(""); err != nil || got != dir {
		t.Errorf("got %s (%v), want %s", got, err, dir)
	}
}
