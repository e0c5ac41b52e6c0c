// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/goleak"

	"podid/internal/agent/eksauthclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stubAuth is EKS Auth over TLS, with an answer that a test chooses.
type stubAuth struct {
	*httptest.Server
	mu     sync.Mutex
	calls  map[string]int
	answer func(w http.ResponseWriter, r *http.Request)
	feed   func(w http.ResponseWriter, r *http.Request) // nil: none; set before the agent starts
}

func newStubAuth(t testing.TB) *stubAuth {
	t.Helper()
	s := &stubAuth{calls: map[string]int{}, answer: grant}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && s.feed != nil {
			s.feed(w, r)
			return
		}
		var in struct {
			Token string `json:"token"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Errorf("stub: %v", err)
		}
		// The body is whole now, so the server notices when the client goes away.
		_, _ = io.Copy(io.Discard, r.Body)
		s.mu.Lock()
		s.calls[in.Token]++
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *stubAuth) respond(answer func(w http.ResponseWriter, r *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *stubAuth) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		n += c
	}
	return n
}

func (s *stubAuth) roots() *x509.CertPool {
	return s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

func grant(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, `{"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/r/eks-x","assumeRoleId":"AROA:x"},"audience":"pods.eks.amazonaws.com",`+ //nolint:errcheck // a test server
		`"credentials":{"accessKeyId":"ASIAPOD","secretAccessKey":"podsecret","sessionToken":"podsession","expiration":%d},`+
		`"podIdentityAssociation":{"associationArn":"a","associationId":"a-1"},"subject":{"namespace":"ns","serviceAccount":"sa"}}`,
		time.Now().Add(6*time.Hour).Unix())
}

func refuse(status int, code, message string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-ErrorType", code)
		w.Header().Set("X-Amzn-RequestId", "req-1")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":%q}`, message) //nolint:errcheck // a test server
	}
}

// hang never answers: a handler that returned would send an empty 200.
func hang(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// jwt makes an unsigned token with the claims of a projected service account token; claims in change override them.
func jwt(change map[string]any) string {
	now := time.Now()
	claims := map[string]any{
		"aud": []string{"pods.eks.amazonaws.com"}, "exp": now.Add(time.Hour).Unix(), "nbf": now.Add(-time.Minute).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": "ns", "pod": map[string]any{"name": "p", "uid": "uid-1"}, "serviceaccount": map[string]any{"name": "sa", "uid": "u"},
		},
	}
	for k, v := range change {
		claims[k] = v
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + enc.EncodeToString(raw) + "." + enc.EncodeToString([]byte("signature"))
}

var nodeIdentity = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "ASIANODE", SecretAccessKey: "nodesecret", SessionToken: "nodesession"}, nil
})

// logs is a log that tests read while the agent writes.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func testConfig(t testing.TB, auth *stubAuth, log io.Writer) Config {
	t.Helper()
	hc := eksauthclient.NewHTTPClient(auth.roots())
	t.Cleanup(hc.CloseIdleConnections)
	return Config{
		Cluster: "my-cluster", Region: "eu-west-1", Endpoint: auth.URL, Credentials: nodeIdentity, HTTP: hc,
		BindAddresses: []string{"127.0.0.1:0"}, ProbeAddress: "127.0.0.1:0", MetricsAddress: "127.0.0.1:0",
		Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// startAgent runs an agent until the test ends.
func startAgent(t testing.TB, cfg Config) *Agent {
	t.Helper()
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-a.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("not ready: %v", err)
	}
	return a
}

// ask makes one request of a pod, on a connection of its own.
func ask(t testing.TB, addr, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+CredentialsPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", token)
	return do(t, req)
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func do(t testing.TB, req *http.Request) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // a test
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(bytes.TrimSpace(body))
}
