// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"podid/internal/api/call"
	"podid/internal/api/eksauthapi"
	"podid/internal/api/restjson"
	"podid/internal/audit"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/secret"
	"podid/internal/session"
)

type signer struct{ err error }

func (s signer) Authenticate(_ context.Context, _ *http.Request, _, service string) (iam.Caller, error) {
	if service != "eks-auth" {
		return iam.Caller{}, fault.New(fault.SignatureMismatch, "wrong service %s", service)
	}
	return iam.Caller{Kind: iam.CallerUser, User: &iam.User{Name: "node"}}, s.err
}

type log struct {
	last  *audit.Event
	ready error
}

func (l *log) Ready() error { return l.ready }

func (l *log) Record(_ context.Context, e *audit.Event) error { l.last = e; return l.ready }

// desk answers every exchange alike and keeps what it was asked.
type desk struct {
	asked  exchange.Request
	calls  int
	result *exchange.Result
	err    error
}

func (d *desk) AssumeRoleForPodIdentity(_ context.Context, _ iam.Caller, in exchange.Request) (*exchange.Result, error) {
	d.asked, d.calls = in, d.calls+1
	return d.result, d.err
}

const token = "aGVhZA.cGF5bG9hZA.c2ln"

func textbook() *exchange.Result {
	const user = "eks-my-cluster-app1-7f01ca73-cdca-4972-90a7-2a72151578e6"
	return &exchange.Result{
		Namespace: "s3-app-ns", ServiceAccount: "s3-app-sa", Audience: exchange.Audience,
		AssociationARN: "arn:aws:eks:us-west-2:123456789012:podidentityassociation/my-cluster/a-qit5jqyd8gjzfwvj0", AssociationID: "a-qit5jqyd8gjzfwvj0",
		AssumedRoleARN: "arn:aws:sts::123456789012:assumed-role/other/" + user, AssumedRoleID: "AROAEXAMPLEID00000000:" + user,
		Credentials: session.Credentials{
			AccessKeyID: "ASIAEXAMPLE000000000", SecretAccessKey: secret.New("EXAMPLESECRET"), SessionToken: secret.New("EXAMPLETOKEN"), Expires: time.Unix(1795400957, 0),
		},
		Extra: audit.Extra{Pod: "app1", AssociationID: "a-qit5jqyd8gjzfwvj0"},
	}
}

func newHandler(d *desk, s signer, l *log) http.Handler {
	gate := &call.Gate{
		Authn: s, Audit: l, Log: slog.New(slog.DiscardHandler), Now: time.Now, Region: "us-west-2", Account: "123456789012",
		MaxBody: 64 << 10, Observed: func(call.Operation, string, int, time.Duration) {},
	}
	api := &eksauthapi.API{Exchange: d, Partition: "aws", Account: "123456789012", Region: "us-west-2"}
	return restjson.New(gate, api.Routes()...)
}

func post(h http.Handler, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	return w
}

const path = "/clusters/my-cluster/assume-role-for-pod-identity"

// TestCapture replays what the AWS CLI sent and compares with what it parsed.
func TestCapture(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "wire", "eksauth-assume-role-for-pod-identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Request struct {
			Path string
			Body struct{ JSON json.RawMessage }
		}
		Response struct{ Body struct{ JSON any } }
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	d := &desk{result: textbook()}
	w := post(newHandler(d, signer{}, &log{}), c.Request.Path, string(c.Request.Body.JSON))
	var got any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	if diff := cmp.Diff(c.Response.Body.JSON, got); diff != "" {
		t.Error(diff)
	}
	if d.asked != (exchange.Request{ClusterName: "my-cluster", Token: token}) {
		t.Errorf("asked %+v", d.asked)
	}
}

func TestInput(t *testing.T) {
	for _, tc := range []struct {
		name, path, body string
		token            string // what reaches the exchange
		status           int
		code             string
	}{
		{"plain", path, `{"token":"a.b.c"}`, "a.b.c", 200, ""},
		{"white space", path, " { \"token\" : \"a.b.c\" }\n", "a.b.c", 200, ""},
		{"space after the colon", path, `{"token": "a.b.c"}`, "a.b.c", 200, ""},
		{"escapes", path, `{"token":"a.\u0062.c"}`, "a.b.c", 200, ""},
		{"unknown members", path, `{"later":1,"token":"a.b.c"}`, "a.b.c", 200, ""},
		{"all of the alphabet", path, `{"token":"aZ09-_=.b.c"}`, "aZ09-_=.b.c", 200, ""},
		{"empty", path, ``, "", 400, "InvalidParameterException"},
		{"no token", path, `{}`, "", 400, "InvalidParameterException"},
		{"empty token", path, `{"token":""}`, "", 400, "InvalidParameterException"},
		{"null token", path, `{"token":null}`, "", 400, "InvalidParameterException"},
		{"two parts", path, `{"token":"a.b"}`, "", 400, "InvalidParameterException"},
		{"four parts", path, `{"token":"a.b.c.d"}`, "", 400, "InvalidParameterException"},
		{"empty part", path, `{"token":"a..c"}`, "", 400, "InvalidParameterException"},
		{"last part empty", path, `{"token":"a.b."}`, "", 400, "InvalidParameterException"},
		{"other letters", path, `{"token":"a.b.c d"}`, "", 400, "InvalidParameterException"},
		{"twice", path, `{"token":"a.b.c","token":"d.e.f"}`, "", 400, "SerializationException"},
		{"a number", path, `{"token":5}`, "", 400, "SerializationException"},
		{"truncated", path, `{"token":"a.b.c"`, "", 400, "SerializationException"},
		{"trailing", path, `{"token":"a.b.c"}x`, "", 400, "SerializationException"},
		{"form", path, `token=a.b.c`, "", 400, "SerializationException"},
		{"too large", path, strings.Repeat(" ", 70<<10), "", 413, "RequestEntityTooLargeException"},
		{"cluster name", "/clusters/-x/assume-role-for-pod-identity", `{"token":"a.b.c"}`, "", 400, "InvalidParameterException"},
		{"encoded slash in the cluster name", "/clusters/a%2Fb/assume-role-for-pod-identity", `{"token":"a.b.c"}`, "", 400, "InvalidParameterException"},
		{"other path", "/clusters/my-cluster/assume", `{"token":"a.b.c"}`, "", 404, "UnknownOperationException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := &desk{result: textbook()}
			w := post(newHandler(d, signer{}, &log{}), tc.path, tc.body)
			if w.Code != tc.status || w.Header().Get("x-amzn-ErrorType") != tc.code {
				t.Errorf("%d %s %s", w.Code, w.Header().Get("x-amzn-ErrorType"), w.Body)
			}
			if d.asked.Token != tc.token || (d.calls > 0) != (tc.status == 200) {
				t.Errorf("%d calls, token %q", d.calls, d.asked.Token)
			}
		})
	}
}

// TestExceptions: statuses are this service's own; denied is 400.
func TestExceptions(t *testing.T) {
	for _, tc := range []struct {
		kind   fault.Kind
		code   string
		status int
	}{
		{fault.AccessDenied, "AccessDeniedException", 400},
		{fault.ExpiredToken, "ExpiredTokenException", 400},
		{fault.InvalidToken, "InvalidTokenException", 400},
		{fault.InvalidParameter, "InvalidParameterException", 400},
		{fault.InvalidRequest, "InvalidRequestException", 400},
		{fault.NotFound, "ResourceNotFoundException", 404},
		{fault.Throttled, "ThrottlingException", 429},
		{fault.Internal, "InternalServerException", 500},
		{fault.Unavailable, "ServiceUnavailableException", 503},
		{fault.PackedPolicyTooLarge, "InvalidRequestException", 400},
	} {
		w := post(newHandler(&desk{err: fault.New(tc.kind, "m")}, signer{}, &log{}), path, `{"token":"a.b.c"}`)
		if w.Code != tc.status || w.Header().Get("x-amzn-ErrorType") != tc.code {
			t.Errorf("kind %d: %d %s, want %d %s", tc.kind, w.Code, w.Header().Get("x-amzn-ErrorType"), tc.status, tc.code)
		}
	}
	d := &desk{}
	w := post(newHandler(d, signer{fault.New(fault.SignatureMismatch, "bad")}, &log{}), path, `{"token":"a.b.c"}`)
	if w.Code != 403 || w.Header().Get("x-amzn-ErrorType") != "InvalidSignatureException" || d.calls != 0 {
		t.Errorf("bad signature: %d %s, %d calls", w.Code, w.Header().Get("x-amzn-ErrorType"), d.calls)
	}
}

func TestAudit(t *testing.T) {
	l := &log{}
	post(newHandler(&desk{result: textbook()}, signer{}, l), path, `{"token":"`+token+`"}`)
	line, err := json.Marshal(l.last)
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{token, "EXAMPLETOKEN", "EXAMPLESECRET"} {
		if strings.Contains(string(line), hidden) {
			t.Errorf("%s is in the audit log", hidden)
		}
	}
	for _, want := range []string{
		`"requestParameters":{"clusterName":"my-cluster","token":"HIDDEN_DUE_TO_SECURITY_REASONS"}`, `"responseElements":null`, `"readOnly":true`,
		`"eventSource":"eks-auth.amazonaws.com"`, `"type":"AWS::EKS::Cluster","ARN":"arn:aws:eks:us-west-2:123456789012:cluster/my-cluster"`, `"pod":"app1"`,
	} {
		if !strings.Contains(string(line), want) {
			t.Errorf("%s is not in %s", want, line)
		}
	}
	err = fault.New(fault.AccessDenied, "no").WithReason("trust").WithDetail(exchange.Refusal{Extra: audit.Extra{Pod: "app1"}, Cause: "statement 0"})
	post(newHandler(&desk{err: err}, signer{}, l), path, `{"token":"`+token+`"}`)
	if x := l.last.Podid; x.Pod != "app1" || x.Reason != "trust" || x.Detail != "statement 0" || l.last.ErrorCode != "AccessDeniedException" {
		t.Errorf("%+v", x)
	}
}

// TestAuditAway: exchanges go on when audit cannot be written.
func TestAuditAway(t *testing.T) {
	w := post(newHandler(&desk{result: textbook()}, signer{}, &log{ready: errors.New("disk full")}), path, `{"token":"a.b.c"}`)
	if w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// FuzzBody: whatever the body, the answer is JSON, and what reaches the
// exchange has the form of a token.
func FuzzBody(f *testing.F) {
	for _, s := range []string{`{"token":"a.b.c"}`, `{"token": "a.b.c", "x":1}`, `{"token":"a.b.c"`, "", "null", `{"token":"a.b.c"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d := &desk{result: textbook()}
		w := post(newHandler(d, signer{}, &log{}), path, string(body))
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d %q", w.Code, w.Body)
		}
		var in struct{ Token string }
		if d.calls > 0 && (json.Unmarshal(body, &in) != nil || in.Token != d.asked.Token && !strings.Contains(string(body), d.asked.Token)) {
			t.Errorf("%q gave the token %q", body, d.asked.Token)
		}
	})
}

// nobody throws answers away.
type nobody struct{ h http.Header }

func (n nobody) Header() http.Header       { return n.h }
func (nobody) Write(b []byte) (int, error) { return len(b), nil }
func (nobody) WriteHeader(int)             {}

// BenchmarkAnswer is the wire's share of an exchange: route, gate, decode,
// encode, without signature, token and audit sink.
func BenchmarkAnswer(b *testing.B) {
	r := textbook()
	r.Credentials.SessionToken = secret.New(strings.Repeat("x", 900))
	h := newHandler(&desk{result: r}, signer{}, &log{})
	body := `{"token":"` + strings.Repeat("a", 1000) + ".b.c" + `"}`
	w := nobody{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	}
}
