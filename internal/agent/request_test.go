// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// counted counts the calls upstream.
type counted struct {
	canned
	calls atomic.Int64
}

// Do implements [eksauthclient.Doer].
func (c *counted) Do(r *http.Request) (*http.Response, error) {
	c.calls.Add(1)
	return c.canned.Do(r)
}

// entitled says in words of its own who may have credentials.
func entitled(r *http.Request, token string) bool {
	words := strings.Fields(append(r.Header.Values("Authorization"), "")[0])
	bare := len(words) == 1 && words[0] == token
	named := len(words) == 2 && strings.EqualFold(words[0], "bearer") && words[1] == token
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	own := err == nil && slices.Contains([]string{"169.254.170.23", "fd00:ec2::23", "127.0.0.1"}, addr.String())
	return r.URL.Path == "/v1/credentials" && (bare || named) && own
}

// FuzzRequest: whatever arrives on the wire, credentials go to the one token that is genuine, at the agent's own address
// and path, and nothing else goes upstream.
func FuzzRequest(f *testing.F) {
	api, upstream := newAPIServer(f), &counted{canned: cannedSession(time.Now().Add(6 * time.Hour))}
	cfg := testConfig(f, newStubAuth(f), io.Discard)
	cfg.Log, cfg.Tokens, cfg.RequestRate, cfg.HTTP = slog.New(slog.DiscardHandler), api.config(), -1, upstream
	a := startAgent(f, cfg)
	good := api.token("pod-1", "node-1", 1)
	request := func(line, host string, header ...string) []byte {
		return []byte(line + "\r\nHost: " + host + "\r\n" + strings.Join(append(header, "", ""), "\r\n"))
	}
	const get = "GET " + CredentialsPath + " HTTP/1.1"
	for _, seed := range [][]byte{
		request(get, DefaultIPv4Host, "Authorization: GOOD"),
		request(get, "["+DefaultIPv6Host+"]:80", "Authorization: bearer GOOD"),
		request("POST http://other"+CredentialsPath+"?a=b HTTP/1.0", DefaultIPv4Host, "Authorization: GOOD", "Content-Length: 1"),
		request(get, "localhost", "Authorization: GOOD"),
		request(get, DefaultIPv4Host, "Authorization: GOODx", "Authorization: GOOD"),
		request(get, DefaultIPv4Host, "Authorization: eyJhbGciOiJub25lIn0.e30."),
		request(get, DefaultIPv4Host, "Authorization: "+api.token("pod-1", "node-2", 2)),
		request(get, DefaultIPv4Host, "Authorization: "+jwt(nil)),
		request("GET /v1/../v1/credentials HTTP/1.1", DefaultIPv4Host, "Authorization: GOOD"),
		request("GET /%76%31/credentials HTTP/1.1", DefaultIPv4Host, "Authorization: GOOD"),
		[]byte("\x16\x03\x01"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		text = bytes.ReplaceAll(text, []byte("GOOD"), []byte(good)) // the token changes from run to run
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			return // net/http's own refusal
		}
		r.RemoteAddr = "10.0.0.1:1"
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, r)
		body := w.Body.String()
		switch {
		case w.Code == http.StatusOK && !entitled(r, good):
			t.Errorf("credentials for %q", text)
		case w.Code == http.StatusOK && !strings.Contains(body, "secretsecret"):
			t.Errorf("200 without credentials for %q: %s", text, body)
		case w.Code != http.StatusOK && strings.Contains(body, "secretsecret"):
			t.Errorf("credentials with status %d for %q", w.Code, text)
		case w.Code < 200 || w.Code >= 500:
			t.Errorf("status %d for %q: %s", w.Code, text, body)
		case w.Code != http.StatusOK && strings.Contains(body, good):
			t.Errorf("the refusal of %q quotes the token: %s", text, body)
		}
		if calls := upstream.calls.Load(); calls > 1 {
			t.Errorf("%d calls upstream", calls)
		}
	})
}
