// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi

import (
	"context"
	"net/http"
	"time"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/revocation"
)

// Revocations are the verbs on not-before epochs of sessions.
type Revocations interface {
	Revoke(ctx context.Context, caller iam.Caller, in revocation.RevokeInput) (*revocation.Epoch, error)
	List(ctx context.Context, caller iam.Caller) ([]*revocation.Epoch, error)
}

// onSubject is what sessions can be revoked of.
const onSubject = "arn:${Partition}:iam::${Account}:role/${Name} or arn:${Partition}:iam::${Account}:user/${Name} or " +
	"arn:${Partition}:eks:${Region}:${Account}:podidentityassociation/${ClusterName}/${AssociationId} or " + onCluster

func (a *API) revocationRoutes() []restjson.Route {
	const all = "/podid/v1/revocations"
	return []restjson.Route{
		Route(http.MethodPost, all, "RevokeSessions", onSubject, false, a.revoke),
		Route(http.MethodGet, all, "ListRevocations", "arn:${Partition}:podid:${Region}:${Account}:revocation/*", true, a.listRevocations),
	}
}

// revokeInput is the body of RevokeSessions: one of role, user, association and
// pod.
type revokeInput struct {
	Role          string `json:"role,omitempty"` // name or ARN
	User          string `json:"user,omitempty"` // name or ARN
	AssociationID string `json:"associationId,omitempty"`
	Pod           string `json:"pod,omitempty"` // UID, or namespace/name
	ClusterName   string `json:"clusterName,omitempty"`
	NotBefore     string `json:"notBefore,omitempty"` // RFC 3339; now by default
}

// revocationJSON is an epoch on the wire.
type revocationJSON struct {
	Kind      string        `json:"kind"`
	ID        string        `json:"id"`
	Subject   string        `json:"subject"`
	NotBefore restjson.Time `json:"notBefore"`
	CreatedAt restjson.Time `json:"createdAt"`
	CreatedBy string        `json:"createdBy"`
	EndsAt    restjson.Time `json:"endsAt"` // from then on it is not needed any more
}

func newRevocation(e *revocation.Epoch) revocationJSON {
	return revocationJSON{string(e.Kind), e.ID, e.Subject, restjson.Time(e.NotBefore), restjson.Time(e.Created), e.By, restjson.Time(e.Ends())}
}

type revocationOutput struct {
	Revocation revocationJSON `json:"revocation"`
}

type revocationsOutput struct {
	Revocations []revocationJSON `json:"revocations"`
}

func (a *API) revoke(ctx context.Context, c *call.Call) (any, error) {
	var in revokeInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	q := revocation.RevokeInput{Role: in.Role, User: in.User, Association: in.AssociationID, Pod: in.Pod, Cluster: in.ClusterName}
	if in.NotBefore != "" {
		at, err := time.Parse(time.RFC3339, in.NotBefore)
		if err != nil {
			return nil, fault.New(fault.InvalidParameter, "notBefore %.100q is no time in RFC 3339, such as 2026-11-22T10:00:00Z.", in.NotBefore).WithReason("revocation-time")
		}
		q.At = at
	}
	out, err := a.Revocations.Revoke(ctx, c.Caller, q)
	if err != nil {
		return nil, err
	}
	body := revocationOutput{newRevocation(out)}
	c.Event.ResponseElements = body
	return body, nil
}

func (a *API) listRevocations(ctx context.Context, c *call.Call) (any, error) {
	list, err := a.Revocations.List(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	out := revocationsOutput{Revocations: make([]revocationJSON, len(list))}
	for i, e := range list {
		out.Revocations[i] = newRevocation(e)
	}
	return out, nil
}
