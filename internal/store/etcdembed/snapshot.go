// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcdembed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
)

// sector is the unit of the database file; a snapshot is whole sectors and
// the SHA-256 of them.
const sector = 512

// ErrSnapshot: a snapshot is cut short or altered.
var ErrSnapshot = errors.New("the snapshot is damaged")

// Save writes a snapshot of the store, of one moment, to w: the database file
// followed by its SHA-256, as `etcdctl snapshot save` writes it. It works on
// any etcd, while it serves. The hash is checked on the way, so that a
// snapshot that ended early is an error; w then holds garbage.
func Save(ctx context.Context, client *clientv3.Client, w io.Writer) error {
	resp, err := client.SnapshotWithVersion(ctx)
	if err != nil {
		return fmt.Errorf("ask for a snapshot: %w", err)
	}
	check := &checker{sum: sha256.New()}
	_, err = io.Copy(io.MultiWriter(w, check), resp.Snapshot)
	err = errors.Join(err, resp.Snapshot.Close())
	if err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	return check.verdict()
}

// checker hashes all but the last 32 bytes, which are the hash.
type checker struct {
	sum  hash.Hash
	tail []byte
	size int64
}

func (c *checker) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	c.tail = append(c.tail, p...)
	if over := len(c.tail) - sha256.Size; over > 0 {
		c.sum.Write(c.tail[:over])
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	return len(p), nil
}

func (c *checker) verdict() error {
	if c.size <= sha256.Size || c.size%sector != sha256.Size {
		return fmt.Errorf("%w: it has %d bytes, not whole sectors and a hash", ErrSnapshot, c.size)
	}
	if string(c.sum.Sum(nil)) != string(c.tail) {
		return fmt.Errorf("%w: its hash does not fit", ErrSnapshot)
	}
	return nil
}

// Restore makes a data directory from a snapshot file. The directory must be
// absent or empty; nothing is ever overwritten, and a restore that is cut off
// leaves it so. Revisions go on from the snapshot's: no reader outlives the
// restart of a single member, so they need no bump.
func Restore(file, dir string, log *slog.Logger) error {
	if err := verifyFile(file); err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	if err := wantEmpty(dir); err != nil {
		return fmt.Errorf("restore into %s: %w", dir, err)
	}
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("restore into %s: %w", dir, err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), ".restore-")
	if err != nil {
		return fmt.Errorf("restore into %s: %w", dir, explainDisk(err))
	}
	if err := restoreInto(file, work, log); err != nil {
		return errors.Join(fmt.Errorf("restore %s: %w", file, err), os.RemoveAll(work))
	}
	if err := os.Rename(work, dir); err != nil {
		return errors.Join(fmt.Errorf("put the restored data in its place: %w", err), os.RemoveAll(work))
	}
	return syncDir(filepath.Dir(dir))
}

func restoreInto(file, dir string, log *slog.Logger) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: etcd panicked: %v", ErrSnapshot, p)
		}
	}()
	return snapshot.NewV3(newZap(log, newFatalHook())).Restore(snapshot.RestoreConfig{
		SnapshotPath:        file,
		Name:                memberName,
		OutputDataDir:       dir,
		PeerURLs:            []string{nominalURL},
		InitialCluster:      memberName + "=" + nominalURL,
		InitialClusterToken: clusterToken,
	})
}

func verifyFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	c := &checker{sum: sha256.New()}
	if _, err := io.Copy(c, f); err != nil {
		return err
	}
	return c.verdict()
}

func wantEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("the directory is not empty (it has %q): move it away first", entries[0].Name())
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
