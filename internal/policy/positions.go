// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Position is a place in a document's text. Lines and columns count from 1;
// columns count characters.
type Position struct{ Line, Column int }

// Span is where a statement stands. It begins behind the bracket before it, or
// behind its own brace when it stands alone, and ends behind its closing brace,
// as in the examples of AWS' policy simulator. Those have no second statement of
// a list: here it begins behind the comma.
type Span struct{ Start, End Position }

// Positions returns where the statements stand in Text, in their order. It
// reads the text again: documents do not carry places that few ask for.
func (d *Document) Positions() []Span { return positions(d.text) }

// positions finds the statements of a text that Parse accepts. Of any other
// text it returns what it finds before the fault.
func positions(text string) []Span {
	offsets := statementOffsets(text)
	out := make([]Span, len(offsets))
	at := cursorAt{text: text, pos: Position{1, 1}}
	for i, o := range offsets { // the offsets rise
		out[i] = Span{Start: at.advance(o[0]), End: at.advance(o[1])}
	}
	return out
}

// statementOffsets returns the bytes at which each statement begins and ends, in
// the sense of Span.
func statementOffsets(text string) [][2]int {
	dec := json.NewDecoder(strings.NewReader(text))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil
		}
		if name == "Statement" {
			return valueOffsets(dec, text)
		}
		if dec.Decode(new(json.RawMessage)) != nil {
			return nil
		}
	}
	return nil
}

// valueOffsets reads the value of Statement: one object, or a list of them.
func valueOffsets(dec *json.Decoder, text string) [][2]int {
	begin := int(dec.InputOffset())
	begin = skipTo(text, begin, ':') // behind it
	begin += len(text[begin:]) - len(strings.TrimLeft(text[begin:], " \t\r\n"))
	if begin < len(text) && text[begin] != '[' {
		if dec.Decode(new(json.RawMessage)) != nil {
			return nil
		}
		return [][2]int{{begin + 1, int(dec.InputOffset())}}
	}
	if _, err := dec.Token(); err != nil {
		return nil
	}
	var out [][2]int
	begin = int(dec.InputOffset())
	for dec.More() {
		if len(out) > 0 {
			begin = skipTo(text, out[len(out)-1][1], ',')
		}
		if dec.Decode(new(json.RawMessage)) != nil {
			return out
		}
		out = append(out, [2]int{begin, int(dec.InputOffset())})
	}
	return out
}

// skipTo returns the offset behind the separator, which stands behind white
// space only.
func skipTo(text string, from int, separator byte) int {
	if i := strings.IndexByte(text[from:], separator); i >= 0 {
		return from + i + 1
	}
	return from
}

// cursorAt walks a text once from its begin to its end.
type cursorAt struct {
	text   string
	offset int
	pos    Position
}

// advance walks to the offset, which is not before the last one. A line ends
// with a line feed, a carriage return, or both.
func (c *cursorAt) advance(to int) Position {
	for c.offset < to {
		r, size := utf8.DecodeRuneInString(c.text[c.offset:])
		c.offset += size
		switch {
		case r == '\n', r == '\r' && !strings.HasPrefix(c.text[c.offset:], "\n"):
			c.pos = Position{c.pos.Line + 1, 1}
		case r != '\r':
			c.pos.Column++
		}
	}
	return c.pos
}
