// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

// appendCanonical appends the canonical request of r under s to dst.
func (s *Signed) appendCanonical(dst []byte, r *http.Request, payloadSHA256 string) ([]byte, error) {
	dst = append(append(dst, r.Method...), '\n')
	dst, err := appendPath(dst, r.URL)
	if err != nil {
		return nil, err
	}
	dst = append(dst, '\n')
	if dst, err = appendQuery(dst, r.URL.RawQuery, s.Presigned); err != nil {
		return nil, err
	}
	dst = append(dst, '\n')
	for _, name := range s.SignedHeaders {
		dst = append(append(dst, name...), ':')
		if dst, err = appendHeader(dst, r, name); err != nil {
			return nil, err
		}
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	for i, name := range s.SignedHeaders {
		if i > 0 {
			dst = append(dst, ';')
		}
		dst = append(dst, name...)
	}
	dst = append(dst, '\n')
	return append(dst, payloadSHA256...), nil
}

// appendPath encodes the path on the wire once more, '/' excepted. Paths with
// empty or dot segments are refused: signers disagree on whether to fold them,
// so one signature could stand for two paths.
func appendPath(dst []byte, u *url.URL) ([]byte, error) {
	path := u.EscapedPath()
	if path == "" {
		return append(dst, '/'), nil
	}
	if path[0] != '/' || strings.Contains(path, "//") || hasDotSegment(path) {
		return nil, refuse(CodeSignatureDoesNotMatch, ReasonPath,
			"The request path must be absolute and hold neither empty nor dot segments.")
	}
	for i := range len(path) {
		if path[i] == '/' {
			dst = append(dst, '/')
			continue
		}
		dst = appendEncoded(dst, path[i])
	}
	return dst, nil
}

func hasDotSegment(path string) bool {
	for rest := path; ; {
		i := strings.Index(rest, "/.")
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
		segment, _, _ := strings.Cut(rest, "/")
		if segment == "." || segment == ".." {
			return true
		}
	}
}

// appendQuery decodes and re-encodes every pair and sorts by encoded name, then
// encoded value. The signature itself is no part of what is signed.
func appendQuery(dst []byte, raw string, presigned bool) ([]byte, error) {
	if raw == "" {
		return dst, nil
	}
	if strings.IndexByte(raw, ';') >= 0 {
		return nil, malformedQuery()
	}
	pairs := make([]queryPair, 0, strings.Count(raw, "&")+1)
	for rest, more := raw, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "&")
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(key)
		if err != nil {
			return nil, malformedQuery()
		}
		if presigned && name == querySignature {
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, malformedQuery()
		}
		pairs = append(pairs, queryPair{encode(name), encode(value)})
	}
	sort.Slice(pairs, func(i, j int) bool {
		if pairs[i].name != pairs[j].name {
			return pairs[i].name < pairs[j].name
		}
		return pairs[i].value < pairs[j].value
	})
	for i, p := range pairs {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(dst, p.name...)
		dst = append(dst, '=')
		dst = append(dst, p.value...)
	}
	return dst, nil
}

type queryPair struct{ name, value string }

// appendHeader appends the value of a signed header: repeated headers joined
// with a comma, outer spaces cut, runs of inner spaces folded. net/http moves
// some headers out of the map; they are looked up where it puts them.
func appendHeader(dst []byte, r *http.Request, name string) ([]byte, error) {
	if name == "host" {
		return appendFolded(dst, r.Host), nil
	}
	values := headerValues(r.Header, name)
	if len(values) == 0 {
		switch {
		case name == "content-length" && r.ContentLength >= 0:
			return strconv.AppendInt(dst, r.ContentLength, 10), nil
		case name == "transfer-encoding" && len(r.TransferEncoding) > 0:
			values = r.TransferEncoding
		default:
			return nil, refuse(CodeSignatureDoesNotMatch, ReasonUnsignedHeader,
				"SignedHeaders names a header that the request does not carry: '%s'.", name)
		}
	}
	for i, value := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFolded(dst, value)
	}
	return dst, nil
}

// headerValues looks a lower-case name up under the spelling of net/http,
// without building a string for it.
func headerValues(h http.Header, name string) []string {
	var stack [64]byte
	key := append(stack[:0], name...)
	upper := true
	for i, c := range key {
		if upper && c >= 'a' && c <= 'z' {
			key[i] = c - 'a' + 'A'
		}
		upper = c == '-'
	}
	return h[string(key)]
}

func appendFolded(dst []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	if !strings.Contains(value, "  ") {
		return append(dst, value...)
	}
	for i := range len(value) {
		if value[i] == ' ' && value[i-1] == ' ' {
			continue
		}
		dst = append(dst, value[i])
	}
	return dst
}

func encode(v string) string {
	clean := true
	for i := range len(v) {
		if !unreserved(v[i]) {
			clean = false
			break
		}
	}
	if clean {
		return v
	}
	out := make([]byte, 0, len(v)+16)
	for i := range len(v) {
		out = appendEncoded(out, v[i])
	}
	return string(out)
}

func appendEncoded(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	if unreserved(c) {
		return append(dst, c)
	}
	return append(dst, '%', digits[c>>4], digits[c&15])
}

// unreserved is the set of RFC 3986 section 2.3.
func unreserved(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~'
}
