// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// A refusal is what a caller is told. Reason is Kubernetes' word for it.
type refusal struct {
	code    int
	reason  string
	message string
}

func (r *refusal) Error() string { return r.message }

// status is meta/v1 Status, which clients read the reason from.
type status struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Metadata   struct{} `json:"metadata"`
	Status     string   `json:"status"`
	Message    string   `json:"message,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Code       int      `json:"code"`
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code, answer, err := s.answer(w, r)
	if err != nil {
		var no *refusal
		if !errors.As(err, &no) {
			s.cfg.Log.ErrorContext(r.Context(), "answer", "cluster", s.cfg.Cluster, "method", r.Method, "path", r.URL.Path, "err", err)
			no = &refusal{http.StatusInternalServerError, "InternalError", "an error on the server has prevented the request from succeeding"}
		}
		code, answer = no.code, status{Kind: "Status", APIVersion: "v1", Status: "Failure", Message: no.message, Reason: no.reason, Code: no.code}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // the peer is gone: there is nobody to tell
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) (int, any, error) {
	if err := s.admit(r); err != nil {
		return 0, nil, err
	}
	if r.Method == http.MethodGet && r.URL.Path == "/version" {
		return http.StatusOK, version(), nil
	}
	kind, namespace, name, ok := parsePath(r.URL.Path)
	if !ok {
		return 0, nil, &refusal{http.StatusNotFound, "NotFound", "the server could not find the requested resource: podid dev keeps namespaces and service accounts only"}
	}
	if len(r.URL.Query()["dryRun"]) > 0 || r.URL.Query().Get("watch") != "" {
		return 0, nil, &refusal{http.StatusBadRequest, "BadRequest", "podid dev has neither dry runs nor watches"}
	}
	switch {
	case r.Method == http.MethodGet && name == "":
		return http.StatusOK, list{
			kind + "List", "v1", struct{}{}, slices.DeleteFunc(s.objects.list(kind, namespace), func(o object) bool { return !selected(o, r.URL.Query().Get("labelSelector")) }),
		}, nil
	case r.Method == http.MethodGet:
		return done(http.StatusOK)(s.objects.get(kind, namespace, name))
	case r.Method == http.MethodDelete && name != "":
		if _, err := s.objects.remove(kind, namespace, name); err != nil {
			return 0, nil, err
		}
		return http.StatusOK, status{Kind: "Status", APIVersion: "v1", Status: "Success", Code: http.StatusOK}, nil
	case r.Method == http.MethodPost && name == "" && (namespace != "" || kind == kindNamespace), r.Method == http.MethodPut && name != "":
		o, err := s.read(w, r, kind, namespace, name)
		if err != nil {
			return 0, nil, err
		}
		if r.Method == http.MethodPut {
			return done(http.StatusOK)(s.objects.update(o))
		}
		return done(http.StatusCreated)(s.objects.create(o))
	}
	return 0, nil, &refusal{http.StatusMethodNotAllowed, "MethodNotAllowed", "the server does not allow this method on the requested resource"}
}

func version() map[string]string {
	major, minor, _ := strings.Cut(Version, ".")
	return map[string]string{"major": major, "minor": minor, "gitVersion": "v" + Version + ".0-podid"}
}

type list struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Metadata   struct{} `json:"metadata"`
	Items      []object `json:"items"`
}

func done(code int) func(object, error) (int, any, error) {
	return func(o object, err error) (int, any, error) { return code, o, err }
}

// admit lets administrators of the cluster in.
func (s *Server) admit(r *http.Request) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return &refusal{http.StatusUnauthorized, "Unauthorized", "Unauthorized"}
	}
	user, err := s.cfg.Review(r.Context(), token)
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return &refusal{http.StatusUnauthorized, "Unauthorized", "Unauthorized"}
	case err != nil:
		return fmt.Errorf("review the token: %w", err)
	case !slices.Contains(user.Groups, AdminGroup):
		return &refusal{http.StatusForbidden, "Forbidden", fmt.Sprintf("User %q has no access policy that makes an administrator of the whole cluster (AmazonEKSClusterAdminPolicy)", user.Name)}
	}
	return nil
}

// parsePath reads /api/v1/namespaces[/NS], /api/v1/serviceaccounts and
// /api/v1/namespaces/NS/serviceaccounts[/NAME].
func parsePath(path string) (kind, namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/api/v1/")
	if !ok {
		return "", "", "", false
	}
	p := strings.Split(rest, "/")
	switch {
	case slices.Contains(p, ""):
		return "", "", "", false
	case len(p) == 1 && p[0] == "serviceaccounts":
		return kindServiceAccount, "", "", true
	case p[0] != "namespaces" || len(p) > 2 && p[2] != "serviceaccounts" || len(p) > 4:
		return "", "", "", false
	}
	p = append(p, "", "", "")
	if len(p) <= 5 { // namespaces[/NS]
		return kindNamespace, "", p[1], true
	}
	return kindServiceAccount, p[1], p[3], true
}

// read reads the object of a request, which must be the path's.
func (s *Server) read(w http.ResponseWriter, r *http.Request, kind, namespace, name string) (object, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return object{}, &refusal{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "the request body could not be read: " + err.Error()}
	}
	o, err := decode(r.Header.Get("Content-Type"), body)
	if err != nil {
		return object{}, &refusal{http.StatusBadRequest, "BadRequest", err.Error()}
	}
	m := o.Metadata
	if o.Kind != "" && o.Kind != kind || m.Namespace != "" && m.Namespace != namespace || name != "" && m.Name != name {
		return object{}, &refusal{http.StatusBadRequest, "BadRequest", "the object is not the one that the path names"}
	}
	o.Kind, o.Metadata.Namespace = kind, namespace
	return o, nil
}

// selected reports whether labels match a selector of the forms k, k=v and
// their lists; others match nothing.
func selected(o object, selector string) bool {
	if selector == "" {
		return true
	}
	for part := range strings.SplitSeq(selector, ",") {
		k, v, valued := strings.Cut(part, "=")
		got, ok := o.Metadata.Labels[k]
		if !ok || valued && got != strings.TrimPrefix(v, "=") {
			return false
		}
	}
	return true
}
