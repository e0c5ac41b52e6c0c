// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/prometheus/client_golang/prometheus"

	"podid/internal/operator/podpatch"
	"podid/internal/operator/webhook"
)

// world is what the webhook is told of the cluster.
type world struct {
	associated  map[string]bool
	annotations map[string]map[string]string
	stale       error
}

func (w *world) Has(_ context.Context, namespace, account string) (bool, error) {
	return w.associated[namespace+"/"+account], w.stale
}

func (w *world) Annotations(_ context.Context, namespace, name string) (map[string]string, bool) {
	a, ok := w.annotations[namespace+"/"+name]
	return a, ok
}

const role = "arn:aws:iam::111122223333:role/irsa"

func newWorld() *world {
	return &world{
		associated:  map[string]bool{"s3-app-ns/s3-app-sa": true, "s3-app-ns/both": true, "s3-app-ns/default": true},
		annotations: map[string]map[string]string{"s3-app-ns/irsa": {podpatch.AnnotationRole: role}, "s3-app-ns/both": {podpatch.AnnotationRole: role, podpatch.AnnotationExpiration: "7200"}},
	}
}

type harness struct {
	*webhook.Handler
	registry *prometheus.Registry
	log      *bytes.Buffer
}

func newHandler(t testing.TB, w *world) *harness {
	t.Helper()
	registry, log := prometheus.NewRegistry(), &bytes.Buffer{}
	m, err := webhook.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	return &harness{registry: registry, log: log, Handler: &webhook.Handler{
		Associations: w, ServiceAccounts: w, Metrics: m, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: time.Now,
		Patcher: &podpatch.Patcher{Settings: podpatch.DefaultSettings(), Jitter: func(int64) int64 { return 0 }},
	}}
}

// outcomes are the reviews counted, by outcome.
func (h *harness) outcomes(t testing.TB) map[string]float64 {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "podid_webhook_reviews_total" && m.GetCounter().GetValue() > 0 {
				out[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
			if f.GetName() == "podid_webhook_stale_reviews_total" && m.GetCounter().GetValue() > 0 {
				out["stale"] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

func (h *harness) post(content, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/mutate", strings.NewReader(body))
	r.Header.Set("Content-Type", content)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// answer is an AdmissionReview as the API server reads it.
type answer struct {
	APIVersion, Kind string
	Request          any
	Response         struct {
		UID              string
		Allowed          bool
		Patch            []byte
		PatchType        string
		Status           struct{ Message string }
		AuditAnnotations map[string]string
		Warnings         []string
	}
}

func (h *harness) review(t *testing.T, body string) answer {
	t.Helper()
	w := h.post("application/json", body)
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatal(w.Code, w.Header(), err, w.Body)
	}
	if a.Kind != "AdmissionReview" || a.Request != nil {
		t.Errorf("answered %s with request %v", a.Kind, a.Request)
	}
	return a
}

// reviewOf makes the review of a pod's creation. The pod has fields that
// podid does not look at.
func reviewOf(account, labels string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"705ab4f5","kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},
	"requestKind":{"group":"","version":"v1","kind":"Pod"},"name":"","namespace":"s3-app-ns","operation":"CREATE","userInfo":{"username":"system:serviceaccount:kube-system:replicaset-controller","groups":["system:authenticated"]},
	"object":` + pod(account, labels) + `,"oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}`
}

func pod(account, labels string) string {
	return `{"kind":"Pod","apiVersion":"v1","metadata":{"generateName":"app-7d9-","creationTimestamp":null,"labels":` + labels + `},
	"spec":{"serviceAccountName":"` + account + `","volumes":[{"name":"kube-api-access","projected":{"sources":[],"defaultMode":420}}],
	"initContainers":[{"name":"init","image":"i:1","resources":{}}],
	"containers":[{"name":"app","image":"a:1","env":[{"name":"LOG","value":"debug"}],"volumeMounts":[{"name":"kube-api-access","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}]},
	{"name":"side","image":"s:1"}],"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}]}}`
}

func TestReview(t *testing.T) {
	for _, c := range []struct {
		name, body, outcome, uri, roleARN string
	}{
		{"association", reviewOf("s3-app-sa", `{"app":"x"}`), "pod-identity", "http://169.254.170.23/v1/credentials", ""},
		{"association before annotation", reviewOf("both", `{"app":"x"}`), "pod-identity", "http://169.254.170.23/v1/credentials", ""},
		{"annotation", reviewOf("irsa", `{"app":"x"}`), "web-identity", "", role},
		{"no service account is the default one", reviewOf("", `{"app":"x"}`), "pod-identity", "http://169.254.170.23/v1/credentials", ""},
		{"neither", reviewOf("other", `{"app":"x"}`), "none", "", ""},
		{"skipped by label", reviewOf("s3-app-sa", `{"eks.amazonaws.com/skip-pod-identity-webhook":""}`), "skipped", "", ""},
		{"an update", strings.Replace(reviewOf("s3-app-sa", `{}`), `"CREATE"`, `"UPDATE"`, 1), "ignored", "", ""},
		{"no pod", strings.Replace(reviewOf("s3-app-sa", `{}`), `"kind":{"group":"","version":"v1","kind":"Pod"}`, `"kind":{"group":"apps","version":"v1","kind":"Deployment"}`, 1), "ignored", "", ""},
		{"another namespace", strings.Replace(reviewOf("s3-app-sa", `{}`), `"s3-app-ns"`, `"other"`, 1), "none", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHandler(t, newWorld())
			a := h.review(t, c.body)
			if !a.Response.Allowed || a.Response.UID != "705ab4f5" || a.APIVersion != "admission.k8s.io/v1" {
				t.Errorf("%+v", a)
			}
			if got := h.outcomes(t); len(got) != 1 || got[c.outcome] != 1 {
				t.Errorf("counted %v, want %s", got, c.outcome)
			}
			env := environment(t, a)
			if env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] != c.uri || env["AWS_ROLE_ARN"] != c.roleARN {
				t.Errorf("environment %v", env)
			}
			if (c.uri+c.roleARN == "") != (a.Response.Patch == nil && a.Response.PatchType == "" && a.Response.AuditAnnotations == nil) {
				t.Errorf("patch %s, %v", a.Response.Patch, a.Response.AuditAnnotations)
			}
		})
	}
}

// environment applies a patch and returns the variables of the pod's first
// container.
func environment(t *testing.T, a answer) map[string]string {
	t.Helper()
	if a.Response.Patch == nil {
		return nil
	}
	if a.Response.PatchType != "JSONPatch" {
		t.Errorf("patch type %q", a.Response.PatchType)
	}
	p, err := jsonpatch.DecodePatch(a.Response.Patch)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Apply([]byte(pod("", `{"app":"x"}`)))
	if err != nil {
		t.Fatal(err)
	}
	var typed podpatch.Pod
	if err := json.Unmarshal(out, &typed); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, e := range typed.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	return env
}

// TestInjected: who writes what a patch leads to is told of patched pods only,
// and never on a dry run.
func TestInjected(t *testing.T) {
	h := newHandler(t, newWorld())
	var told []string
	h.Injected = func(_ context.Context, namespace string) { told = append(told, namespace) }
	h.review(t, reviewOf("other", `{}`))
	if a := h.review(t, strings.Replace(reviewOf("s3-app-sa", `{}`), `"dryRun":false`, `"dryRun":true`, 1)); a.Response.Patch == nil {
		t.Error("a dry run is not patched")
	}
	if told != nil {
		t.Error(told)
	}
	h.review(t, reviewOf("s3-app-sa", `{}`))
	h.review(t, reviewOf("irsa", `{}`))
	if len(told) != 2 || told[0] != "s3-app-ns" {
		t.Error(told)
	}
}

func TestReviewOfV1beta1(t *testing.T) {
	h := newHandler(t, newWorld())
	if a := h.review(t, strings.Replace(reviewOf("s3-app-sa", `{}`), "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1)); a.APIVersion != "admission.k8s.io/v1beta1" || !a.Response.Allowed {
		t.Errorf("%+v", a)
	}
}

// TestStale: an answer that may be out of date is given, counted and told.
func TestStale(t *testing.T) {
	w := newWorld()
	w.stale = errors.New("control plane is away")
	h := newHandler(t, w)
	if a := h.review(t, reviewOf("s3-app-sa", `{"app":"x"}`)); a.Response.Patch == nil {
		t.Error("what is known was not used")
	}
	if got := h.outcomes(t); got["stale"] != 1 || got["pod-identity"] != 1 {
		t.Errorf("counted %v", got)
	}
	if !strings.Contains(h.log.String(), "control plane is away") || !strings.Contains(h.log.String(), "service_account=s3-app-sa") {
		t.Errorf("logged %s", h.log)
	}
}

func TestMalformed(t *testing.T) {
	good := reviewOf("s3-app-sa", `{}`)
	for name, c := range map[string]struct{ body, uid, says string }{
		"empty":             {"", "", "EOF"},
		"truncated":         {good[:len(good)/2], "", "unexpected EOF"},
		"an array":          {"[]", "", "cannot unmarshal array"},
		"another kind":      {`{"apiVersion":"v1","kind":"Pod"}`, "", `got "Pod" of "v1"`},
		"another version":   {strings.Replace(good, "admission.k8s.io/v1", "admission.k8s.io/v2", 1), "705ab4f5", `of "admission.k8s.io/v2"`},
		"no request":        {`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, "", "no request"},
		"no uid":            {strings.Replace(good, `"uid":"705ab4f5",`, "", 1), "", "no request with a uid"},
		"two":               {good + good, "705ab4f5", "more after it"},
		"labels no strings": {strings.Replace(good, `"labels":{}`, `"labels":{"a":1}`, 1), "705ab4f5", "cannot unmarshal number"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, newWorld())
			a := h.review(t, c.body)
			if a.Response.Allowed || a.Response.Patch != nil || a.Response.UID != c.uid || !strings.Contains(a.Response.Status.Message, c.says) {
				t.Errorf("%+v, want %q of %q", a.Response, c.says, c.uid)
			}
			if got := h.outcomes(t); got["malformed"] != 1 {
				t.Errorf("counted %v", got)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	h := newHandler(t, newWorld())
	good := reviewOf("s3-app-sa", `{}`)
	if w := h.post("application/json", strings.Repeat(" ", webhook.MaxBody)+good); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large: %d %s", w.Code, w.Body)
	}
	if w := h.post("application/json", strings.Repeat(" ", webhook.MaxBody-len(good))+good); w.Code != http.StatusOK {
		t.Errorf("the largest body: %d %s", w.Code, w.Body)
	}
	for content, status := range map[string]int{"application/json; charset=utf-8": 200, "text/plain": 415, "": 415, "application/json;": 200, "application/json; =": 415} {
		if w := h.post(content, good); w.Code != status {
			t.Errorf("%q: %d", content, w.Code)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/mutate", nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
		t.Errorf("GET: %d", w.Code)
	}
}

// FuzzReview: whatever the body, there is one answer, and an API server can
// read it.
func FuzzReview(f *testing.F) {
	f.Add(reviewOf("s3-app-sa", `{"a":"b"}`))
	f.Add(reviewOf("irsa", `null`))
	f.Add(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"a","object":null}}`)
	f.Fuzz(func(t *testing.T, body string) {
		h := newHandler(t, newWorld())
		w := h.post("application/json", body)
		var a answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %v %s", w.Code, err, w.Body)
		}
		if a.Response.Allowed == (a.Response.Status.Message != "") {
			t.Errorf("%+v", a.Response)
		}
	})
}

// reuse is an answer's recorder that is used again.
type reuse struct{ header http.Header }

func (r *reuse) Header() http.Header         { return r.header }
func (r *reuse) WriteHeader(int)             {}
func (r *reuse) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkReview is a review of a pod of two containers and an init
// container, from the body to the answer.
func BenchmarkReview(b *testing.B) {
	for _, account := range []string{"s3-app-sa", "other"} {
		b.Run(account, func(b *testing.B) {
			h := newHandler(b, newWorld())
			body := []byte(reviewOf(account, `{"app":"x"}`))
			r := httptest.NewRequest(http.MethodPost, "/mutate", nil)
			r.Header.Set("Content-Type", "application/json")
			w := &reuse{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				r.Body = io.NopCloser(bytes.NewReader(body))
				h.ServeHTTP(w, r)
			}
		})
	}
}
