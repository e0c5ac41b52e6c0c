// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"podid/internal/api/call"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/reqctx"
)

var update = flag.Bool("update", false, "write golden files")

type authn struct{ err error }

func (a authn) Authenticate(_ context.Context, r *http.Request, _, service string) (iam.Caller, error) {
	if a.err != nil {
		return iam.Caller{}, a.err
	}
	if r.Header.Get("Authorization") == "" && r.URL.Query().Get("X-Amz-Credential") == "" {
		return iam.Caller{}, fault.New(fault.MissingAuthentication, "")
	}
	return iam.Caller{Kind: iam.CallerUser, ARN: "arn:aws:iam::111122223333:user/" + service, User: &iam.User{Name: service}}, nil
}

type recorder struct{ events []*audit.Event }

func (*recorder) Ready() error { return nil }

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	r.events = append(r.events, e)
	return nil
}

type result struct {
	Name  string
	Empty string `xml:",omitempty"`
	Tags  List[string]
	When  Timestamp
}

func op(service, name string, anonymous bool, h Handler) Operation {
	return Operation{Handle: h, Operation: call.Operation{
		Service: service, Source: service + ".amazonaws.com", Name: name, Anonymous: anonymous,
	}}
}

func newTestMux(a authn) (http.Handler, *recorder) {
	rec := &recorder{}
	g := &call.Gate{
		Authn: a, Audit: rec, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Unix(1700000000, 0) },
		Region: "eu-west-1", Account: "111122223333", MaxBody: 4096, Observed: func(call.Operation, string, int, time.Duration) {},
	}
	echo := func(_ context.Context, c *call.Call, f *Form) (any, error) {
		return &result{Name: f.String("Name") + " by " + c.Caller.ARN, Tags: List[string]{f.Strings("Tags")}, When: Timestamp(time.Unix(1700000000, 9))}, f.Err()
	}
	fail := func(err error) Handler {
		return func(context.Context, *call.Call, *Form) (any, error) { return nil, err }
	}
	return New(g,
		Service{Name: "sts", Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Operations: []Operation{
			op("sts", "Echo", false, echo), op("sts", "Anonymous", true, echo),
			op("sts", "Expired", true, fail(fault.New(fault.ExpiredToken, ""))),
		}},
		Service{
			Name: "iam", Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
			Refine: func(_ call.Operation, f *fault.Error) (Exception, bool) {
				return Exception{Code: "InvalidInput", Status: http.StatusBadRequest}, f.Kind == fault.InvalidRequest && !IsMalformed(f)
			},
			Operations: []Operation{
				op("iam", "Echo", false, echo),
				op("iam", "Nothing", false, func(context.Context, *call.Call, *Form) (any, error) { return nil, nil }),
				op("iam", "Missing", false, fail(fault.New(fault.NotFound, "The role with name <a & b> cannot be found."))),
				op("iam", "Refined", false, fail(fault.New(fault.InvalidRequest, "Bad."))),
				op("iam", "Broken", false, fail(errors.New("the text stays in the log"))),
				op("iam", "Unwritable", false, func(context.Context, *call.Call, *Form) (any, error) { return make(chan int), nil }),
			},
		}), rec
}

func request(method, target, service, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	if service != "" {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	}
	return r.WithContext(reqctx.With(r.Context(), reqctx.Info{ID: "00000000-0000-4000-8000-000000000000"}))
}

func TestMux(t *testing.T) {
	const sts, iamV = "&Version=2011-06-15", "&Version=2010-05-08"
	presigned := "/?Action=Echo&Version=2011-06-15&Name=q&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261122%2Fus-east-1%2Fsts%2Faws4_request"
	plainText := request("POST", "/", "iam", "Action=Echo"+iamV)
	plainText.Header.Set("Content-Type", "text/plain")
	latin := request("POST", "/", "iam", "Action=Echo"+iamV)
	latin.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=latin1")
	for _, tc := range []struct {
		name   string
		r      *http.Request
		status int
		code   string
	}{
		{"result", request("POST", "/", "iam", "Action=Echo&Name=a%3Cb&Tags.member.1=x&Tags.member.2=y"+iamV), 200, ""},
		{"scope-chooses-service", request("POST", "/", "sts", "Action=Echo&Name=n"+sts), 200, ""},
		{"no-output", request("POST", "/", "iam", "Action=Nothing"+iamV), 200, ""},
		{"presigned", request("GET", presigned, "", ""), 200, ""},
		{"anonymous", request("POST", "/", "", "Action=Anonymous&Name=n"+sts), 200, ""},
		{"anonymous-signed", request("POST", "/", "sts", "Action=Anonymous&Name=n"+sts), 200, ""},
		{"unsigned", request("POST", "/", "", "Action=Nothing"+iamV), 403, "MissingAuthenticationToken"},
		{"other-scope", request("POST", "/", "ec2", "Action=Nothing"+iamV), 200, ""},
		{"not-found", request("POST", "/", "iam", "Action=Missing"+iamV), 404, "NoSuchEntity"},
		{"refined", request("POST", "/", "iam", "Action=Refined"+iamV), 400, "InvalidInput"},
		{"expired-token", request("POST", "/", "", "Action=Expired"+sts), 400, "ExpiredTokenException"},
		{"internal", request("POST", "/", "iam", "Action=Broken"+iamV), 500, "InternalFailure"},
		{"unwritable", request("POST", "/", "iam", "Action=Unwritable"+iamV), 500, ""},
		{"unknown-action", request("POST", "/", "iam", "Action=GetRoles"+iamV), 400, "InvalidAction"},
		{"action-of-other-service", request("POST", "/", "sts", "Action=Nothing"+iamV), 400, "InvalidAction"},
		{"no-version", request("POST", "/", "iam", "Action=Echo"), 400, "InvalidAction"},
		{"wrong-version", request("POST", "/", "iam", "Action=Echo&Version=2011-06-15"), 400, "InvalidAction"},
		{"missing-action", request("POST", "/", "iam", "Version=2010-05-08"), 400, "MissingAction"},
		{"missing-action-unsigned", request("POST", "/", "", ""), 400, "MissingAction"},
		{"form", request("POST", "/", "iam", "Action=Echo&Name=%zz"+iamV), 400, "MalformedInput"},
		{"form-in-handler", request("POST", "/", "iam", "Action=Echo&Tags.member.2=x"+iamV), 400, "MalformedInput"},
		{"query-and-body", request("POST", "/?Action=Echo", "iam", "Action=Echo"+iamV), 400, "MalformedInput"},
		{"content-type", plainText, 400, "MalformedInput"},
		{"charset", latin, 400, "MalformedInput"},
		{"too-large", request("POST", "/", "iam", strings.Repeat("a", 5000)), 413, "RequestEntityTooLarge"},
		{"path", request("POST", "/x", "iam", "Action=Echo"+iamV), 400, "InvalidAction"},
		{"method", request("PUT", "/", "iam", "Action=Echo"+iamV), 400, "InvalidAction"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, rec := newTestMux(authn{})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, tc.r)
			if w.Code != tc.status || w.Header().Get("Content-Type") != "text/xml" || w.Header().Get("x-amzn-RequestId") != "00000000-0000-4000-8000-000000000000" {
				t.Errorf("status %d, header %v", w.Code, w.Header())
			}
			if len(rec.events) != 1 || rec.events[0].ErrorCode != tc.code {
				t.Errorf("events = %+v, want one with code %q", rec.events, tc.code)
			}
			if err := xml.Unmarshal(w.Body.Bytes(), new(struct{})); err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("answer is no XML: %v", err)
			}
			golden(t, tc.name+".xml", w.Body.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot:\n%s\nwant:\n%s", name, got, want)
	}
}

// TestExceptions holds the table against the API references of STS and IAM.
func TestExceptions(t *testing.T) {
	for kind, want := range map[fault.Kind]Exception{
		fault.Internal:              {Code: "InternalFailure", Status: 500},
		fault.Unavailable:           {Code: "ServiceUnavailable", Status: 503},
		fault.Throttled:             {Code: "Throttling", Status: 400},
		fault.InvalidParameter:      {Code: "ValidationError", Status: 400},
		fault.InvalidRequest:        {Code: "InvalidParameterValue", Status: 400},
		fault.MissingParameter:      {Code: "MissingParameter", Status: 400},
		fault.MalformedPolicy:       {Code: "MalformedPolicyDocument", Status: 400},
		fault.NotFound:              {Code: "NoSuchEntity", Status: 404},
		fault.AlreadyExists:         {Code: "EntityAlreadyExists", Status: 409},
		fault.DeleteConflict:        {Code: "DeleteConflict", Status: 409},
		fault.LimitExceeded:         {Code: "LimitExceeded", Status: 409},
		fault.AccessDenied:          {Code: "AccessDenied", Status: 403},
		fault.ExpiredToken:          {Code: "ExpiredTokenException", Status: 400},
		fault.ExpiredCredentials:    {Code: "ExpiredToken", Status: 403},
		fault.InvalidToken:          {Code: "InvalidClientTokenId", Status: 403},
		fault.MissingAuthentication: {Code: "MissingAuthenticationToken", Status: 403},
		fault.UnknownAccessKey:      {Code: "InvalidClientTokenId", Status: 403},
		fault.SignatureMismatch:     {Code: "SignatureDoesNotMatch", Status: 403},
		fault.IncompleteSignature:   {Code: "IncompleteSignature", Status: 400},
		fault.UnknownOperation:      {Code: "InvalidAction", Status: 400},
		fault.IdPRejected:           {Code: "IDPRejectedClaim", Status: 403},
		fault.IdPUnavailable:        {Code: "IDPCommunicationError", Status: 400},
		fault.PackedPolicyTooLarge:  {Code: "PackedPolicyTooLarge", Status: 400},
		fault.TooLarge:              {Code: "RequestEntityTooLarge", Status: 413},
	} {
		got := exceptionOf(call.Operation{}, &fault.Error{Kind: kind})
		if got.Code != want.Code || got.Status != want.Status {
			t.Errorf("kind %d: %s %d, want %s %d", kind, got.Code, got.Status, want.Code, want.Status)
		}
	}
	anonymous := exceptionOf(call.Operation{Anonymous: true}, &fault.Error{Kind: fault.InvalidToken})
	if anonymous.Code != "InvalidIdentityToken" || anonymous.Status != 400 {
		t.Errorf("token of an anonymous call: %+v", anonymous)
	}
}

func TestScopeService(t *testing.T) {
	for _, tc := range []struct{ name, header, query, want string }{
		{"none", "", "", ""},
		{"header", "AWS4-HMAC-SHA256 Credential=AKIA/20261122/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0", "", "iam"},
		{"header without blank", "AWS4-HMAC-SHA256 Credential=AKIA/20261122/us-east-1/sts/aws4_request,SignedHeaders=host,Signature=0", "", "sts"},
		{"header without credential", "Bearer abc", "", ""},
		{"short scope", "AWS4-HMAC-SHA256 Credential=AKIA/iam", "", ""},
		{"query", "", "X-Amz-Credential=AKIA%2F20261122%2Fus-east-1%2Fsts%2Faws4_request", "sts"},
		{"broken query", "", "X-Amz-Credential=%zz", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/?"+tc.query, nil)
			r.Header.Set("Authorization", tc.header)
			if got := ScopeService(r); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNewRefusesTwins(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two operations of one name were accepted")
		}
	}()
	New(&call.Gate{}, Service{Name: "s", Operations: []Operation{op("s", "A", false, nil), op("s", "A", false, nil)}})
}

func BenchmarkResult(b *testing.B) {
	c := codec{&service{Service: Service{Namespace: "https://sts.amazonaws.com/doc/2011-06-15/"}}}
	res := &result{Name: strings.Repeat("t", 700), When: Timestamp(time.Unix(1700000000, 0))}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Result(httptest.NewRecorder(), "id", call.Operation{Name: "AssumeRole"}, res); err != nil {
			b.Fatal(err)
		}
	}
}

// A stranger chooses the Action. Names of his own would fill the metrics, and
// half a character in a label makes the metrics library panic.
func TestUnknownActionsStayOutOfMetrics(t *testing.T) {
	var seen []string
	rec := &recorder{}
	h := New(&call.Gate{
		Authn: authn{}, Audit: rec, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Unix(1700000000, 0) },
		Region: "eu-west-1", Account: "111122223333", MaxBody: 4096,
		Observed: func(op call.Operation, _ string, _ int, _ time.Duration) { seen = append(seen, op.Name) },
	}, Service{Name: "sts", Version: "2011-06-15"})
	for _, action := range []string{"Own", "Another", strings.Repeat("a", 127) + "é"} {
		h.ServeHTTP(httptest.NewRecorder(), request(http.MethodPost, "/", "", "Action="+url.QueryEscape(action)))
		if name := rec.events[len(rec.events)-1].EventName; name == "" || !strings.HasPrefix(action, name) || !utf8.ValidString(name) {
			t.Errorf("audit names %q for the action %q", name, action)
		}
	}
	for _, name := range seen {
		if name != call.Unknown {
			t.Errorf("metrics count the operation %q", name)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d calls were counted, want 3", len(seen))
	}
}
