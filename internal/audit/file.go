// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// identityEvery is how often a file is compared with its path. A file that
	// was renamed still takes lines, so nothing is lost in between; one that
	// was deleted is noticed at the next line.
	identityEvery = time.Second
	// rotateRetry keeps a rotation that fails from being tried at every line.
	rotateRetry = time.Minute
	// stamp is the part of a rotated file's name that sorts by time.
	stamp = "20060102T150405.000000000Z"
)

// FileConfig says where a Log is kept. Rotated files lie beside it, as
// audit-20060102T150405.000000000Z.log.
type FileConfig struct {
	Path    string        // its directory is made if needed, for the owner only
	MaxSize int64         // bytes; a line that would pass it begins a new file; 0: never
	MaxAge  time.Duration // a file whose first line is older gives way to a new one; 0: never
	Keep    int           // rotated files to keep, the newest; 0: all
}

// OpenFile opens the audit log in a file that only the owner may read. It
// refuses to begin when the file cannot be opened for writing.
func OpenFile(cfg FileConfig, opts Options) (*Log, error) {
	if cfg.Path == "" {
		return nil, errors.New("open audit log: the path is empty")
	}
	if cfg.MaxSize < 0 || cfg.MaxAge < 0 || cfg.Keep < 0 {
		return nil, errors.New("open audit log: size, age and count are never negative")
	}
	opts, m, err := opts.prepare()
	if err != nil {
		return nil, err
	}
	f := &rotating{cfg: cfg, log: opts.Log}
	if err := f.open(opts.Now()); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	return newLog(f, opts, m), nil
}

// rotating is the file that takes lines now. Its owner holds the lock.
type rotating struct {
	cfg FileConfig
	log *slog.Logger

	file        *os.File // nil when it could not be opened
	size        int64
	began       time.Time // of the first line
	torn        bool      // the file ends in half a line
	checked     time.Time // when the path was last compared
	rotateAfter time.Time // no attempt before
}

func (r *rotating) open(now time.Time) error {
	if err := os.MkdirAll(filepath.Dir(r.cfg.Path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(r.cfg.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.file, r.size, r.began, r.torn, r.checked = f, info.Size(), now, false, now
	if info.Mode().IsRegular() && r.size > 0 {
		r.began = firstEvent(f, info.ModTime())
		var last [1]byte
		_, err := f.ReadAt(last[:], r.size-1)
		r.torn = err != nil || last[0] != '\n'
	}
	return nil
}

// firstEvent is the time of the file's first line, or the given one when the
// line does not tell.
func firstEvent(f *os.File, otherwise time.Time) time.Time {
	line, err := bufio.NewReader(io.NewSectionReader(f, 0, maxPooled)).ReadBytes('\n')
	if err != nil {
		return otherwise
	}
	var e struct {
		EventTime time.Time `json:"eventTime"`
	}
	if json.Unmarshal(line, &e) != nil || e.EventTime.IsZero() {
		return otherwise
	}
	return e.EventTime
}

func (r *rotating) writeLines(now time.Time, line []byte) error {
	if err := r.settle(now, int64(len(line))); err != nil {
		return err
	}
	if r.torn {
		// The half line that a crash or a full disk left stays alone.
		if _, err := r.file.Write([]byte{'\n'}); err != nil {
			return err
		}
		r.torn, r.size = false, r.size+1
	}
	if r.size == 0 {
		r.began = now
	}
	n, err := r.file.Write(line)
	r.size += int64(n)
	if err == nil {
		return nil
	}
	if n > 0 {
		r.cutBack(int64(n))
	}
	// A file that failed is opened anew: the trouble may be with the handle.
	return errors.Join(err, r.close())
}

// cutBack removes the n bytes that were written of a line. Where that fails,
// opening the file again finds the half line and ends it.
func (r *rotating) cutBack(n int64) {
	info, err := r.file.Stat()
	if err == nil && info.Size() >= n {
		err = r.file.Truncate(info.Size() - n)
	}
	if err != nil {
		r.log.Warn("cut half a line off the audit log", "path", r.cfg.Path, "err", err)
	}
}

// settle makes sure that there is a file for a line of that length: the one
// at the path, within its size and age.
func (r *rotating) settle(now time.Time, length int64) error {
	if r.file != nil && r.strayed(now) {
		if err := r.close(); err != nil {
			r.log.Warn("close audit log that was moved away", "path", r.cfg.Path, "err", err)
		}
	}
	if r.file == nil {
		if err := r.open(now); err != nil {
			return err
		}
	}
	if !r.due(now, length) {
		return nil
	}
	if err := r.rotate(now); err != nil {
		// The file still takes lines: one that is too long is better than none.
		r.rotateAfter = now.Add(rotateRetry)
		r.log.Error("rotate audit log", "path", r.cfg.Path, "err", err)
	}
	if r.file == nil {
		return r.open(now)
	}
	return nil
}

// strayed reports whether the open file is no longer the one at the path.
func (r *rotating) strayed(now time.Time) bool {
	if unlinked(r.file) {
		return true
	}
	if d := now.Sub(r.checked); d >= 0 && d < identityEvery {
		return false
	}
	r.checked = now
	at, err := os.Stat(r.cfg.Path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	have, err := r.file.Stat()
	if err != nil || !os.SameFile(at, have) {
		return true
	}
	r.size = have.Size() // somebody may have cut it
	return false
}

func (r *rotating) due(now time.Time, length int64) bool {
	if r.size == 0 || now.Before(r.rotateAfter) {
		return false
	}
	full := r.cfg.MaxSize > 0 && r.size+length > r.cfg.MaxSize
	old := r.cfg.MaxAge > 0 && now.Sub(r.began) >= r.cfg.MaxAge
	return full || old
}

// rotate gives the file its dated name, begins a new one and removes the
// oldest. When renaming fails the file stays in use.
func (r *rotating) rotate(now time.Time) error {
	name, err := r.freeName(now)
	if err != nil {
		return err
	}
	if err := os.Rename(r.cfg.Path, name); err != nil {
		return err
	}
	old := r.file
	r.file = nil
	err = r.open(now)
	if err != nil {
		// Without a new file go on with the old one, under its old name if possible.
		r.file = old
		return errors.Join(err, os.Rename(name, r.cfg.Path))
	}
	return errors.Join(old.Close(), r.prune())
}

// freeName returns a dated name that is not taken; a clock that stands still
// or goes back must not overwrite a file.
func (r *rotating) freeName(now time.Time) (string, error) {
	for i := range 1000 {
		name := r.stem() + now.UTC().Add(time.Duration(i)).Format(stamp) + filepath.Ext(r.cfg.Path)
		if _, err := os.Lstat(name); errors.Is(err, os.ErrNotExist) {
			return name, nil
		}
	}
	return "", fmt.Errorf("find a free name beside %s", r.cfg.Path)
}

func (r *rotating) stem() string {
	return strings.TrimSuffix(r.cfg.Path, filepath.Ext(r.cfg.Path)) + "-"
}

// prune removes the oldest rotated files beyond Keep. Names that this package
// did not make are left alone.
func (r *rotating) prune() error {
	if r.cfg.Keep == 0 {
		return nil
	}
	entries, err := os.ReadDir(filepath.Dir(r.cfg.Path))
	if err != nil {
		return err
	}
	prefix, ext := filepath.Base(r.stem()), filepath.Ext(r.cfg.Path)
	var names []string
	for _, e := range entries {
		date, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), ext), prefix)
		if _, err := time.Parse(stamp, date); ok && err == nil && strings.HasSuffix(e.Name(), ext) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	var errs []error
	for len(names) > r.cfg.Keep {
		errs = append(errs, os.Remove(filepath.Join(filepath.Dir(r.cfg.Path), names[0])))
		names = names[1:]
	}
	return errors.Join(errs...)
}

func (r *rotating) close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}
