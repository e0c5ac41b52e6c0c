// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package webhook answers the API server's admission reviews of new pods: it
// decides whether a pod has an identity and has podpatch make what it lacks.
// Associations go before the annotations of IAM roles for service accounts, as
// with AWS' webhook. It owns the review's form, its bounds and what is counted
// of it; the associations come from the feed, service accounts from their
// informer. It denies no pod for its content: who has no identity is let
// through as they are. It refuses bodies beyond the limit and reviews that it
// cannot read.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"sync"
	"time"

	"podid/internal/operator/podpatch"
)

// MaxBody is the most of a review that is read: Kubernetes takes objects of 3
// MiB, and a review adds little to the one that it is about.
const MaxBody = 4 << 20

// Associations know which service accounts have a pod identity association.
type Associations interface {
	// Has waits as long as ctx lets it for what was acknowledged before the
	// call. The error tells why the answer may be out of date; the answer is
	// the best that is known all the same.
	Has(ctx context.Context, namespace, serviceAccount string) (bool, error)
}

// ServiceAccounts know the annotations of service accounts.
type ServiceAccounts interface {
	Annotations(ctx context.Context, namespace, name string) (map[string]string, bool)
}

// Handler answers admission reviews. All fields but Injected are required.
type Handler struct {
	Associations    Associations
	ServiceAccounts ServiceAccounts
	Patcher         *podpatch.Patcher
	// Injected is told the namespace of a pod before that is patched, and not
	// on a dry run: it may write what the patch leads the pod to.
	Injected func(ctx context.Context, namespace string)
	Metrics  *Metrics
	Log      *slog.Logger
	Now      func() time.Time

	buffers sync.Pool // of *bytes.Buffer
}

// ServeHTTP implements http.Handler: POST of an AdmissionReview as JSON.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.Now()
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "post an AdmissionReview", http.StatusMethodNotAllowed)
		return
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		http.Error(w, "Content-Type must be application/json", http.StatusUnsupportedMediaType)
		return
	}
	in, err := h.read(http.MaxBytesReader(w, r.Body, MaxBody))
	out := review{APIVersion: in.APIVersion, Kind: in.Kind}
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		h.Metrics.reviewed(Malformed, h.Now().Sub(start))
		http.Error(w, "the admission review is too large", http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		h.Metrics.reviewed(Malformed, h.Now().Sub(start))
		h.Log.LogAttrs(r.Context(), slog.LevelWarn, "malformed review", slog.String("error", err.Error()), slog.String("remote", r.RemoteAddr))
		out = malformed(in, err)
	default:
		var outcome Outcome
		out.Response, outcome = h.review(r.Context(), in.Request)
		h.Metrics.reviewed(outcome, h.Now().Sub(start))
	}
	h.write(w, r, out)
}

func isJSON(contentType string) bool {
	const want = "application/json"
	if contentType == want {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == want
}

// read reads a review. Buffers are used again: a body is some 5 KB, and its
// review is over before the next one of its connection.
func (h *Handler) read(body io.Reader) (review, error) {
	b, ok := h.buffers.Get().(*bytes.Buffer)
	if !ok {
		b = new(bytes.Buffer)
	}
	defer h.giveBack(b)
	if _, err := b.ReadFrom(body); err != nil {
		return review{}, fmt.Errorf("read the admission review: %w", err)
	}
	return decode(b.String())
}

// keptBuffer is the largest buffer that is kept: one pod in many is larger.
const keptBuffer = 32 << 10

func (h *Handler) giveBack(b *bytes.Buffer) {
	if b.Cap() <= keptBuffer {
		b.Reset()
		h.buffers.Put(b)
	}
}

func (h *Handler) write(w http.ResponseWriter, r *http.Request, out review) {
	b, ok := h.buffers.Get().(*bytes.Buffer)
	if !ok {
		b = new(bytes.Buffer)
	}
	defer h.giveBack(b)
	if err := out.encode(b); err != nil {
		h.Log.LogAttrs(r.Context(), slog.LevelError, "encode review", slog.String("error", err.Error()))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b.Bytes()) // an API server that hung up is told nothing
}

// malformed is AWS' way: an answer, not an HTTP error, so that the API server
// tells the reason.
func malformed(in review, err error) review {
	out := review{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview", Response: &response{Status: &status{Message: err.Error(), Code: http.StatusBadRequest}}}
	if in.APIVersion == "admission.k8s.io/v1beta1" {
		out.APIVersion = in.APIVersion
	}
	if in.Request != nil {
		out.Response.UID = in.Request.UID
	}
	return out
}

// review decides about one pod.
func (h *Handler) review(ctx context.Context, in *request) (*response, Outcome) {
	out := &response{UID: in.UID, Allowed: true}
	if !in.podCreation() {
		return out, Ignored
	}
	pod := &in.Object
	if _, skip := pod.Metadata.Labels[podpatch.LabelSkip]; skip {
		return out, Skipped
	}
	namespace, account := in.Namespace, pod.Spec.ServiceAccountName
	if account == "" { // as the API server takes it
		account = "default"
	}
	id, outcome := h.identify(ctx, namespace, account)
	if outcome == None {
		return out, None
	}
	patch := h.Patcher.Patch(pod, id)
	out.Warnings = patch.Warnings
	out.AuditAnnotations = map[string]string{"identity": string(id.Kind)}
	if h.Injected != nil && !in.DryRun {
		h.Injected(ctx, namespace)
	}
	if len(patch.Ops) > 0 {
		ops, err := patch.AppendJSON(make([]byte, 0, 2<<10))
		if err != nil { // strings, numbers and lists of them
			h.Log.LogAttrs(ctx, slog.LevelError, "encode patch", slog.String("error", err.Error()))
			return out, Failed
		}
		out.Patch, out.PatchType = ops, "JSONPatch"
	}
	return out, outcome
}

// identify says which identity the pods of a service account have: an
// association, else the role that its annotation names, else none.
func (h *Handler) identify(ctx context.Context, namespace, account string) (podpatch.Identity, Outcome) {
	has, err := h.Associations.Has(ctx, namespace, account)
	if err != nil {
		h.Metrics.stale.Inc()
		// The feed tells once that it is so; who looks for one pod's reason asks for more.
		h.Log.LogAttrs(ctx, slog.LevelDebug, "associations may be out of date", slog.String("namespace", namespace),
			slog.String("service_account", account), slog.Bool("associated", has), slog.String("error", err.Error()))
	}
	annotations, _ := h.ServiceAccounts.Annotations(ctx, namespace, account)
	if has {
		return podpatch.Identity{Kind: podpatch.PodIdentity, Annotations: annotations}, PodIdentity
	}
	if role := annotations[podpatch.AnnotationRole]; role != "" {
		return podpatch.Identity{Kind: podpatch.WebIdentity, RoleARN: role, Annotations: annotations}, WebIdentity
	}
	return podpatch.Identity{}, None
}
