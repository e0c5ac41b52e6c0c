// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Folding compares names without regard to case: every rune is lowered by
// itself. The three forms below agree with each other, which hashing needs.

const (
	fnvBasis = 2166136261
	fnvPrime = 16777619
)

// fold returns s with every rune lowered.
func fold(s string) string { return strings.Map(lowerRune, s) }

func lowerRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	return unicode.ToLower(r)
}

func lowerByte(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		b += 'a' - 'A'
	}
	return b
}

// foldHash continues hash h (start with fnvBasis) over the folded s.
func foldHash(h uint32, s string) uint32 {
	for i := 0; i < len(s); {
		b := s[i]
		if b < utf8.RuneSelf {
			if 'A' <= b && b <= 'Z' {
				b += 'a' - 'A'
			}
			h = (h ^ uint32(b)) * fnvPrime
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		h = hashRune(h, lowerRune(r))
		i += n
	}
	return h
}

// hashRune adds the bytes of r, as foldHash would see them after folding.
func hashRune(h uint32, r rune) uint32 {
	var buf [utf8.UTFMax]byte
	for _, b := range buf[:utf8.EncodeRune(buf[:], r)] {
		h = (h ^ uint32(b)) * fnvPrime
	}
	return h
}

// foldEqual reports whether a and b are equal after folding.
func foldEqual(a, b string) bool {
	for {
		if a == "" || b == "" {
			return a == b
		}
		if x, y := a[0], b[0]; x|y < utf8.RuneSelf {
			if x != y && lowerByte(x) != lowerByte(y) {
				return false
			}
			a, b = a[1:], b[1:]
			continue
		}
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
		if ra != rb && lowerRune(ra) != lowerRune(rb) {
			return false
		}
		a, b = a[na:], b[nb:]
	}
}

// foldPrefix reports whether folded begins with the folded s and returns the
// rest of folded.
func foldPrefix(s, folded string) (string, bool) {
	for s != "" {
		if folded == "" {
			return "", false
		}
		if x, y := s[0], folded[0]; x|y < utf8.RuneSelf {
			if x != y && lowerByte(x) != y {
				return "", false
			}
			s, folded = s[1:], folded[1:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		f, m := utf8.DecodeRuneInString(folded)
		if r != f && lowerRune(r) != f {
			return "", false
		}
		s, folded = s[n:], folded[m:]
	}
	return folded, true
}

// foldedPrefix is foldPrefix for two texts of which neither is folded.
func foldedPrefix(s, of string) (string, bool) {
	for s != "" {
		if of == "" {
			return of, false
		}
		if x, y := s[0], of[0]; x|y < utf8.RuneSelf {
			if x != y && lowerByte(x) != lowerByte(y) {
				return of, false
			}
			s, of = s[1:], of[1:]
			continue
		}
		a, n := utf8.DecodeRuneInString(s)
		b, m := utf8.DecodeRuneInString(of)
		if a != b && lowerRune(a) != lowerRune(b) {
			return of, false
		}
		s, of = s[n:], of[m:]
	}
	return of, true
}
