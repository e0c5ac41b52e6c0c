// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package call

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"

	"podid/internal/fault"
)

// Some operations take bodies far above the limit that holds for strangers.
// Their caller is proven before any of the body is read, by the hash that the
// signature covers, and the handler reads it, with Call.OpenLarge, when the
// verb has allowed it.

// largeHash returns the hash of the body that the signature must cover.
func largeHash(r *http.Request) (string, error) {
	sum := r.Header.Get("X-Amz-Content-Sha256")
	if sum == "" && r.Header.Get("Authorization") == "" {
		return "", nil // not signed at all: the authenticator says so
	}
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
		return "", fault.New(fault.IncompleteSignature, "This operation needs the header X-Amz-Content-Sha256 with the SHA-256 of the body in hexadecimal digits.").WithReason("content-hash-missing")
	}
	return sum, nil
}

// OpenLarge returns the body of an operation with MaxBody. Reading it ends in
// a fault, and not in io.EOF, if it is not the body whose hash was signed:
// what was read is nobody's word until then.
func (c *Call) OpenLarge(op Operation) (io.Reader, error) {
	sum, err := largeHash(c.HTTP)
	if err != nil {
		return nil, err
	}
	b := &largeBody{from: c.HTTP.Body, max: op.MaxBody, want: sum, hash: sha256.New()}
	if c.HTTP.ContentLength > op.MaxBody {
		return nil, b.tooLarge()
	}
	return b, nil
}

// largeBody hashes what is read of a body, and holds it against want.
type largeBody struct {
	from   io.Reader
	n, max int64
	want   string
	hash   hash.Hash
	err    error // what every further Read returns
}

func (b *largeBody) tooLarge() error {
	return fault.New(fault.TooLarge, "The request body is larger than %d bytes.", b.max).WithReason("body-too-large")
}

func (b *largeBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	b.hash.Write(p[:n])
	b.n += int64(n)
	switch {
	case b.n > b.max:
		b.err = b.tooLarge()
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		b.err = fault.New(fault.InvalidRequest, "The request body could not be read.").WithReason("body-unreadable").Because(fmt.Errorf("after %d bytes: %w", b.n, err))
	case subtle.ConstantTimeCompare([]byte(hex.EncodeToString(b.hash.Sum(nil))), []byte(b.want)) != 1:
		b.err = fault.New(fault.SignatureMismatch, "The body is not the one that was signed.").WithReason("content-hash").Because(errors.New("the hash of the body differs from X-Amz-Content-Sha256"))
	default:
		b.err = io.EOF
	}
	return n, b.err
}
