// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"time"

	"podid/internal/api/call"
	"podid/internal/fault"
)

// faultNamespace is that of errors which belong to no service.
const faultNamespace = "http://webservices.amazon.com/AWSFault/2005-15-09"

// List is a list as the protocol writes it: <Tags><member>…</member></Tags>.
// The element is there even when the list is empty.
type List[T any] struct {
	Member []T `xml:"member"`
}

// Timestamp is a time in ISO 8601, UTC, to the second.
type Timestamp time.Time

// MarshalText writes 2006-01-02T15:04:05Z.
func (t Timestamp) MarshalText() ([]byte, error) {
	return appendTime(nil, time.Time(t)), nil
}

// codec writes the answers of one service; the zero codec writes errors that
// belong to none.
type codec struct{ service *service }

func (c codec) namespace() string {
	if c.service == nil {
		return faultNamespace
	}
	return c.service.Namespace
}

// Result implements [call.Codec].
func (c codec) Result(w http.ResponseWriter, requestID string, op call.Operation, result any) (int, error) {
	if a, ok := result.(Appender); ok {
		return c.appended(w, requestID, op, a)
	}
	var b bytes.Buffer
	b.Grow(2048)
	b.WriteString("<" + op.Name + `Response xmlns="` + c.namespace() + `">` + "\n")
	if result != nil {
		start := xml.StartElement{Name: xml.Name{Local: op.Name + "Result"}}
		e := xml.NewEncoder(&b)
		e.Indent("  ", "  ")
		err := e.EncodeElement(result, start)
		if err != nil {
			_, status := c.Error(w, requestID, op, &fault.Error{Kind: fault.Internal})
			return status, err
		}
		b.WriteString("\n")
	}
	b.WriteString("  <ResponseMetadata>\n    <RequestId>" + requestID + "</RequestId>\n  </ResponseMetadata>\n</" + op.Name + "Response>\n")
	return http.StatusOK, send(w, requestID, http.StatusOK, b.Bytes())
}

// Error implements [call.Codec].
func (c codec) Error(w http.ResponseWriter, requestID string, op call.Operation, f *fault.Error) (string, int) {
	x := c.exception(op, f)
	kind := "Sender"
	if x.Status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	message := f.Message
	if message == "" {
		message = x.Text
	}
	var b bytes.Buffer
	b.WriteString(`<ErrorResponse xmlns="` + c.namespace() + `">` + "\n  <Error>\n    <Type>" + kind + "</Type>\n    <Code>" + x.Code + "</Code>\n    <Message>")
	_ = xml.EscapeText(&b, []byte(message)) // a Buffer takes every write
	b.WriteString("</Message>\n  </Error>\n  <RequestId>" + requestID + "</RequestId>\n</ErrorResponse>\n")
	_ = send(w, requestID, x.Status, b.Bytes()) // the peer is gone: there is nobody to tell
	return x.Code, x.Status
}

func (c codec) exception(op call.Operation, f *fault.Error) Exception {
	if c.service != nil && c.service.Refine != nil {
		if x, ok := c.service.Refine(op, f); ok {
			return x
		}
	}
	return exceptionOf(op, f)
}

func send(w http.ResponseWriter, requestID string, status int, body []byte) error {
	return call.Send(w, requestID, status, "text/xml", body)
}
