// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/aws/smithy-go"
)

// Code is the code of a service's answer, or "" when err is something else:
// then what was asked may have been done or not.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// IsNotFound reports whether a service said that something does not exist.
func IsNotFound(err error) bool {
	return slices.Contains([]string{"ResourceNotFoundException", "NotFoundException", "NoSuchEntity", "NoSuchEntityException"}, Code(err))
}

// IsConflict reports whether a service said that something exists already or
// is in use.
func IsConflict(err error) bool {
	return slices.Contains([]string{
		"ResourceInUseException", "EntityAlreadyExists", "EntityAlreadyExistsException", "DeleteConflict", "DeleteConflictException",
	}, Code(err))
}

// IsRefused reports whether a service refused the caller: signature, token or
// permission.
func IsRefused(err error) bool {
	return slices.Contains([]string{
		"AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "IncompleteSignatureException",
		"InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"SignatureDoesNotMatch", "UnrecognizedClientException",
	}, Code(err))
}

// ExplainInput is the body of Explain. A token beats the members that
// describe a pod.
type ExplainInput struct {
	Namespace      string        `json:"namespace,omitempty"`
	ServiceAccount string        `json:"serviceAccount,omitempty"`
	PodName        string        `json:"podName,omitempty"`
	PodUID         string        `json:"podUid,omitempty"`
	NodeName       string        `json:"nodeName,omitempty"`
	Token          string        `json:"token,omitempty"`
	Actions        []ActionAsked `json:"actions,omitempty"`
}

// ActionAsked is an action that the session might want.
type ActionAsked struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// The verdicts of a step.
const (
	Pass       = "pass"
	Fail       = "fail"
	Open       = "open"
	NotReached = "not reached"
)

// Explanation is what an exchange would come to.
type Explanation struct {
	WouldIssue bool           `json:"wouldIssue"`
	Steps      []Step         `json:"steps"`
	Actions    []ActionAnswer `json:"actions,omitempty"`
}

// Step is one step of the exchange. Detail is a Decision for steps that
// evaluate policies.
type Step struct {
	Step    string          `json:"step"`
	Verdict string          `json:"verdict"`
	Note    string          `json:"note,omitempty"`
	Open    []string        `json:"open,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Message string          `json:"message,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// ActionAnswer says whether the session would be allowed an action.
type ActionAnswer struct {
	Action   string   `json:"action"`
	Resource string   `json:"resource"`
	Allowed  bool     `json:"allowed"`
	Policy   string   `json:"policy,omitempty"`
	Detail   Decision `json:"detail"`
}

// Decision is a policy decision with what it takes to understand it.
type Decision struct {
	Action     string     `json:"action"`
	Decision   Verdict    `json:"decision"`
	NearMisses []NearMiss `json:"nearMisses,omitempty"`
}

// Verdict is the decision itself.
type Verdict struct {
	Allowed      bool     `json:"allowed"`
	ExplicitDeny bool     `json:"explicitDeny"`
	Cause        string   `json:"cause"`
	Source       Source   `json:"source"`
	Open         []string `json:"open,omitempty"`
}

// Source is the statement that decided; Statement is -1 for none.
type Source struct {
	Document  string `json:"document,omitempty"`
	Arn       string `json:"arn,omitempty"`
	Statement int    `json:"statement"`
	Sid       string `json:"sid,omitempty"`
}

// NearMiss is an Allow statement that nearly matched, with what failed first.
type NearMiss struct {
	Kind      string           `json:"kind"`
	Document  string           `json:"document,omitempty"`
	Arn       string           `json:"arn,omitempty"`
	Statement int              `json:"statement"`
	Sid       string           `json:"sid,omitempty"`
	Element   string           `json:"element"`
	Wanted    []string         `json:"wanted,omitempty"`
	Actual    string           `json:"actual,omitempty"`
	Condition *FailedCondition `json:"condition,omitempty"`
}

// FailedCondition is a condition that was not met.
type FailedCondition struct {
	Operator string   `json:"operator"`
	Key      string   `json:"key"`
	Wanted   []string `json:"wanted"`
	Actual   []string `json:"actual,omitempty"`
	Absent   bool     `json:"absent,omitempty"`
	Problem  string   `json:"problem,omitempty"`
}
