// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// PodCredentials are those of an exchange. Secrets in them print as [secret].
type PodCredentials struct {
	AccessKeyID     string       `json:"accessKeyId"`
	SecretAccessKey SecretString `json:"secretAccessKey"`
	SessionToken    SecretString `json:"sessionToken"`
	Expiration      float64      `json:"expiration"` // epoch seconds
}

// AssumeRoleForPodIdentity exchanges a pod's token as the caller, who is no
// node agent: that takes podid:ExchangeForAnyNode beside
// eks-auth:AssumeRoleForPodIdentity.
func (p *Podid) AssumeRoleForPodIdentity(ctx context.Context, cluster, token string) (*PodCredentials, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	path := strings.TrimRight(p.Endpoint, "/") + "/clusters/" + url.PathEscape(cluster) + "/assume-role-for-pod-identity"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if err := p.signFor(ctx, req, body, "eks-auth"); err != nil {
		return nil, err
	}
	resp, err := p.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call control plane: %w", err)
	}
	var out struct{ Credentials PodCredentials }
	return &out.Credentials, errors.Join(read(resp, &out), resp.Body.Close())
}
