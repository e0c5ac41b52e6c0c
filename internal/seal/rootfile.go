// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// rootFilePrefix makes a key file recognisable to people and to secret scanners.
const (
	rootFilePrefix = "podid-root-key-v1:"
	maxRootFile    = 4096 // bytes that are read of one
)

// LoadRootKey reads a root key file. A file that group or others can touch is
// refused, but for one in the way of a Kubernetes Secret: owned by root, for
// this process to read by its group. So is anything but one line in the form
// that CreateRootKey writes. The error wraps fs.ErrNotExist when there is no
// file.
func LoadRootKey(path string) (RootKey, error) {
	// What is checked is what is read: the name may change hands in between.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hang the start
	if err != nil {
		return RootKey{}, fmt.Errorf("load root key: %w", err)
	}
	defer f.Close() //nolint:errcheck // opened for reading only
	info, err := f.Stat()
	if err != nil {
		return RootKey{}, fmt.Errorf("load root key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return RootKey{}, fmt.Errorf("load root key: %s is no regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 && !mountedForGroup(info, os.Geteuid()) {
		return RootKey{}, fmt.Errorf("load root key: %s has mode %04o, want 0600: others could read it", path, perm)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxRootFile))
	if err != nil {
		return RootKey{}, fmt.Errorf("load root key: %w", err)
	}
	text, ok := strings.CutPrefix(strings.TrimSuffix(string(raw), "\n"), rootFilePrefix)
	if !ok {
		return RootKey{}, fmt.Errorf("load root key: %s does not begin with %q", path, rootFilePrefix)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		// The decoder's error names an offset only, but the text is a secret: say less.
		return RootKey{}, fmt.Errorf("load root key: %s holds no base64 key", path)
	}
	root, err := NewRootKey(key)
	if err != nil {
		return RootKey{}, fmt.Errorf("load root key: %s: %w", path, err)
	}
	return root, nil
}

// mountedForGroup reports whether a file is root's and shown to the group of
// a process that is not root's, to read: the kubelet mounts a Secret so for a
// container with another user and an fsGroup, whatever mode was asked for.
func mountedForGroup(info fs.FileInfo, uid int) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && owner.Uid == 0 && uid != 0 && info.Mode().Perm()&0o037 == 0
}

// WriteRootKey draws a key and writes its file's line.
func WriteRootKey(w io.Writer, random io.Reader) error {
	root, err := GenerateRootKey(random)
	if err == nil {
		_, err = io.WriteString(w, root.line())
	}
	if err != nil {
		return fmt.Errorf("create root key: %w", err)
	}
	return nil
}

func (r RootKey) line() string {
	return rootFilePrefix + base64.StdEncoding.EncodeToString(r.k.key[:]) + "\n"
}

// CreateRootKey draws a key and writes it to path, mode 0600, synced, all or
// nothing. An existing file is never replaced: the error wraps fs.ErrExist.
func CreateRootKey(path string, random io.Reader) (root RootKey, err error) {
	if root, err = GenerateRootKey(random); err != nil {
		return RootKey{}, fmt.Errorf("create root key: %w", err)
	}
	if err := writeNew(path, []byte(root.line())); err != nil {
		return RootKey{}, fmt.Errorf("create root key: %w", err)
	}
	return root, nil
}

// LoadOrCreateRootKey loads the key at path, or creates it when there is none.
// Two processes that race for the creation end with the same key.
func LoadOrCreateRootKey(path string, random io.Reader) (RootKey, error) {
	root, err := LoadRootKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return root, err
	}
	root, err = CreateRootKey(path, random)
	if errors.Is(err, fs.ErrExist) {
		return LoadRootKey(path)
	}
	return root, err
}

// writeNew makes a file appear under its name complete or not at all.
func writeNew(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("make temporary file: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil { // unlike rename, never replaces
		return fmt.Errorf("name the file: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
