// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	headerAuthorization = "Authorization"
	headerDate          = "X-Amz-Date"
	headerToken         = "X-Amz-Security-Token"
	headerPayload       = "X-Amz-Content-Sha256"

	queryAlgorithm     = "X-Amz-Algorithm"
	queryCredential    = "X-Amz-Credential"
	queryDate          = "X-Amz-Date"
	queryExpires       = "X-Amz-Expires"
	querySignedHeaders = "X-Amz-SignedHeaders"
	querySignature     = "X-Amz-Signature"
	queryToken         = "X-Amz-Security-Token"
	queryPayload       = "X-Amz-Content-Sha256"
)

// Parse reads the signature of r in either form. It checks everything that
// needs no secret and no clock; the error is an *Error, and wraps ErrMissing
// when there is no signature at all.
func Parse(r *http.Request) (*Signed, error) {
	params, err := amzParams(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	_, inHeader := r.Header[headerAuthorization]
	inQuery := params.has(queryAlgorithm) || params.has(queryCredential) || params.has(querySignature)
	switch {
	case inHeader && inQuery:
		return nil, refuse(CodeIncompleteSignature, ReasonMalformed,
			"Only one authentication mechanism is allowed: the X-Amz-Signature query parameters or the Authorization header.")
	case inHeader:
		return parseHeader(r)
	case inQuery:
		return parsePresigned(r, params)
	}
	return nil, &Error{
		Code: CodeMissingAuthentication, Reason: ReasonMissing,
		Message: "Request is missing Authentication Token", err: ErrMissing,
	}
}

func parseHeader(r *http.Request) (*Signed, error) {
	authorization, err := single(r.Header, headerAuthorization)
	if err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(authorization, " ")
	if scheme != algorithm {
		return nil, refuse(CodeIncompleteSignature, ReasonAlgorithm, "Authorization must use the algorithm 'AWS4-HMAC-SHA256'.")
	}
	credential, signedHeaders, signature, err := authorizationParams(rest)
	if err != nil {
		return nil, err
	}
	s := &Signed{}
	if err := s.parseCredential(credential); err != nil {
		return nil, err
	}
	if err := s.parseSignedHeaders(signedHeaders); err != nil {
		return nil, err
	}
	if err := s.parseSignature(signature); err != nil {
		return nil, err
	}
	if err := s.parseHeaderTime(r.Header); err != nil {
		return nil, err
	}
	if s.SecurityToken, err = single(r.Header, headerToken); err != nil {
		return nil, err
	}
	return s, s.checkSignedHeaders(r.Header)
}

// authorizationParams takes "Credential=…, SignedHeaders=…, Signature=…", in
// any order, each once and nothing else.
func authorizationParams(list string) (credential, signedHeaders, signature string, err error) {
	var rest string
	for more := true; more; list = rest {
		var part string
		part, rest, more = strings.Cut(list, ",")
		name, value, found := strings.Cut(strings.TrimSpace(part), "=")
		var slot *string
		switch name {
		case "Credential":
			slot = &credential
		case "SignedHeaders":
			slot = &signedHeaders
		case "Signature":
			slot = &signature
		}
		if !found || slot == nil || value == "" {
			return "", "", "", refuse(CodeIncompleteSignature, ReasonMalformed,
				"Authorization header must hold 'Credential', 'SignedHeaders' and 'Signature', each as name=value.")
		}
		if *slot != "" {
			return "", "", "", refuse(CodeIncompleteSignature, ReasonMalformed, "Authorization header repeats '%s'.", name)
		}
		*slot = value
	}
	var missing []string
	for _, p := range []struct{ name, value string }{{"Credential", credential}, {"Signature", signature}, {"SignedHeaders", signedHeaders}} {
		if p.value == "" {
			missing = append(missing, "Authorization header requires '"+p.name+"' parameter.")
		}
	}
	if len(missing) > 0 {
		return "", "", "", refuse(CodeIncompleteSignature, ReasonMalformed, "%s", strings.Join(missing, " "))
	}
	return credential, signedHeaders, signature, nil
}

// parseHeaderTime takes X-Amz-Date, else Date; whichever counts must be signed.
func (s *Signed) parseHeaderTime(h http.Header) error {
	name := "x-amz-date"
	value, err := single(h, headerDate)
	if err != nil {
		return err
	}
	if value == "" {
		if name, value = "date", ""; len(h["Date"]) > 0 {
			if value, err = single(h, "Date"); err != nil {
				return err
			}
		}
	}
	if value == "" {
		return refuse(CodeIncompleteSignature, ReasonMalformed,
			"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if !s.signs(name) {
		return refuse(CodeSignatureDoesNotMatch, ReasonUnsignedHeader,
			"'X-Amz-Date' (or 'Date') must be a 'SignedHeader' in the AWS Authorization.")
	}
	if name == "date" {
		if t, err := http.ParseTime(value); err == nil {
			value = t.UTC().Format(isoBasic)
		}
	}
	return s.setTime(value)
}

// checkSignedHeaders refuses an X-Amz-* header that the signature leaves out:
// whoever adds one on the way could change what the request means.
func (s *Signed) checkSignedHeaders(h http.Header) error {
	for name := range h {
		if len(name) < 6 || !strings.EqualFold(name[:6], "x-amz-") {
			continue
		}
		if !s.signs(name) {
			return refuse(CodeSignatureDoesNotMatch, ReasonUnsignedHeader,
				"There were headers present in the request which were not signed: '%s'.", strings.ToLower(name))
		}
	}
	return nil
}

func parsePresigned(r *http.Request, params amzQuery) (*Signed, error) {
	var missing []string
	for _, name := range []string{queryAlgorithm, queryCredential, queryDate, querySignature, querySignedHeaders} {
		if params.get(name) == "" {
			missing = append(missing, "AWS query-string parameters must include '"+name+"'.")
		}
	}
	if len(missing) > 0 {
		return nil, refuse(CodeIncompleteSignature, ReasonMalformed, "%s", strings.Join(missing, " "))
	}
	if params.get(queryAlgorithm) != algorithm {
		return nil, refuse(CodeIncompleteSignature, ReasonAlgorithm, "X-Amz-Algorithm must be 'AWS4-HMAC-SHA256'.")
	}
	for _, name := range []string{headerToken, headerDate} {
		if _, ok := r.Header[name]; ok {
			return nil, refuse(CodeIncompleteSignature, ReasonMalformed, "A presigned request must not carry the header '%s'.", name)
		}
	}
	s := &Signed{Presigned: true, SecurityToken: params.get(queryToken)}
	if err := s.parseCredential(params.get(queryCredential)); err != nil {
		return nil, err
	}
	if err := s.parseSignedHeaders(params.get(querySignedHeaders)); err != nil {
		return nil, err
	}
	if err := s.parseSignature(params.get(querySignature)); err != nil {
		return nil, err
	}
	if err := s.setTime(params.get(queryDate)); err != nil {
		return nil, err
	}
	if err := s.parseExpires(params); err != nil {
		return nil, err
	}
	return s, s.checkSignedHeaders(r.Header)
}

func (s *Signed) parseExpires(params amzQuery) error {
	if !params.has(queryExpires) {
		return nil
	}
	seconds, err := strconv.Atoi(params.get(queryExpires))
	if err != nil || !isDigits(params.get(queryExpires)) || seconds < 1 || seconds > int(MaxExpires/time.Second) {
		return refuse(CodeIncompleteSignature, ReasonMalformed, "X-Amz-Expires must be a number of seconds from 1 to 604800.")
	}
	s.Expires = time.Duration(seconds) * time.Second
	return nil
}

// single returns the only value of a header given by its canonical name, ""
// when it is absent.
func single(h http.Header, name string) (string, error) {
	values := h[name]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", refuse(CodeIncompleteSignature, ReasonMalformed, "The header '%s' must not be repeated.", name)
}

// amzQuery holds the X-Amz-* query parameters under their exact names.
type amzQuery map[string]string

func (q amzQuery) has(name string) bool   { _, ok := q[name]; return ok }
func (q amzQuery) get(name string) string { return q[name] }

// amzParams collects the X-Amz-* parameters. A name that comes twice, in
// whatever case, is refused: two readers could pick different ones.
func amzParams(raw string) (amzQuery, error) {
	if raw == "" {
		return nil, nil
	}
	var out amzQuery
	var seen map[string]bool
	for rest, more := raw, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "&")
		key, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(key)
		if err != nil {
			return nil, malformedQuery()
		}
		if len(name) < 6 || !strings.EqualFold(name[:6], "x-amz-") {
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, malformedQuery()
		}
		lower := strings.ToLower(name)
		if seen[lower] {
			return nil, refuse(CodeIncompleteSignature, ReasonMalformed, "The query parameter '%s' must not be repeated.", lower)
		}
		if out == nil {
			out, seen = amzQuery{}, map[string]bool{}
		}
		out[name], seen[lower] = value, true
	}
	return out, nil
}

func malformedQuery() error {
	return refuse(CodeIncompleteSignature, ReasonMalformed, "The query string is not well-formed.")
}
