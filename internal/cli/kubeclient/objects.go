// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// StatusError is a refusal of the API server, in its own words.
type StatusError struct {
	Code    int    // of HTTP
	Reason  string // NotFound, Forbidden; "" when what answered was no API server
	Message string
}

func (e *StatusError) Error() string {
	if e.Message != "" {
		return "Kubernetes: " + e.Message
	}
	return fmt.Sprintf("Kubernetes: status %d %s", e.Code, http.StatusText(e.Code))
}

func newStatusError(code int, text []byte) error {
	var s struct{ Kind, Reason, Message string }
	if err := json.Unmarshal(text, &s); err != nil || s.Kind != "Status" {
		return &StatusError{Code: code}
	}
	return &StatusError{Code: code, Reason: s.Reason, Message: s.Message}
}

func hasReason(err error, code int, reasons ...string) bool {
	var s *StatusError
	if !errors.As(err, &s) || s.Code != code {
		return false
	}
	for _, r := range reasons {
		if s.Reason == r {
			return true
		}
	}
	return len(reasons) == 0
}

// IsNotFound reports whether the API server said that something does not exist.
func IsNotFound(err error) bool { return hasReason(err, http.StatusNotFound, "NotFound") }

// IsExists reports whether the API server said that something exists already.
func IsExists(err error) bool { return hasReason(err, http.StatusConflict, "AlreadyExists") }

// IsConflict reports whether something was changed by somebody else meanwhile.
func IsConflict(err error) bool { return hasReason(err, http.StatusConflict, "Conflict") }

// IsRefused reports whether the API server did not know or not allow the caller.
func IsRefused(err error) bool {
	return hasReason(err, http.StatusForbidden) || hasReason(err, http.StatusUnauthorized)
}

// ObjectMeta is what every object has, as far as podid looks at it.
type ObjectMeta struct {
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace,omitempty"`
	UID             string            `json:"uid,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
}

// ServiceAccount is a service account's metadata; the rest of it is Kubernetes' own.
type ServiceAccount struct {
	Metadata ObjectMeta `json:"metadata"`
}

// Namespace is a namespace's metadata.
type Namespace struct {
	Metadata ObjectMeta `json:"metadata"`
}

// Patch changes labels and annotations and leaves all else as it is; nil
// removes a key. With a ResourceVersion the patch is refused (IsConflict) when
// the object has changed since it was read.
type Patch struct {
	ResourceVersion     string
	Labels, Annotations map[string]*string
}

// pageSize is the number of objects asked for at once.
const pageSize = 500

// list follows all pages. A list that Kubernetes cannot go on with (410) is
// asked for once more, whole.
func list[T any](ctx context.Context, c *Client, path []string) ([]T, error) {
	return listWhere[T](ctx, c, path, nil)
}

// listWhere is list of what selectors choose.
func listWhere[T any](ctx context.Context, c *Client, path []string, selectors url.Values) ([]T, error) {
	var all []T
	with := func(paging url.Values) url.Values {
		maps.Copy(paging, selectors)
		return paging
	}
	query := with(url.Values{"limit": {strconv.Itoa(pageSize)}})
	for {
		var page struct {
			Metadata struct{ Continue string } `json:"metadata"`
			Items    []T                       `json:"items"`
		}
		err := c.call(ctx, http.MethodGet, path, query, "", nil, &page)
		if hasReason(err, http.StatusGone) && query.Get("continue") != "" {
			all, query = nil, with(url.Values{})
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		switch next := page.Metadata.Continue; {
		case next == "":
			return all, nil
		case next == query.Get("continue"):
			return nil, errors.New("Kubernetes gave the same page twice")
		default:
			query = with(url.Values{"limit": {strconv.Itoa(pageSize)}, "continue": {next}})
		}
	}
}

// segment refuses what would change the path of a call.
func segment(names ...string) error {
	for _, n := range names {
		if n == "" || n == "." || n == ".." || strings.ContainsAny(n, "/%?#\\") {
			return fmt.Errorf("%q is no name of a Kubernetes object", n)
		}
	}
	return nil
}

func accountsPath(namespace string, more ...string) []string {
	if namespace == "" {
		return []string{"api", "v1", "serviceaccounts"}
	}
	return append([]string{"api", "v1", "namespaces", namespace, "serviceaccounts"}, more...)
}

// ServiceAccounts lists the service accounts of a namespace, "" for all.
func (c *Client) ServiceAccounts(ctx context.Context, namespace string) ([]ServiceAccount, error) {
	if namespace != "" {
		if err := segment(namespace); err != nil {
			return nil, err
		}
	}
	out, err := list[ServiceAccount](ctx, c, accountsPath(namespace))
	if err != nil {
		return nil, fmt.Errorf("list service accounts: %w", err)
	}
	return out, nil
}

// ServiceAccount reads one service account.
func (c *Client) ServiceAccount(ctx context.Context, namespace, name string) (*ServiceAccount, error) {
	return c.account(ctx, "get", http.MethodGet, namespace, name, nil, "", nil)
}

// account makes one call that is answered by a service account; name is the
// last of the path.
func (c *Client) account(ctx context.Context, verb, method, namespace, name string, query url.Values, contentType string, body any) (*ServiceAccount, error) {
	if err := segment(namespace, name); err != nil {
		return nil, err
	}
	path := accountsPath(namespace, name)
	if method == http.MethodPost {
		path = accountsPath(namespace)
	}
	out := &ServiceAccount{}
	if err := c.call(ctx, method, path, query, contentType, body, out); err != nil {
		return nil, fmt.Errorf("%s service account %s/%s: %w", verb, namespace, name, err)
	}
	return out, nil
}

// kubeObject is what Kubernetes wants to be told of a new object.
type kubeObject struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Metadata   ObjectMeta `json:"metadata"`
}

// CreateServiceAccount makes a service account of its name, namespace, labels
// and annotations.
func (c *Client) CreateServiceAccount(ctx context.Context, sa ServiceAccount) (*ServiceAccount, error) {
	m := sa.Metadata
	m.UID, m.ResourceVersion = "", ""
	return c.account(ctx, "create", http.MethodPost, m.Namespace, m.Name, nil, "application/json", kubeObject{"v1", "ServiceAccount", m})
}

// PatchServiceAccount changes labels and annotations.
func (c *Client) PatchServiceAccount(ctx context.Context, namespace, name string, p Patch) (*ServiceAccount, error) {
	meta := map[string]any{}
	if p.ResourceVersion != "" {
		meta["resourceVersion"] = p.ResourceVersion
	}
	if len(p.Labels) > 0 {
		meta["labels"] = p.Labels
	}
	if len(p.Annotations) > 0 {
		meta["annotations"] = p.Annotations
	}
	return c.account(ctx, "change", http.MethodPatch, namespace, name, nil, "application/merge-patch+json", map[string]any{"metadata": meta})
}

// DeleteServiceAccount deletes the service account of that UID, and none that
// has taken its name since.
func (c *Client) DeleteServiceAccount(ctx context.Context, namespace, name, uid string) error {
	options := map[string]any{"apiVersion": "v1", "kind": "DeleteOptions"}
	if uid != "" {
		options["preconditions"] = map[string]string{"uid": uid}
	}
	_, err := c.account(ctx, "delete", http.MethodDelete, namespace, name, nil, "application/json", options)
	return err
}

// Namespaces lists all namespaces.
func (c *Client) Namespaces(ctx context.Context) ([]Namespace, error) {
	out, err := list[Namespace](ctx, c, []string{"api", "v1", "namespaces"})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	return out, nil
}

// Namespace reads one namespace.
func (c *Client) Namespace(ctx context.Context, name string) (*Namespace, error) {
	if err := segment(name); err != nil {
		return nil, err
	}
	out := &Namespace{}
	if err := c.call(ctx, http.MethodGet, []string{"api", "v1", "namespaces", name}, nil, "", nil, out); err != nil {
		return nil, fmt.Errorf("get namespace %s: %w", name, err)
	}
	return out, nil
}

// CreateNamespace makes a namespace.
func (c *Client) CreateNamespace(ctx context.Context, name string, labels map[string]string) (*Namespace, error) {
	if err := segment(name); err != nil {
		return nil, err
	}
	out := &Namespace{}
	body := kubeObject{"v1", "Namespace", ObjectMeta{Name: name, Labels: labels}}
	if err := c.call(ctx, http.MethodPost, []string{"api", "v1", "namespaces"}, nil, "application/json", body, out); err != nil {
		return nil, fmt.Errorf("create namespace %s: %w", name, err)
	}
	return out, nil
}

// Label on what podid makes in a cluster.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "podid"
)

// Ensured says what EnsureServiceAccount made.
type Ensured struct{ Namespace, ServiceAccount bool }

// EnsureServiceAccount makes a service account, and its namespace, where they
// do not exist. What exists is not changed. Ensured is true as far as it came
// when there is an error too.
func (c *Client) EnsureServiceAccount(ctx context.Context, namespace, name string) (Ensured, error) {
	var done Ensured
	_, err := c.ServiceAccount(ctx, namespace, name)
	if !IsNotFound(err) {
		return done, err
	}
	labels := map[string]string{LabelManagedBy: ManagedBy}
	sa := ServiceAccount{ObjectMeta{Name: name, Namespace: namespace, Labels: labels}}
	_, err = c.CreateServiceAccount(ctx, sa)
	if IsNotFound(err) { // its namespace
		_, err = c.CreateNamespace(ctx, namespace, labels)
		done.Namespace = err == nil
		if err != nil && !IsExists(err) {
			return done, err
		}
		_, err = c.CreateServiceAccount(ctx, sa)
	}
	if IsExists(err) {
		return done, nil
	}
	done.ServiceAccount = err == nil
	return done, err
}
