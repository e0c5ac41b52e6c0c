// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEndpointsFailOver(t *testing.T) {
	e, err := ParseEndpoints("https://a, https://b,https://c/prefix", false)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	want := func(host string) int {
		t.Helper()
		n, u := e.Pick(now)
		if u.Host != host {
			t.Errorf("picked %s, want %s", u.Host, host)
		}
		return n
	}
	a := want("a")
	e.Report(a, true, now)
	want("a")
	e.Report(a, false, now)
	b := want("b")
	e.Report(a, false, now) // another call that was under way
	want("b")
	e.Report(b, false, now)
	want("c")
	now = now.Add(returnAfter)
	a = want("a") // one call looks whether it is back
	want("c")
	e.Report(a, false, now)
	want("c")
	now = now.Add(returnAfter)
	e.Report(want("a"), true, now)
	want("a")
}

func TestParseEndpointsRefuses(t *testing.T) {
	for _, bad := range []string{"", "https://a,", "https://a,http://10.0.0.1", "ftp://a"} {
		if _, err := ParseEndpoints(bad, false); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	if _, err := ParseEndpoints("http://10.0.0.1,x", false); err == nil || !strings.Contains(err.Error(), "plain http") || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("error %v, want every problem", err)
	}
}

// TestClientFailsOver: the next endpoint answers within the same call, and is asked first from then on.
func TestClientFailsOver(t *testing.T) {
	for name, failure := range map[string]func() (*http.Response, error){
		"no answer": func() (*http.Response, error) { return nil, errors.New("connection refused") },
		"503":       func() (*http.Response, error) { return answer(503, "{}"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			c := client(t, func(cfg *Config) {
				cfg.Endpoint = "https://a,https://b"
				cfg.HTTP = doer(func(r *http.Request) (*http.Response, error) {
					asked = append(asked, r.URL.Host)
					if r.URL.Host == "a" {
						return failure()
					}
					return answer(200, golden(t)), nil
				})
			})
			for range 2 {
				if _, err := c.AssumeRoleForPodIdentity(t.Context(), "t"); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(asked, " "); got != "a b b" {
				t.Errorf("asked %s, want a b b", got)
			}
		})
	}
}

// TestGivingUpBlamesNobody: a caller that goes away is no failure of the endpoint, and neither is a refusal.
func TestGivingUpBlamesNobody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var asked []string
	c := client(t, func(cfg *Config) {
		cfg.Endpoint = "https://a,https://b"
		cfg.HTTP = doer(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.Host)
			if ctx.Err() == nil {
				cancel()
				return nil, context.Canceled
			}
			return answer(400, "{}", "X-Amzn-ErrorType", "AccessDeniedException"), nil
		})
	})
	_, err := c.AssumeRoleForPodIdentity(ctx, "t")
	if err == nil {
		t.Fatal("want an error")
	}
	for range 2 {
		if _, err := c.AssumeRoleForPodIdentity(t.Context(), "t"); err == nil {
			t.Fatal("want the refusal")
		}
	}
	if got := strings.Join(asked, " "); got != "a a a" {
		t.Errorf("asked %s, want a alone", got)
	}
}
