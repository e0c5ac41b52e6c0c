// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package restjson owns AWS' restJson1 protocol: which operation a method and
// path name, how a JSON body is read, how answers and exceptions are written,
// and the opaque tokens of paged lists. Service packages hand it routes; it
// passes every request through the call.Gate, which authenticates and audits.
// It refuses paths and methods that no route has, bodies that are not one
// JSON object, members of a wrong type (by name), and page tokens that it did
// not make for the same list. Members it does not know are ignored, since
// newer clients send more than older servers read.
package restjson

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"podid/internal/api/call"
	"podid/internal/fault"
	"podid/internal/reqctx"
	"podid/internal/uuid"
)

// Route binds a method and path to an operation.
type Route struct {
	Method string
	// Pattern is a path whose segments are literal or "{name}". It is matched
	// on the escaped path, so a parameter may hold an encoded slash, as ARNs
	// do. A handler reads parameters, decoded, by c.HTTP.PathValue(name).
	Pattern   string
	Operation call.Operation
	Handler   call.Handler
	// Errors refines the table of exceptions for the route's service.
	Errors Errors
}

type segment struct {
	text  string // literal, or the parameter's name
	param bool
}

type mounted struct {
	Route
	segments []segment
	codec    *Codec
}

type shape struct {
	method   string
	segments int
}

// Handler routes requests to operations.
type Handler struct {
	gate   *call.Gate
	routes map[shape][]*mounted // literal segments first
	base   *Codec
}

// New mounts routes on the gate. Two routes for one method and path, and a
// pattern that does not begin with "/", are programming errors and panic.
func New(gate *call.Gate, routes ...Route) *Handler {
	h := &Handler{gate: gate, routes: map[shape][]*mounted{}, base: NewCodec(nil)}
	for _, r := range routes {
		m := &mounted{Route: r, segments: parsePattern(r.Pattern), codec: NewCodec(r.Errors)}
		k := shape{r.Method, len(m.segments)}
		for _, o := range h.routes[k] {
			if slices.EqualFunc(o.segments, m.segments, func(a, b segment) bool { return a.param == b.param && (a.param || a.text == b.text) }) {
				panic("restjson: two routes for " + r.Method + " " + r.Pattern)
			}
		}
		h.routes[k] = append(h.routes[k], m)
	}
	for _, list := range h.routes {
		slices.SortStableFunc(list, func(a, b *mounted) int { return slices.CompareFunc(a.segments, b.segments, literalFirst) })
	}
	return h
}

func literalFirst(a, b segment) int {
	switch {
	case a.param == b.param:
		return 0
	case b.param:
		return -1
	default:
		return 1
	}
}

func parsePattern(p string) []segment {
	if !strings.HasPrefix(p, "/") {
		panic("restjson: pattern " + p + " does not begin with /")
	}
	var out []segment
	for s := range strings.SplitSeq(p[1:], "/") {
		name, open := strings.CutPrefix(s, "{")
		name, closed := strings.CutSuffix(name, "}")
		if open != closed {
			panic("restjson: pattern " + p + " has half a parameter")
		}
		out = append(out, segment{name, open})
	}
	return out
}

// ServeHTTP takes a request to its operation, or answers 404 with
// UnknownOperationException.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, err := h.match(r)
	if err != nil {
		h.unknown(w, r, err)
		return
	}
	h.gate.Serve(w, r, m.Operation, m.codec, m.Handler)
}

// unknown answers a request that names no operation. It stands before
// authentication, so it says nothing but what the caller sent.
func (h *Handler) unknown(w http.ResponseWriter, r *http.Request, err *fault.Error) {
	id := reqctx.From(r.Context()).ID
	if id == "" {
		id = uuid.Random()
	}
	op := call.Operation{Name: "Unknown", Action: "none", ReadOnly: true}
	code, status := h.base.Error(w, id, op, err)
	h.gate.Observed(op, code, status, 0)
}

func (h *Handler) match(r *http.Request) (*mounted, *fault.Error) {
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		return nil, noOperation(r)
	}
	rest := path[1:]
	for _, m := range h.routes[shape{r.Method, strings.Count(rest, "/") + 1}] {
		if m.matches(rest) {
			if err := m.bind(r, rest); err != nil {
				return nil, fault.New(fault.InvalidRequest, "The path has an escape that cannot be decoded.").WithReason("path-escape").Because(err)
			}
			return m, nil
		}
	}
	return nil, noOperation(r)
}

func noOperation(r *http.Request) *fault.Error {
	return fault.New(fault.UnknownOperation, "No operation has the method %.20s and the path %.200s.", r.Method, r.URL.Path).WithReason("unknown-operation")
}

// matches compares segment by segment; a parameter takes any segment but an
// empty one.
func (m *mounted) matches(rest string) bool {
	for _, s := range m.segments {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		if s.param && part == "" || !s.param && part != s.text {
			return false
		}
	}
	return true
}

func (m *mounted) bind(r *http.Request, rest string) error {
	for _, s := range m.segments {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		if !s.param {
			continue
		}
		v, err := url.PathUnescape(part)
		if err != nil {
			return err
		}
		r.SetPathValue(s.text, v)
	}
	return nil
}
