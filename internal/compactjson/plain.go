// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package compactjson

// PlainPrefix is for those who write: how many bytes of s, at least, stand in a JSON string as they are. It looks at eight at a
// time, and stops early rather than late.
func PlainPrefix(s string) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	rest := s
	for len(rest) >= 8 {
		c := rest[:8] // of which the compiler knows the length
		w := uint64(c[0]) | uint64(c[1])<<8 | uint64(c[2])<<16 | uint64(c[3])<<24 |
			uint64(c[4])<<32 | uint64(c[5])<<40 | uint64(c[6])<<48 | uint64(c[7])<<56
		// A byte's top bit is set in each term where it is below 0x20, a quote,
		// a backslash, or not ASCII. A borrow can mark a plain byte too, never
		// the other way round.
		quote, slash := w^('"'*ones), w^('\\'*ones)
		if ((w-0x20*ones)|(quote-ones)|(slash-ones)|w)&highs != 0 {
			break
		}
		rest = rest[8:]
	}
	return len(s) - len(rest)
}

// IsPlain tells whether s stands in a JSON string as it is: ASCII without control characters, quotes and backslashes.
func IsPlain(s string) bool {
	for i := PlainPrefix(s); i < len(s); i++ {
		if c := s[i]; c < 0x20 || c > 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
