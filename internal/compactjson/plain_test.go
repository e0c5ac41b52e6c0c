// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package compactjson

import (
	"strings"
	"testing"
)

// TestPlain puts every byte at every place of a word, behind a plain word and before one.
func TestPlain(t *testing.T) {
	for c := range 256 {
		plain := c >= 0x20 && c < 0x80 && c != '"' && c != '\\'
		for at := range 8 {
			word := []byte("ABCDEFGH")
			word[at] = byte(c)
			s := "12345678" + string(word) + "12345678"
			if IsPlain(s) != plain || IsPlain(string(word[at:])) != plain {
				t.Errorf("IsPlain(%q) is not %t", s, plain)
			}
			got, want := PlainPrefix(s), 8
			if plain {
				want = 24
			}
			if got > want || !plain && got < 8 { // stopping early is allowed, passing by is not
				t.Errorf("PlainPrefix(%q) = %d, want at most %d", s, got, want)
			}
		}
	}
	if got := PlainPrefix(strings.Repeat("~!az09 /", 4) + "rest"); got != 32 {
		t.Errorf("PlainPrefix of a plain text = %d, want all its words, 32", got)
	}
}
