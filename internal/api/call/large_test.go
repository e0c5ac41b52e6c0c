// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package call_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"podid/internal/api/call"
	"podid/internal/fault"
	"podid/internal/reqctx"
)

// TestLargeBody: the caller is proven before the body is read, by the hash
// that was signed, and the body must have it.
func TestLargeBody(t *testing.T) {
	op := call.Operation{Service: "podid", Name: "Import", Action: "podid:Import", MaxBody: 1000}
	long := strings.Repeat("a", 900)
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	for _, tc := range []struct {
		name string
		body io.Reader
		sum  string
		deny error
		want string
		read bool // the handler is reached
	}{
		{"above the ordinary limit", strings.NewReader(long), hash(long), nil, "id-1 900", true},
		{"no hash", strings.NewReader(long), "", nil, "needs the header X-Amz-Content-Sha256", false},
		{"unsigned payload", strings.NewReader(long), "UNSIGNED-PAYLOAD", nil, "needs the header X-Amz-Content-Sha256", false},
		{"another body", strings.NewReader(long + "b"), hash(long), nil, "The body is not the one that was signed.", true},
		{"too large, said beforehand", strings.NewReader(strings.Repeat("a", 1001)), hash(""), nil, "larger than 1000 bytes", true},
		{"too large, found out", io.MultiReader(strings.NewReader(strings.Repeat("a", 1001))), hash(""), nil, "larger than 1000 bytes", true},
		{"broken", iotest.ErrReader(errors.New("cut")), hash(long), nil, "could not be read", true},
		{"a stranger", iotest.ErrReader(errors.New("the body was read")), hash(long), fault.New(fault.SignatureMismatch, "no"), "no", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench()
			b.authn.err = tc.deny
			reached := false
			r := httptest.NewRequestWithContext(reqctx.With(context.Background(), reqctx.Info{ID: "id-1"}), http.MethodPost, "/", tc.body)
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 …")
			if tc.sum != "" {
				r.Header.Set("X-Amz-Content-Sha256", tc.sum)
			}
			w := httptest.NewRecorder()
			b.gate.Serve(w, r, op, b.codec, func(_ context.Context, c *call.Call) (any, error) {
				reached = true
				body, err := c.OpenLarge(op)
				if err != nil {
					return nil, err
				}
				raw, err := io.ReadAll(body)
				return len(raw), err
			})
			if !strings.Contains(w.Body.String(), tc.want) || reached != tc.read {
				t.Errorf("answer %q, reached %t; want %q, %t", w.Body, reached, tc.want, tc.read)
			}
			if tc.sum != "" && tc.sum != "UNSIGNED-PAYLOAD" && b.authn.hash != tc.sum {
				t.Errorf("authenticated over %q, want %q", b.authn.hash, tc.sum)
			}
		})
	}
}
