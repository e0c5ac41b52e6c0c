// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
	"time"

	"podid/internal/api/call"
)

// Appender is a result that writes its own members, in the form that
// encoding/xml gives the rest: the fast path of answers that are given often.
type Appender interface{ AppendXML(x *XML) }

// XML takes the members of an answer.
type XML struct {
	b     []byte
	depth int
}

// Structure writes a member that has members of its own.
func (x *XML) Structure(name string, members func()) {
	x.start(name)
	x.b = append(x.b, '\n')
	x.depth++
	members()
	x.depth--
	x.indent()
	x.end(name)
}

// String writes a member.
func (x *XML) String(name, value string) {
	x.start(name)
	x.b = appendText(x.b, value)
	x.end(name)
}

// Optional writes a member that is left out when empty.
func (x *XML) Optional(name, value string) {
	if value != "" {
		x.String(name, value)
	}
}

// Int writes a member that is a number.
func (x *XML) Int(name string, value int) {
	x.start(name)
	x.b = strconv.AppendInt(x.b, int64(value), 10)
	x.end(name)
}

// Time writes a member that is a [Timestamp].
func (x *XML) Time(name string, t time.Time) {
	x.start(name)
	x.b = appendTime(x.b, t)
	x.end(name)
}

func (x *XML) start(name string) {
	x.indent()
	x.b = append(append(append(x.b, '<'), name...), '>')
}

func (x *XML) end(name string) { x.b = append(append(append(x.b, "</"...), name...), ">\n"...) }

func (x *XML) indent() {
	for range x.depth {
		x.b = append(x.b, "  "...)
	}
}

// appendText appends character data. What is not plain ASCII is
// encoding/xml's business.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\'' || c == '&' || c == '<' || c == '>' {
			var buf bytes.Buffer
			_ = xml.EscapeText(&buf, []byte(s)) // a Buffer takes every write
			return append(b, buf.Bytes()...)
		}
	}
	return append(b, s...)
}

func appendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, time.RFC3339) // which the time package has a short way for
}

// appended is [codec.Result] for an Appender.
func (c codec) appended(w http.ResponseWriter, requestID string, op call.Operation, result Appender) (int, error) {
	x, _ := c.service.buffers.Get().(*XML)
	x.b, x.depth = append(append(append(append(append(x.b[:0], '<'), op.Name...), `Response xmlns="`...), c.service.Namespace...), "\">\n"...), 1
	x.Structure(op.Name+"Result", func() { result.AppendXML(x) })
	x.Structure("ResponseMetadata", func() { x.String("RequestId", requestID) })
	x.b = append(append(append(x.b, "</"...), op.Name...), "Response>\n"...)
	err := send(w, requestID, http.StatusOK, x.b)
	clear(x.b) // answers hold credentials
	c.service.buffers.Put(x)
	return http.StatusOK, err
}
