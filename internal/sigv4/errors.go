// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"errors"
	"fmt"
)

// Code is an AWS error code. REST-JSON services show SignatureDoesNotMatch as
// InvalidSignatureException; the codec at the edge knows.
type Code string

// Codes of a refusal.
const (
	CodeIncompleteSignature   Code = "IncompleteSignature"
	CodeMissingAuthentication Code = "MissingAuthenticationToken"
	CodeSignatureDoesNotMatch Code = "SignatureDoesNotMatch"
)

// Reasons are stable words for logs, metrics and audit.
const (
	ReasonMissing        = "signature-missing"
	ReasonMalformed      = "signature-malformed"
	ReasonAlgorithm      = "signature-algorithm"
	ReasonScope          = "signature-scope"
	ReasonExpired        = "signature-expired"
	ReasonNotYetCurrent  = "signature-not-yet-current"
	ReasonUnsignedHeader = "signature-header-unsigned"
	ReasonPayload        = "signature-payload"
	ReasonPath           = "signature-path"
	ReasonMismatch       = "signature-mismatch"
)

// ErrMissing is returned (wrapped in an *Error) when a request carries no
// signature at all.
var ErrMissing = errors.New("request is not signed")

// Error is a refusal. Message may be sent to the client: it holds no secret,
// no token and no signature.
type Error struct {
	Code    Code
	Reason  string
	Message string
	err     error
}

// Error returns code and message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns ErrMissing for an unsigned request.
func (e *Error) Unwrap() error { return e.err }

func refuse(code Code, reason, format string, args ...any) error {
	return &Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}
}
