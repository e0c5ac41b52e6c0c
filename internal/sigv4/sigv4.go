// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sigv4 verifies AWS Signature Version 4 on incoming HTTP requests, in
// the header form and in the presigned (query) form.
//
// It owns the grammar of the Authorization header and of the X-Amz-* query
// parameters, the canonical request, the signing-key derivation and the time
// window. It knows no principals: Parse says which access key claims to have
// signed, the caller finds that key's secret, and Verify says whether it did.
//
// It refuses by default: UNSIGNED-PAYLOAD and STREAMING-* payloads, an X-Amz-*
// header outside the signature, repeated authentication headers or parameters,
// both forms in one request, algorithms other than AWS4-HMAC-SHA256, and paths
// with empty or dot segments. Every refusal is an *Error with the AWS error
// code, a message and a stable reason.
//
// It stands first in the flow of a signed request: listener → decode → sigv4 →
// principal → verb. The canonical path is the non-S3 one: every segment of the
// path on the wire is percent-encoded once more.
//
// Rules: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
package sigv4

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	isoBasic   = "20060102T150405Z"

	// MaxExpires is the longest life of a presigned request (seven days).
	MaxExpires = 7 * 24 * time.Hour

	maxSignedHeaders = 128
	maxScopePart     = 64
	maxAccessKeyID   = 128
)

// Signed is what a request claims about its signature. Nothing in it is proven
// until Verify returns nil.
type Signed struct {
	// AccessKeyID names the key; its secret is the caller's to find.
	AccessKeyID string
	// Date (yyyymmdd), Region and Service are the credential scope.
	Date, Region, Service string
	// SecurityToken is the session token, empty for a long-lived key. It is
	// always covered by the signature.
	SecurityToken string
	// Time is the moment of signing.
	Time time.Time
	// Presigned is true for the query form.
	Presigned bool
	// Expires is the life of a presigned request from Time on. Zero means that
	// none was asked for: the skew window of the header form applies.
	Expires time.Duration
	// SignedHeaders are the lower-case header names under the signature, sorted.
	SignedHeaders []string

	stamp     string // the time as written, when it is the ISO basic form
	signature string // 64 lower-case hexadecimal digits
}

// String describes the claim without token or signature.
func (s *Signed) String() string {
	if s == nil {
		return "sigv4.Signed(nil)"
	}
	return fmt.Sprintf("sigv4.Signed(%s/%s/%s/%s)", s.AccessKeyID, s.Date, s.Region, s.Service)
}

// GoString is String, so that %#v reveals no more.
func (s *Signed) GoString() string { return s.String() }

// RequireScope checks that the request was signed for service and for one of
// regions. The texts are those of AWS.
func (s *Signed) RequireScope(service string, regions ...string) error {
	if s.Service != service {
		return refuse(CodeSignatureDoesNotMatch, ReasonScope,
			"Credential should be scoped to correct service: '%s'.", service)
	}
	for _, region := range regions {
		if s.Region == region {
			return nil
		}
	}
	return refuse(CodeSignatureDoesNotMatch, ReasonScope,
		"Credential should be scoped to a valid region, not '%s'.", s.Region)
}

// parseCredential splits "AKID/date/region/service/aws4_request".
func (s *Signed) parseCredential(credential string) error {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 {
		return refuse(CodeIncompleteSignature, ReasonMalformed,
			"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got %d.", len(parts))
	}
	if parts[4] != terminator {
		return refuse(CodeSignatureDoesNotMatch, ReasonScope,
			"Credential should be scoped with a valid terminator: 'aws4_request'.")
	}
	if !isToken(parts[0], maxAccessKeyID, true) {
		return refuse(CodeIncompleteSignature, ReasonMalformed, "Credential names no valid access key id.")
	}
	if len(parts[1]) != 8 || !isDigits(parts[1]) {
		return refuse(CodeIncompleteSignature, ReasonMalformed, "Date in Credential scope must have the form YYYYMMDD.")
	}
	if !isToken(parts[2], maxScopePart, false) || !isToken(parts[3], maxScopePart, false) {
		return refuse(CodeIncompleteSignature, ReasonMalformed, "Region and service in Credential scope must be lower-case names.")
	}
	s.AccessKeyID, s.Date, s.Region, s.Service = parts[0], parts[1], parts[2], parts[3]
	return nil
}

// parseSignedHeaders takes the semicolon list; it must be sorted, lower-case,
// without repetition, and name host.
func (s *Signed) parseSignedHeaders(list string) error {
	names := strings.Split(list, ";")
	if len(names) > maxSignedHeaders {
		return refuse(CodeIncompleteSignature, ReasonMalformed, "SignedHeaders names more than %d headers.", maxSignedHeaders)
	}
	host := false
	for i, name := range names {
		if !isHeaderName(name) {
			return refuse(CodeIncompleteSignature, ReasonMalformed, "SignedHeaders must be a semicolon-separated list of lower-case header names.")
		}
		if i > 0 && names[i-1] >= name {
			return refuse(CodeIncompleteSignature, ReasonMalformed, "SignedHeaders must be sorted and free of repetitions.")
		}
		host = host || name == "host"
	}
	if !host {
		return refuse(CodeSignatureDoesNotMatch, ReasonUnsignedHeader, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	s.SignedHeaders = names
	return nil
}

func (s *Signed) parseSignature(hexDigits string) error {
	if len(hexDigits) != 64 || !isLowerHex(hexDigits) {
		return refuse(CodeIncompleteSignature, ReasonMalformed, "Signature must be 64 lower-case hexadecimal digits.")
	}
	s.signature = hexDigits
	return nil
}

// setTime takes the ISO basic form and ties it to the date of the scope.
func (s *Signed) setTime(stamp string) error {
	t, err := time.Parse(isoBasic, stamp)
	if err != nil {
		return refuse(CodeIncompleteSignature, ReasonMalformed, "Date must be in ISO-8601 'basic format' (YYYYMMDD'T'HHMMSS'Z').")
	}
	s.Time, s.stamp = t, stamp
	if day := stamp[:8]; day != s.Date {
		return refuse(CodeSignatureDoesNotMatch, ReasonScope,
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", s.Date, day, stamp)
	}
	return nil
}

// signs finds a header's name in any case. Signed names are ASCII, of which no
// other character of the same length is another case.
func (s *Signed) signs(name string) bool {
	return slices.ContainsFunc(s.SignedHeaders, func(have string) bool { return len(have) == len(name) && strings.EqualFold(have, name) })
}

func isToken(v string, maxLen int, accessKey bool) bool {
	if v == "" || len(v) > maxLen {
		return false
	}
	for i := range len(v) {
		c := v[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case c == '-' && !accessKey:
		case accessKey && (c >= 'A' && c <= 'Z' || c == '_'):
		default:
			return false
		}
	}
	return true
}

func isDigits(v string) bool {
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
	}
	return v != ""
}

func isLowerHex(v string) bool {
	for i := range len(v) {
		if c := v[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return v != ""
}

// isHeaderName accepts the token characters of RFC 9110 without upper case.
func isHeaderName(v string) bool {
	for i := range len(v) {
		c := v[i]
		if (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return v != ""
}
