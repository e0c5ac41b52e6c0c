// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package satoken

import (
	"errors"
	"fmt"

	"podid/internal/jwt"
)

// Kinds of refusal: EKS Auth answers ExpiredTokenException to the one and
// InvalidTokenException to the other.
var (
	ErrExpired = errors.New("service account token has expired")
	ErrInvalid = errors.New("service account token is not valid")
)

// Reasons are stable words for audit, metrics and explanations.
const (
	ReasonExpired     = "token-expired"
	ReasonNotYetValid = "token-not-yet-valid"
	ReasonAudience    = "token-audience"
	ReasonIssuer      = "token-issuer"
	ReasonSignature   = "token-signature"
	ReasonUnknownKey  = "token-unknown-key"
	ReasonAlgorithm   = "token-algorithm"
	ReasonHeader      = "token-header"
	ReasonMalformed   = "token-malformed"
	ReasonNotPodBound = "token-not-pod-bound"
	ReasonSubject     = "token-subject"
	ReasonLife        = "token-life-too-long"
)

// Error is a refusal. Message may be sent to the caller: it holds no part of
// the token but names of issuers and audiences. errors.Is finds ErrExpired or
// ErrInvalid in it, errors.As a *jwt.UnknownKeyError.
type Error struct {
	Reason  string
	Message string
	Err     error // what jwt said, nil when the claims were refused
}

// Error returns the message with its reason.
func (e *Error) Error() string { return e.Message + " (" + e.Reason + ")" }

// Unwrap returns the kind of the refusal and its cause.
func (e *Error) Unwrap() []error {
	kind := ErrInvalid
	if e.Reason == ReasonExpired {
		kind = ErrExpired
	}
	if e.Err == nil {
		return []error{kind}
	}
	return []error{kind, e.Err}
}

func refuse(reason, format string, args ...any) error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// ofSignature turns what jwt refuses into reason and message.
func ofSignature(err error) error {
	e := &Error{Reason: ReasonMalformed, Message: "Token is not a well-formed JSON Web Token", Err: err}
	switch {
	case errors.Is(err, jwt.ErrUnknownKey):
		e.Reason, e.Message = ReasonUnknownKey, "Token is signed by a key that the cluster has not registered"
	case errors.Is(err, jwt.ErrSignature):
		e.Reason, e.Message = ReasonSignature, "Signature of the token is not valid"
	case errors.Is(err, jwt.ErrAlgorithm):
		e.Reason, e.Message = ReasonAlgorithm, "Signature algorithm of the token is not accepted"
	case errors.Is(err, jwt.ErrHeader):
		e.Reason, e.Message = ReasonHeader, "Header of the token is not accepted"
	}
	return e
}
