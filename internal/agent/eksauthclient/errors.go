// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// ErrBadAnswer is an answer with status 200 that no credentials can be made of.
var ErrBadAnswer = errors.New("unusable answer of EKS Auth")

// APIError is a refusal by EKS Auth.
type APIError struct {
	// Status is the HTTP status of the answer.
	Status int
	// Code is the name of the exception, for example AccessDeniedException, or UnknownError when the answer named none.
	Code string
	// Message is the server's text, bounded and without control characters.
	Message string
	// RequestID is the server's x-amzn-RequestId.
	RequestID string
}

// Fault tells whose fault the error is, in AWS' words: client or server.
func (e *APIError) Fault() string {
	if e.Status >= 500 {
		return "server"
	}
	return "client"
}

// Error has the form that AWS' agent shows to pods.
func (e *APIError) Error() string {
	return fmt.Sprintf("[%s]: (%s): %s, fault: %s", e.RequestID, e.Code, e.Message, e.Fault())
}

// Final tells whether the refusal will stand however often the call is made with this token: the association is gone,
// the role may not be assumed, the token is no good. It is AWS' agent's list, less refusals of the agent's own
// credentials (403 with ExpiredTokenException and its like), which say nothing about the pod.
func (e *APIError) Final() bool {
	switch e.Code {
	case "AccessDeniedException", "AccessDenied", "ResourceNotFoundException":
		return true
	case "InvalidTokenException", "ExpiredTokenException":
		return e.Status != http.StatusForbidden
	}
	return false
}

// OfToken tells whether a final refusal is of the token that was shown, and not of the pod it belongs to.
func (e *APIError) OfToken() bool {
	return e.Code == "InvalidTokenException" || e.Code == "ExpiredTokenException"
}

// UnreachableError is a try without an answer. Its text does not name the endpoint, since pods see it; Unwrap gives the
// cause, which does.
type UnreachableError struct {
	// TimedOut tells a time-out from a refused or broken connection.
	TimedOut bool
	Err      error
}

// Error is free of addresses.
func (e *UnreachableError) Error() string {
	if e.TimedOut {
		return "EKS Auth did not answer in time"
	}
	return "EKS Auth cannot be reached"
}

// Unwrap returns the transport's error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// IdentityError says that the agent has no credentials of its own to sign with.
type IdentityError struct{ Err error }

// Error is free of the cause, since pods see it.
func (e *IdentityError) Error() string { return "the agent has no credentials to call EKS Auth with" }

// Unwrap returns the credentials provider's error.
func (e *IdentityError) Unwrap() error { return e.Err }

// IsFinal reports whether err is a refusal for which Final holds.
func IsFinal(err error) bool {
	var api *APIError
	return errors.As(err, &api) && api.Final()
}

func unreachable(err error) error {
	var timeout net.Error
	timedOut := errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout())
	return &UnreachableError{TimedOut: timedOut, Err: err}
}

// retryable: what another endpoint may do better, so server faults and lost connections. Throttling is not: it is meant.
// The caller's own credentials have retries of their own.
func retryable(err error) bool {
	var api *APIError
	if errors.As(err, &api) {
		return api.Status >= 500
	}
	var lost *UnreachableError
	return errors.As(err, &lost) && !errors.Is(err, context.Canceled)
}

// notReached: refused or broken connections, as while a control plane restarts, and dials that took too long; not an
// answer that did not come in time, since whoever owes it is busy.
func notReached(err error) bool {
	var lost *UnreachableError
	if !errors.As(err, &lost) || errors.Is(err, context.Canceled) {
		return false
	}
	var op *net.OpError
	return !lost.TimedOut || errors.As(err, &op) && op.Op == "dial"
}

// callerRejected: the server does not know, or no longer accepts, the credentials that signed the call.
func callerRejected(err error) bool {
	var api *APIError
	if !errors.As(err, &api) || (api.Status != http.StatusForbidden && api.Status != http.StatusUnauthorized) {
		return false
	}
	switch api.Code {
	case "ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidTokenException":
		return true
	}
	return false
}
