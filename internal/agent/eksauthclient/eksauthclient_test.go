// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
)

var identity = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "ASIANODE", SecretAccessKey: "nodesecret", SessionToken: "nodesession"}, nil
})

// doer answers without a network, so that time can be fake.
type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

func answer(status int, body string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i+1 < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

func golden(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/session.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func client(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{Endpoint: "https://eks-auth.example/base", Cluster: "my-cluster", Region: "eu-west-1", Credentials: identity}
	change(&cfg)
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestExchangeOverTLS(t *testing.T) {
	body := golden(t)
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%v", http2), func(t *testing.T) {
			var got *http.Request
			var sent []byte
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				sent, _ = io.ReadAll(r.Body)
				io.WriteString(w, body) //nolint:errcheck // a test server
			}))
			srv.EnableHTTP2 = http2
			srv.StartTLS()
			defer srv.Close()
			roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			hc := NewHTTPClient(roots)
			defer hc.CloseIdleConnections()
			c := client(t, func(cfg *Config) {
				cfg.Endpoint, cfg.HTTP = srv.URL+"/prefix/", hc
				cfg.AttemptTimeout = 5 * time.Second
			})
			session, err := c.AssumeRoleForPodIdentity(t.Context(), "head.body.sig")
			if err != nil {
				t.Fatal(err)
			}
			want := &Session{
				AccessKeyID: "ASIAEXAMPLE000000000", SecretAccessKey: "EXAMPLESECRET", SessionToken: "EXAMPLETOKEN",
				Expiration: time.Unix(1795400957, 0).UTC(), AccountID: "123456789012",
				RoleARN:       "arn:aws:sts::123456789012:assumed-role/other/eks-my-cluster-app1-7f01ca73-cdca-4972-90a7-2a72151578e6",
				AssociationID: "a-qit5jqyd8gjzfwvj0", Namespace: "s3-app-ns", ServiceAccount: "s3-app-sa",
			}
			if diff := cmp.Diff(want, session); diff != "" {
				t.Errorf("session (-want +got):\n%s", diff)
			}
			if got.Method != http.MethodPost || got.URL.Path != "/prefix/clusters/my-cluster/assume-role-for-pod-identity" {
				t.Errorf("request %s %s", got.Method, got.URL.Path)
			}
			if string(sent) != `{"token":"head.body.sig"}` {
				t.Errorf("body %s", sent)
			}
			if auth := got.Header.Get("Authorization"); !strings.Contains(auth, "/eu-west-1/eks-auth/aws4_request") || !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential=ASIANODE/") {
				t.Errorf("authorization %s", auth)
			}
			if got.Header.Get("X-Amz-Security-Token") != "nodesession" {
				t.Error("the session token is not sent")
			}
			if http2 != (got.ProtoMajor == 2) {
				t.Errorf("protocol %s", got.Proto)
			}
		})
	}
}

func TestRequestBody(t *testing.T) {
	for _, token := range []Secret{"", "aZ0-_.", `a"b`, `a\b`, "a\nb", "ä", "a b", "\x00"} {
		body, err := requestBody(token)
		if err != nil {
			t.Fatal(err)
		}
		var got requestJSON
		if err := json.Unmarshal(body, &got); err != nil || got.Token != string(token) {
			t.Errorf("body of %q: %s, %v", string(token), body, err)
		}
	}
}

func TestErrorForms(t *testing.T) {
	tests := []struct {
		name   string
		resp   *http.Response
		want   APIError
		final  bool
		tries  int
		prints string
	}{
		{
			"header", answer(400, `{"message":"denied"}`, "X-Amzn-ErrorType", "AccessDeniedException", "X-Amzn-RequestId", "id-1"),
			APIError{400, "AccessDeniedException", "denied", "id-1"},
			true, 1, "[id-1]: (AccessDeniedException): denied, fault: client",
		},
		{
			"header with suffix", answer(404, `{"Message":"none"}`, "X-Amzn-ErrorType", "ResourceNotFoundException:http://internal/"),
			APIError{404, "ResourceNotFoundException", "none", ""},
			true, 1, "",
		},
		{
			"body with namespace", answer(400, `{"__type":"com.amazonaws#ExpiredTokenException","message":"old"}`),
			APIError{400, "ExpiredTokenException", "old", ""},
			true, 1, "",
		},
		{
			"body code", answer(400, `{"code":"InvalidTokenException"}`),
			APIError{400, "InvalidTokenException", "", ""},
			true, 1, "",
		},
		{"a proxy's page", answer(403, "<html>"), APIError{403, "UnknownError", "", ""}, false, 1, ""},
		{
			"invalid parameter", answer(400, `{"message":"x"}`, "X-Amzn-ErrorType", "InvalidParameterException"),
			APIError{400, "InvalidParameterException", "x", ""},
			false, 1, "",
		},
		{
			"agent's own session", answer(403, "", "X-Amzn-ErrorType", "ExpiredTokenException"),
			APIError{403, "ExpiredTokenException", "", ""},
			false, 1, "",
		},
		{
			"throttling", answer(429, "", "X-Amzn-ErrorType", "ThrottlingException"),
			APIError{429, "ThrottlingException", "", ""},
			false, 1, "",
		},
		{
			"server", answer(500, `{"message":"a\nb"}`, "X-Amzn-ErrorType", "InternalServerException", "X-Amzn-RequestId", "i"),
			APIError{500, "InternalServerException", "a b", "i"},
			false, 1, "[i]: (InternalServerException): a b, fault: server",
		},
		{"gateway", answer(502, "bad gateway"), APIError{502, "UnknownError", "", ""}, false, 1, ""},
		{"redirect", answer(302, "", "Location", "http://elsewhere/"), APIError{302, "UnknownError", "", ""}, false, 1, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				raw, _ := io.ReadAll(tc.resp.Body)
				tries := 0
				c := client(t, func(cfg *Config) {
					cfg.HTTP = doer(func(*http.Request) (*http.Response, error) {
						tries++
						tc.resp.Body = io.NopCloser(strings.NewReader(string(raw)))
						return tc.resp, nil
					})
				})
				_, err := c.AssumeRoleForPodIdentity(t.Context(), "a.b.c")
				var api *APIError
				if !errors.As(err, &api) || *api != tc.want {
					t.Fatalf("error %#v, want %#v", err, tc.want)
				}
				if IsFinal(err) != tc.final || tries != tc.tries {
					t.Errorf("final %v after %d tries, want %v after %d", IsFinal(err), tries, tc.final, tc.tries)
				}
				if tc.prints != "" && err.Error() != tc.prints {
					t.Errorf("text %q, want %q", err, tc.prints)
				}
			})
		})
	}
}

func TestTimeouts(t *testing.T) {
	hang := doer(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, fmt.Errorf("Post %q: %w", r.URL, r.Context().Err())
	})
	tests := []struct {
		name        string
		endpoint    string
		total       time.Duration
		least, most time.Duration
		tries       int
	}{
		{"one endpoint has all the time", "https://eks-auth.example", 5 * time.Second, 5 * time.Second, 5 * time.Second, 1},
		{"a second for each of several", "https://a.example,https://b.example", 5 * time.Second, 2 * time.Second, 2300 * time.Millisecond, 2},
		{"total comes first", "https://a.example,https://b.example", 1500 * time.Millisecond, 1500 * time.Millisecond, 1500 * time.Millisecond, 2},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				c := client(t, func(cfg *Config) {
					cfg.Endpoint, cfg.TotalTimeout = tc.endpoint, tc.total
					cfg.HTTP = hang
					cfg.Observe = func(status int, _ time.Duration) {
						tries++
						if status != 0 {
							t.Errorf("observed status %d of no answer", status)
						}
					}
				})
				begin := time.Now()
				_, err := c.AssumeRoleForPodIdentity(t.Context(), "a.b.c")
				took := time.Since(begin)
				var lost *UnreachableError
				if !errors.As(err, &lost) || !lost.TimedOut {
					t.Fatalf("error %v, want a time-out", err)
				}
				if strings.Contains(err.Error(), "example") {
					t.Errorf("the text names the endpoint: %v", err)
				}
				if took < tc.least || took > tc.most || tries != tc.tries {
					t.Errorf("%s and %d tries, want %s to %s and %d", took, tries, tc.least, tc.most, tc.tries)
				}
			})
		})
	}
}

func TestRecoversOnRetry(t *testing.T) {
	body := golden(t)
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		c := client(t, func(cfg *Config) {
			cfg.HTTP = doer(func(r *http.Request) (*http.Response, error) {
				tries++
				if want := fmt.Sprintf("attempt=%d; max=3", tries); r.Header.Get("Amz-Sdk-Request") != want {
					t.Errorf("Amz-Sdk-Request %q, want %q", r.Header.Get("Amz-Sdk-Request"), want)
				}
				if tries < 3 {
					return nil, errors.New("connection refused")
				}
				return answer(200, body), nil
			})
		})
		if _, err := c.AssumeRoleForPodIdentity(t.Context(), "a.b.c"); err != nil {
			t.Fatal(err)
		}
	})
}

// A restarted control plane does not know the agent's session any more: one fresh session is tried.
func TestRejectedSessionIsRenewedOnce(t *testing.T) {
	for _, known := range []string{"fresh", "never"} {
		t.Run(known, func(t *testing.T) {
			body := golden(t)
			var fetched atomic.Int64
			cache := aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "K", SecretAccessKey: "S", SessionToken: map[int64]string{1: "stale", 2: "fresh"}[fetched.Add(1)]}, nil
			}))
			c := client(t, func(cfg *Config) {
				cfg.Credentials = cache
				cfg.HTTP = doer(func(r *http.Request) (*http.Response, error) {
					if r.Header.Get("X-Amz-Security-Token") == known {
						return answer(200, body), nil
					}
					return answer(403, "", "X-Amzn-ErrorType", "UnrecognizedClientException"), nil
				})
			})
			_, err := c.AssumeRoleForPodIdentity(t.Context(), "a.b.c")
			if (err == nil) != (known == "fresh") || fetched.Load() != 2 {
				t.Errorf("error %v after %d sessions", err, fetched.Load())
			}
		})
	}
}

func TestUnusableAnswers(t *testing.T) {
	var whole map[string]any
	if err := json.Unmarshal([]byte(golden(t)), &whole); err != nil {
		t.Fatal(err)
	}
	without := func(object, field string, value any) string {
		var copied map[string]any
		if err := json.Unmarshal([]byte(golden(t)), &copied); err != nil {
			t.Fatal(err)
		}
		inner := copied[object].(map[string]any)
		delete(inner, field)
		if value != nil {
			inner[field] = value
		}
		raw, err := json.Marshal(copied)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	tests := map[string]struct{ body, want string }{
		"no JSON":             {"<html>", "not the JSON"},
		"empty object":        {"{}", "without credentials.accessKeyId, credentials.secretAccessKey, credentials.sessionToken, credentials.expiration, assumedRoleUser.arn"},
		"no key id":           {without("credentials", "accessKeyId", nil), "credentials.accessKeyId"},
		"no expiration":       {without("credentials", "expiration", nil), "credentials.expiration"},
		"quoted expiration":   {without("credentials", "expiration", "1795400957"), "not the JSON"},
		"negative expiration": {without("credentials", "expiration", -1), "out of range"},
		"no ARN":              {without("assumedRoleUser", "arn", nil), "assumedRoleUser.arn"},
		"ARN of nobody":       {without("assumedRoleUser", "arn", "arn:aws:sts:::x"), "names no account"},
		"too long":            {strings.Repeat(" ", maxAnswerBytes+1), "longer than"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tries := 0
			c := client(t, func(cfg *Config) {
				cfg.HTTP = doer(func(*http.Request) (*http.Response, error) {
					tries++
					return answer(200, tc.body), nil
				})
			})
			_, err := c.AssumeRoleForPodIdentity(t.Context(), "a.b.c")
			if !errors.Is(err, ErrBadAnswer) || !strings.Contains(err.Error(), tc.want) || tries != 1 {
				t.Errorf("error %v after %d tries, want %q", err, tries, tc.want)
			}
		})
	}
}

func TestNoIdentity(t *testing.T) {
	c := client(t, func(cfg *Config) {
		cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("sts at 10.0.0.1 says no")
		})
	})
	_, err := c.AssumeRoleForPodIdentity(t.Context(), "a.b.c")
	var missing *IdentityError
	if !errors.As(err, &missing) || strings.Contains(err.Error(), "10.0.0.1") {
		t.Errorf("error %v, want an IdentityError that names no address", err)
	}
}

func TestNewReportsEveryProblem(t *testing.T) {
	_, err := New(Config{Cluster: "a/b", Endpoint: "ftp://x", AttemptTimeout: -1})
	for _, want := range []string{"cluster name", "region", "credentials provider", "negative", "endpoint"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %q", err, want)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	tests := []struct {
		raw       string
		allowHTTP bool
		ok        bool
	}{
		{"https://eks-auth.eu-west-1.api.aws", false, true},
		{"https://10.0.0.1:8443/prefix", false, true},
		{"http://127.0.0.1:8443", false, true},
		{"http://[::1]:8443", false, true},
		{"http://localhost:8443", false, true},
		{"http://10.0.0.1", false, false},
		{"http://10.0.0.1", true, true},
		{"http://localhost.evil.example", false, false},
		{"https://user:pass@host", false, false},
		{"https://host/?q=1", false, false},
		{"host:8443", false, false},
		{"", false, false},
		{"https://", false, false},
	}
	for _, tc := range tests {
		if _, err := ParseEndpoint(tc.raw, tc.allowHTTP); (err == nil) != tc.ok {
			t.Errorf("%q (allow http %v): error %v", tc.raw, tc.allowHTTP, err)
		} else if err != nil && strings.Contains(err.Error(), "pass@") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	s := Secret("hush")
	raw, err := json.Marshal(struct{ S Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %s %#v %+v", s, s, s, struct{ S Secret }{s}), s.LogValue().String(), string(raw)} {
		if strings.Contains(text, "hush") {
			t.Errorf("secret printed: %s", text)
		}
	}
}

func FuzzDecodeAnswers(f *testing.F) {
	f.Add(200, "", `{"credentials":{"accessKeyId":"a","secretAccessKey":"b","sessionToken":"c","expiration":1e9},"assumedRoleUser":{"arn":"arn:aws:sts::1:x/y"}}`)
	f.Add(400, "AccessDeniedException:x", `{"message":"m"}`)
	f.Add(500, "", "\x00\xff")
	f.Fuzz(func(t *testing.T, status int, code, body string) {
		if s, err := decodeSession([]byte(body)); err == nil && (s.AccessKeyID == "" || s.AccountID == "" || s.Expiration.IsZero()) {
			t.Errorf("accepted %+v", s)
		}
		e := decodeError(answer(status, "", "X-Amzn-Errortype", code), []byte(body))
		if e.Code == "" || strings.ContainsAny(e.Error(), "\r\n\x00") {
			t.Errorf("error %q", e.Error())
		}
	})
}
