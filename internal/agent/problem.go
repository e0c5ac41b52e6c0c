// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"podid/internal/agent/credcache"
	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/podtoken"
)

// Texts of refusals, those of AWS' agent where it has them.
const (
	textEmptyToken   = "Service account token cannot be empty"
	textUnparsable   = "Service account token cannot be parsed: "
	textBadTime      = "Service account token failed basic claim validations: "
	textNotVerified  = "Service account token failed verification: "
	textWrongAddress = "Access Denied. Called agent through invalid address, please use either 169.254.170.23 or [fd00:ec2::23]"
)

// Codes of refusals, those of EKS Auth's model.
const (
	codeAccessDenied = "AccessDeniedException"
	codeExpired      = "ExpiredTokenException"
	codeInternal     = "InternalServerException"
	codeInvalid      = "InvalidTokenException"
	codeParameter    = "InvalidParameterException"
	codeThrottling   = "ThrottlingException"
	codeUnavailable  = "ServiceUnavailableException"
)

// statusClientGone is what the metrics call a request whose client did not wait for the answer; nobody reads it.
const statusClientGone = 499

// problem is a refusal as the pod sees it.
type problem struct {
	status        int
	code, message string
	requestID     string        // EKS Auth's
	retryAfter    time.Duration // 0: none is named
	ofToken       bool          // the token is at fault: who sends many such is slowed down
}

// problemJSON is the body. The SDKs' container providers read code and message, if the type is application/json.
type problemJSON struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	RequestID string `json:"requestId,omitempty"`
}

// formError is a token that cannot be read.
type formError struct{ err error }

func (e *formError) Error() string { return e.err.Error() }
func (e *formError) Unwrap() error { return e.err }

func emptyToken() problem {
	return problem{status: http.StatusBadRequest, code: codeParameter, message: textEmptyToken}
}

func wrongAddress() problem {
	return problem{status: http.StatusForbidden, code: codeAccessDenied, message: textWrongAddress}
}

// problemOf maps an error to what the pod is told: EKS Auth's own words, or a text without addresses.
func problemOf(err error) problem {
	var form *formError
	var limit *credcache.LimitError
	var refused *podtoken.Refusal
	switch {
	case errors.As(err, &form):
		return problem{status: http.StatusBadRequest, code: codeInvalid, message: textUnparsable + form.Error(), ofToken: true}
	case errors.Is(err, errTokenExpired):
		// No offence: kubelet may be late to write the new one.
		return problem{status: http.StatusBadRequest, code: codeExpired, message: textBadTime + err.Error()}
	case errors.Is(err, errTokenNotYetValid):
		return problem{status: http.StatusBadRequest, code: codeInvalid, message: textBadTime + err.Error()}
	case errors.As(err, &refused):
		return ofRefusal(refused)
	case errors.As(err, &limit):
		return problem{status: http.StatusTooManyRequests, code: codeThrottling, message: limit.Error(), retryAfter: limit.RetryAfter}
	case errors.Is(err, credcache.ErrStopped), errors.Is(err, credcache.ErrBusy), errors.Is(err, podtoken.ErrNoKeys):
		return problem{status: http.StatusServiceUnavailable, code: codeUnavailable, message: err.Error(), retryAfter: time.Second}
	}
	return ofUpstream(err)
}

func ofRefusal(r *podtoken.Refusal) problem {
	p := problem{status: http.StatusBadRequest, code: codeInvalid, message: textNotVerified + r.Message, ofToken: true}
	switch {
	case r.Expired():
		p.code, p.message = codeExpired, textBadTime+r.Message
	case r.OfTime():
		p.message = textBadTime + r.Message
	case r.OfForm():
		p.message = textUnparsable + r.Message
	}
	return p
}

// ofUpstream maps what came of the call to EKS Auth.
func ofUpstream(err error) problem {
	var api *eksauthclient.APIError
	var lost *eksauthclient.UnreachableError
	var identity *eksauthclient.IdentityError
	switch {
	case errors.As(err, &api):
		p := problem{status: api.Status, code: api.Code, message: api.Error(), requestID: api.RequestID, ofToken: api.Final() && api.OfToken()}
		if api.Status < 400 || api.Status > 599 {
			p.status = http.StatusInternalServerError
		}
		return p
	case errors.Is(err, credcache.ErrSlow):
		return problem{status: http.StatusInternalServerError, code: codeUnavailable, message: err.Error(), retryAfter: time.Second}
	case errors.As(err, &lost):
		return problem{status: http.StatusInternalServerError, code: codeUnavailable, message: lost.Error()}
	case errors.As(err, &identity):
		return problem{status: http.StatusInternalServerError, code: codeUnavailable, message: identity.Error()}
	case errors.Is(err, credcache.ErrTooShort), errors.Is(err, eksauthclient.ErrBadAnswer):
		return problem{status: http.StatusInternalServerError, code: codeInternal, message: err.Error()}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return problem{status: statusClientGone, message: "the client did not wait"}
	}
	return problem{status: http.StatusInternalServerError, code: codeInternal, message: "internal error of the agent"}
}

func (h *credentialsHandler) refuse(w http.ResponseWriter, r *http.Request, p problem) {
	h.metrics.response(p.status)
	h.log.DebugContext(r.Context(), "refused", slog.Int("status", p.status), slog.String("code", p.code), slog.String("reason", p.message), slog.String("remote", r.RemoteAddr))
	if p.status == statusClientGone {
		return
	}
	body, err := json.Marshal(problemJSON{Code: p.code, Message: p.message, RequestID: p.requestID})
	if err != nil { // three strings
		body = []byte("{}")
	}
	header := w.Header()
	header["Content-Type"] = h.json
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if p.requestID != "" {
		header.Set("X-Amzn-Requestid", p.requestID)
	}
	if p.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(body) // a pod that hung up is no error of ours
}
