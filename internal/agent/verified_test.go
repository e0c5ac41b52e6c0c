// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"podid/internal/agent/credcache"
	"podid/internal/agent/podtoken"
	"podid/internal/jwt/jwttest"
)

const testIssuer = "https://kubernetes.default.svc.cluster.local"

// apiServer signs pods' tokens and shows its keys in a file.
type apiServer struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	kid  string
	file string
}

func newAPIServer(t testing.TB) *apiServer {
	t.Helper()
	s := &apiServer{t: t, file: filepath.Join(t.TempDir(), "jwks")}
	s.rotate("k1")
	return s
}

// rotate puts another key in the place of the one before.
func (s *apiServer) rotate(kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	s.key, s.kid = key, kid
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: kid, Key: key.Public()}}})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.file, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// token is one of a pod; n tells its tokens apart.
func (s *apiServer) token(pod, node string, n int) string {
	now := time.Now().Add(-time.Minute)
	payload := fmt.Sprintf(`{"aud":["pods.eks.amazonaws.com"],"exp":%d,"iat":%d,"iss":%q,"jti":"%d","kubernetes.io":{"namespace":"ns","node":{"name":%q,"uid":"n"},`+
		`"pod":{"name":%q,"uid":%q},"serviceaccount":{"name":"sa","uid":"s"}},"nbf":%d,"sub":"system:serviceaccount:ns:sa"}`,
		now.Add(time.Hour).Unix(), now.Unix(), testIssuer, n, node, pod, pod, now.Unix())
	return jwttest.Sign(s.t, jose.ES256, s.key, map[jose.HeaderKey]any{"kid": s.kid}, []byte(payload))
}

func (s *apiServer) config() podtoken.Config {
	return podtoken.Config{Source: podtoken.File{Path: s.file}, Issuer: testIssuer, Node: "node-1", MinInterval: time.Millisecond}
}

// TestStaticStability: a pod that has credentials keeps them through an outage, a rotated token and a rotated signing key.
func TestStaticStability(t *testing.T) {
	auth, api := newStubAuth(t), newAPIServer(t)
	cfg := testConfig(t, auth, io.Discard)
	cfg.Tokens = api.config()
	a := startAgent(t, cfg)
	if status, body := ask(t, a.Addrs()[0], api.token("p", "node-1", 1)); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	auth.respond(refuse(500, "InternalServerException", "outage"))
	if status, body := ask(t, a.Addrs()[0], api.token("p", "node-1", 2)); status != 200 {
		t.Errorf("a rotated token: %d %s", status, body)
	}
	api.rotate("k2")
	if status, body := ask(t, a.Addrs()[0], api.token("p", "node-1", 3)); status != 200 {
		t.Errorf("a rotated key: %d %s", status, body)
	}
	if got := auth.total(); got != 1 {
		t.Errorf("%d upstream calls, want 1", got)
	}
	if status, _ := ask(t, a.Addrs()[0], api.token("new", "node-1", 1)); status != 500 {
		t.Errorf("a new pod in an outage: %d, want 500", status)
	}
	if got := metric(t, a, `podid_agent_tokens_total{outcome="ok"}`); got != "4" {
		t.Errorf("%s tokens verified, want 4", got)
	}
}

// TestBadTokensGoNowhere: nothing is sent upstream for a token that is not genuine, whatever it claims.
func TestBadTokensGoNowhere(t *testing.T) {
	auth, api, stranger := newStubAuth(t), newAPIServer(t), newAPIServer(t)
	var log logs
	cfg := testConfig(t, auth, &log)
	cfg.Tokens = api.config()
	a := startAgent(t, cfg)
	good := api.token("p", "node-1", 1)
	if status, _ := ask(t, a.Addrs()[0], good); status != 200 {
		t.Fatalf("status %d", status)
	}
	parts := strings.Split(good, ".")
	tests := []struct{ name, token, message string }{
		{"forged", stranger.token("p", "node-1", 1), "failed verification: Signature"},
		{"alg none", "eyJhbGciOiJub25lIn0." + parts[1] + ".", "cannot be parsed: "},
		{"alg none with a signature", "eyJhbGciOiJub25lIn0." + parts[1] + "." + parts[2], "cannot be parsed: "},
		{"another's claims", parts[0] + "." + strings.Split(api.token("q", "node-1", 1), ".")[1] + "." + parts[2], "failed verification: Signature"},
		{"another node", api.token("p", "node-2", 1), "failed verification: Token belongs to a pod of node"},
		{"no claims", jwttest.Sign(t, jose.ES256, api.key, map[jose.HeaderKey]any{"kid": "k1"}, []byte("{}")), "failed verification: "},
	}
	for _, tc := range tests {
		status, body := ask(t, a.Addrs()[0], tc.token)
		if status != 400 || !strings.Contains(message(t, body), tc.message) || !strings.Contains(body, `"code":"InvalidTokenException"`) {
			t.Errorf("%s: %d %s", tc.name, status, body)
		}
	}
	if got := auth.total(); got != 1 {
		t.Errorf("%d upstream calls, want that of the genuine token alone", got)
	}
	if strings.Contains(log.String(), parts[2]) {
		t.Error("the log holds a token")
	}
	if got := metric(t, a, `podid_agent_tokens_total{outcome="token-node"}`); got != "1" {
		t.Errorf("%q refusals of another node's token counted", got)
	}
}

// TestNoKeysNoJudgement: without keys a token is neither served nor sent, and the pod is told to try again.
func TestNoKeysNoJudgement(t *testing.T) {
	auth, api := newStubAuth(t), newAPIServer(t)
	cfg := testConfig(t, auth, io.Discard)
	cfg.Tokens = api.config()
	token := api.token("p", "node-1", 1)
	if err := os.Rename(api.file, api.file+".away"); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, cfg)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Addrs()[0]+CredentialsPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || auth.total() != 0 {
		t.Errorf("%d, Retry-After %q, %d calls", resp.StatusCode, resp.Header.Get("Retry-After"), auth.total())
	}
	if err := os.Rename(api.file+".away", api.file); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { status, _ := ask(t, a.Addrs()[0], token); return status == 200 })
}

// TestSlowUpstreamFailsInTime: the pod is answered before its SDK gives up, and what comes later is kept for it.
func TestSlowUpstreamFailsInTime(t *testing.T) {
	auth := newStubAuth(t)
	release := make(chan struct{})
	auth.respond(func(w http.ResponseWriter, r *http.Request) { <-release; grant(w, r) })
	cfg := testConfig(t, auth, io.Discard)
	cfg.AttemptTimeout, cfg.TotalTimeout, cfg.WaitTimeout = 20*time.Second, 25*time.Second, 50*time.Millisecond
	a := startAgent(t, cfg)
	token := jwt(nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if status, body := ask(t, a.Addrs()[0], token); status != 500 || !strings.Contains(body, "did not answer in time") {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	wg.Wait()
	close(release)
	waitFor(t, func() bool { status, _ := ask(t, a.Addrs()[0], token); return status == 200 })
	if got := auth.total(); got != 1 {
		t.Errorf("%d upstream calls, want 1", got)
	}
}

func TestOffences(t *testing.T) {
	from := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	now := time.Now()
	o := newOffences(badTokenRate, badTokenBurst)
	for range badTokenBurst {
		if _, ok := o.mayTry(from(1), now); !ok {
			t.Fatal("refused within the burst")
		}
		o.add(from(1), now)
	}
	wait, ok := o.mayTry(from(1), now)
	if ok || wait != time.Second/badTokenRate {
		t.Errorf("%v, %s: want a refusal for one offence's time", ok, wait)
	}
	if _, ok := o.mayTry(from(2), now); !ok {
		t.Error("another source pays for it")
	}
	if _, ok := o.mayTry(from(1), now.Add(wait)); !ok {
		t.Error("refused after the time that was named")
	}
	for i := range 3 * maxOffenders {
		o.add(from(i+2), now)
	}
	if len(o.sources) > maxOffenders {
		t.Errorf("%d sources remembered", len(o.sources))
	}
	if _, ok := o.mayTry(from(1), now); ok {
		t.Error("the worst was forgotten first")
	}
	o.add(from(1), now.Add(time.Hour))
	if len(o.sources) != 1 {
		t.Errorf("%d sources remembered who have paid", len(o.sources))
	}
	var none *offences
	none.add(from(1), now)
	if _, ok := none.mayTry(from(1), now); !ok {
		t.Error("no limit refuses")
	}
}

// TestManyBadTokens: the source of too many is refused unread; a token that is known is served all the while.
func TestManyBadTokens(t *testing.T) {
	auth, api := newStubAuth(t), newAPIServer(t)
	cfg := testConfig(t, auth, io.Discard)
	cfg.Tokens = api.config()
	at := time.Now()
	cfg.Now = func() time.Time { return at }
	a := startAgent(t, cfg)
	good := api.token("p", "node-1", 1)
	ask(t, a.Addrs()[0], good)
	h := a.handler
	for range badTokenBurst {
		h.offences.add(netip.MustParseAddr("127.0.0.1"), at)
	}
	if status, body := ask(t, a.Addrs()[0], "x.y.z"); status != 429 || !strings.Contains(body, "ThrottlingException") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := ask(t, a.Addrs()[0], good); status != 200 {
		t.Errorf("a known token: %d", status)
	}
}

func TestProblemsAreWhole(t *testing.T) {
	for _, err := range []error{credcache.ErrBusy, credcache.ErrStopped, credcache.ErrSlow, credcache.ErrTooShort, podtoken.ErrNoKeys, io.EOF, errTokenExpired, &credcache.LimitError{}} {
		if p := problemOf(err); p.status < 400 || p.code == "" || p.message == "" {
			t.Errorf("%v: %+v", err, p)
		}
	}
	if p := problemOf(io.EOF); strings.Contains(p.message, "EOF") {
		t.Error("an unexpected error reaches the pod")
	}
}
