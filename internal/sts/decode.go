// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"context"
	"fmt"
	"strconv"

	"podid/internal/authmsg"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
)

// maxEncoded is the longest message that STS takes, in characters: STS API
// Reference, DecodeAuthorizationMessage.
const maxEncoded = 10240

// Messages reads encoded authorization messages.
type Messages interface {
	Decode(account, text string) (*authmsg.Message, error)
}

// DecodeAuthorizationMessage returns the JSON text of a message that a refused
// caller of this account was handed.
func (s *Service) DecodeAuthorizationMessage(ctx context.Context, caller iam.Caller, text string) (string, error) {
	if err := MayCall(caller, "DecodeAuthorizationMessage"); err != nil {
		return "", err
	}
	if err := s.Callers.Authorize(ctx, caller, iam.Query{Action: "sts:DecodeAuthorizationMessage", Resource: "*"}); err != nil {
		return "", err
	}
	if len(text) > maxEncoded {
		return "", fault.New(fault.InvalidParameter, "1 validation error detected: Value of %s characters at 'encodedMessage' failed to satisfy constraint: Member must have length less than or equal to %d",
			strconv.Itoa(len(text)), maxEncoded).WithReason("invalid-encoded-message")
	}
	m, err := s.Messages.Decode(s.Account, text)
	if err != nil {
		return "", fault.New(fault.InvalidRequest, "Message is not valid.").WithReason(reasonMessage)
	}
	out, err := m.JSON()
	if err != nil {
		return "", fmt.Errorf("decode authorization message: %w", err)
	}
	return out, nil
}

const reasonMessage = "authorization-message-invalid"

// IsInvalidMessage reports whether a fault is InvalidAuthorizationMessageException.
func IsInvalidMessage(f *fault.Error) bool { return f.Reason == reasonMessage }

// Refused returns the action that was refused, the role, and why; the last is
// nil when there was nothing to evaluate.
func (r Refusal) Refused() (action, resource string, x *policy.Explanation) {
	for i := range r.Actions {
		if !r.Actions[i].Explanation.Decision.Allowed {
			return r.Actions[i].Action, r.Role, &r.Actions[i].Explanation
		}
	}
	return policy.ActionAssumeRole, r.Role, nil
}
