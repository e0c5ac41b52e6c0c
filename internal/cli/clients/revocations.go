// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"net/http"
)

// Revocation refuses the sessions of a subject that were issued up to a time.
type Revocation struct {
	Kind      string  `json:"kind"`
	ID        string  `json:"id"`
	Subject   string  `json:"subject"`
	NotBefore float64 `json:"notBefore"` // epoch seconds
	CreatedAt float64 `json:"createdAt"` // epoch seconds
	CreatedBy string  `json:"createdBy"`
	EndsAt    float64 `json:"endsAt"` // epoch seconds
}

// RevokeInput is the body of RevokeSessions: one of role, user, association and
// pod.
type RevokeInput struct {
	Role          string `json:"role,omitempty"`
	User          string `json:"user,omitempty"`
	AssociationID string `json:"associationId,omitempty"`
	Pod           string `json:"pod,omitempty"`
	ClusterName   string `json:"clusterName,omitempty"`
	NotBefore     string `json:"notBefore,omitempty"` // RFC 3339; now by default
}

// RevokeSessions calls podid:RevokeSessions.
func (p *Podid) RevokeSessions(ctx context.Context, in RevokeInput) (*Revocation, error) {
	var out struct{ Revocation Revocation }
	return &out.Revocation, p.call(ctx, http.MethodPost, "/podid/v1/revocations", in, &out)
}

// ListRevocations calls podid:ListRevocations.
func (p *Podid) ListRevocations(ctx context.Context) ([]Revocation, error) {
	var out struct{ Revocations []Revocation }
	return out.Revocations, p.call(ctx, http.MethodGet, "/podid/v1/revocations", nil, &out)
}
