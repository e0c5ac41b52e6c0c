// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeidentity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const role = "arn:aws:iam::111122223333:role/podid-node"

// doer answers without a network, so that time can be fake.
type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func session(key string, expires time.Time) string {
	return fmt.Sprintf(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>
<SubjectFromWebIdentityToken>s</SubjectFromWebIdentityToken><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>sec</SecretAccessKey>
<SessionToken>tok</SessionToken><Expiration>%s</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/podid-node/n1</Arn>
<AssumedRoleId>AROA:n1</AssumedRoleId></AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, key, expires.UTC().Format(time.RFC3339))
}

func failure(code string) string {
	return "<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code><Message>because</Message></Error><RequestId>r1</RequestId></ErrorResponse>"
}

func tokenFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func identityConfig(t *testing.T, do doer) WebIdentityConfig {
	t.Helper()
	return WebIdentityConfig{
		RoleARN: role, TokenFile: tokenFile(t, "a.b.c\n"), SessionName: "node/1", Endpoint: "https://sts.example/x", HTTP: do,
	}
}

func TestWebIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var form url.Values
		calls := 0
		cache, err := NewWebIdentity(identityConfig(t, func(r *http.Request) (*http.Response, error) {
			calls++
			raw, _ := io.ReadAll(r.Body)
			form, _ = url.ParseQuery(string(raw))
			if r.URL.String() != "https://sts.example/x/" || r.Header.Get("Authorization") != "" {
				t.Errorf("call to %s, authorization %q", r.URL, r.Header.Get("Authorization"))
			}
			return answer(200, session(fmt.Sprintf("ASIA%d", calls), time.Now().Add(time.Hour))), nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			creds, err := cache.Retrieve(t.Context())
			if err != nil || creds.AccessKeyID != "ASIA1" || creds.SessionToken != "tok" || creds.AccountID != "111122223333" {
				t.Fatalf("%s %v", creds.AccessKeyID, err)
			}
		}
		for key, want := range map[string]string{
			"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": role, "RoleSessionName": "node-1", "WebIdentityToken": "a.b.c",
		} {
			if form.Get(key) != want {
				t.Errorf("%s = %q, want %q", key, form.Get(key), want)
			}
		}
		if len(form) != 5 || calls != 1 {
			t.Errorf("form of %d fields after %d calls", len(form), calls)
		}
	})
}

// The SDK's cache asks the real clock, so early renewal is tested by sessions that are short or long by it.
func TestRenewalAndStaleSession(t *testing.T) {
	fail := false
	life := 4 * time.Minute // within the window of early renewal from the start
	calls := 0
	cache, err := NewWebIdentity(identityConfig(t, func(*http.Request) (*http.Response, error) {
		calls++
		if fail {
			return answer(403, failure("AccessDenied")), nil
		}
		return answer(200, session(fmt.Sprintf("ASIA%d", calls), time.Now().Add(life))), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 2; want++ {
		if creds, err := cache.Retrieve(t.Context()); err != nil || creds.AccessKeyID != fmt.Sprintf("ASIA%d", want) {
			t.Fatalf("%s %v, want a new session near the end of the old", creds.AccessKeyID, err)
		}
	}
	fail = true
	for range 3 {
		if creds, err := cache.Retrieve(t.Context()); err != nil || creds.AccessKeyID != "ASIA2" {
			t.Fatalf("%s %v, want the old session while it lives", creds.AccessKeyID, err)
		}
	}
	if calls != 3 {
		t.Errorf("%d calls, want one failed renewal and then a pause", calls)
	}
	cache.Invalidate()
	if _, err := cache.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("error %v after the session was rejected, want STS'", err)
	}
}

func TestWebIdentityFailures(t *testing.T) {
	tests := []struct {
		name  string
		do    doer
		token string
		want  string
		tries int
	}{
		{"denied", func(*http.Request) (*http.Response, error) { return answer(403, failure("AccessDenied")), nil }, "a.b.c", "[r1]: (AccessDenied): because", 1},
		{"invalid token", func(*http.Request) (*http.Response, error) { return answer(400, failure("InvalidIdentityToken")), nil }, "a.b.c", "InvalidIdentityToken", 1},
		{"provider unreachable", func(*http.Request) (*http.Response, error) { return answer(400, failure("IDPCommunicationError")), nil }, "a.b.c", "IDPCommunicationError", 3},
		{"server error", func(*http.Request) (*http.Response, error) { return answer(503, "<html>"), nil }, "a.b.c", "UnknownError", 3},
		{"no connection", func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }, "a.b.c", "refused", 3},
		{"hang", func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, "a.b.c", "deadline", 3},
		{"not XML", func(*http.Request) (*http.Response, error) { return answer(200, "{}"), nil }, "a.b.c", "something else than a session", 1},
		{"no keys", func(*http.Request) (*http.Response, error) { return answer(200, session("", time.Now())), nil }, "a.b.c", "without keys", 1},
		{"ended", func(*http.Request) (*http.Response, error) {
			return answer(200, session("A", time.Now().Add(-time.Hour))), nil
		}, "a.b.c", "ended already", 1},
		{"empty token", nil, " \n", "is empty", 0},
		{"two words", nil, "a.b.c\nd.e.f", "more than one word", 0},
		{"long token", nil, strings.Repeat("x", maxTokenBytes+1), "longer than", 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				cfg := identityConfig(t, func(r *http.Request) (*http.Response, error) { tries++; return tc.do(r) })
				cfg.TokenFile = tokenFile(t, tc.token)
				cache, err := NewWebIdentity(cfg)
				if err != nil {
					t.Fatal(err)
				}
				_, err = cache.Retrieve(t.Context())
				if err == nil || !strings.Contains(err.Error(), tc.want) || tries != tc.tries {
					t.Errorf("error %v after %d tries, want %q after %d", err, tries, tc.want, tc.tries)
				}
				if err != nil && strings.Contains(err.Error(), "a.b.c") {
					t.Errorf("the error quotes the token: %v", err)
				}
			})
		})
	}
}

func TestMissingTokenFile(t *testing.T) {
	cfg := identityConfig(t, nil)
	cfg.TokenFile = filepath.Join(t.TempDir(), "none")
	cache, err := NewWebIdentity(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Retrieve(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that of the file", err)
	}
}

func TestNewWebIdentityReportsEveryProblem(t *testing.T) {
	_, err := NewWebIdentity(WebIdentityConfig{RoleARN: "role", Endpoint: "http://10.0.0.1"})
	for _, want := range []string{"node role", "token file", "plain http"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %q", err, want)
		}
	}
}

func TestSessionName(t *testing.T) {
	for name, want := range map[string]string{
		"ip-10-0-0-1.eu-west-1.compute.internal": "ip-10-0-0-1.eu-west-1.compute.internal",
		"node 1/ä":                               "node-1--",
		"":                                       "podid-agent",
		"x":                                      "podid-agent",
		strings.Repeat("n", 70):                  strings.Repeat("n", 64),
	} {
		if got := sessionName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestSharedFileIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	write := func(key string) {
		t.Helper()
		content := "[default]\naws_access_key_id = " + key + "\naws_secret_access_key = s\naws_session_token = t\n"
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * time.Minute) // so that every read has expired by the real clock
	cache := NewSharedFile(path, func() time.Time { return past })
	if _, err := cache.Retrieve(context.Background()); err == nil {
		t.Error("no error for a missing file")
	}
	for _, key := range []string{"AKIA1", "AKIA2"} {
		write(key)
		creds, err := cache.Retrieve(context.Background())
		if err != nil || creds.AccessKeyID != key || !creds.Expires.Equal(past.Add(time.Minute)) {
			t.Errorf("%s until %s (%v), want %s", creds.AccessKeyID, creds.Expires, err, key)
		}
	}
	if err := os.WriteFile(path, []byte("[default]\nregion = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Retrieve(context.Background()); err == nil || !strings.Contains(err.Error(), "no access key") {
		t.Errorf("error %v for a profile without keys", err)
	}
}

func FuzzDecodeSTS(f *testing.F) {
	f.Add(session("A", time.Unix(1, 0)))
	f.Add(failure("AccessDenied"))
	f.Fuzz(func(t *testing.T, body string) {
		if creds, err := decodeSession([]byte(body)); err == nil && (!creds.HasKeys() || creds.Expires.IsZero()) {
			t.Errorf("accepted %q", body)
		}
		if decodeError(400, []byte(body)).Code == "" {
			t.Error("error without a code")
		}
	})
}
