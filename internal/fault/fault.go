// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fault owns the errors that a caller may see: a kind, a message that
// is safe to show, a stable reason code, and what only audit and explain may
// show beside them. Verbs return them; each wire codec owns one table from
// Kind to AWS' exception name and status. It refuses to carry secrets: a
// message is written for the person who made the call.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong in the words of the domain, not of a protocol.
type Kind uint8

// The kinds. A codec maps each to its own exception and status.
const (
	Internal              Kind = iota // anything unexpected: the text stays in the log
	Unavailable                       // the store or a peer is away: worth another try
	Throttled                         // too many requests
	InvalidParameter                  // a value breaks a rule
	InvalidRequest                    // the request as a whole makes no sense
	MissingParameter                  // a required value is absent
	MalformedPolicy                   // a policy document breaks the grammar
	NotFound                          // the thing named does not exist
	AlreadyExists                     // the thing to be made exists
	DeleteConflict                    // the thing to be deleted is in use
	LimitExceeded                     // a quota is reached
	AccessDenied                      // the caller may not
	ExpiredToken                      // a token in the request was good and is over
	ExpiredCredentials                // the caller's own session is over
	InvalidToken                      // a token was never good here
	MissingAuthentication             // the request is not signed
	UnknownAccessKey                  // the access key id or security token is unknown
	SignatureMismatch                 // the signature does not fit
	IncompleteSignature               // the signature cannot be read
	UnknownOperation                  // no such action or path
	IdPRejected                       // the identity provider's claim is refused
	IdPUnavailable                    // the identity provider cannot be reached
	PackedPolicyTooLarge              // session policies and tags do not fit a token
	TooLarge                          // a body or header is over its limit
)

// Error is what a verb returns when it refuses. Message is shown to the
// caller as it stands. Reason is a stable kebab-case code for people, audit,
// Events and metrics; empty means the kind says it all. Detail is an
// explanation (JSON-taggable) for audit and for callers who may see it; it is
// never sent in an AWS-shaped answer. Err is the cause, for the log. RetryAfter,
// when not 0, is how long another try has no hope.
type Error struct {
	Kind       Kind
	Message    string
	Reason     string
	Detail     any
	Err        error
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	if e.Err != nil && e.Message == "" {
		return e.Err.Error()
	}
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of the kind with a formatted message.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// WithReason sets the reason code and returns e.
func (e *Error) WithReason(reason string) *Error { e.Reason = reason; return e }

// WithDetail sets what audit and explain may show and returns e.
func (e *Error) WithDetail(d any) *Error { e.Detail = d; return e }

// Because sets the cause and returns e.
func (e *Error) Because(err error) *Error { e.Err = err; return e }

// After sets how long another try has no hope and returns e.
func (e *Error) After(d time.Duration) *Error { e.RetryAfter = d; return e }

// StoreUnread is the fault of a verb whose store cannot be read, or not be
// asked for what other replicas have acknowledged.
func StoreUnread(cause error) *Error {
	return New(Unavailable, "The store cannot be read.").WithReason("store-unavailable").Because(cause)
}

// As returns the *Error in err's chain. Any other error becomes Internal with
// an empty message: its text is for the log, not for the caller.
func As(err error) *Error {
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return &Error{Kind: Internal, Err: err}
}

// Is reports whether err holds a fault of kind k.
func Is(err error, k Kind) bool {
	if err == nil { // mostly; f would be allocated
		return false
	}
	var f *Error
	return errors.As(err, &f) && f.Kind == k
}
