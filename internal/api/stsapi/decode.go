// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stsapi

import (
	"context"
	"net/http"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/sts"
)

type decodedMessage struct{ DecodedMessage string }

// decodeAuthorizationMessage keeps the message out of audit, where it would be
// more to read than what it says: the refusal has an event of its own.
func (a api) decodeAuthorizationMessage(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	c.Event.RequestParameters = f.Parameters(audit.Hidden, "EncodedMessage")
	if err := check(f, "EncodedMessage"); err != nil {
		return nil, err
	}
	text, err := a.verbs.DecodeAuthorizationMessage(ctx, c.Caller, f.String("EncodedMessage"))
	if err != nil {
		return nil, err
	}
	return &decodedMessage{text}, nil
}

// refine names what only STS names.
func refine(_ call.Operation, f *fault.Error) (awsquery.Exception, bool) {
	if sts.IsInvalidMessage(f) {
		return awsquery.Exception{Code: "InvalidAuthorizationMessageException", Status: http.StatusBadRequest}, true
	}
	return awsquery.Exception{}, false
}
