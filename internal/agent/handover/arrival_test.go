// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestArrival(t *testing.T) {
	dir := folder(t, "")
	asked := func(when string, want error) {
		t.Helper()
		if err := Arrived(dir); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	asked("before", ErrNotArrived)
	a, err := Arrive(dir)
	if err != nil {
		t.Fatal(err)
	}
	asked("while it is there", nil)
	asked("asked again", nil)
	other, err := Arrive(dir)
	if err != nil {
		t.Fatal("two cannot share the folder:", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	asked("while another one is there", nil)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	asked("after its end", ErrNotArrived) // although the file is there
	again, err := Arrive(dir)
	if err != nil {
		t.Fatal(err)
	}
	asked("after a restart", nil)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestArrivalRefused(t *testing.T) {
	file := filepath.Join(folder(t, ""), "missing", "folder")
	if a, err := Arrive(file); err == nil {
		t.Error("arrived where there is no folder", a.Close())
	}
	if err := Arrived("\x00"); err == nil || errors.Is(err, ErrNotArrived) {
		t.Errorf("a folder that cannot be: %v", err)
	}
}
