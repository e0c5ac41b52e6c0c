// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package restjson_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/reqctx"
)

type anybody struct{}

func (anybody) Authenticate(context.Context, *http.Request, string, string) (iam.Caller, error) {
	return iam.Caller{Kind: iam.CallerUser, User: &iam.User{Name: "me"}}, nil
}

type events struct{ last *audit.Event }

func (*events) Ready() error { return nil }

func (e *events) Record(_ context.Context, ev *audit.Event) error { e.last = ev; return nil }

func newGate(a call.Authenticator, rec call.Recorder) *call.Gate {
	return &call.Gate{
		Authn: a, Audit: rec, Log: slog.New(slog.DiscardHandler), Now: time.Now, Region: "us-west-2", Account: "123456789012",
		MaxBody: 1024, Observed: func(call.Operation, string, int, time.Duration) {},
	}
}

func echo(name string) restjson.Route {
	return restjson.Route{Operation: call.Operation{Name: name, Service: "eks"}, Handler: func(_ context.Context, c *call.Call) (any, error) {
		return map[string]string{"op": name, "a": c.HTTP.PathValue("a"), "b": c.HTTP.PathValue("b")}, nil
	}}
}

func at(r restjson.Route, method, pattern string) restjson.Route {
	r.Method, r.Pattern = method, pattern
	return r
}

func serve(h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r = r.WithContext(reqctx.With(r.Context(), reqctx.Info{ID: "11111111-2222-4333-8444-555555555555"}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestRoutes(t *testing.T) {
	h := restjson.New(newGate(anybody{}, &events{}),
		at(echo("list"), "GET", "/things"),
		at(echo("one"), "GET", "/things/{a}"),
		at(echo("fixed"), "GET", "/things/fixed"),
		at(echo("put"), "POST", "/things/{a}"),
		at(echo("two"), "GET", "/things/{a}/parts/{b}"),
	)
	for _, tc := range []struct {
		name, method, target string
		status               int
		want                 string // the operation, or the exception
		a, b                 string
	}{
		{"literal", "GET", "/things", 200, "list", "", ""},
		{"parameter", "GET", "/things/x", 200, "one", "x", ""},
		{"a literal beats a parameter", "GET", "/things/fixed", 200, "fixed", "", ""},
		{"other method, other operation", "POST", "/things/x", 200, "put", "x", ""},
		{"two parameters", "GET", "/things/x/parts/y", 200, "two", "x", "y"},
		{"query does not matter", "GET", "/things/x?a=b", 200, "one", "x", ""},
		{"encoded slash stays within its segment", "GET", "/things/arn%3Aaws%3Aeks%3Ar%3A1%3Acluster%2Fc", 200, "one", "arn:aws:eks:r:1:cluster/c", ""},
		{"encoded colon only", "GET", "/things/a%3Ab", 200, "one", "a:b", ""},
		{"plain slash parts segments", "GET", "/things/arn:aws:cluster/c", 404, "UnknownOperationException", "", ""},
		{"encoded percent is decoded once", "GET", "/things/a%252Fb", 200, "one", "a%2Fb", ""},
		{"utf-8", "GET", "/things/%C3%A9", 200, "one", "é", ""},
		{"plus is a plus in a path", "GET", "/things/a+b", 200, "one", "a+b", ""},
		{"empty parameter", "GET", "/things/", 404, "UnknownOperationException", "", ""},
		{"empty parameter inside", "GET", "/things//parts/y", 404, "UnknownOperationException", "", ""},
		{"trailing slash", "GET", "/things/x/", 404, "UnknownOperationException", "", ""},
		{"unknown path", "GET", "/nothing", 404, "UnknownOperationException", "", ""},
		{"unknown method", "PUT", "/things/x", 404, "UnknownOperationException", "", ""},
		{"root", "GET", "/", 404, "UnknownOperationException", "", ""},
		{"case counts", "GET", "/Things", 404, "UnknownOperationException", "", ""},
		{"dots are not walked", "GET", "/things/../things/x", 404, "UnknownOperationException", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := serve(h, tc.method, tc.target, "")
			var body map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatalf("body %q: %v", w.Body, err)
			}
			if w.Code != tc.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tc.status, w.Body)
			}
			if id := w.Header().Get("x-amzn-RequestId"); id != "11111111-2222-4333-8444-555555555555" {
				t.Errorf("x-amzn-RequestId %q", id)
			}
			if ct := w.Header().Get("Content-Type"); ct != "application/json" {
				t.Errorf("Content-Type %q", ct)
			}
			if tc.status != 200 {
				if got := w.Header().Get("x-amzn-ErrorType"); got != tc.want || body["message"] == "" {
					t.Errorf("exception %q with message %q, want %q", got, body["message"], tc.want)
				}
				return
			}
			if body["op"] != tc.want || body["a"] != tc.a || body["b"] != tc.b {
				t.Errorf("got %v, want %s a=%q b=%q", body, tc.want, tc.a, tc.b)
			}
		})
	}
}

func TestRequestIDWithoutListener(t *testing.T) {
	h := restjson.New(newGate(anybody{}, &events{}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", http.NoBody))
	if w.Header().Get("x-amzn-RequestId") == "" {
		t.Error("an answer without request id")
	}
}

func TestNewPanics(t *testing.T) {
	for name, routes := range map[string][]restjson.Route{
		"two for one":          {at(echo("a"), "GET", "/x/{a}"), at(echo("b"), "GET", "/x/{b}")},
		"relative pattern":     {at(echo("a"), "GET", "x")},
		"half a parameter":     {at(echo("a"), "GET", "/{x")},
		"other half":           {at(echo("a"), "GET", "/x}")},
		"two literals for one": {at(echo("a"), "GET", "/x"), at(echo("b"), "GET", "/x")},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			restjson.New(newGate(anybody{}, &events{}), routes...)
		})
	}
}

func TestExceptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		code   string
		status int
		msg    string
	}{
		{"internal hides its cause", errors.New("disk on fire"), "ServerException", 500, "log"},
		{"unavailable", fault.New(fault.Unavailable, "m"), "ServiceUnavailableException", 503, "m"},
		{"throttled", fault.New(fault.Throttled, "m"), "ThrottlingException", 429, "m"},
		{"invalid parameter", fault.New(fault.InvalidParameter, "m"), "InvalidParameterException", 400, "m"},
		{"missing parameter", fault.New(fault.MissingParameter, "m"), "InvalidParameterException", 400, "m"},
		{"invalid request", fault.New(fault.InvalidRequest, "m"), "InvalidRequestException", 400, "m"},
		{"serialization", fault.New(fault.InvalidRequest, "m").WithReason(restjson.ReasonSerialization), "SerializationException", 400, "m"},
		{"not found", fault.New(fault.NotFound, "m"), "ResourceNotFoundException", 404, "m"},
		{"exists", fault.New(fault.AlreadyExists, "m"), "ResourceInUseException", 409, "m"},
		{"limit", fault.New(fault.LimitExceeded, "m"), "ResourceLimitExceededException", 400, "m"},
		{"denied", fault.New(fault.AccessDenied, "m"), "AccessDeniedException", 403, "m"},
		{"unsigned", fault.New(fault.MissingAuthentication, "m"), "MissingAuthenticationTokenException", 403, "m"},
		{"unknown key", fault.New(fault.UnknownAccessKey, "m"), "UnrecognizedClientException", 403, "m"},
		{"signature", fault.New(fault.SignatureMismatch, "m"), "InvalidSignatureException", 403, "m"},
		{"half a signature", fault.New(fault.IncompleteSignature, "m"), "IncompleteSignatureException", 403, "m"},
		{"expired session", fault.New(fault.ExpiredToken, "m"), "ExpiredTokenException", 403, "m"},
		{"unknown kind", &fault.Error{Kind: 250, Message: "m"}, "ServerException", 500, "m"},
		{"message is escaped", fault.New(fault.InvalidParameter, "say \"hi\"\n\u2028é"), "InvalidParameterException", 400, "say \"hi\"\n\u2028é"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := restjson.New(newGate(anybody{}, &events{}), restjson.Route{Method: "GET", Pattern: "/x", Handler: func(context.Context, *call.Call) (any, error) { return nil, tc.err }})
			w := serve(h, "GET", "/x", "")
			var body struct{ Message string }
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			if got := w.Header().Get("x-amzn-ErrorType"); got != tc.code || w.Code != tc.status || !strings.Contains(body.Message, tc.msg) {
				t.Errorf("%d %s %q, want %d %s %q", w.Code, got, body.Message, tc.status, tc.code, tc.msg)
			}
			if strings.Contains(w.Body.String(), "fire") {
				t.Error("the cause reached the caller")
			}
		})
	}
}

func TestOwnErrors(t *testing.T) {
	own := restjson.Errors{fault.AccessDenied: {Name: "AccessDeniedException", Status: 400}}
	h := restjson.New(newGate(anybody{}, &events{}), restjson.Route{
		Method: "GET", Pattern: "/x", Errors: own,
		Handler: func(context.Context, *call.Call) (any, error) { return nil, fault.New(fault.AccessDenied, "no") },
	})
	if w := serve(h, "GET", "/x", ""); w.Code != 400 {
		t.Errorf("status %d, want the service's own 400", w.Code)
	}
}

func TestResults(t *testing.T) {
	rec := &events{}
	result := any(nil)
	h := restjson.New(newGate(anybody{}, rec), restjson.Route{Method: "GET", Pattern: "/x", Operation: call.Operation{Name: "X"}, Handler: func(context.Context, *call.Call) (any, error) { return result, nil }})
	for _, tc := range []struct {
		name   string
		result any
		status int
		body   string
	}{
		{"nothing is an empty object", nil, 200, `{}`},
		{"struct", struct {
			A restjson.Time `json:"a"`
		}{restjson.Time(time.UnixMilli(1700862734922))}, 200, `{"a":1700862734.922}`},
		{"own encoding", appender("x"), 200, `{"v":"x"}`},
		{"what cannot be encoded", make(chan int), 500, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			result = tc.result
			w := serve(h, "GET", "/x", "")
			if w.Code != tc.status || tc.body != "" && w.Body.String() != tc.body {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

type appender string

func (a appender) AppendJSON(b []byte) []byte {
	return append(restjson.AppendString(append(b, `{"v":`...), string(a)), '}')
}

func TestBodyLimit(t *testing.T) {
	h := restjson.New(newGate(anybody{}, &events{}), at(echo("x"), "POST", "/x"))
	w := serve(h, "POST", "/x", strings.Repeat("x", 1025))
	if w.Code != 413 || w.Header().Get("x-amzn-ErrorType") != "RequestEntityTooLargeException" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestTime(t *testing.T) {
	for _, tc := range []struct {
		t    time.Time
		want string
	}{
		{time.UnixMilli(1700862734922), "1700862734.922"},
		{time.UnixMilli(1700862734007), "1700862734.007"},
		{time.UnixMilli(1700862734390), "1700862734.390"},
		{time.Unix(1795400957, 0), "1795400957"},
		{time.Unix(0, 0), "0"},
		{time.UnixMilli(-1500), "-1.500"},
		{time.Unix(1, 999_999_999), "2"},
		{time.Unix(1700862734, 921_999_931), "1700862734.922"},
		{time.Unix(1700862734, 922_499_999), "1700862734.922"},
	} {
		b, err := json.Marshal(restjson.Time(tc.t))
		if err != nil || string(b) != tc.want {
			t.Errorf("%v: %s %v, want %s", tc.t, b, err, tc.want)
		}
		var back restjson.Time
		if err := json.Unmarshal(b, &back); err != nil || !time.Time(back).Equal(tc.t.Round(time.Millisecond)) {
			t.Errorf("%s came back as %v: %v", b, time.Time(back), err)
		}
	}
	var x restjson.Time
	for _, bad := range []string{`"2026-01-01T00:00:00Z"`, `1e300`, `true`} {
		if json.Unmarshal([]byte(bad), &x) == nil {
			t.Errorf("%s was read as a time", bad)
		}
	}
}

func TestQueryAndMaxResults(t *testing.T) {
	for _, tc := range []struct {
		query string
		want  int
		kind  fault.Kind
	}{
		{"", 100, 0},
		{"maxResults=1", 1, 0},
		{"maxResults=100", 100, 0},
		{"maxResults=0", 0, fault.InvalidParameter},
		{"maxResults=101", 0, fault.InvalidParameter},
		{"maxResults=-1", 0, fault.InvalidParameter},
		{"maxResults=x", 0, fault.InvalidRequest},
		{"maxResults=", 0, fault.InvalidRequest},
		{"maxResults=99999999999999999999", 0, fault.InvalidRequest},
	} {
		q, err := restjson.Query(&url.URL{RawQuery: tc.query})
		if err != nil {
			t.Fatal(err)
		}
		n, err := restjson.MaxResults(q)
		if n != tc.want || (err != nil) != (tc.kind != 0) || tc.kind != 0 && !fault.Is(err, tc.kind) {
			t.Errorf("%q: %d %v", tc.query, n, err)
		}
	}
	if _, err := restjson.Query(&url.URL{RawQuery: "a=%zz"}); !fault.Is(err, fault.InvalidRequest) {
		t.Errorf("bad escape: %v", err)
	}
	twice := &url.URL{RawQuery: "tagKeys=a&tagKeys=b&maxResults=1"}
	if _, err := restjson.Query(twice); !fault.Is(err, fault.InvalidRequest) {
		t.Errorf("a parameter twice: %v", err)
	}
	if q, err := restjson.Query(twice, "tagKeys"); err != nil || len(q["tagKeys"]) != 2 {
		t.Errorf("a list: %v, %v", q, err)
	}
}

func TestPages(t *testing.T) {
	p := restjson.Pages{Key: []byte("k")}
	tok := p.Token("ns/sa", "List", "123456789012", "c")
	if got, err := p.After(tok, "List", "123456789012", "c"); err != nil || got != "ns/sa" {
		t.Fatalf("%q %v", got, err)
	}
	if got, err := p.After("", "List"); err != nil || got != "" {
		t.Errorf("no token: %q %v", got, err)
	}
	if p.Token("", "List") != "" {
		t.Error("a last page has a token")
	}
	flip := []byte(tok)
	flip[len(flip)-2] ^= 1
	for name, try := range map[string]func() (string, error){
		"another list":    func() (string, error) { return p.After(tok, "List", "123456789012", "d") },
		"parts moved":     func() (string, error) { return p.After(tok, "List", "123456789012c", "") },
		"another account": func() (string, error) { return p.After(tok, "List", "210987654321", "c") },
		"another key": func() (string, error) {
			return restjson.Pages{Key: []byte("l")}.After(tok, "List", "123456789012", "c")
		},
		"changed":             func() (string, error) { return p.After(string(flip), "List", "123456789012", "c") },
		"cut":                 func() (string, error) { return p.After(tok[:10], "List", "123456789012", "c") },
		"invented":            func() (string, error) { return p.After("1", "List", "123456789012", "c") },
		"broken into lines":   func() (string, error) { return p.After(tok[:8]+"\n"+tok[8:], "List", "123456789012", "c") },
		"not of the alphabet": func() (string, error) { return p.After("%%%", "List", "123456789012", "c") },
	} {
		if _, err := try(); !fault.Is(err, fault.InvalidParameter) {
			t.Errorf("%s: %v, want InvalidParameter", name, err)
		}
	}
}
