// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package call

import (
	"net/http"

	"podid/internal/fault"
)

// MessageHeader holds, on refusals, what sts:DecodeAuthorizationMessage decodes.
// AWS puts such messages into the texts of some services' errors, but of none
// that podid serves: a header leaves answers in AWS' shape.
const MessageHeader = "X-Podid-Authorization-Message"

// explain hands a refused caller the encoded authorization message. Strangers
// get none, nor do exchanges: agents repeat theirs, and `podid explain` says
// more of them.
func (g *Gate) explain(h http.Header, c *Call, op Operation, f *fault.Error) {
	if g.Message == nil || f.Kind != fault.AccessDenied || op.Anonymous || op.Exchange || c.Caller.Kind == 0 {
		return
	}
	m, err := g.Message(c.Caller, op.Action, f)
	if err != nil {
		g.Log.Error("encode authorization message", "request_id", c.Event.RequestID, "operation", op.Name, "err", err)
		return
	}
	h.Set(MessageHeader, m)
}
