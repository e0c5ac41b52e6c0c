// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"context"
	"fmt"
	"maps"
	"net/http"
)

// stored is a ConfigMap or a Secret, as far as podid looks at it. Data of a
// Secret is bytes, which JSON has as base64.
type stored[T any] struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Metadata   ObjectMeta   `json:"metadata"`
	Type       string       `json:"type,omitempty"`
	Data       map[string]T `json:"data,omitempty"`
}

// EnsureConfigMap makes the values of the keys those of the data, and makes
// the ConfigMap where there is none. Other keys stay. It reports whether it
// changed anything.
func (c *Client) EnsureConfigMap(ctx context.Context, namespace, name string, data map[string]string) (bool, error) {
	return ensure(ctx, c, "configmaps", stored[string]{APIVersion: "v1", Kind: "ConfigMap", Metadata: ObjectMeta{Namespace: namespace, Name: name}, Data: data},
		func(a, b string) bool { return a == b })
}

// EnsureSecret is EnsureConfigMap for a Secret of type Opaque.
func (c *Client) EnsureSecret(ctx context.Context, namespace, name string, data map[string][]byte) (bool, error) {
	return ensure(ctx, c, "secrets", stored[[]byte]{APIVersion: "v1", Kind: "Secret", Metadata: ObjectMeta{Namespace: namespace, Name: name}, Type: "Opaque", Data: data},
		func(a, b []byte) bool { return string(a) == string(b) })
}

// Secret is the data of a Secret, nil where there is none.
func (c *Client) Secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	if err := segment(namespace, name); err != nil {
		return nil, err
	}
	var have stored[[]byte]
	err := c.call(ctx, http.MethodGet, []string{"api", "v1", "namespaces", namespace, "secrets", name}, nil, "", nil, &have)
	switch {
	case IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get Secret %s/%s: %w", namespace, name, err)
	}
	return have.Data, nil
}

func ensure[T any](ctx context.Context, c *Client, plural string, want stored[T], same func(a, b T) bool) (bool, error) {
	namespace, name := want.Metadata.Namespace, want.Metadata.Name
	if err := segment(namespace, name); err != nil {
		return false, err
	}
	path := []string{"api", "v1", "namespaces", namespace, plural}
	var have stored[T]
	err := c.call(ctx, http.MethodGet, append(path[:len(path):len(path)], name), nil, "", nil, &have)
	switch {
	case IsNotFound(err):
		want.Metadata.Labels = map[string]string{LabelManagedBy: ManagedBy}
		if err := c.call(ctx, http.MethodPost, path, nil, "application/json", want, nil); err != nil {
			return false, fmt.Errorf("create %s %s/%s: %w", want.Kind, namespace, name, err)
		}
		return true, nil
	case err != nil:
		return false, fmt.Errorf("get %s %s/%s: %w", want.Kind, namespace, name, err)
	case holds(have.Data, want.Data, same):
		return false, nil
	}
	data := maps.Clone(want.Data)
	patch := map[string]any{"metadata": map[string]string{"resourceVersion": have.Metadata.ResourceVersion}, "data": data}
	if err := c.call(ctx, http.MethodPatch, append(path[:len(path):len(path)], name), nil, "application/merge-patch+json", patch, nil); err != nil {
		return false, fmt.Errorf("change %s %s/%s: %w", want.Kind, namespace, name, err)
	}
	return true, nil
}

func holds[T any](have, want map[string]T, same func(a, b T) bool) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || !same(got, v) {
			return false
		}
	}
	return true
}
