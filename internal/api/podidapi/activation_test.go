// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"podid/internal/api/call"
	"podid/internal/api/podidapi"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/fault"
)

// joiner answers with a cluster, an error, or both.
type joiner struct {
	asked *cluster.ActivateInput
	out   *cluster.Cluster
	err   error
}

func (j *joiner) Activate(_ context.Context, _ netip.Addr, in cluster.ActivateInput) (*cluster.Cluster, error) {
	j.asked = &in
	return j.out, j.err
}

func TestConnect(t *testing.T) {
	f := newFixture()
	status, _, made := f.do(t, "POST", all, `{"name":"my-cluster","connect":true,"issuer":"https://issuer.example","tags":{"a":"b"}}`)
	c := made["cluster"].(map[string]any)
	a, _ := c["activation"].(map[string]any)
	code, _ := a["code"].(string)
	if status != 200 || c["status"] != "PENDING" || code == "" || a["issuer"] != "https://issuer.example" || len(c["keyIds"].([]any)) != 0 {
		t.Fatalf("%d %v", status, made)
	}
	line, err := json.Marshal(f.log.last)
	if err != nil || strings.Contains(string(line), code) || !strings.Contains(string(line), audit.Hidden) {
		t.Errorf("%s %v", line, err)
	}
	_, _, read := f.do(t, "GET", one, "")
	if _, shown := read["cluster"].(map[string]any)["activation"].(map[string]any)["code"]; shown {
		t.Errorf("the code is shown again: %v", read)
	}
	for _, more := range []string{`"jwks":{}`, `"discover":true`, `"version":"1.34"`, `"endpoint":"https://x"`, `"certificateAuthority":"eA=="`} {
		status, name, body := f.do(t, "POST", all, `{"name":"x","connect":true,`+more+`}`)
		if status != 400 || name != "InvalidRequestException" {
			t.Errorf("%s: %d %v", more, status, body)
		}
	}
}

func TestActivation(t *testing.T) {
	pending := &cluster.Cluster{Name: "c", Account: "123456789012", Partition: "aws", Region: "us-west-2", UID: "u", Activation: &cluster.Activation{ID: "id"}}
	active := *pending
	active.Activation = &cluster.Activation{ID: "id", Used: time.Unix(1, 0)}
	for _, tc := range []struct {
		name, body string
		verb       joiner
		status     int
		who        string
	}{
		{"well", `{"activationCode":"s3cret","issuer":"https://x","jwks":{"keys":[{"d":"private"}]}}`, joiner{out: &active}, 200, "activation:id"},
		{"proven, refused", `{"activationCode":"s3cret"}`, joiner{out: pending, err: fault.New(fault.InvalidParameter, "no")}, 400, "activation:id"},
		{"not proven", `{"activationCode":"s3cret"}`, joiner{err: fault.New(fault.AccessDenied, "no")}, 403, ""},
		{"no code", `{}`, joiner{}, 400, ""},
		{"no JSON", `s3cret`, joiner{}, 400, ""},
		{"large", `{"activationCode":"` + strings.Repeat("s", 128<<10) + `"}`, joiner{}, 413, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := &log{}
			h := podidapi.NewActivation(&call.Gate{
				Audit: log, Log: slog.New(slog.DiscardHandler), Now: time.Now, Region: "us-west-2", Account: "123456789012",
				MaxBody: 1 << 20, Observed: func(call.Operation, string, int, time.Duration) {},
			}, &tc.verb)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", one+"/activation", strings.NewReader(tc.body)))
			line, err := json.Marshal(log.last)
			if err != nil || w.Code != tc.status || log.last.UserIdentity.PrincipalID != tc.who {
				t.Errorf("%d %s: %s %v", w.Code, w.Body, line, err)
			}
			for _, hidden := range []string{"s3cret", "private"} {
				if strings.Contains(string(line)+w.Body.String(), hidden) {
					t.Errorf("%s is shown: %s %s", hidden, line, w.Body)
				}
			}
		})
	}
}

func TestActivationPath(t *testing.T) {
	h := podidapi.NewActivation(&call.Gate{}, &joiner{})
	for target, want := range map[string]bool{
		"POST " + one + "/activation": true, "GET " + one + "/activation": false, "POST " + one + "/activation/": false, "POST " + one: false,
		"POST " + all + "//activation": false, "POST " + all + "/a%2Fb/activation": false, "POST " + all + "/-a/activation": false,
	} {
		method, path, _ := strings.Cut(target, " ")
		if got := h.Handles(httptest.NewRequest(method, path, nil)); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
}
