// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stsapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/api/stsapi"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/secret"
	"podid/internal/session"
	"podid/internal/sts"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// verbs records what the wire asked for.
type verbs struct {
	err    error
	assume sts.AssumeRoleInput
	web    sts.WebIdentityInput
	own    sts.SessionTokenInput
	fed    sts.FederationTokenInput
	calls  int
}

func (v *verbs) GetSessionToken(_ context.Context, _ iam.Caller, in sts.SessionTokenInput) (*sts.Assumed, error) {
	v.calls++
	v.own = in
	a := assumed()
	a.PackedSize = 0
	return &a, v.err
}

func (v *verbs) GetFederationToken(_ context.Context, _ iam.Caller, in sts.FederationTokenInput) (*sts.Assumed, error) {
	v.calls++
	v.fed = in
	a := assumed()
	a.Session = &session.Session{Kind: session.Federated, Partition: "aws", Account: "111122223333", Name: in.Name}
	return &a, v.err
}

func (v *verbs) GetAccessKeyInfo(_ context.Context, _ iam.Caller, id string) (string, error) {
	v.calls++
	return "account of " + id, v.err
}

func (v *verbs) DecodeAuthorizationMessage(_ context.Context, _ iam.Caller, text string) (string, error) {
	v.calls++
	return `{"message":"` + text + `"}`, v.err
}

func assumed() sts.Assumed {
	s := &session.Session{
		Partition: "aws", Account: "111122223333", RoleID: "AROA1", RolePath: "/", RoleName: "app", Name: "s1", SourceIdentity: "jane", Node: session.Node{Name: "node-1"},
	}
	return sts.Assumed{Session: s, PackedSize: 15, Credentials: session.Credentials{
		AccessKeyID: "ASIA1", SecretAccessKey: secret.New("top+secret/key"), SessionToken: secret.New("to+ken="), Expires: now.Add(time.Hour),
	}}
}

func (v *verbs) AssumeRole(_ context.Context, _ iam.Caller, in sts.AssumeRoleInput) (*sts.Assumed, error) {
	v.calls++
	v.assume = in
	if v.err != nil {
		return nil, v.err
	}
	a := assumed()
	return &a, nil
}

func (v *verbs) AssumeRoleWithWebIdentity(_ context.Context, in sts.WebIdentityInput) (*sts.WebIdentityResult, error) {
	v.calls++
	v.web = in
	if v.err != nil {
		return nil, v.err
	}
	return &sts.WebIdentityResult{Assumed: assumed(), Subject: "system:serviceaccount:n:s", Audience: "sts.amazonaws.com", Provider: "arn:p"}, nil
}

func (v *verbs) GetCallerIdentity(c iam.Caller) sts.Identity {
	return sts.Identity{Account: c.Account, ARN: c.ARN, UserID: c.UserID}
}

type authn struct{}

func (authn) Authenticate(_ context.Context, r *http.Request, _, _ string) (iam.Caller, error) {
	if r.Header.Get("Authorization") == "" {
		return iam.Caller{}, fault.New(fault.MissingAuthentication, "Request is missing Authentication Token")
	}
	return iam.Caller{Kind: iam.CallerUser, ARN: "arn:aws:iam::111122223333:user/<jane>", UserID: "AIDA1", Account: "111122223333", User: &iam.User{Name: "jane"}}, nil
}

type recorder struct{ last *audit.Event }

func (*recorder) Ready() error { return nil }
func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	r.last = e
	return nil
}

func send(t *testing.T, v *verbs, signed bool, form string) (*httptest.ResponseRecorder, *audit.Event) {
	t.Helper()
	rec := &recorder{}
	h := awsquery.New(&call.Gate{
		Authn: authn{}, Audit: rec, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Region: "us-west-2", Account: "111122223333", MaxBody: 1 << 20,
		Observed: func(call.Operation, string, int, time.Duration) {},
	}, stsapi.Service(v))
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", strings.NewReader(form+"&Version=2011-06-15"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if signed {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA1/20261122/us-west-2/sts/aws4_request, SignedHeaders=host, Signature=0")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if rec.last == nil {
		t.Fatal("the call left no event")
	}
	return w, rec.last
}

func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s is not in\n%s", p, text)
		}
	}
}

func TestAssumeRole(t *testing.T) {
	v := &verbs{}
	w, e := send(t, v, true, "Action=AssumeRole&RoleArn=arn:r&RoleSessionName=s1&DurationSeconds=900&Policy=%7B%7D&ExternalId=x1&SourceIdentity=jane"+
		"&PolicyArns.member.1.arn=arn:p1&PolicyArns.member.2.arn=arn:p2&Tags.member.1.Key=k1&Tags.member.1.Value=v1&Tags.member.2.Key=k2&Tags.member.2.Value=&TransitiveTagKeys.member.1=k1")
	want := sts.AssumeRoleInput{
		RoleARN: "arn:r", SessionName: "s1", Duration: 900, Policy: "{}", PolicyARNs: []string{"arn:p1", "arn:p2"}, Tags: []session.Tag{{Key: "k1", Value: "v1"}, {Key: "k2"}},
		TransitiveKeys: []string{"k1"}, ExternalID: "x1", SourceIdentity: "jane",
	}
	if w.Code != http.StatusOK || !reflect.DeepEqual(v.assume, want) {
		t.Errorf("%d %+v, want %+v", w.Code, v.assume, want)
	}
	has(t, w.Body.String(), `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">`, "<Arn>arn:aws:sts::111122223333:assumed-role/app/s1</Arn>", "<AssumedRoleId>AROA1:s1</AssumedRoleId>",
		"<AccessKeyId>ASIA1</AccessKeyId>", "<SecretAccessKey>top+secret/key</SecretAccessKey>", "<SessionToken>to+ken=</SessionToken>", "<Expiration>2026-11-22T11:00:00Z</Expiration>",
		"<SourceIdentity>jane</SourceIdentity>", "<PackedPolicySize>15</PackedPolicySize>", "<SessionTokenSize>7</SessionTokenSize>")
	line, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(line), "top+secret") || strings.Contains(string(line), "to+ken") {
		t.Errorf("audit holds a secret: %s", line)
	}
	has(t, string(line), `"accessKeyId":"ASIA1"`, `"accessKeyIdIssued":"ASIA1"`, `"callerNode":"node-1"`, `"roleArn":"arn:aws:iam::111122223333:role/app"`)
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	v := &verbs{}
	w, e := send(t, v, false, "Action=AssumeRoleWithWebIdentity&RoleArn=arn:r&RoleSessionName=s1&WebIdentityToken=aaa.bbb.ccc&PolicyArns.member.1.arn=arn:p1")
	if w.Code != http.StatusOK || v.web.Token != "aaa.bbb.ccc" || v.web.Duration != 0 || !reflect.DeepEqual(v.web.PolicyARNs, []string{"arn:p1"}) {
		t.Errorf("%d %+v", w.Code, v.web)
	}
	has(t, w.Body.String(), "<SubjectFromWebIdentityToken>system:serviceaccount:n:s</SubjectFromWebIdentityToken>", "<Audience>sts.amazonaws.com</Audience>", "<Provider>arn:p</Provider>")
	line, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(line), "aaa.bbb") {
		t.Errorf("audit holds the token: %s", line)
	}
	has(t, string(line), `"type":"WebIdentityUser"`, `"userName":"system:serviceaccount:n:s"`, audit.Hidden)
}

// Anybody may make this call: what he sends must not fill the audit log, nor
// hide what counts.
func TestAnonymousAuditIsBounded(t *testing.T) {
	long := strings.Repeat("x", 5000)
	form := "Action=AssumeRoleWithWebIdentity&RoleArn=" + long + "&RoleSessionName=n&WebIdentityToken=t&Noise=" + long + "&policy" + long + "=1"
	for i := range 100 {
		form += fmt.Sprintf("&PolicyArns.member.%d.arn=%s", i+1, long)
	}
	_, e := send(t, &verbs{err: fault.New(fault.InvalidToken, "%s", long)}, false, form)
	params, _ := e.RequestParameters.(map[string]string)
	if params["webIdentityToken"] != audit.Hidden || params["roleSessionName"] != "n" || len(params["roleArn"]) != 2048 {
		t.Errorf("recorded %d bytes of role, token %q, name %q", len(params["roleArn"]), params["webIdentityToken"], params["roleSessionName"])
	}
	size := len(e.ErrorMessage)
	for k, v := range params {
		size += len(k) + len(v)
	}
	if size > 48<<10 {
		t.Errorf("the event holds %d bytes of what a stranger sent", size)
	}
}

func TestGetCallerIdentity(t *testing.T) {
	w, _ := send(t, &verbs{}, true, "Action=GetCallerIdentity")
	has(t, w.Body.String(), "<Arn>arn:aws:iam::111122223333:user/&lt;jane&gt;</Arn>", "<UserId>AIDA1</UserId>", "<Account>111122223333</Account>")
	if w, _ = send(t, &verbs{}, false, "Action=GetCallerIdentity"); w.Code != http.StatusForbidden {
		t.Errorf("unsigned: %d", w.Code)
	}
}

func TestTemporary(t *testing.T) {
	v := &verbs{}
	w, e := send(t, v, true, "Action=GetSessionToken&DurationSeconds=900&MinimumSessionTokenSize=2000&SerialNumber=GAHT12345678&TokenCode=907731")
	if want := (sts.SessionTokenInput{Duration: 900, MinTokenSize: 2000, SerialNumber: "GAHT12345678", TokenCode: "907731"}); w.Code != http.StatusOK || v.own != want {
		t.Errorf("%d %+v", w.Code, v.own)
	}
	has(t, w.Body.String(), "<GetSessionTokenResult>", "<SessionToken>to+ken=</SessionToken>", "<SessionTokenSize>7</SessionTokenSize>", "<SessionTokenUtilization>1</SessionTokenUtilization>")
	if line, err := json.Marshal(e); err != nil || strings.Contains(string(line), "907731") || strings.Contains(string(line), "to+ken") || strings.Contains(w.Body.String(), "PackedPolicySize") {
		t.Errorf("%v %s", err, line)
	}
	w, e = send(t, v, true, "Action=GetFederationToken&Name=bob&Policy=%7B%7D&PolicyArns.member.1.arn=arn:p1&Tags.member.1.Key=k&Tags.member.1.Value=v")
	want := sts.FederationTokenInput{Name: "bob", Policy: "{}", PolicyARNs: []string{"arn:p1"}, Tags: []session.Tag{{Key: "k", Value: "v"}}}
	if w.Code != http.StatusOK || !reflect.DeepEqual(v.fed, want) {
		t.Errorf("%d %+v", w.Code, v.fed)
	}
	has(t, w.Body.String(), "<FederatedUserId>111122223333:bob</FederatedUserId>", "<Arn>arn:aws:sts::111122223333:federated-user/bob</Arn>", "<PackedPolicySize>15</PackedPolicySize>")
	if len(e.Resources) != 1 || e.Podid.AccessKeyIDIssued != "ASIA1" {
		t.Errorf("%+v", e)
	}
	w, _ = send(t, v, true, "Action=GetAccessKeyInfo&AccessKeyId=AKIA1")
	has(t, w.Body.String(), "<Account>account of AKIA1</Account>")
	w, e = send(t, v, true, "Action=DecodeAuthorizationMessage&EncodedMessage=abc")
	has(t, w.Body.String(), "<DecodedMessage>{&#34;message&#34;:&#34;abc&#34;}</DecodedMessage>")
	if p, ok := e.RequestParameters.(map[string]string); !ok || p["encodedMessage"] != audit.Hidden {
		t.Errorf("%+v", e.RequestParameters)
	}
}

func TestRefusals(t *testing.T) {
	const role, web = "Action=AssumeRole&RoleArn=arn:r&RoleSessionName=s1", "Action=AssumeRoleWithWebIdentity&RoleArn=arn:r&RoleSessionName=s1&WebIdentityToken=aaa.bbb.ccc"
	for _, tc := range []struct {
		name, form string
		err        error
		status     int
		code, text string
		calls      int
	}{
		{"no role", "Action=AssumeRole&RoleSessionName=s1", nil, 400, "ValidationError", "Value null at &#39;roleArn&#39;", 0},
		{"no session name", "Action=AssumeRole&RoleArn=arn:r", nil, 400, "ValidationError", "roleSessionName", 0},
		{"no token", strings.TrimSuffix(web, "&WebIdentityToken=aaa.bbb.ccc"), nil, 400, "ValidationError", "webIdentityToken", 0},
		{"duration of nothing", role + "&DurationSeconds=0", nil, 400, "ValidationError", "Value &#39;0&#39; at &#39;durationSeconds&#39;", 0},
		{"duration that is no number", role + "&DurationSeconds=1h", nil, 400, "", "DurationSeconds", 0},
		{"tags with a gap", role + "&Tags.member.2.Key=k", nil, 400, "", "Tags", 0},
		{"operation that is not here", "Action=GetWebIdentityToken", nil, 400, "InvalidAction", "GetWebIdentityToken", 0},
		{"no name", "Action=GetFederationToken", nil, 400, "ValidationError", "&#39;name&#39;", 0},
		{"no message", "Action=DecodeAuthorizationMessage", nil, 400, "ValidationError", "&#39;encodedMessage&#39;", 0},
		{"no access key id", "Action=GetAccessKeyInfo", nil, 400, "ValidationError", "&#39;accessKeyId&#39;", 0},
		{"context providers", role + "&ProvidedContexts.member.1.ProviderArn=arn:x", nil, 400, "ValidationError", "ProvidedContexts", 0},
		{"caller denied", role, fault.New(fault.AccessDenied, "You may not."), 403, "AccessDenied", "You may not.", 1},
		{"token expired", web, fault.New(fault.ExpiredToken, "Over."), 400, "ExpiredTokenException", "Over.", 1},
		{"token bad", web, fault.New(fault.InvalidToken, "Bad."), 400, "InvalidIdentityToken", "Bad.", 1},
		{"claim refused", web, fault.New(fault.IdPRejected, "Two clusters."), 403, "IDPRejectedClaim", "Two clusters.", 1},
		{"too large", role, fault.New(fault.PackedPolicyTooLarge, "114 percent"), 400, "PackedPolicyTooLarge", "114 percent", 1},
		{"policy malformed", role, fault.New(fault.MalformedPolicy, "Syntax errors in policy."), 400, "MalformedPolicyDocument", "Syntax errors", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := &verbs{err: tc.err}
			w, e := send(t, v, true, tc.form)
			if w.Code != tc.status || v.calls != tc.calls {
				t.Errorf("%d after %d calls, want %d after %d", w.Code, v.calls, tc.status, tc.calls)
			}
			has(t, w.Body.String(), "<Code>"+tc.code, tc.text)
			if tc.calls > 0 && e.RequestParameters == nil || e.ErrorCode == "" {
				t.Errorf("recorded as %+v", e)
			}
		})
	}
}

// Whatever form comes, the answer is a document and nothing panics.
func FuzzForm(f *testing.F) {
	for _, s := range []string{
		"Action=AssumeRole&RoleArn=arn:r&RoleSessionName=s1&Tags.member.1.Key=k", "Action=AssumeRoleWithWebIdentity&WebIdentityToken=x", "Action=GetCallerIdentity", "Action=AssumeRole&DurationSeconds=99999999999", "%", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, form string) {
		w, _ := send(t, &verbs{}, true, form)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusForbidden && w.Code != http.StatusNotFound {
			t.Errorf("%q: %d %s", form, w.Code, w.Body)
		}
	})
}
