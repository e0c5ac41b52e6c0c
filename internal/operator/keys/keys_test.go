// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"

	"podid/internal/operator/keys"
)

func keyFile(t testing.TB, curve elliptic.Curve) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"cluster": "arn:aws:eks:us-west-2:111122223333:cluster/one", "uid": "u",
		"privateKey": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// house is an API server and a control plane.
type house struct {
	mu        sync.Mutex
	jwks      string
	away, not error
	calls     []string // the bodies
	proofs    []string
	keeper    *keys.Keeper
	file      string
	registry  *prometheus.Registry
}

func (h *house) Unsigned(_ context.Context, method, path string, header http.Header, body []byte, out any) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, method+" "+path+" "+string(body))
	h.proofs = append(h.proofs, header.Get("Authorization"))
	if h.not != nil {
		return h.not
	}
	return json.Unmarshal([]byte(`{"cluster": {"keyIds": ["a"]}}`), out)
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{jwks: `{"keys":[{"kid":"a"}]}`, file: filepath.Join(t.TempDir(), "key"), registry: prometheus.NewRegistry()}
	if err := os.WriteFile(h.file, []byte(keyFile(t, elliptic.P256())), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := keys.NewMetrics(h.registry)
	if err != nil {
		t.Fatal(err)
	}
	h.keeper = keys.New(keys.Config{
		ControlPlane: h, KeyFile: h.file, Metrics: m, Log: slog.New(slog.DiscardHandler),
		Published: func(context.Context) (json.RawMessage, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return json.RawMessage(h.jwks), h.away
		},
	})
	return h
}

func (h *house) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

func (h *house) shown() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.proofs)
}

// now changes what is so, while the keeper runs.
func (h *house) now(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *house) metric(t *testing.T, name string) string {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					out = append(out, l.GetValue())
				}
				out = append(out, fmt.Sprint(m.GetGauge().GetValue()+m.GetCounter().GetValue()))
			}
		}
	}
	return strings.Join(out, " ")
}

// TestKeeper: keys are brought at the start, when they change, and now and
// then; a failure is tried again soon; each proof is newer than the last.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.keeper.Start(ctx) }()
		after := func(d time.Duration, want int) {
			t.Helper()
			time.Sleep(d) // of the bubble's clock
			synctest.Wait()
			if len(h.asked()) != want {
				t.Fatalf("%d calls, want %d: %q", len(h.asked()), want, h.asked())
			}
		}
		after(0, 1)
		if h.asked()[0] != `PUT /podid/v1/clusters/one/keys {"jwks":{"keys":[{"kid":"a"}]}}` || !strings.HasPrefix(h.shown()[0], "Podid-Enrolment ey") {
			t.Errorf("call %s %s", h.asked()[0], h.shown()[0])
		}
		after(time.Minute, 1)
		h.now(func() {
			h.jwks, h.not = `{"keys":[{"kid":"b"}]}`, &smithy.GenericAPIError{Code: "AccessDeniedException", Fault: smithy.FaultClient}
		})
		for len(h.asked()) < 2 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		if got := h.metric(t, "podid_operator_cluster_keys_out_of_date"); got != "1" {
			t.Errorf("out of date: %s", got)
		}
		h.now(func() { h.not = errors.New("connection refused") })
		after(time.Second, 3)
		h.now(func() { h.not = nil })
		after(2*time.Second, 4)
		if got := h.metric(t, "podid_operator_cluster_keys_out_of_date") + " " + h.metric(t, "podid_operator_cluster_keys_pushes_total"); got != "0 away 1 refused 1 taken 2" {
			t.Errorf("metrics: %s", got)
		}
		after(30*time.Minute, 4)
		after(31*time.Minute, 5)

		// An API server that is away or says nothing takes no key away.
		h.now(func() { h.away = errors.New("away") })
		after(2*time.Hour, 5)
		h.now(func() { h.away, h.jwks = nil, `{"keys":[]}` })
		after(2*time.Hour, 5)
		h.now(func() { h.jwks = "x" })
		after(time.Minute, 5)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		seen := map[string]bool{}
		for _, p := range h.shown() {
			if seen[p] {
				t.Error("a proof was used twice")
			}
			seen[p] = true
		}
	})
}

func TestBadKeyFile(t *testing.T) {
	h := newHouse(t)
	for name, text := range map[string]string{
		"no JSON": "x", "empty": "{}", "another curve": keyFile(t, elliptic.P384()), "no uid": strings.Replace(keyFile(t, elliptic.P256()), `"uid":"u"`, `"uid":""`, 1),
		"no cluster": strings.Replace(keyFile(t, elliptic.P256()), ":cluster/one", ":cluster/", 1), "two keys": strings.Replace(keyFile(t, elliptic.P256()), `-----END PRIVATE KEY-----\n`, `-----END PRIVATE KEY-----\nmore`, 1),
	} {
		if err := os.WriteFile(h.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.keeper.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "read enrolment key") || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Remove(h.file); err != nil {
		t.Fatal(err)
	}
	if err := h.keeper.Step(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if len(h.asked()) != 0 {
		t.Errorf("calls %q", h.asked())
	}
	key, err := keys.ParseKey([]byte(keyFile(t, elliptic.P256())))
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", key, key, key, key.LogValue()); text != "[secret] [secret] [secret] [secret]" {
		t.Error("the key is shown")
	}
	if !h.keeper.NeedLeaderElection() {
		t.Error("every replica would bring keys")
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte(keyFile(f, elliptic.P256())))
	f.Add([]byte(`{"cluster": "a:cluster/b", "uid": "c", "privateKey": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := keys.ParseKey(text)
		if (key == nil) == (err == nil) {
			t.Fatal("neither a key nor an error")
		}
		if key != nil {
			if _, err := key.Proof(nil, time.UnixMilli(1)); err != nil {
				t.Error(err)
			}
		}
	})
}
