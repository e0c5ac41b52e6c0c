// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package call

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"podid/internal/fault"
)

// Some operations take bodies far above the limit that holds for strangers.
// Their caller is proven before any of the body is read, by the hash that the
// signature covers, and the handler reads it, with Call.ReadLarge, when the
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

// ReadLarge reads the body of an operation with MaxBody, and holds it against
// the hash that was signed.
func (c *Call) ReadLarge(op Operation) ([]byte, error) {
	sum, err := largeHash(c.HTTP)
	if err != nil {
		return nil, err
	}
	tooLarge := fault.New(fault.TooLarge, "The request body is larger than %d bytes.", op.MaxBody).WithReason("body-too-large")
	if c.HTTP.ContentLength > op.MaxBody {
		return nil, tooLarge
	}
	buf := bytes.NewBuffer(make([]byte, 0, max(c.HTTP.ContentLength, 0)+bytes.MinRead))
	n, err := buf.ReadFrom(io.LimitReader(c.HTTP.Body, op.MaxBody+1))
	if err != nil {
		return nil, fault.New(fault.InvalidRequest, "The request body could not be read.").WithReason("body-unreadable").Because(fmt.Errorf("after %d bytes: %w", n, err))
	}
	if n > op.MaxBody {
		return nil, tooLarge
	}
	got := sha256.Sum256(buf.Bytes())
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(got[:])), []byte(sum)) != 1 {
		return nil, fault.New(fault.SignatureMismatch, "The body is not the one that was signed.").WithReason("content-hash").Because(errors.New("the hash of the body differs from X-Amz-Content-Sha256"))
	}
	return buf.Bytes(), nil
}
