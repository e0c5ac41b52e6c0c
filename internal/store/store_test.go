// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

type thing struct {
	Name  string    `cbor:"1,keyasint"`
	Color string    `cbor:"2,keyasint,omitempty"`
	Made  time.Time `cbor:"3,keyasint"`
}

var (
	things = NewTable("thing", func(t *thing) []string { return []string{t.Color} })
	plain  = NewTable[thing]("plain", nil)
	schema = NewSchema(things, plain)
	here   = Scope{"111122223333", "eu-west-1"}
	there  = Scope{"444455556666", "eu-west-1"}
)

func viewOf(t testing.TB, records ...string) *View {
	t.Helper()
	var changes []Change
	for i, r := range records {
		id, color, _ := strings.Cut(r, "=")
		changes = append(changes, Change{things.Key(here, id), int64(i + 1), &thing{Name: id, Color: color}})
	}
	v, err := EmptyView().Apply(schema, int64(len(records)), changes)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func list(r Reader, s Scope, prefix, after string) []string {
	var out []string
	for id, v := range things.List(r, s, prefix, after) {
		out = append(out, id+"="+v.Color)
	}
	return out
}

func colored(r Reader, s Scope, color string) []string {
	var out []string
	for id := range things.ByIndex(r, s, color) {
		out = append(out, id)
	}
	return out
}

func TestViewList(t *testing.T) {
	v := viewOf(t, "b=red", "a=blue", "ab=red", "c=green")
	for name, tc := range map[string]struct {
		scope         Scope
		prefix, after string
		want          []string
	}{
		"all in order":        {here, "", "", []string{"a=blue", "ab=red", "b=red", "c=green"}},
		"prefix":              {here, "a", "", []string{"a=blue", "ab=red"}},
		"after an id":         {here, "", "ab", []string{"b=red", "c=green"}},
		"after a removed id":  {here, "", "aa", []string{"ab=red", "b=red", "c=green"}},
		"after the last":      {here, "", "c", nil},
		"prefix and after":    {here, "a", "a", []string{"ab=red"}},
		"another account":     {there, "", "", nil},
		"after beyond prefix": {here, "a", "b", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := list(v, tc.scope, tc.prefix, tc.after); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestApplyMaintainsIndexAndLeavesOldViews(t *testing.T) {
	old := viewOf(t, "a=red", "b=red")
	now, err := old.Apply(schema, 5, []Change{
		{things.Key(here, "a"), 4, &thing{Name: "a", Color: "blue"}},
		{things.Key(here, "b"), 5, nil},
		{things.Key(here, "nobody"), 5, nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := colored(now, here, "red"); len(got) != 0 {
		t.Errorf("red after the change: %v", got)
	}
	if got := colored(now, here, "blue"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("blue after the change: %v", got)
	}
	if got := colored(old, here, "red"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the old view changed: red is %v", got)
	}
	if now.Revision() != 5 || now.Len() != 1 || old.Len() != 2 {
		t.Errorf("revision %d, %d records, old %d records", now.Revision(), now.Len(), old.Len())
	}
}

func TestTxReadsItsWrites(t *testing.T) {
	tx := NewTx(viewOf(t, "a=red", "b=red", "d=blue"))
	things.Put(tx, here, "c", &thing{Name: "c", Color: "red"})
	things.Put(tx, here, "a", &thing{Name: "a", Color: "blue"})
	things.Delete(tx, here, "b")
	if got, want := list(tx, here, "", ""), []string{"a=blue", "c=red", "d=blue"}; !slices.Equal(got, want) {
		t.Errorf("list %v, want %v", got, want)
	}
	if got := colored(tx, here, "red"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("red: %v", got)
	}
	if got := colored(tx, here, "blue"); !slices.Equal(got, []string{"a", "d"}) {
		t.Errorf("blue: %v", got)
	}
	if got := colored(tx, there, "red"); len(got) != 0 {
		t.Errorf("red in another account: %v", got)
	}
	if _, ok := things.Get(tx, here, "b"); ok {
		t.Error("a deleted record is found")
	}
}

func TestTxNotesReads(t *testing.T) {
	tx := NewTx(viewOf(t, "a=red", "b=red"))
	things.Get(tx, here, "a")
	things.Get(tx, here, "nobody")
	plain.Put(tx, here, "new", &thing{})
	for range things.List(tx, here, "x", "") {
		t.Error("a record in an empty range")
	}
	want := map[string]int64{things.Key(here, "a"): 1, things.Key(here, "nobody"): 0, plain.Key(here, "new"): 0}
	if got := tx.Reads(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("reads %v, want %v", got, want)
	}
	if got := tx.Ranges(); !slices.Equal(got, []string{things.Key(here, "x")}) {
		t.Errorf("ranges %v", got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := Write{Key: things.Key(here, "a"), Value: &thing{Name: "a"}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	other := slices.Clone(good)
	other[0] = 9
	for name, tc := range map[string]struct {
		key, want string
		data      []byte
	}{
		"unknown table":   {"a/b/nothing/c", `table "nothing"`, good},
		"not a key":       {"abc", "not account/region/table/id", good},
		"empty value":     {things.Key(here, "a"), "empty", nil},
		"unknown version": {things.Key(here, "a"), "version 9", other},
		"cut short":       {things.Key(here, "a"), "EOF", good[:len(good)-1]},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schema.Decode(tc.key, tc.data)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	_, err = schema.Decode(things.Key(here, "a"), other)
	if v := (*VersionError)(nil); !errors.As(err, &v) || v.Version != 9 {
		t.Errorf("error %v is no VersionError of 9", err)
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Write{Value: &thing{Name: "a", Color: "red", Made: time.Unix(1, 0)}}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{valueVersion})
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := schema.Decode("a/b/thing/c", data)
		if err == nil && v.(*thing) == nil {
			t.Error("neither a record nor an error")
		}
	})
}

func bigView(b *testing.B, n int) *View {
	changes := make([]Change, n)
	for i := range changes {
		changes[i] = Change{things.Key(here, fmt.Sprintf("%07d", i)), int64(i), &thing{Name: "x", Color: strconv.Itoa(i)}}
	}
	v, err := EmptyView().Apply(schema, int64(n), changes)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func BenchmarkGet100k(b *testing.B) {
	v := bigView(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := things.Get(v, here, "0050000"); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkFindIndex100k(b *testing.B) {
	v := bigView(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := things.FindIndex(v, here, "50000"); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkApply100k(b *testing.B) {
	v := bigView(b, 100_000)
	key, val := things.Key(here, "0050000"), &thing{Name: "x", Color: "y"}
	b.ReportAllocs()
	for b.Loop() {
		n, err := v.Apply(schema, v.Revision()+1, []Change{{key, v.Revision() + 1, val}})
		if err != nil {
			b.Fatal(err)
		}
		v = n
	}
}

func TestRecords(t *testing.T) {
	v := viewOf(t, "a=red", "b=blue")
	tx := NewTx(v)
	plain.Put(tx, here, "p/q", &thing{Name: "p"})
	things.Put(tx, there, "c", &thing{Name: "c"})
	things.Delete(tx, here, "b")
	names := func(r Reader, account string) string {
		var out []string
		for x := range Records(r, account) {
			out = append(out, x.Scope.Region+":"+x.Table+":"+x.ID)
		}
		return strings.Join(out, " ")
	}
	if got := names(tx, here.Account); got != "eu-west-1:plain:p/q eu-west-1:thing:a" {
		t.Errorf("records %q", got)
	}
	if got := names(v, here.Account); got != "eu-west-1:thing:a eu-west-1:thing:b" {
		t.Errorf("records %q", got)
	}
	for x := range Records(tx, here.Account) {
		x.Remove(tx)
	}
	if got := names(tx, here.Account) + names(tx, there.Account); got != "eu-west-1:thing:c" {
		t.Errorf("left %q", got)
	}
	if got := strings.Join(schema.Tables(), " "); got != "plain thing" {
		t.Errorf("tables %q", got)
	}
}
