// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// OpenID is what an API server says of the service account tokens it makes.
type OpenID struct {
	Issuer string
	JWKS   json.RawMessage // the public keys, a JSON Web Key Set
}

// OpenID reads issuer and keys. They come from the API server itself, over the
// connection that the kubeconfig trusts, wherever the issuer's URL leads.
// Source: Kubernetes, "Service account issuer discovery".
func (c *Client) OpenID(ctx context.Context) (*OpenID, error) {
	var doc struct {
		Issuer string `json:"issuer"`
	}
	if err := c.call(ctx, http.MethodGet, []string{".well-known", "openid-configuration"}, nil, "", nil, &doc); err != nil {
		return nil, fmt.Errorf("read the issuer: %w", err)
	}
	if doc.Issuer == "" {
		return nil, errors.New("read the issuer: the API server names none")
	}
	out := &OpenID{Issuer: doc.Issuer}
	if err := c.call(ctx, http.MethodGet, []string{"openid", "v1", "jwks"}, nil, "", nil, &out.JWKS); err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	return out, nil
}

// Version is the API server's release in the form 1.34.
func (c *Client) Version(ctx context.Context) (string, error) {
	var v struct{ Major, Minor string }
	if err := c.call(ctx, http.MethodGet, []string{"version"}, nil, "", nil, &v); err != nil {
		return "", fmt.Errorf("read the version: %w", err)
	}
	minor := strings.TrimRight(v.Minor, "+") // of builds after a release
	if v.Major == "" || minor == "" {
		return "", errors.New("read the version: the API server names none")
	}
	return v.Major + "." + minor, nil
}

// CA are the certificates that the kubeconfig trusts for this API server, as
// PEM; nil where it names none.
func (c *Client) CA() []byte { return c.ca }
