// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An exchange is one request of a client and its answer, as they were on the wire.
type exchange struct {
	Service   string // of the signature's scope; "" when nothing was signed
	Operation string // the Action of a form, else METHOD /path
	Method    string
	Path      string // escaped
	Query     url.Values
	Header    http.Header
	Body      string
	Form      url.Values
	Status    int
	Answer    string
	Reply     http.Header
}

// code is the error's on the wire: a header of REST services, an element of the others.
func (e exchange) code() string {
	if name, _, _ := strings.Cut(e.Reply.Get("X-Amzn-Errortype"), ":"); name != "" {
		return name
	}
	if m := errorCode.FindStringSubmatch(e.Answer); m != nil {
		return m[1]
	}
	return ""
}

var errorCode = regexp.MustCompile(`<Code>([^<]+)</Code>`)

// A fault is what a witness does to one request that matches.
type fault struct {
	match func(exchange) bool
	drop  bool // forwards the request, then cuts the connection in place of an answer
	code  int  // answers with this and forwards nothing
	body  string
	delay time.Duration
	edit  func(M) // changes the answer, a JSON object, on its way
}

// A witness stands between one client and podid, or its agent: it forwards, writes down, and, when it is told to, makes the
// faults that networks make.
type witness struct {
	url    string
	target *url.URL
	server *http.Server
	done   chan error

	mu     sync.Mutex
	seen   []exchange
	faults []fault
}

// newWitness starts a witness before target. Without a CA it speaks plain HTTP, as the node's agent does.
func newWitness(target string, ca *authority, client *http.Client) (*witness, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &witness{url: "http://" + l.Addr().String(), target: u, done: make(chan error, 1)}
	proxy := &httputil.ReverseProxy{
		Transport: client.Transport,
		ErrorLog:  log.New(io.Discard, "", 0), // a cut connection is what a fault makes
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host // it is signed
		},
	}
	w.server = &http.Server{Handler: w.handler(proxy), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	if ca != nil {
		cert, err := ca.server()
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		w.url = "https://" + l.Addr().String()
		w.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		go func() { w.done <- w.server.ServeTLS(l, "", "") }()
		return w, nil
	}
	go func() { w.done <- w.server.Serve(l) }()
	return w, nil
}

var credentialScope = regexp.MustCompile(`Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request`)

// observe reads what a request says.
func observe(r *http.Request) (exchange, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return exchange{}, fmt.Errorf("read a request: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	e := exchange{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.Query(), Header: r.Header.Clone(), Body: string(body)}
	e.Operation = e.Method + " " + e.Path
	if m := credentialScope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		e.Service = m[1]
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if e.Form, err = url.ParseQuery(e.Body); err == nil && e.Form.Get("Action") != "" {
			e.Operation = e.Form.Get("Action")
		}
	}
	return e, nil
}

func (w *witness) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		e, err := observe(r)
		if err != nil {
			panic(http.ErrAbortHandler) // the client went away
		}
		f := w.takeFault(e)
		if f.delay > 0 {
			wait(r.Context(), f.delay)
		}
		rec := &recorder{header: http.Header{}, status: http.StatusOK}
		if f.code != 0 {
			rec.status = f.code
			rec.body.WriteString(f.body)
			rec.header.Set("Content-Type", "text/plain")
		} else {
			next.ServeHTTP(rec, r)
		}
		if f.edit != nil {
			rec.edit(f.edit)
		}
		e.Status, e.Answer, e.Reply = rec.status, rec.body.String(), rec.header
		w.mu.Lock()
		w.seen = append(w.seen, e)
		w.mu.Unlock()
		if f.drop {
			panic(http.ErrAbortHandler)
		}
		rec.copyTo(rw)
	})
}

// wait waits, or until the context ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// takeFault takes the first fault that the request matches; each works once.
func (w *witness) takeFault(e exchange) fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, f := range w.faults {
		if f.match(e) {
			w.faults = append(w.faults[:i:i], w.faults[i+1:]...)
			return f
		}
	}
	return fault{}
}

// inject adds faults for requests to come.
func (w *witness) inject(faults ...fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, faults...)
}

// reset forgets what was seen and takes back faults that nothing met.
func (w *witness) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen, w.faults = nil, nil
}

// exchanges are those since the last reset.
func (w *witness) exchanges() []exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]exchange(nil), w.seen...)
}

// last is the newest exchange; zero when there is none.
func (w *witness) last() exchange {
	if all := w.exchanges(); len(all) > 0 {
		return all[len(all)-1]
	}
	return exchange{}
}

// count counts the exchanges of an operation.
func (w *witness) count(operation string) int {
	n := 0
	for _, e := range w.exchanges() {
		if e.Operation == operation {
			n++
		}
	}
	return n
}

func (w *witness) close() error {
	err := w.server.Close()
	if served := <-w.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// recorder keeps an answer until it is known whether the client may have it.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// edit changes an answer that is a JSON object; another one it leaves.
func (r *recorder) edit(change func(M)) {
	var answer M
	if decode(r.body.Bytes(), &answer) != nil {
		return
	}
	change(answer)
	r.body.Reset()
	r.body.WriteString(toJSON(answer))
	r.header.Set("Content-Length", strconv.Itoa(r.body.Len()))
}

func (r *recorder) copyTo(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes()) // a client that went away has no answer
}
