// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package undofile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var head = Head{Import: "irsa", Account: "111122223333", ClusterARN: "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster", StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}

// written is an undo file with four changes: one made, one that failed, one
// whose answer was lost and one taken back.
func written(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "undo")
	f, err := Create(name, head)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		n, err := f.Intend("kind", map[string]int{"i": i})
		if err == nil {
			switch i {
			case 0:
				err = f.Made(n, "id-0")
			case 1:
				err = f.Failed(n)
			case 3:
				if err = f.Made(n, "id-3"); err == nil {
					err = f.Undone(n)
				}
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func content(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRead(t *testing.T) {
	got, entries, err := Read(written(t))
	if err != nil {
		t.Fatal(err)
	}
	want := head
	want.Format, want.Version = Format, Version
	if d := cmp.Diff(&want, got); d != "" {
		t.Error(d)
	}
	wantEntries := []Entry{{3, "kind", json.RawMessage(`{"i":2}`), ""}, {1, "kind", json.RawMessage(`{"i":0}`), "id-0"}}
	if d := cmp.Diff(wantEntries, entries); d != "" {
		t.Error(d)
	}
}

// TestAppend holds that what is taken back is not there any more, also where
// the file ended in the middle of a record.
func TestAppend(t *testing.T) {
	name := written(t)
	if err := os.WriteFile(name, []byte(content(t, name)+`{"n":5,"cha`), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Append(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func() error{func() error { return f.Gone(3) }, func() error { return f.Undone(1) }, f.Close} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if _, entries, err := Read(name); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := Append(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("appended to no file")
	}
}

// TestTorn holds that a file that ends anywhere, as after a crash, is read up
// to its last whole record.
func TestTorn(t *testing.T) {
	text := content(t, written(t))
	first := strings.IndexByte(text, '\n') + 1
	for end := first; end <= len(text); end++ {
		_, entries, err := parse([]byte(text[:end]))
		if err != nil {
			t.Fatalf("%v: %q", err, text[:end])
		}
		if begun := strings.Count(text[:end], `"change"`); len(entries) > begun {
			t.Fatalf("%d changes of %d begun", len(entries), begun)
		}
	}
	for _, end := range []int{0, first - 1} {
		if _, _, err := parse([]byte(text[:end])); err == nil {
			t.Errorf("read %q", text[:end])
		}
	}
}

func TestRefuses(t *testing.T) {
	h, _, _ := strings.Cut(content(t, written(t)), "\n")
	for name, tc := range map[string]struct{ in, want string }{
		"another file":    {"{}\n", "it is not an undo file"},
		"no JSON":         {"kind: List\n", "it is not an undo file"},
		"a later version": {strings.Replace(h, `"version":1`, `"version":2`, 1) + "\n", "it is of version 2"},
		"out of order":    {h + "\n" + `{"n":2,"change":"x","what":{}}` + "\n", "line 2: change 2 follows change 0"},
		"no such change":  {h + "\n" + `{"n":1,"made":"x"}` + "\n", "line 2: there is no change with number 1"},
		"an extra member": {h + "\n" + `{"n":1,"x":"trust"}` + "\n", "line 2: json: unknown field"},
		"two values":      {h + "\n" + `{"n":1} {"n":2}` + "\n", "line 2: more than one value"},
		"an empty line":   {h + "\n\n", "line 2: "},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := parse([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if _, _, err := Read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("read no file")
	}
}

// TestCreate holds that an undo file is for its owner only and never
// overwritten.
func TestCreate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "undo")
	f, err := Create(name, head)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if about, err := os.Stat(name); err != nil || about.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", about, err)
	}
	if _, err := Create(name, head); err == nil {
		t.Error("overwritten")
	}
	if _, err := f.Intend("kind", 1); err == nil {
		t.Error("a closed file took a record")
	}
	if _, err := Create(filepath.Join(t.TempDir(), "none", "undo"), head); err == nil {
		t.Error("made in no directory")
	}
}

// FuzzParse holds that reading ends, and that no change is given twice.
func FuzzParse(f *testing.F) {
	f.Add(content(f, written(f)))
	f.Fuzz(func(t *testing.T, in string) {
		_, entries, err := parse([]byte(in))
		if err != nil {
			return
		}
		for i := 1; i < len(entries); i++ {
			if entries[i].N >= entries[i-1].N {
				t.Errorf("not newest first: %v", entries)
			}
		}
	})
}
