// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
)

const (
	stateName = "state"
	stateMark = "podid agent state 1\n"
	saltBytes = 16
	keyBytes  = 32
)

// State is a file that keeps the cache over a restart of the container. It is on memory, and sealed with a key that is in
// another folder on memory: who gets hold of a copy of one of the two has nothing. It is no protection from root of the
// node, who can read the agent's memory as well.
type State struct {
	path string
	key  []byte
}

// OpenState checks that both folders are on memory and their user's alone, and reads the key or makes it.
func OpenState(folder, keyFolder string) (*State, error) {
	if filepath.Clean(folder) == filepath.Clean(keyFolder) {
		return nil, errors.New("the folders of state and key are one: want two volumes")
	}
	for _, f := range []string{folder, keyFolder} {
		if err := Folder(f); err != nil {
			return nil, err
		}
		switch memory, err := onMemory(f); {
		case err != nil:
			return nil, err
		case !memory:
			return nil, fmt.Errorf("folder %s is not on memory (tmpfs): credentials are written nowhere else", f)
		}
	}
	key, err := stateKey(filepath.Join(keyFolder, nameHere("state", "key")))
	if err != nil {
		return nil, fmt.Errorf("key of the state: %w", err)
	}
	return &State{path: filepath.Join(folder, stateName), key: key}, nil
}

// stateKey reads the key, or makes it where there is none that can be used.
func stateKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) == keyBytes || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	return key, replace(path, func(to io.Writer) error { _, err := to.Write(key); return err })
}

// replace writes a file of mode 0600 and puts it in its place whole.
func replace(path string, write func(io.Writer) error) error {
	next := path + ".next"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(file)
	err = write(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return os.Rename(next, path)
}

// Save writes the parcel, without its sockets, and the records.
func (s *State) Save(p Parcel, records iter.Seq[any]) error {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	seal, err := s.cipher(salt)
	if err != nil {
		return err
	}
	err = replace(s.path, func(to io.Writer) error {
		if _, err := to.Write(append([]byte(stateMark), salt...)); err != nil {
			return err
		}
		frames := frameSealer{to: to, seal: seal}
		if err := frames.write(headerJSON{Version: version, Cluster: p.Cluster, FeedUID: p.FeedUID, FeedRevision: p.FeedRevision}); err != nil {
			return err
		}
		for r := range records {
			if err := frames.write(r); err != nil {
				return err
			}
		}
		return frames.write(nil) // null: the end
	})
	if err != nil {
		return fmt.Errorf("keep state: %w", err)
	}
	return nil
}

// cipher is that of one file: nonces are the frames' numbers, so each file has a key of its own.
func (s *State) cipher(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, s.key, salt, stateMark, keyBytes)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

type frameSealer struct {
	to   io.Writer
	seal cipher.AEAD
	n    uint64
}

func (f *frameSealer) write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	defer clear(text)
	f.n++
	return writeFrame(f.to, f.seal.Seal(nil, nonce(f.seal, f.n), text, nil))
}

func nonce(seal cipher.AEAD, n uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, seal.NonceSize()-8), n)
}

// Load reads what Save wrote: record is called with each record, after all of them proved genuine. Without a file the
// error is fs.ErrNotExist.
func (s *State) Load(record func([]byte) error) (Parcel, error) {
	text, err := os.ReadFile(s.path)
	if err != nil {
		return Parcel{}, fmt.Errorf("read state: %w", err)
	}
	h, records, err := s.open(text)
	if err != nil {
		return Parcel{}, fmt.Errorf("read state: %w", err)
	}
	for _, r := range records {
		if err := record(r); err != nil {
			return Parcel{}, fmt.Errorf("read state: %w", err)
		}
	}
	return Parcel{Cluster: h.Cluster, FeedUID: h.FeedUID, FeedRevision: h.FeedRevision}, nil
}

var errState = errors.New("the file is not whole, or sealed with another key")

func (s *State) open(text []byte) (h headerJSON, records [][]byte, err error) {
	rest, ok := bytes.CutPrefix(text, []byte(stateMark))
	if !ok || len(rest) < saltBytes {
		return h, nil, errState
	}
	seal, err := s.cipher(rest[:saltBytes])
	if err != nil {
		return h, nil, err
	}
	from := bytes.NewReader(rest[saltBytes:])
	for n := uint64(1); ; n++ {
		sealed, err := readFrame(from)
		if err != nil {
			return h, nil, errState
		}
		plain, err := seal.Open(sealed[:0], nonce(seal, n), sealed, nil)
		switch {
		case err != nil:
			return h, nil, errState
		case n == 1:
			if err := json.Unmarshal(plain, &h); err != nil || h.Version != version {
				return h, nil, fmt.Errorf("version %d is not known here", h.Version)
			}
		case string(plain) == "null":
			return h, records, nil
		default:
			records = append(records, plain)
		}
	}
}

// Remove takes the file away.
func (s *State) Remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}
