// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// pair is one entry of a list in the form of W3C Baggage.
type pair struct{ key, value string }

// parsePairs reads KEY=VALUE,KEY=VALUE with both parts percent-encoded, as OpenTelemetry writes headers and attributes in
// the environment; blanks around a part and empty entries are nothing. Errors name an entry by its place only: what stands
// in the wrong one may be a secret.
func parsePairs(text string) ([]pair, error) {
	var pairs []pair
	place := 0
	for entry := range strings.SplitSeq(text, ",") {
		place++
		if strings.TrimSpace(entry) == "" {
			continue
		}
		key, value, found := strings.Cut(entry, "=")
		if !found {
			return nil, fmt.Errorf("entry %d: want KEY=VALUE", place)
		}
		p := pair{strings.TrimSpace(key), strings.TrimSpace(value)}
		for _, part := range []*string{&p.key, &p.value} {
			decoded, err := url.PathUnescape(*part)
			if err != nil || !utf8.ValidString(decoded) {
				return nil, fmt.Errorf("entry %d: not percent-encoded UTF-8", place)
			}
			*part = decoded
		}
		if p.key == "" {
			return nil, fmt.Errorf("entry %d: the key is empty", place)
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// Headers go with each request. Their values are secrets: no way of printing shows them.
type Headers struct{ fields http.Header }

// String, GoString and LogValue show nothing.
func (Headers) String() string { return "[secret]" }

// GoString is described at String.
func (Headers) GoString() string { return "[secret]" }

// LogValue is described at String.
func (Headers) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Get returns the value of a header.
func (h Headers) Get(name string) string { return h.fields.Get(name) }

// ofExporter are the headers that describe the message, which nobody else can.
var ofExporter = []string{"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Host", "Transfer-Encoding"}

// parseHeaders reads headers; the last one of a name counts.
func parseHeaders(text string) (Headers, error) {
	pairs, err := parsePairs(text)
	if err != nil {
		return Headers{}, err
	}
	h := Headers{fields: http.Header{}}
	for i, p := range pairs {
		name := textproto.CanonicalMIMEHeaderKey(p.key)
		switch {
		case !isToken(name):
			return Headers{}, fmt.Errorf("header %d: the key is no name of a header", i+1)
		case slices.Contains(ofExporter, name):
			return Headers{}, fmt.Errorf("header %d: %s is the exporter's own", i+1, name)
		case strings.ContainsFunc(p.value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return Headers{}, fmt.Errorf("header %d: the value holds control characters", i+1)
		}
		h.fields.Set(name, p.value)
	}
	return h, nil
}

// isToken: RFC 9110, section 5.6.2.
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// redact takes the values out of a text of the collector, which may repeat what it was sent.
func (h Headers) redact(text string) string {
	for _, values := range h.fields {
		for _, value := range values {
			// "Bearer abc": the part by itself is the secret.
			for _, part := range append([]string{value}, strings.Fields(value)...) {
				if len(part) >= minSecret {
					text = strings.ReplaceAll(text, part, "[secret]")
				}
			}
		}
	}
	return text
}

// minSecret is the length below which a part of a header is no secret: replacing it would spoil texts and protect nothing.
const minSecret = 4

// parseAttributes reads attributes of the resource; the last one of a name counts.
func parseAttributes(text string) (map[string]string, error) {
	pairs, err := parsePairs(text)
	if err != nil {
		return nil, err
	}
	attributes := make(map[string]string, len(pairs))
	for _, p := range pairs {
		attributes[p.key] = p.value
	}
	return attributes, nil
}

// Endpoint is where metrics go. A query may hold a key, so that no way of printing shows it.
type Endpoint struct {
	url, shown string
	readable   bool // by the network: neither TLS nor this machine
}

// String shows scheme, host and path.
func (e Endpoint) String() string { return e.shown }

// GoString is described at String.
func (e Endpoint) GoString() string { return e.shown }

// metricsPath is what metrics add to an endpoint of all signals.
const metricsPath = "v1/metrics"

var errEndpoint = errors.New("want a URL such as http://collector:4318 or https://collector.example/otlp")

// parseEndpoint reads a URL, of metrics alone or of all signals. Its errors do not show it: what is wrong with it may be
// what is secret in it.
func parseEndpoint(text string, ofMetrics bool) (Endpoint, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		return Endpoint{}, errEndpoint
	case u.User != nil:
		return Endpoint{}, errors.New("user and password do not belong into the URL: OTEL_EXPORTER_OTLP_HEADERS takes them")
	case u.Fragment != "":
		return Endpoint{}, errors.New("a URL with a fragment cannot be sent to")
	case u.RawQuery != "" && !ofMetrics:
		return Endpoint{}, errors.New("a query does not belong into an endpoint of all signals: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT takes one")
	}
	if !ofMetrics {
		u = u.JoinPath(metricsPath)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	addr, err := netip.ParseAddr(u.Hostname())
	here := u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
	return Endpoint{url: u.String(), shown: shown.String(), readable: u.Scheme == "http" && !here}, nil
}
