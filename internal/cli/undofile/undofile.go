// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package undofile owns the file by which an import can be taken back. It is
// JSON, a record a line: a head, then for every change what is about to be
// done, and after it what came of it. Each record is on the disk before the
// next step, so a change without the second record may have been made or not;
// whoever takes it back has to find out. A last line without its end is of a
// change that was not begun.
//
// It refuses to overwrite a file, and to read one that somebody edited half
// understood. What a change is and how it is taken back is the business of
// internal/cli/migrate.
package undofile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Format and Version are in the head of every undo file.
const (
	Format  = "podid.dev/undo"
	Version = 1
)

// MaxFile bounds an undo file that is read, in bytes.
const MaxFile = 256 << 20

// Head says whose changes a file holds.
type Head struct {
	Format     string    `json:"format"`
	Version    int       `json:"version"`
	Import     string    `json:"import"` // irsa or eks
	Account    string    `json:"account"`
	ClusterARN string    `json:"clusterArn"`
	StartedAt  time.Time `json:"startedAt"`
}

// record is a line but the first.
type record struct {
	N      int             `json:"n"`
	Change string          `json:"change,omitempty"`
	What   json.RawMessage `json:"what,omitempty"`
	Made   string          `json:"made,omitempty"`   // id of what was made
	Failed bool            `json:"failed,omitempty"` // nothing was changed
	Undone bool            `json:"undone,omitempty"` // it was taken back
	Gone   bool            `json:"gone,omitempty"`   // there was nothing to take back
}

// File is an undo file that is written.
type File struct {
	Name string
	file *os.File
	n    int
}

// Create makes an undo file, for its owner only. A file that exists is left
// alone: it may be the only way back of an earlier import. Format and Version
// are set here.
func Create(name string, h Head) (*File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create undo file: %w", err)
	}
	out := &File{Name: name, file: f}
	h.Format, h.Version = Format, Version
	err = out.write(h)
	if err == nil {
		err = syncDir(filepath.Dir(name))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(name))
	}
	return out, nil
}

// syncDir makes the file's name as durable as its content.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open directory of undo file: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *File) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write undo file: %w", err)
	}
	if _, err := f.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write undo file: %w", err)
	}
	if err := f.file.Sync(); err != nil {
		return fmt.Errorf("write undo file: %w", err)
	}
	return nil
}

// Intend records a change that is about to be made, and numbers it.
func (f *File) Intend(change string, what any) (n int, err error) {
	text, err := json.Marshal(what)
	if err != nil {
		return 0, fmt.Errorf("write undo file: %w", err)
	}
	if err := f.write(record{N: f.n + 1, Change: change, What: text}); err != nil {
		return 0, err
	}
	f.n++
	return f.n, nil
}

// Made records that a change was made, and the id of what it made.
func (f *File) Made(n int, id string) error { return f.write(record{N: n, Made: id}) }

// Failed records that a change was not made, for certain.
func (f *File) Failed(n int) error { return f.write(record{N: n, Failed: true}) }

// Undone records that a change was taken back.
func (f *File) Undone(n int) error { return f.write(record{N: n, Undone: true}) }

// Gone records that there was nothing to take back.
func (f *File) Gone(n int) error { return f.write(record{N: n, Gone: true}) }

// Close closes the file; every record is on the disk already.
func (f *File) Close() error { return f.file.Close() }

// Entry is a change that may be there still.
type Entry struct {
	N      int
	Change string
	What   json.RawMessage
	Made   string // id, "" when it is not known whether the change was made
}

// Read reads an undo file: its head, and the changes that were neither known to
// have failed nor taken back, newest first.
func Read(name string) (*Head, []Entry, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read undo file: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, fmt.Errorf("read undo file %s: %w", name, err)
	}
	head, entries, err := parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("read undo file %s: %w", name, err)
	}
	return head, entries, nil
}

// Append opens a file that was read, to record what is taken back. Half a
// record at its end is cut off.
func Append(name string) (*File, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read undo file: %w", err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("write undo file: %w", err)
	}
	end := int64(bytes.LastIndexByte(text, '\n') + 1)
	err = f.Truncate(end)
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write undo file: %w", err), f.Close())
	}
	return &File{Name: name, file: f}, nil
}

func parse(text []byte) (*Head, []Entry, error) {
	if len(text) > MaxFile {
		return nil, nil, fmt.Errorf("more than %d bytes", MaxFile)
	}
	lines := bytes.Split(text, []byte("\n"))
	lines = lines[:len(lines)-1] // what follows the last line end: nothing, or half a record
	if len(lines) == 0 {
		return nil, nil, errors.New("it has no head: nothing was changed")
	}
	var head Head
	if err := Strict(lines[0], &head); err != nil || head.Format != Format {
		return nil, nil, errors.New("it is not an undo file of podid import")
	}
	if head.Version != Version {
		return nil, nil, fmt.Errorf("it is of version %d, and this program reads version %d", head.Version, Version)
	}
	var all []entry
	for i, line := range lines[1:] {
		var r record
		err := Strict(line, &r)
		if err == nil {
			err = follow(&all, &r)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", i+2, err)
		}
	}
	var out []Entry
	for i := len(all) - 1; i >= 0; i-- {
		if !all[i].over {
			out = append(out, all[i].Entry)
		}
	}
	return &head, out, nil
}

type entry struct {
	Entry
	over bool // failed, undone or gone
}

// follow takes one record after the others.
func follow(all *[]entry, r *record) error {
	if r.Change != "" {
		if r.N != len(*all)+1 {
			return fmt.Errorf("change %d follows change %d", r.N, len(*all))
		}
		*all = append(*all, entry{Entry: Entry{N: r.N, Change: r.Change, What: r.What}})
		return nil
	}
	if r.N < 1 || r.N > len(*all) {
		return fmt.Errorf("there is no change with number %d", r.N)
	}
	e := &(*all)[r.N-1]
	e.over = e.over || r.Failed || r.Undone || r.Gone
	if r.Made != "" {
		e.Made = r.Made
	}
	return nil
}

// Strict decodes one JSON value and refuses members that are not known.
func Strict(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}
