// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// Activation is how a PENDING cluster becomes ACTIVE. The code is in the
// answer of RegisterCluster only.
type Activation struct {
	ID        string       `json:"id"`
	Code      SecretString `json:"code,omitempty"`
	Issuer    string       `json:"issuer,omitempty"` // the only one that is taken
	ExpiresAt float64      `json:"expiresAt"`        // epoch seconds
}

// ActivateInput is what a cluster says of itself. It is sent, not logged: the
// code in it is plain text.
type ActivateInput struct {
	Code                 SecretString    `json:"activationCode"`
	Issuer               string          `json:"issuer"`
	JWKS                 json.RawMessage `json:"jwks"`
	Version              string          `json:"version,omitempty"`
	Endpoint             string          `json:"endpoint,omitempty"`
	CertificateAuthority string          `json:"certificateAuthority,omitempty"` // base64 of PEM
	EnrolmentKey         json.RawMessage `json:"enrolmentKey,omitempty"`         // public half, a JWK
}

// Activate makes a PENDING cluster ACTIVE. It needs no credentials. It refuses
// to send the code in clear text over a network.
func (p *Podid) Activate(ctx context.Context, name string, in ActivateInput) (*Cluster, error) {
	u, err := url.Parse(p.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("read endpoint: %w", err)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, &SetupError{"the endpoint " + u.Redacted() + " has no TLS, and an activation code is a secret", "give the https URL of the control plane"}
	}
	var out struct{ Cluster Cluster }
	return &out.Cluster, p.call(ctx, http.MethodPost, clusterPath(name)+"/activation", in, &out)
}
