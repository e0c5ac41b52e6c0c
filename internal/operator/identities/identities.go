// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package identities writes the associations of the cluster into the file that
// AWS' own pod identity webhook watches (--watch-container-credentials-config),
// so that a cluster which runs that webhook can be fed by podid. It owns the
// file's form and how it is put there: whole, never half, in the order of the
// names, and only when it differs. It leaves the file alone until the
// associations are known: what the webhook has from before stays in force.
package identities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"podid/internal/operator/feed"
)

const (
	// spacing lies between two writes: the webhook reads all of the file each time.
	spacing = 100 * time.Millisecond
	// retry is after a write that failed.
	retry = 5 * time.Second
	// mode lets the webhook, another user, read what is no secret.
	mode = 0o644
)

// Writer keeps a file. All fields are required.
type Writer struct {
	Feed *feed.Feed
	Path string
	Log  *slog.Logger
}

// NeedLeaderElection says that every replica writes: the file is on its own node.
func (w *Writer) NeedLeaderElection() bool { return false }

// Start writes until ctx ends, which is no error.
func (w *Writer) Start(ctx context.Context) error {
	select {
	case <-w.Feed.Synced():
	case <-ctx.Done():
		return nil
	}
	for failing := false; ctx.Err() == nil; {
		changed, wait := w.Feed.Changed(), spacing
		err := w.Write(ctx)
		if err != nil {
			if !failing { // and not every five seconds
				w.Log.LogAttrs(ctx, slog.LevelError, "write the identities of AWS' webhook", slog.String("error", err.Error()))
			}
			changed, wait = nil, retry
		}
		failing = err != nil
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
		if failing {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}

// Write writes what is known now, unless the file says so already.
func (w *Writer) Write(ctx context.Context) error {
	snapshot := w.Feed.Snapshot()
	var text bytes.Buffer
	if err := encode(&text, snapshot.All()); err != nil {
		return err
	}
	have, err := os.ReadFile(w.Path)
	switch {
	case err == nil && bytes.Equal(have, text.Bytes()):
		return nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("read what is there: %w", err)
	}
	if err := put(w.Path, text.Bytes()); err != nil {
		return err
	}
	w.Log.LogAttrs(ctx, slog.LevelInfo, "wrote the identities of AWS' webhook", slog.String("file", w.Path), slog.Int("identities", snapshot.Len()))
	return nil
}

// identity is an element of the list, as AWS' webhook reads it.
type identity struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
}

// encode writes one line for each identity, so that two versions can be compared.
func encode(to io.Writer, all iter.Seq[feed.Association]) error {
	const begin, between, end = `{"identities":[`, ",", "\n]}\n"
	if _, err := io.WriteString(to, begin); err != nil {
		return err
	}
	sep := "\n"
	for a := range all {
		text, err := json.Marshal(identity{a.Namespace, a.ServiceAccount})
		if err == nil {
			_, err = io.WriteString(to, sep+string(text))
		}
		if err != nil {
			return fmt.Errorf("encode identities: %w", err)
		}
		sep = between + "\n"
	}
	_, err := io.WriteString(to, end)
	return err
}

// put puts a text in the place of a file by renaming. Where only the file
// itself may be written (it is mounted by itself, or its folder is another's)
// it is written in place: AWS' webhook keeps what it has while it reads a half,
// and reads again.
func put(path string, text []byte) error {
	err := replace(path, text)
	if err == nil {
		return nil
	}
	info, statErr := os.Stat(path)
	if statErr != nil || !info.Mode().IsRegular() {
		return err
	}
	if inPlace := overwrite(path, text); inPlace != nil {
		return errors.Join(err, inPlace)
	}
	return nil
}

func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return fmt.Errorf("make the new file: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("put the new file in place: %w", err), os.Remove(f.Name()))
	}
	return nil
}

func overwrite(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0) //nolint:gosec // the user names the file
	if err != nil {
		return fmt.Errorf("open the file: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	return nil
}
