// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/prometheus/client_golang/prometheus"
)

// raw sends bytes and returns the answer's status, type and body.
func raw(t *testing.T, addr, request string) (int, string, string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = io.WriteString(conn, request) // a refused header is not read to its end
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	conn.Close() //nolint:errcheck // ends the writer
	<-wrote
	return resp.StatusCode, resp.Header.Get("Content-Type"), strings.TrimSpace(string(body))
}

// TestRequestContract is the table of hostile and odd requests with the documented answers.
func TestRequestContract(t *testing.T) {
	auth := newStubAuth(t)
	a := startAgent(t, testConfig(t, auth, io.Discard))
	good := jwt(nil)
	request := func(method, path, host string, header ...string) string {
		return method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(append(header, "Connection: close", "", ""), "\r\n")
	}
	with := func(token string) string { return "Authorization: " + token }
	const v4 = "169.254.170.23"
	const credentials = `^\{"AccessKeyId":"ASIAPOD","SecretAccessKey":"podsecret","Token":"podsession","AccountId":"111122223333","Expiration":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"\}$`
	tests := []struct {
		name, request string
		status        int
		body          string // a regular expression
	}{
		{"valid", request("GET", CredentialsPath, v4, with(good)), 200, credentials},
		{"valid POST", request("POST", CredentialsPath, v4, with(good), "Content-Length: 0"), 200, credentials},
		{"valid POST with body", request("POST", CredentialsPath, v4, with(good), "Content-Length: 2") + "{}", 200, credentials},
		{"valid HEAD", request("HEAD", CredentialsPath, v4, with(good)), 200, "^$"},
		{"valid DELETE", request("DELETE", CredentialsPath, v4, with(good)), 200, credentials},
		{"valid and query", request("GET", CredentialsPath+"?x=1", v4, with(good)), 200, credentials},
		{"Bearer prefix", request("GET", CredentialsPath, v4, with("Bearer "+good)), 200, credentials},
		{"host with port", request("GET", CredentialsPath, v4+":80", with(good)), 200, credentials},
		{"IPv6 host", request("GET", CredentialsPath, "[fd00:ec2::23]", with(good)), 200, credentials},
		{"IPv6 host with port", request("GET", CredentialsPath, "[fd00:ec2::23]:80", with(good)), 200, credentials},
		{"IPv6 host in another spelling", request("GET", CredentialsPath, "[FD00:0EC2::0023]", with(good)), 200, credentials},
		{"host as bound", request("GET", CredentialsPath, a.Addrs()[0], with(good)), 200, credentials},
		{"wrong host", request("GET", CredentialsPath, "localhost", with(good)), 403, "^Access Denied. Called agent through invalid address, .*169.254.170.23.*fd00:ec2::23"},
		{"rebound name", request("GET", CredentialsPath, "169.254.170.23.evil.example", with(good)), 403, "^Access Denied"},
		{"no auth", request("GET", CredentialsPath, v4), 400, "^Service account token cannot be empty$"},
		{"empty auth", request("GET", CredentialsPath, v4, with("")), 400, "^Service account token cannot be empty$"},
		{"only Bearer", request("GET", CredentialsPath, v4, with("Bearer ")), 400, "^Service account token cannot be"},
		{"garbage", request("GET", CredentialsPath, v4, with("garbage")), 400, "^Service account token cannot be parsed: ."},
		{"a.b.c", request("GET", CredentialsPath, v4, with("a.b.c")), 400, "^Service account token cannot be parsed: ."},
		{"alg none goes on to EKS Auth", request("GET", CredentialsPath, v4, with("eyJhbGciOiJub25lIn0.e30.")), 200, credentials},
		{"expired", request("GET", CredentialsPath, v4, with(jwt(map[string]any{"exp": time.Now().Unix() - 1}))), 400, "failed basic claim validations: token is expired$"},
		{"nbf in future", request("GET", CredentialsPath, v4, with(jwt(map[string]any{"nbf": time.Now().Unix() + 60}))), 400, "failed basic claim validations: token is not valid yet$"},
		{"exp of another type", request("GET", CredentialsPath, v4, with(jwt(map[string]any{"exp": "soon"}))), 400, "cannot be parsed"},
		{"wrong audience goes on to EKS Auth", request("GET", CredentialsPath, v4, with(jwt(map[string]any{"aud": "x"}))), 200, credentials},
		{"100 KB garbage token", request("GET", CredentialsPath, v4, with(strings.Repeat("x", 100<<10))), 400, "cannot be parsed"},
		{"2 MB header", request("GET", CredentialsPath, v4, with(strings.Repeat("x", 2<<20))), 431, ""},
		{"two auth headers, first bad", request("GET", CredentialsPath, v4, with("garbage"), with(good)), 400, "cannot be parsed"},
		{"two auth headers, first good", request("GET", CredentialsPath, v4, with(good), with("garbage")), 200, credentials},
		{"unknown path", request("GET", "/v2/credentials", v4, with(good)), 404, "^404 page not found$"},
		{"trailing slash", request("GET", CredentialsPath+"/", v4, with(good)), 404, "^404 page not found$"},
		{"doubled slash", request("GET", "/"+CredentialsPath, v4, with(good)), 404, ""},
		{"root", request("GET", "/", v4), 404, "^404 page not found$"},
		{"not HTTP", "\x16\x03\x01\x00\x00 hello\r\n\r\n", 400, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			status, kind, body := raw(t, a.Addrs()[0], tc.request)
			want := "application/json"
			if status == 404 || status == 431 || tc.name == "not HTTP" { // not the handler's
				want = "text/plain"
			} else if status != 200 {
				body = message(t, body)
			}
			if status != tc.status || !regexp.MustCompile(tc.body).MatchString(body) {
				t.Errorf("%d %q, want %d %s", status, body, tc.status, tc.body)
			}
			if !strings.HasPrefix(kind, want) {
				t.Errorf("type %q, want %s", kind, want)
			}
			if strings.Contains(body, good) {
				t.Error("the answer quotes the token")
			}
		})
	}
}

// message is that of a refusal, in the form that the SDKs read.
func message(t *testing.T, body string) string {
	t.Helper()
	var problem struct{ Code, Message string }
	if err := json.Unmarshal([]byte(body), &problem); err != nil || problem.Code == "" {
		t.Errorf("refusal %q: want JSON with a code", body)
	}
	return problem.Message
}

func TestRefusalsOfEKSAuth(t *testing.T) {
	tests := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		status int
		body   string
		calls  int
	}{
		{"access denied", refuse(400, "AccessDeniedException", "no trust"), 400, "[req-1]: (AccessDeniedException): no trust, fault: client", 1},
		{"no association", refuse(404, "ResourceNotFoundException", "none"), 404, "[req-1]: (ResourceNotFoundException): none, fault: client", 1},
		{"invalid token", refuse(400, "InvalidTokenException", "bad"), 400, "[req-1]: (InvalidTokenException): bad, fault: client", 1},
		{"expired token", refuse(400, "ExpiredTokenException", "old"), 400, "[req-1]: (ExpiredTokenException): old, fault: client", 1},
		{"throttling", refuse(429, "ThrottlingException", "slow"), 429, "[req-1]: (ThrottlingException): slow, fault: client", 1},
		{"server error", refuse(500, "InternalServerException", "oops"), 500, "[req-1]: (InternalServerException): oops, fault: server", 1},
		{"hang", hang, 500, "EKS Auth did not answer in time", 1},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}, 500, "(UnknownError)", 1},
		{"nonsense", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, 500, "unusable answer of EKS Auth", 1},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			auth := newStubAuth(t)
			auth.respond(tc.answer)
			cfg := testConfig(t, auth, io.Discard)
			// Long enough for a slow machine's handshake: a try that ends before it reaches the stub is not counted there.
			cfg.AttemptTimeout, cfg.TotalTimeout, cfg.WaitTimeout = 5*time.Second, 25*time.Second, 25*time.Second
			if tc.name == "hang" {
				cfg.AttemptTimeout = 1500 * time.Millisecond
			}
			a := startAgent(t, cfg)
			status, body := ask(t, a.Addrs()[0], jwt(nil))
			if status != tc.status || !strings.Contains(message(t, body), tc.body) {
				t.Errorf("%d %q, want %d %q", status, body, tc.status, tc.body)
			}
			if strings.Contains(body, strings.TrimPrefix(auth.URL, "https://")) {
				t.Errorf("the pod is told the endpoint: %s", body)
			}
			if got := auth.total(); got != tc.calls {
				t.Errorf("%d upstream calls, want %d", got, tc.calls)
			}
		})
	}
}

func TestUnreachableUpstream(t *testing.T) {
	auth := newStubAuth(t)
	cfg := testConfig(t, auth, io.Discard)
	auth.Close()
	a := startAgent(t, cfg)
	status, body := ask(t, a.Addrs()[0], jwt(nil))
	if status != 500 || message(t, body) != "EKS Auth cannot be reached" {
		t.Errorf("%d %q", status, body)
	}
}

func TestHerdIsOneCall(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"success": grant, "refusal": refuse(400, "AccessDeniedException", "no"),
	} {
		t.Run(name, func(t *testing.T) {
			auth := newStubAuth(t)
			release := make(chan struct{})
			auth.respond(func(w http.ResponseWriter, r *http.Request) { <-release; answer(w, r) })
			cfg := testConfig(t, auth, io.Discard)
			cfg.AttemptTimeout, cfg.TotalTimeout, cfg.WaitTimeout = 20*time.Second, 25*time.Second, 25*time.Second
			a := startAgent(t, cfg)
			token := jwt(nil)
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() { ask(t, a.Addrs()[0], token) })
			}
			waitFor(t, func() bool { return metric(t, a, `pod_identity_cache_state{state="miss"}`) == "64" })
			close(release)
			wg.Wait()
			if got := auth.total(); got != 1 {
				t.Errorf("%d upstream calls, want 1", got)
			}
		})
	}
}

// waitFor polls a condition that other goroutines bring about.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); !condition(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("condition did not come about")
		}
	}
}

// metric returns the value of one line of /metrics.
func metric(t *testing.T, a *Agent, name string) string {
	t.Helper()
	_, body := get(t, "http://"+a.MetricsAddr()+"/metrics")
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestSDK is the whole use of an agent: the unmodified SDK's default chain in the environment that the webhook makes.
func TestSDK(t *testing.T) {
	auth := newStubAuth(t)
	a := startAgent(t, testConfig(t, auth, io.Discard))
	dir := t.TempDir()
	tokenFile := filepath.Join(dir, "token")
	if err := os.WriteFile(tokenFile, []byte(jwt(nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CA_BUNDLE"} {
		t.Setenv(name, "")
	}
	for name, value := range map[string]string{
		"AWS_CONTAINER_CREDENTIALS_FULL_URI":     "http://" + a.Addrs()[0] + CredentialsPath,
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": tokenFile,
		"AWS_CONFIG_FILE":                        filepath.Join(dir, "none"),
		"AWS_SHARED_CREDENTIALS_FILE":            filepath.Join(dir, "none"),
		"AWS_EC2_METADATA_DISABLED":              "true",
	} {
		t.Setenv(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("eu-west-1"), config.WithHTTPClient(client))
	if err != nil {
		t.Fatal(err)
	}
	creds, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if creds.AccessKeyID != "ASIAPOD" || creds.SecretAccessKey != "podsecret" || creds.SessionToken != "podsession" ||
		creds.AccountID != "111122223333" || !creds.CanExpire || time.Until(creds.Expires) < 5*time.Hour {
		t.Errorf("the SDK got %s of %s, account %s, until %s", creds.AccessKeyID, creds.Source, creds.AccountID, creds.Expires)
	}
}

func TestOneLimitOfAPodForAllAddresses(t *testing.T) {
	auth := newStubAuth(t)
	cfg := testConfig(t, auth, io.Discard)
	at := time.Now()
	cfg.Now = func() time.Time { return at } // the bucket never refills
	cfg.BindAddresses = []string{"127.0.0.1:0", "[::1]:0"}
	cfg.RequestRate, cfg.RequestBurst = 1, 2
	a := startAgent(t, cfg)
	if len(a.Addrs()) != 2 {
		t.Fatalf("bound %v, want two families", a.Addrs())
	}
	var got []int
	flooder := jwt(nil)
	for i := range 4 {
		status, _ := ask(t, a.Addrs()[i%2], flooder)
		got = append(got, status)
	}
	if got[0] != 200 || got[1] != 200 || got[2] != 429 || got[3] != 429 {
		t.Errorf("statuses %v, want the limit after two", got)
	}
	if n := auth.total(); n != 1 {
		t.Errorf("%d upstream calls over two families, want 1 shared", n)
	}
	other := jwt(map[string]any{"kubernetes.io": map[string]any{"pod": map[string]any{"uid": "uid-2"}}})
	if status, _ := ask(t, a.Addrs()[0], other); status != 200 {
		t.Errorf("the limit of one pod reached another: %d", status)
	}
	if status, _ := get(t, "http://"+a.ProbeAddr()+"/healthz"); status != 200 {
		t.Errorf("the limit reached the probe: %d", status)
	}
	if got := metric(t, a, `pod_identity_http_response{code="429"}`); got != "2" {
		t.Errorf("counted %q refusals of the limit, want 2", got)
	}
}

func TestMissingFamilyIsNoFailure(t *testing.T) {
	auth := newStubAuth(t)
	var log logs
	cfg := testConfig(t, auth, &log)
	cfg.BindAddresses = []string{"127.0.0.1:0", "[2001:db8::1]:0"} // documentation address: on no interface
	a := startAgent(t, cfg)
	if got := a.Addrs(); len(got) != 1 {
		t.Errorf("bound %v, want one", got)
	}
	if !strings.Contains(log.String(), "2001:db8::1") {
		t.Error("no warning about the missing address")
	}
	if status, _ := get(t, "http://"+a.ProbeAddr()+"/readyz"); status != 200 {
		t.Errorf("readyz %d", status)
	}

	cfg = testConfig(t, auth, io.Discard)
	cfg.BindAddresses = []string{"[2001:db8::1]:0", "192.0.2.1:0"}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "2001:db8::1") || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("error %v, want one that names both addresses", err)
	}
	if err := b.Run(t.Context()); err == nil {
		t.Error("ran twice")
	}
}

func TestTakenProbePortIsAFailure(t *testing.T) {
	auth := newStubAuth(t)
	a := startAgent(t, testConfig(t, auth, io.Discard))
	cfg := testConfig(t, auth, io.Discard)
	cfg.ProbeAddress = a.ProbeAddr()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), a.ProbeAddr()) {
		t.Errorf("error %v, want one that names %s", err, a.ProbeAddr())
	}
}

func TestProbesAndMetrics(t *testing.T) {
	auth := newStubAuth(t)
	auth.respond(refuse(500, "InternalServerException", "outage"))
	cfg := testConfig(t, auth, io.Discard)
	a := startAgent(t, cfg)
	for _, url := range []string{a.ProbeAddr() + "/healthz", a.ProbeAddr() + "/readyz", a.MetricsAddr() + "/healthz", a.MetricsAddr() + "/readyz"} {
		if status, body := get(t, "http://"+url); status != 200 || body != "" {
			t.Errorf("%s: %d %q, want an empty 200 even in an outage", url, status, body)
		}
	}
	if status, _ := get(t, "http://"+a.ProbeAddr()+"/metrics"); status != 404 {
		t.Errorf("metrics on the probe port: %d", status)
	}
	ask(t, a.Addrs()[0], jwt(nil))
	if status, body := get(t, "http://"+a.ProbeAddr()+"/readyz"); status != 200 || body != "serving from cache, upstream down" {
		t.Errorf("readyz in an outage: %d %q", status, body)
	}
	if got := metric(t, a, "podid_agent_upstream_up"); got != "0" {
		t.Errorf("upstream up = %q in an outage", got)
	}
	auth.respond(grant)
	granted := jwt(map[string]any{"jti": "2"}) // not the one that was refused a moment ago
	ask(t, a.Addrs()[0], granted)
	ask(t, a.Addrs()[0], granted)
	for name, want := range map[string]string{
		`pod_identity_http_response{code="200"}`:         "2",
		`pod_identity_http_response{code="500"}`:         "1",
		`pod_identity_cache_state{state="hit"}`:          "1",
		`pod_identity_cache_state{state="miss"}`:         "2",
		"podid_agent_cache_entries":                      "1",
		"podid_agent_cache_refusals":                     "1",
		"podid_agent_upstream_up":                        "1",
		"podid_agent_bound_addresses":                    "1",
		`podid_agent_upstream_seconds_count{code="500"}`: "1",
	} {
		if got := metric(t, a, name); got != want {
			t.Errorf("%s = %q, want %s", name, got, want)
		}
	}
}

func TestProbeFailures(t *testing.T) {
	other := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", "nginx") })}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- other.Serve(listener) }()
	addr := listener.Addr().String()
	check := func(name string, healthz, readyz int, text string) {
		t.Helper()
		key, err := newWitness(nil)
		if err != nil {
			t.Fatal(err)
		}
		mux := probeMux(newProbe(func() []string { return []string{addr} }, key, func() bool { return true }), nil)
		for path, want := range map[string]int{"/healthz": healthz, "/readyz": readyz} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			if body := w.Body.String(); w.Code != want || !strings.HasPrefix(body, "not serving: "+addr+": ") || !strings.Contains(body, text) {
				t.Errorf("%s: %s %d %q, want %d", name, path, w.Code, body, want)
			}
		}
	}
	check("another program on the address", 200, 500, "something else answers here (HTTP status 200 nginx)")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	t.Log("the other program ended:", <-done)
	check("nobody on the address", 500, 500, "refused")
}

// TestSelfCheck: the agent knows its own answers, also from another agent's.
func TestSelfCheck(t *testing.T) {
	auth := newStubAuth(t)
	a := startAgent(t, testConfig(t, auth, io.Discard))
	b := startAgent(t, testConfig(t, auth, io.Discard))
	if wrong := a.probe.check(t.Context()); len(wrong) != 0 {
		t.Errorf("own addresses: %v", wrong)
	}
	if err := a.probe.ask(t.Context(), b.Addrs()[0]); !errors.Is(err, errOtherAgent) {
		t.Errorf("another agent's address: %v", err)
	}
	waitFor(t, func() bool { return metric(t, a, `podid_agent_address_answering{address="`+a.Addrs()[0]+`"}`) == "1" })

	var log logs
	witness := &Agent{cfg: Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, metrics: a.metrics, addrs: a.Addrs()}
	before, stolen := map[string]string{}, map[string]error{a.Addrs()[0]: &stolenError{by: "nginx"}}
	for _, wrong := range []map[string]error{{}, stolen, stolen, {}} {
		witness.report(t.Context(), wrong, before)
	}
	if n := strings.Count(log.String(), "nginx"); n != 1 || strings.Count(log.String(), "again") != 1 {
		t.Errorf("log: %s", log.String())
	}
}

// TestLogsHoldNoSecrets reads the most talkative log after every kind of request.
func TestLogsHoldNoSecrets(t *testing.T) {
	auth := newStubAuth(t)
	var log logs
	a := startAgent(t, testConfig(t, auth, &log))
	token, bad := jwt(nil), "x."+jwt(nil)
	ask(t, a.Addrs()[0], token)
	ask(t, a.Addrs()[0], bad)
	auth.respond(refuse(400, "InvalidTokenException", "no"))
	ask(t, a.Addrs()[0], jwt(map[string]any{"jti": "2"}))
	for _, secret := range []string{token, bad, "podsecret", "podsession", "nodesecret", "nodesession"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds a secret:\n%s", log.String())
		}
	}
}

func TestNewReportsEveryProblem(t *testing.T) {
	_, err := New(Config{
		Cluster: "-", Endpoint: "http://10.0.0.1", BindAddresses: []string{"0.0.0.0:80", "x", "host:80", "127.0.0.1:99999"},
		ProbeAddress: "nowhere", TotalTimeout: time.Minute, RequestBurst: -1, MaxCacheSize: 1e6, Log: testConfig(t, newStubAuth(t), io.Discard).Log,
	})
	for _, want := range []string{
		"cluster name", "region", "credentials", "plain http", "every address of the node", "want host:port", "want an IP address", "99999",
		"probe address", "total time-out", "request burst", "less than half",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %q: %v", want, err)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("empty configuration accepted")
	}
	cfg := testConfig(t, newStubAuth(t), io.Discard)
	registry := prometheus.NewRegistry()
	cfg.Registerer, cfg.Gatherer = registry, registry
	if _, err := New(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "register metrics") {
		t.Errorf("error %v, want the registry's", err)
	}
}

// TestImports keeps the agent small and on its side of the wire.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "podid/cmd/podid-agent").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.Lines(string(out)) {
		pkg = strings.TrimSpace(pkg)
		shared := pkg == "podid/internal/jwt" || pkg == "podid/internal/satoken" // the rules of tokens, ADR 0009
		shared = shared || pkg == "podid/internal/resident"                      // how idle programs give memory back
		shared = shared || pkg == "podid/internal/compactjson"                   // a grammar
		if strings.HasPrefix(pkg, "podid/") && !strings.HasPrefix(pkg, "podid/internal/agent") && pkg != "podid/cmd/podid-agent" && !shared {
			t.Errorf("links %s of the server side", pkg)
		}
		for _, heavy := range []string{"go.etcd.io/", "k8s.io/", "sigs.k8s.io/", "google.golang.org/grpc"} {
			if strings.HasPrefix(pkg, heavy) {
				t.Errorf("links %s", pkg)
			}
		}
	}
}

// recorder is a ResponseWriter that keeps the status.
type recorder struct {
	header http.Header
	status int
}

func newRecorder() *recorder                    { return &recorder{header: http.Header{}, status: 200} }
func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkHit is the agent's own work for a cached token, without net/http's.
func BenchmarkHit(b *testing.B) {
	cfg := testConfig(b, newStubAuth(b), io.Discard)
	cfg.RequestRate = -1
	a, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://169.254.170.23"+CredentialsPath, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", jwt(map[string]any{"pad": strings.Repeat("x", 600)}))
	w := newRecorder()
	a.handler.ServeHTTP(w, req)
	if w.status != 200 {
		b.Fatalf("status %d", w.status)
	}
	b.ReportAllocs()
	for b.Loop() {
		a.handler.ServeHTTP(w, req)
	}
}

// canned is EKS Auth without a network.
type canned []byte

// Do implements [eksauthclient.Doer].
func (c canned) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: int64(len(c)), Body: io.NopCloser(bytes.NewReader(c))}, nil
}

// cannedSession is an answer as long as EKS Auth's are.
func cannedSession(end time.Time) canned {
	return canned(`{"subject":{"namespace":"ns","serviceAccount":"sa"},"audience":"pods.eks.amazonaws.com","podIdentityAssociation":{"associationArn":` +
		`"arn:aws:eks:eu-west-1:123456789012:podidentityassociation/my-cluster/a-1","associationId":"a-1"},"assumedRoleUser":{"arn":` +
		`"arn:aws:sts::123456789012:assumed-role/role/eks-my-cluster-sa-1","assumeRoleId":"AROA:eks-my-cluster-sa-1"},"credentials":{"sessionToken":"` +
		strings.Repeat("x", 1000) + `","secretAccessKey":"secretsecretsecretsecretsecretsecretsecr","accessKeyId":"ASIAEXAMPLE000000000","expiration":` +
		strconv.FormatInt(end.Unix(), 10) + `.0}}`)
}

// BenchmarkFetch is the agent's own work for a token that is not in the cache: its verification, the signed call and the
// answer, without net/http's on either side.
func BenchmarkFetch(b *testing.B) {
	api := newAPIServer(b)
	cfg := testConfig(b, newStubAuth(b), io.Discard)
	cfg.Log = slog.New(slog.DiscardHandler)
	cfg.Tokens, cfg.RequestRate, cfg.MaxCacheSize = api.config(), -1, -1
	cfg.HTTP = cannedSession(time.Now().Add(6 * time.Hour))
	a := startAgent(b, cfg)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://169.254.170.23"+CredentialsPath, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", api.token("pod-1", "node-1", 1))
	req.RemoteAddr = "10.0.0.1:1"
	b.ReportAllocs()
	for b.Loop() {
		w := newRecorder()
		if a.handler.ServeHTTP(w, req); w.status != 200 {
			b.Fatalf("status %d", w.status)
		}
	}
}
