// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package uuid_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"regexp"
	"testing"

	"podid/internal/uuid"
)

func TestForm(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 100 {
		drawn, err := uuid.New(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{uuid.Random(), drawn} {
			if !form.MatchString(id) || seen[id] {
				t.Fatalf("id %q: not of the form, or twice", id)
			}
			seen[id] = true
		}
	}
}

func TestBytes(t *testing.T) {
	b := [16]byte{0: 0x01, 6: 0xff, 8: 0xff, 15: 0x10}
	if got, want := uuid.Format(b), "01000000-0000-ff00-ff00-000000000010"; got != want {
		t.Errorf("Format: %s, want %s", got, want)
	}
	got, err := uuid.New(bytes.NewReader(b[:]))
	if want := "01000000-0000-4f00-bf00-000000000010"; err != nil || got != want {
		t.Errorf("New: %s %v, want %s", got, err, want)
	}
	if _, err := uuid.New(bytes.NewReader(b[:15])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of 15 bytes: %v", err)
	}
}

func BenchmarkRandom(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = uuid.Random()
	}
}
