// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	witnessPath   = "/.podid/"
	witnessHeader = "Podid-Agent"
	nonceChars    = 32
)

var errOtherAgent = errors.New("another podid-agent answers here")

// witness proves to the agent that it is itself who answers on its addresses: whatever redirects port 80 of the node (a
// CNI's port mapping for an ingress, an eBPF program, a proxy), it does not know the key.
type witness struct{ key []byte }

// newWitness draws the key; nil means crypto/rand.
func newWitness(source io.Reader) (*witness, error) {
	if source == nil {
		source = rand.Reader
	}
	w := &witness{key: make([]byte, sha256.Size)}
	if _, err := io.ReadFull(source, w.key); err != nil {
		return nil, fmt.Errorf("draw key: %w", err)
	}
	return w, nil
}

func (w *witness) sign(nonce string) string {
	mac := hmac.New(sha256.New, w.key)
	mac.Write([]byte(nonce))
	return hex.EncodeToString(mac.Sum(nil))
}

// answer puts the proof into the header of an answer, if the path asks for one.
func (w *witness) answer(header http.Header, path string) {
	if nonce, ok := strings.CutPrefix(path, witnessPath); ok && len(nonce) == nonceChars {
		header.Set(witnessHeader, w.sign(nonce))
	}
}

// question returns a path that has not been asked before.
func (w *witness) question() (nonce, path string) {
	var b [nonceChars / 2]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	nonce = hex.EncodeToString(b[:])
	return nonce, witnessPath + nonce
}

// check is nil when the answer is the agent's own; else the error says whose it is.
func (w *witness) check(resp *http.Response, nonce string) error {
	got := resp.Header.Get(witnessHeader)
	switch {
	case got == "":
		return &stolenError{by: strings.TrimSpace(fmt.Sprintf("HTTP status %d %.100s", resp.StatusCode, resp.Header.Get("Server")))}
	case !hmac.Equal([]byte(got), []byte(w.sign(nonce))):
		return errOtherAgent
	}
	return nil
}

// stolenError says that something else answers on an address of the agent's.
type stolenError struct{ by string }

// Error says what to look for.
func (e *stolenError) Error() string {
	return "something else answers here (" + e.by + "): a port mapping of the node, such as an ingress' hostPort, or a proxy takes the port"
}
