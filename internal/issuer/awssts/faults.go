// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"podid/internal/fault"
	"podid/internal/issuer"
)

const reasonCredentials = "upstream-credentials"

// pauseAway and pauseThrottled are what a refused agent is told to wait.
const (
	pauseAway      = 2 * time.Second
	pauseThrottled = time.Second
)

// Refusal is the detail of what the upstream refused, for audit and explain.
type Refusal struct {
	Upstream string `json:"upstream"`
	Role     string `json:"role,omitempty"`
	Code     string `json:"code,omitempty"`
	Message  string `json:"message,omitempty"`
}

// away is the fault of an upstream that gives no answer.
func (u *upstream) away(reason string, cause error) *fault.Error {
	return fault.New(fault.Unavailable, "The STS that issues for this account does not answer.").WithReason(reason).
		WithDetail(Refusal{Upstream: u.name}).Because(cause).After(pauseAway)
}

func noCredentials(upstream string, cause error) *fault.Error {
	return fault.New(fault.Unavailable, "The credentials with which this account's STS is asked are missing or not accepted.").
		WithReason(reasonCredentials).WithDetail(Refusal{Upstream: upstream}).Because(cause).After(pauseAway)
}

// outage tells the faults that speak of the upstream and not of one request.
func outage(f *fault.Error) bool { return f.Kind == fault.Unavailable }

// badCredentials are the codes of base credentials that are not accepted: no
// pod's fault, so no refusal of a pod.
var badCredentials = map[string]bool{
	"InvalidClientTokenId": true, "UnrecognizedClientException": true, "SignatureDoesNotMatch": true, "InvalidSignatureException": true,
	"IncompleteSignature": true, "MissingAuthenticationToken": true, "ExpiredToken": true, "ExpiredTokenException": true,
	"RequestExpired": true, "OptInRequired": true, "InvalidAccessKeyId": true,
	// Of tokens: the provider is not registered, cannot be reached, or has another audience.
	"InvalidIdentityToken": true, "InvalidIdentityTokenException": true, "IDPCommunicationError": true, "IDPRejectedClaim": true,
}

// fault puts an error of the SDK into podid's words.
func (u *upstream) fault(err error) *fault.Error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, errShaped) {
		return fault.New(fault.Throttled, "Too many requests to the STS that issues for this account are waiting.").WithReason("upstream-limit").
			WithDetail(Refusal{Upstream: u.name}).Because(err).After(pauseThrottled)
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		var odd *smithy.DeserializationError
		switch {
		case errors.As(err, &odd):
			return u.away("upstream-answer", err)
		case errors.Is(err, context.DeadlineExceeded):
			return u.away("upstream-timeout", err)
		}
		return u.away("upstream-unreachable", err)
	}
	code := api.ErrorCode()
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	detail := Refusal{Upstream: u.name, Code: code, Message: first(api.ErrorMessage(), 1000)}
	switch {
	case throttled:
		return fault.New(fault.Throttled, "The STS that issues for this account is asked too often.").WithReason("upstream-throttled").
			WithDetail(detail).Because(err).After(pauseThrottled)
	case badCredentials[code]:
		return noCredentials(u.name, err).WithDetail(detail)
	case status(err) >= 500:
		return u.away("upstream-error", err).WithDetail(detail)
	case code == "AccessDenied" || code == "AccessDeniedException" || code == "RegionDisabledException":
		return fault.New(fault.AccessDenied, "%s", issuer.Unauthorized).WithReason(deniedReason(code, api.ErrorMessage())).WithDetail(detail).Because(err)
	case code == "PackedPolicyTooLarge" || code == "PackedPolicyTooLargeException":
		return fault.New(fault.PackedPolicyTooLarge, "Session tags and session policy are too large for the STS that issues for this account.").
			WithReason("upstream-packed-policy").WithDetail(detail).Because(err)
	case code == "" || code == "UnknownError" || code == "InvalidAction" || code == "UnknownOperationException" || status(err) == 404 && code != codeNoEntity:
		return u.away("upstream-answer", err).WithDetail(detail) // that is no STS
	}
	return fault.New(fault.InvalidRequest, "The STS that issues for this account refuses the request: %.80s.", code).WithReason("upstream-refused").
		WithDetail(detail).Because(err)
}

func deniedReason(code, message string) string {
	switch {
	case code == "RegionDisabledException":
		return "upstream-region-disabled"
	case strings.Contains(message, "sts:TagSession"):
		return "upstream-denied-tag-session"
	}
	return "upstream-denied"
}

func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// first cuts text to n bytes of whole characters.
func first(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
