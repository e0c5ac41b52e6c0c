// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"podid/internal/operator/podpatch"
)

// review is an AdmissionReview, as much of it as a decision needs. The pod is
// read in the same pass; nothing of it that is not looked at is kept.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID       string       `json:"uid"`
	Kind      groupKind    `json:"kind"`
	Namespace string       `json:"namespace"`
	Operation string       `json:"operation"`
	DryRun    bool         `json:"dryRun"`
	Object    podpatch.Pod `json:"object"`
}

type groupKind struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
}

type response struct {
	UID              string            `json:"uid"`
	Allowed          bool              `json:"allowed"`
	Status           *status           `json:"status,omitempty"`
	Patch            []byte            `json:"patch,omitempty"` // in base64
	PatchType        string            `json:"patchType,omitempty"`
	AuditAnnotations map[string]string `json:"auditAnnotations,omitempty"`
	Warnings         []string          `json:"warnings,omitempty"`
}

type status struct {
	Message string `json:"message"`
	Code    int    `json:"code"`
}

// decode reads a review. A text that has none, or more than one, is an error
// that says what is wrong; what could be read of it is returned too, so that
// the answer can carry the request's id.
func decode(text string) (review, error) {
	r, ok := readCompact(text)
	if !ok {
		r = review{}
		d := json.NewDecoder(strings.NewReader(text))
		if err := d.Decode(&r); err != nil {
			return r, fmt.Errorf("read the admission review: %w", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return r, errors.New("read the admission review: there is more after it")
		}
	}
	switch {
	case r.Kind != "AdmissionReview" || r.APIVersion != "admission.k8s.io/v1" && r.APIVersion != "admission.k8s.io/v1beta1":
		return r, fmt.Errorf("expected an AdmissionReview of admission.k8s.io/v1 or v1beta1, got %.60q of %.60q", r.Kind, r.APIVersion)
	case r.Request == nil || r.Request.UID == "":
		return r, errors.New("the admission review holds no request with a uid")
	}
	return r, nil
}

// podCreation tells the requests that are the webhook's: a configuration that
// sends others is not an error of the pod's.
func (r *request) podCreation() bool {
	return r.Operation == "CREATE" && r.Kind.Group == "" && r.Kind.Kind == "Pod"
}

// encode writes an answer. The patch is most of it, and text of ASCII, so that
// going through it once more, as encoding/json does, is most of the time too.
func (r *review) encode(b *bytes.Buffer) error {
	patch := []byte(nil)
	if r.Response != nil {
		patch = r.Response.Patch
	}
	if len(patch) == 0 {
		return json.NewEncoder(b).Encode(r)
	}
	rest := *r.Response
	rest.Patch = nil
	text, err := json.Marshal(&review{APIVersion: r.APIVersion, Kind: r.Kind, Response: &rest})
	if err != nil {
		return fmt.Errorf("encode review: %w", err)
	}
	b.Grow(len(text) + base64.StdEncoding.EncodedLen(len(patch)) + 16)
	b.Write(text[:len(text)-2]) // but for the ends of response and review
	b.WriteString(`,"patch":"`)
	b.Write(base64.StdEncoding.AppendEncode(b.AvailableBuffer(), patch))
	b.WriteString("\"}}\n")
	return nil
}
