// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Pod reads one pod.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*Pod, error) {
	if err := segment(namespace, name); err != nil {
		return nil, err
	}
	out := &Pod{}
	if err := c.call(ctx, http.MethodGet, []string{"api", "v1", "namespaces", namespace, "pods", name}, nil, "", nil, out); err != nil {
		return nil, fmt.Errorf("get pod %s/%s: %w", namespace, name, err)
	}
	if out.Metadata.UID == "" || out.Spec.ServiceAccountName == "" {
		return nil, fmt.Errorf("get pod %s/%s: the answer names no service account or uid", namespace, name)
	}
	return out, nil
}

// PodToken asks for a service account token that is bound to the pod: it ends
// with the pod, and names its node. The user has to be allowed to create
// serviceaccounts/token. Source: Kubernetes API Reference, TokenRequest.
func (c *Client) PodToken(ctx context.Context, p *Pod, audience string, life time.Duration) (token string, expires time.Time, err error) {
	namespace, account := p.Metadata.Namespace, p.Spec.ServiceAccountName
	if err := segment(namespace, account); err != nil {
		return "", time.Time{}, err
	}
	body := map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{
			"audiences": []string{audience}, "expirationSeconds": int64(life / time.Second),
			"boundObjectRef": map[string]string{"apiVersion": "v1", "kind": "Pod", "name": p.Metadata.Name, "uid": p.Metadata.UID},
		},
	}
	var out struct {
		Status struct {
			Token               secret    `json:"token"`
			ExpirationTimestamp time.Time `json:"expirationTimestamp"`
		} `json:"status"`
	}
	if err := c.call(ctx, http.MethodPost, accountsPath(namespace, account, "token"), nil, "application/json", body, &out); err != nil {
		return "", time.Time{}, fmt.Errorf("get a token of pod %s/%s: %w", namespace, p.Metadata.Name, err)
	}
	if out.Status.Token == "" {
		return "", time.Time{}, errors.New("get a token: the API server's answer has none")
	}
	return string(out.Status.Token), out.Status.ExpirationTimestamp, nil
}
