// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package call_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"podid/internal/api/call"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/reqctx"
	"podid/internal/session"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 500, time.UTC)

// codec writes the bare words, so that a test sees what the gate gave it.
type codec struct{ fail error }

func (c codec) Result(w http.ResponseWriter, id string, _ call.Operation, result any) (int, error) {
	if c.fail != nil {
		return http.StatusInternalServerError, c.fail
	}
	_, err := fmt.Fprintf(w, "%s %v", id, result)
	return http.StatusOK, err
}

func (codec) Error(w http.ResponseWriter, id string, _ call.Operation, f *fault.Error) (string, int) {
	w.WriteHeader(http.StatusTeapot)
	_, _ = fmt.Fprintf(w, "%s kind %d: %s", id, f.Kind, f.Message)
	return "Exception", http.StatusTeapot
}

type authn struct {
	err          error
	hash, wanted string
}

func (a *authn) Authenticate(_ context.Context, _ *http.Request, hash, service string) (iam.Caller, error) {
	a.hash, a.wanted = hash, service
	if a.err != nil {
		return iam.Caller{}, a.err
	}
	return iam.Caller{Kind: iam.CallerUser, ARN: "arn:aws:iam::111122223333:user/jane", UserID: "AIDA1", Account: "111122223333", AccessKeyID: "AKIA1", User: &iam.User{Name: "jane"}}, nil
}

// recorder keeps events; away is its state.
type recorder struct {
	away   error
	late   error // fails the record only, not the question before
	events []audit.Event
}

func (r *recorder) Ready() error { return r.away }

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	if err := errors.Join(r.away, r.late); err != nil {
		return err
	}
	r.events = append(r.events, *e)
	return nil
}

type observation struct {
	op, code string
	status   int
}

type bench struct {
	gate  *call.Gate
	authn *authn
	audit *recorder
	log   bytes.Buffer
	seen  []observation
	codec codec
}

func newBench() *bench {
	b := &bench{authn: &authn{}, audit: &recorder{}}
	b.gate = &call.Gate{
		Authn: b.authn, Audit: b.audit, Log: slog.New(slog.NewTextHandler(&b.log, nil)), Now: func() time.Time { return now },
		Region: "us-west-2", Account: "111122223333", MaxBody: 16,
		Observed: func(op call.Operation, code string, status int, _ time.Duration) {
			b.seen = append(b.seen, observation{op.Name, code, status})
		},
	}
	return b
}

func (b *bench) serve(body io.Reader, op call.Operation, h call.Handler) *httptest.ResponseRecorder {
	ctx := reqctx.With(context.Background(), reqctx.Info{ID: "id-1", SourceIP: netip.MustParseAddr("192.0.2.1"), UserAgent: "ua", TLS: true})
	w := httptest.NewRecorder()
	b.gate.Serve(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", body), op, b.codec, h)
	return w
}

var (
	management = call.Operation{Service: "eks", Source: "eks.amazonaws.com", Name: "Create", Action: "eks:Create"}
	reading    = call.Operation{Service: "eks", Source: "eks.amazonaws.com", Name: "Describe", Action: "eks:Describe", ReadOnly: true}
	exchanging = call.Operation{Service: "eks-auth", Source: "eks-auth.amazonaws.com", Name: "Assume", Action: "eks-auth:Assume", ReadOnly: true, Exchange: true}
	anonymous  = call.Operation{Service: "sts", Source: "sts.amazonaws.com", Name: "Web", Action: "sts:Web", Anonymous: true}
)

func fine(context.Context, *call.Call) (any, error) { return "fine", nil }

func TestServe(t *testing.T) {
	b := newBench()
	w := b.serve(strings.NewReader("body"), management, func(_ context.Context, c *call.Call) (any, error) {
		if string(c.Body) != "body" || c.Caller.User.Name != "jane" || c.HTTP == nil {
			t.Errorf("%+v", c)
		}
		c.Event.RequestParameters = "params"
		c.Extra().AssociationID = "a-1"
		return "fine", nil
	})
	if w.Code != http.StatusOK || w.Body.String() != "id-1 fine" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	sum := sha256.Sum256([]byte("body"))
	if b.authn.hash != hex.EncodeToString(sum[:]) || b.authn.wanted != "eks" {
		t.Errorf("authenticated %s for %s", b.authn.hash, b.authn.wanted)
	}
	if len(b.audit.events) != 1 || b.seen[0] != (observation{"Create", "", 200}) {
		t.Fatalf("%+v, %+v", b.audit.events, b.seen)
	}
	e := b.audit.events[0]
	if e.EventName != "Create" || e.EventSource != "eks.amazonaws.com" || e.UserIdentity.UserName != "jane" || e.RequestID != "id-1" || e.EventID == "" || e.ErrorCode != "" ||
		e.SourceIPAddress != "192.0.2.1" || e.UserAgent != "ua" || e.AWSRegion != "us-west-2" || e.RequestParameters != "params" || e.Podid.AssociationID != "a-1" || !e.EventTime.Equal(now.Truncate(time.Second)) {
		t.Errorf("%+v", e)
	}
}

// A refusal is answered, recorded with its reason and detail, and counted,
// wherever on the way it happens. Its cause is never shown.
func TestRefusals(t *testing.T) {
	denied := fault.New(fault.AccessDenied, "You may not.").WithReason("not-authorized").WithDetail("statement 1").Because(errors.New("cause"))
	for _, tc := range []struct {
		name   string
		op     call.Operation
		body   io.Reader
		authn  error
		verb   error
		answer string
		reason string
		logged bool
	}{
		{"unsigned", management, strings.NewReader(""), fault.New(fault.MissingAuthentication, "Sign it.").WithReason("signature-missing"), nil, "id-1 kind 14: Sign it.", "signature-missing", false},
		{"verb refuses", management, strings.NewReader(""), nil, denied, "id-1 kind 11: You may not.", "not-authorized", false},
		{"verb refuses an exchange", exchanging, strings.NewReader(""), nil, fmt.Errorf("wrapped: %w", denied), "id-1 kind 11: You may not.", "not-authorized", false},
		{"verb fails", management, strings.NewReader(""), nil, errors.New("password=hunter2"), "id-1 kind 0: ", "", true},
		{"verb fails with words", management, strings.NewReader(""), nil, fault.New(fault.Internal, "password=hunter2").WithReason("broken"), "id-1 kind 0: ", "broken", true},
		{"store away", management, strings.NewReader(""), nil, fault.New(fault.Unavailable, "Later.").WithReason("store-unavailable").Because(errors.New("etcd")), "id-1 kind 1: Later.", "store-unavailable", true},
		{"body at its limit", management, strings.NewReader(strings.Repeat("x", 16)), nil, denied, "id-1 kind 11: You may not.", "not-authorized", false},
		{"body over its limit", management, strings.NewReader(strings.Repeat("x", 17)), nil, nil, "id-1 kind 22: The request body is larger than 16 bytes.", "body-too-large", false},
		{"body breaks off", management, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(errors.New("reset by peer"))), nil, nil, "id-1 kind 4: The request body could not be read.", "body-unreadable", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench()
			b.authn.err = tc.authn
			ran := false
			w := b.serve(tc.body, tc.op, func(context.Context, *call.Call) (any, error) { ran = true; return "fine", tc.verb })
			want := strings.NewReplacer("kind 22", fmt.Sprintf("kind %d", fault.TooLarge), "kind 14", fmt.Sprintf("kind %d", fault.MissingAuthentication),
				"kind 11", fmt.Sprintf("kind %d", fault.AccessDenied), "kind 4", fmt.Sprintf("kind %d", fault.InvalidRequest)).Replace(tc.answer)
			if got := w.Body.String(); got != want || w.Code != http.StatusTeapot {
				t.Errorf("%d %q, want %q", w.Code, got, want)
			}
			if ran != (tc.verb != nil) {
				t.Errorf("the verb ran: %v", ran)
			}
			if len(b.audit.events) != 1 || b.seen[0] != (observation{tc.op.Name, "Exception", http.StatusTeapot}) {
				t.Fatalf("recorded %+v, counted %+v", b.audit.events, b.seen)
			}
			e := b.audit.events[0]
			if e.ErrorCode != "Exception" || e.Podid.Reason != tc.reason || e.Podid.HTTPStatus != http.StatusTeapot || strings.Contains(e.ErrorMessage, "hunter2") {
				t.Errorf("%+v %+v", e, e.Podid)
			}
			if errors.Is(tc.verb, denied) && e.Podid.Detail != "statement 1" {
				t.Errorf("detail %v", e.Podid.Detail)
			}
			if tc.authn != nil && e.UserIdentity.Type != "Unknown" {
				t.Errorf("an unproven caller is named: %+v", e.UserIdentity)
			}
			if (b.log.Len() > 0) != tc.logged {
				t.Errorf("log: %s", b.log.String())
			}
		})
	}
}

// While audit cannot be written, changes are refused before their verb runs
// and exchanges go on.
func TestAuditAway(t *testing.T) {
	full := errors.New("disk full")
	for _, tc := range []struct {
		name       string
		op         call.Operation
		away, late error
		runs, well bool
	}{
		{"change", management, full, nil, false, false},
		{"change, seen late", management, nil, full, true, false},
		{"anonymous", anonymous, full, nil, false, false},
		{"reading", reading, full, nil, true, false},
		{"exchange", exchanging, full, nil, true, true},
		{"exchange, seen late", exchanging, nil, full, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench()
			b.audit.away, b.audit.late = tc.away, tc.late
			ran := false
			w := b.serve(strings.NewReader(""), tc.op, func(context.Context, *call.Call) (any, error) { ran = true; return "secret", nil })
			if ran != tc.runs {
				t.Errorf("the verb ran: %v, want %v", ran, tc.runs)
			}
			if well := w.Code == http.StatusOK; well != tc.well {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if !tc.well && (strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), fmt.Sprintf("kind %d: The audit log", fault.Unavailable))) {
				t.Errorf("%s", w.Body)
			}
			if len(b.seen) != 1 {
				t.Errorf("counted %+v", b.seen)
			}
		})
	}
}

func TestAnonymous(t *testing.T) {
	b := newBench()
	b.authn.err = errors.New("must not be asked")
	w := b.serve(strings.NewReader(""), anonymous, func(_ context.Context, c *call.Call) (any, error) {
		if c.Caller.Kind != 0 {
			t.Errorf("caller %+v", c.Caller)
		}
		return "fine", nil
	})
	if w.Code != http.StatusOK || b.audit.events[0].UserIdentity.Type != "Unknown" {
		t.Errorf("%d %+v", w.Code, b.audit.events[0].UserIdentity)
	}
}

// An answer that cannot be written is logged and counted with the status that
// the codec gave it.
func TestAnswerCannotBeWritten(t *testing.T) {
	b := newBench()
	b.codec.fail = errors.New("encode result")
	b.serve(strings.NewReader(""), reading, fine)
	if !strings.Contains(b.log.String(), "encode result") || b.seen[0] != (observation{"Describe", "", http.StatusInternalServerError}) {
		t.Errorf("log %s, counted %+v", b.log.String(), b.seen)
	}
}

// A panic is the listener's to answer: the gate lets it through.
func TestPanicPasses(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the gate swallowed a panic")
		}
	}()
	newBench().serve(strings.NewReader(""), reading, func(context.Context, *call.Call) (any, error) { panic("verb") })
}

func TestIdentity(t *testing.T) {
	s := &session.Session{Partition: "aws", Account: "111122223333", RoleID: "AROA1", RolePath: "/a/", RoleName: "r", Name: "s"}
	for _, tc := range []struct {
		name   string
		caller iam.Caller
		want   audit.UserIdentity
	}{
		{"nobody", iam.Caller{}, audit.UserIdentity{Type: "Unknown"}},
		{
			"user",
			iam.Caller{Kind: iam.CallerUser, ARN: "arn", UserID: "AIDA1", Account: "1", AccessKeyID: "AKIA1", User: &iam.User{Name: "jane"}},
			audit.UserIdentity{Type: "IAMUser", PrincipalID: "AIDA1", ARN: "arn", AccountID: "1", AccessKeyID: "AKIA1", UserName: "jane"},
		},
		{"service", iam.Caller{Kind: iam.CallerService, Service: "pods.eks.amazonaws.com"}, audit.UserIdentity{Type: "AWSService", InvokedBy: "pods.eks.amazonaws.com"}},
	} {
		if got := call.Identity(tc.caller); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
	got := call.Identity(iam.Caller{Kind: iam.CallerSession, ARN: s.ARN(), UserID: s.AssumedRoleID(), Session: s})
	if got.Type != "AssumedRole" || got.PrincipalID != "AROA1:s" || got.SessionContext.SessionIssuer.ARN != "arn:aws:iam::111122223333:role/a/r" || got.SessionContext.SessionIssuer.UserName != "r" {
		t.Errorf("session: %+v", got)
	}
}

func BenchmarkServe(b *testing.B) {
	s := newBench()
	s.gate.Audit = nowhere{}
	s.gate.Observed = func(call.Operation, string, int, time.Duration) {}
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", http.NoBody)
	b.ReportAllocs()
	for b.Loop() {
		s.gate.Serve(httptest.NewRecorder(), r, exchanging, s.codec, fine)
	}
}

type nowhere struct{}

func (nowhere) Ready() error                               { return nil }
func (nowhere) Record(context.Context, *audit.Event) error { return nil }
