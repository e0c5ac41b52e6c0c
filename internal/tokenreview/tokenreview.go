// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tokenreview owns the decision behind a cluster's authentication
// webhook: who in Kubernetes the maker of a k8s-aws-v1 token is. It asks who
// the API server is that wants to know, lets authn prove the token, and finds
// the caller's access entry in that cluster. It refuses by default: API
// servers without the cluster's bearer token, principals without an entry or
// with one for nodes, and federated users, who have none. It gives nobody a
// group that the entry does not name.
package tokenreview

import (
	"context"
	"strings"

	"podid/internal/accessentry"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// Prover proves who made a k8s-aws-v1 token for a cluster.
type Prover interface {
	KubeCaller(ctx context.Context, token, clusterName string, hosts []string) (iam.Caller, error)
}

// Service reviews tokens. All fields are required.
type Service struct {
	Store  store.Store
	Prover Prover
	Region string
	Hosts  func() []string // that a token's URL may have, with port where it is not 443
}

// User is who Kubernetes is to see.
type User struct {
	Username, UID string
	Groups        []string
	Extra         map[string][]string
}

// Cluster returns the cluster that an API server with the bearer token speaks
// for. Any refusal has the same text.
func (s *Service) Cluster(ctx context.Context, name, bearer string) (*cluster.Cluster, error) {
	if c, ok := accessentry.ReviewedCluster(s.Store.View(), s.Region, name, bearer); ok {
		return c, nil
	}
	if bearer != "" {
		// Another replica may have made the token a moment ago.
		v, err := s.Store.Fence(ctx)
		if err != nil {
			return nil, fault.StoreUnread(err)
		}
		if c, ok := accessentry.ReviewedCluster(v, s.Region, name, bearer); ok {
			return c, nil
		}
	}
	return nil, fault.New(fault.AccessDenied, "The bearer token is not that of this cluster's API server.").WithReason("review-token")
}

// Review returns who made the token, in the cluster's words. A refusal is a
// fault with a reason, whose text holds nothing of the token.
func (s *Service) Review(ctx context.Context, c *cluster.Cluster, token string) (iam.Caller, *User, error) {
	caller, err := s.Prover.KubeCaller(ctx, token, c.Name, s.Hosts())
	if err != nil {
		return caller, nil, err
	}
	principal, id, name := principalOf(caller)
	if principal == "" || caller.Account != c.Account {
		return caller, nil, noEntry()
	}
	e, ok := accessentry.Find(s.Store.View(), c, principal, id)
	if !ok {
		v, err := s.Store.Fence(ctx)
		if err != nil {
			return caller, nil, fault.StoreUnread(err)
		}
		if e, ok = accessentry.Find(v, c, principal, id); !ok {
			return caller, nil, noEntry()
		}
	}
	if e.Type != accessentry.Standard {
		return caller, nil, fault.New(fault.AccessDenied, "The access entry of the caller is for nodes.").WithReason("access-entry-type")
	}
	u := &User{UID: "aws-iam-authenticator:" + caller.Account + ":" + id}
	u.Username, u.Groups = e.Identity(accessentry.Names{SessionName: name, AccountID: caller.Account, AccessKeyID: caller.AccessKeyID})
	u.Extra = map[string][]string{
		"arn": {caller.ARN}, "canonicalArn": {principal}, "sessionName": {name}, "accessKeyId": {caller.AccessKeyID}, "principalId": {id},
		"sigs.k8s.io/aws-iam-authenticator/principalId": {id},
	}
	if p := e.PolicyARNs(); len(p) > 0 {
		u.Extra["podid.dev/access-policies"] = p
	}
	return caller, u, nil
}

func noEntry() error {
	return fault.New(fault.AccessDenied, "The caller has no access entry in this cluster.").WithReason("access-entry-none")
}

// principalOf is the user or role behind a caller: its ARN, its unique id, and
// the session's name. The ARN is "" for who can have no entry.
func principalOf(c iam.Caller) (principal, id, sessionName string) {
	switch {
	case c.Kind == iam.CallerUser && c.User != nil:
		return c.User.ARN(), c.User.ID, ""
	case c.Kind == iam.CallerSession && c.Role != nil:
		_, name, _ := strings.Cut(c.UserID, ":")
		return c.Role.ARN(), c.Role.ID, name
	}
	return "", "", ""
}
