// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package shards is the form in which associations are kept over a restart: lines
// of text, packed, in pieces that fit into a Secret. It owns the form and its
// bounds, and refuses what has another one.
package shards

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"podid/internal/operator/feed"
)

// MaxSize bounds the data of a Secret, whose objects may be 1 MiB large;
// block is how much text is written between two looks at the size.
const (
	MaxSize = 900 << 10
	block   = 64 << 10
)

// maxText bounds what a shard is unpacked to.
const maxText = 64 << 20

// Encode packs associations, a line each, into shards of at most `most`
// bytes. Each is a gzip of its own, so that a person can look into it. There
// is one at least. The same associations always make the same bytes.
func Encode(all iter.Seq[feed.Association], most int) ([][]byte, error) {
	var shards [][]byte
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	pending := 0
	finish := func() error {
		if err := zip.Close(); err != nil {
			return err
		}
		shards = append(shards, bytes.Clone(packed.Bytes()))
		packed.Reset()
		zip.Reset(&packed)
		pending = 0
		return nil
	}
	var line []byte
	for a := range all {
		if strings.ContainsAny(a.Namespace+a.ServiceAccount+a.ID, "\t\n") {
			continue // nothing in Kubernetes has such a name
		}
		line = append(append(append(line[:0], a.Namespace...), '\t'), a.ServiceAccount...)
		line = strconv.AppendInt(append(append(append(line, '\t'), a.ID...), '\t'), a.Revision, 10)
		line = append(line, '\n')
		if _, err := zip.Write(line); err != nil {
			return nil, fmt.Errorf("pack associations: %w", err)
		}
		if pending += len(line); pending < block {
			continue
		}
		pending = 0
		err := zip.Flush()
		if err == nil && packed.Len() > most-block-block/8 { // what comes may not shrink at all
			err = finish()
		}
		if err != nil {
			return nil, fmt.Errorf("pack associations: %w", err)
		}
	}
	if err := finish(); err != nil {
		return nil, fmt.Errorf("pack associations: %w", err)
	}
	return shards, nil
}

// Sum is the checksum of all shards, in hex.
func Sum(shards [][]byte) string {
	h := sha256.New()
	for _, s := range shards {
		h.Write(s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Decode tells add what a shard holds.
func Decode(shard []byte, add func(feed.Association) error) error {
	zip, err := gzip.NewReader(bytes.NewReader(shard))
	if err != nil {
		return fmt.Errorf("unpack associations: %w", err)
	}
	lines := bufio.NewScanner(io.LimitReader(zip, maxText))
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		if len(f) != 4 {
			return errors.New("unpack associations: a line has not its four fields")
		}
		revision, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			return fmt.Errorf("unpack associations: %w", err)
		}
		if err := add(feed.Association{Namespace: f[0], ServiceAccount: f[1], ID: f[2], Revision: revision}); err != nil {
			return fmt.Errorf("unpack associations: %w", err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("unpack associations: %w", err)
	}
	return nil
}
