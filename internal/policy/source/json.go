// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// jsonReader reads JSON and knows at which byte each token begins.
type jsonReader struct {
	text  string
	dec   *json.Decoder
	lines []int // byte offset at which each line begins
	// origin is where the text stands in its file, for JSON inside of YAML.
	origin Pos
	nodes  int
}

// parseJSON reads exactly one value.
func parseJSON(text string) (*Node, error) { return parseJSONAt(text, Pos{1, 1}, 1) }

// parseJSONAt is parseJSON for text that begins at a place of a larger file and
// whose further lines begin at the given column.
func parseJSONAt(text string, at Pos, column int) (*Node, error) {
	r := &jsonReader{text: text, dec: json.NewDecoder(strings.NewReader(text)), origin: Pos{at.Line, column}}
	r.dec.UseNumber()
	r.lines = append(r.lines, 0)
	for i := range len(text) {
		if text[i] == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	n, err := r.value(0)
	if err != nil {
		return nil, r.located(err)
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &SyntaxError{r.pos(r.next()), "text follows the document"}
	}
	return n, nil
}

// located gives an error of encoding/json its place.
func (r *jsonReader) located(err error) error {
	var syntax *json.SyntaxError
	var own *SyntaxError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &syntax):
		return &SyntaxError{r.pos(r.offending(int(syntax.Offset), syntax.Error())), "read JSON: " + syntax.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &SyntaxError{r.pos(len(r.text)), "read JSON: the text ends too early"}
	}
	return &SyntaxError{r.pos(int(r.dec.InputOffset())), err.Error()}
}

// offending is the offset of the character that an error names: the library
// counts it in, or not, by what it was reading.
func (r *jsonReader) offending(offset int, message string) int {
	before := max(0, offset-1)
	_, named, ok := strings.Cut(message, "invalid character '")
	if ok && named != "" && offset < len(r.text) && r.text[offset] == named[0] && r.text[before] != named[0] {
		return offset
	}
	return before
}

// next is the offset at which the next token begins.
func (r *jsonReader) next() int {
	at := int(r.dec.InputOffset())
	for at < len(r.text) && strings.IndexByte(" \t\r\n,:", r.text[at]) >= 0 {
		at++
	}
	return at
}

func (r *jsonReader) pos(offset int) Pos {
	offset = min(offset, len(r.text))
	low, high := 0, len(r.lines)
	for high-low > 1 {
		if mid := (low + high) / 2; r.lines[mid] <= offset {
			low = mid
		} else {
			high = mid
		}
	}
	column := utf8.RuneCountInString(r.text[r.lines[low]:offset])
	return Pos{r.origin.Line + low, r.origin.Col + column}
}

func (r *jsonReader) value(depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	if r.nodes++; r.nodes > maxNodes {
		return nil, errors.New("the file holds too many values")
	}
	n := &Node{Pos: r.pos(r.next())}
	tok, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := tok.(type) {
	case string:
		n.Kind, n.Text = String, v
	case json.Number:
		n.Kind, n.Text = Scalar, v.String()
	case bool:
		n.Kind, n.Text = Scalar, fmt.Sprint(v)
	case json.Delim:
		if v == '{' {
			return n, r.object(n, depth)
		}
		return n, r.list(n, depth)
	}
	return n, nil
}

func (r *jsonReader) object(n *Node, depth int) error {
	n.Kind = Object
	for r.dec.More() {
		at := r.pos(r.next())
		tok, err := r.dec.Token()
		if err != nil {
			return err
		}
		name, ok := tok.(string)
		if !ok {
			return &SyntaxError{at, "a member has no name"}
		}
		value, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.Members = append(n.Members, Member{at, name, value})
	}
	_, err := r.dec.Token()
	return err
}

func (r *jsonReader) list(n *Node, depth int) error {
	n.Kind = List
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, item)
	}
	_, err := r.dec.Token()
	return err
}

// quote writes a JSON string as people would: < and & stay as they are.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""` // no string fails to encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}
