// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package secret owns the type of values that must never be printed: secret
// access keys and session tokens. Every formatter, logger and encoder sees
// only "[secret]"; the value leaves through Reveal, whose call sites are few
// and easy to find.
package secret

import (
	"crypto/subtle"
	"log/slog"
)

const hidden = "[secret]"

// String holds a value that cannot print itself. Two Strings are compared with
// Equal, never with ==. The value stands behind a pointer, because fmt prints
// an unexported field of another struct without asking its methods.
type String struct{ v *string }

// New wraps v.
func New(v string) String { return String{&v} }

// Reveal returns the value. Call it only where the value goes to its owner or
// into cryptography.
func (s String) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// IsZero reports whether there is no value.
func (s String) IsZero() bool { return s.v == nil || *s.v == "" }

// Equal compares in constant time.
func (s String) Equal(o string) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o)) == 1
}

func (String) String() string               { return hidden }
func (String) GoString() string             { return hidden }
func (String) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (String) MarshalText() ([]byte, error) { return []byte(hidden), nil }
