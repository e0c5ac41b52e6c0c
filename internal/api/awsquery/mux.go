// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package awsquery owns the AWS Query protocol, which STS and IAM speak: a
// form with Action and Version in, XML out. It finds the operation by the
// service that the signature is scoped to and the Action, reads scalars and
// lists from the form, and turns faults into AWS' error documents. It refuses
// forms that have two meanings (a parameter given twice, lists with gaps) and
// makes no decision about who may call: authentication is the gate's,
// authorisation the verb's. In the flow it stands between the listener and
// the service packages (stsapi, iamapi).
package awsquery

import (
	"context"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"podid/internal/api/call"
	"podid/internal/fault"
)

// Operation is one operation of a service and what runs it.
type Operation struct {
	call.Operation
	Handle Handler
}

// Handler runs an operation on the form that was sent. The result is a struct
// for encoding/xml, written as the <{Action}Result> element; nil writes none,
// as for operations without output.
type Handler func(ctx context.Context, c *call.Call, f *Form) (any, error)

// Service is one API: a signing name, a version and a table of operations.
type Service struct {
	Name      string // SigV4 signing name: "sts", "iam"
	Version   string // "2011-06-15"
	Namespace string // of the XML answers
	// Refine may choose another exception than the codec's table does; false
	// leaves it. May be nil.
	Refine     func(op call.Operation, f *fault.Error) (Exception, bool)
	Operations []Operation
}

// New returns the handler of all Query services: POST / with a form, or GET /
// with the parameters in the query (presigned). Two operations of one name in
// a service are a programming error and panic.
func New(g *call.Gate, services ...Service) http.Handler {
	m := &mux{gate: g, services: make(map[string]*service, len(services))}
	for i := range services {
		s := &service{Service: services[i], ops: make(map[string]*Operation, len(services[i].Operations)), buffers: newBuffers()}
		for j := range s.Operations {
			op := &s.Operations[j]
			if _, dup := s.ops[op.Name]; dup {
				panic("awsquery: two operations named " + s.Name + ":" + op.Name)
			}
			s.ops[op.Name] = op
		}
		m.services[s.Name] = s
		m.order = append(m.order, s)
	}
	return m
}

type service struct {
	Service
	ops     map[string]*Operation
	buffers *sync.Pool // of *XML
}

func newBuffers() *sync.Pool {
	return &sync.Pool{New: func() any { return &XML{b: make([]byte, 0, 4096)} }}
}

type mux struct {
	gate     *call.Gate
	services map[string]*service
	order    []*service
}

func (m *mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := m.gate.ReadBody(w, r)
	scoped := m.services[ScopeService(r)]
	if err != nil {
		m.refuse(w, r, body, scoped, "", err)
		return
	}
	form, err := readForm(r, body)
	if err != nil {
		m.refuse(w, r, body, scoped, "", err)
		return
	}
	action := form.String("Action")
	s, op, err := m.find(scoped, action, form)
	if err != nil {
		m.refuse(w, r, body, scoped, action, err)
		return
	}
	m.gate.ServeBody(w, r, body, nil, op.Operation, codec{s}, func(ctx context.Context, c *call.Call) (any, error) {
		return op.Handle(ctx, c, form)
	})
}

// find returns the operation that the form names. A scope that names no
// service of ours leaves the choice to Action and Version; the gate then
// refuses the signature, saying which service it should have named.
func (m *mux) find(scoped *service, action string, form *Form) (*service, *Operation, error) {
	if action == "" {
		return nil, nil, fault.New(fault.UnknownOperation, "The request is missing an action or a required parameter.").WithReason(reasonMissingAction)
	}
	version, given := form.Lookup("Version")
	if !given {
		version = "NO_VERSION_SPECIFIED"
	}
	candidates := m.order
	if scoped != nil {
		candidates = []*service{scoped}
	}
	for _, s := range candidates {
		if op, ok := s.ops[action]; ok && s.Version == version {
			return s, op, nil
		}
	}
	return nil, nil, fault.New(fault.UnknownOperation, "Could not find operation %.128s for version %.64s", action, version).WithReason("unknown-action")
}

// refuse answers a request whose operation is not known, through the gate so
// that it is recorded like any other refusal. The name is the caller's word:
// without an Action it goes to audit only.
func (m *mux) refuse(w http.ResponseWriter, r *http.Request, body []byte, s *service, action string, err error) {
	op := call.Operation{Name: cut(action, 128)}
	c := codec{}
	if s != nil {
		op.Service, op.Source, c.service = s.Name, s.Name+".amazonaws.com", s
	}
	m.gate.ServeBody(w, r, body, err, op, c, nil)
}

func readForm(r *http.Request, body []byte) (*Form, error) {
	if r.URL.Path != "/" && r.URL.Path != "" {
		return nil, fault.New(fault.UnknownOperation, "The path %.128q is no operation.", r.URL.Path).WithReason("unknown-path")
	}
	switch r.Method {
	case http.MethodGet:
		return ParseForm(r.URL.RawQuery)
	case http.MethodPost:
		if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
			return nil, err
		}
		if r.URL.RawQuery == "" {
			return ParseForm(string(body))
		}
		// Both together are one form, so that no parameter can be given twice.
		return ParseForm(r.URL.RawQuery + "&" + string(body))
	default:
		return nil, fault.New(fault.UnknownOperation, "The method %.16q is not allowed: use POST, or GET with the parameters in the query.", r.Method).WithReason("method-not-allowed")
	}
}

// checkContentType refuses bodies that are no form in UTF-8. A missing header
// is taken for a form, as there is nothing else that it could be.
func checkContentType(header string) error {
	switch header {
	case "", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8": // nearly all: SDKs write one of these
		return nil
	}
	kind, params, err := mime.ParseMediaType(header)
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return malformed("the Content-Type must be application/x-www-form-urlencoded, not %.128q", header)
	}
	if cs, ok := params["charset"]; ok && !strings.EqualFold(cs, "utf-8") {
		return malformed("the charset must be utf-8, not %.64q", cs)
	}
	return nil
}

// ScopeService returns the service that the request's signature is scoped to,
// from the Authorization header or the presigned query; "" when there is no
// signature or it cannot be read. It proves nothing: it only routes.
func ScopeService(r *http.Request) string {
	credential := ""
	if h := r.Header.Get("Authorization"); h != "" {
		_, rest, ok := strings.Cut(h, "Credential=")
		if !ok {
			return ""
		}
		credential = rest
		if i := strings.IndexAny(rest, ", "); i >= 0 {
			credential = rest[:i]
		}
	} else if strings.Contains(r.URL.RawQuery, "X-Amz-Credential=") {
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return ""
		}
		credential = q.Get("X-Amz-Credential")
	}
	if strings.Count(credential, "/") < 4 { // key id / date / region / service / aws4_request
		return ""
	}
	upTo := credential[:strings.LastIndexByte(credential, '/')]
	return upTo[strings.LastIndexByte(upTo, '/')+1:]
}

// cut shortens s to at most limit bytes, without half a character at its end.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}
