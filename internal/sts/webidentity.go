// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"podid/internal/arn"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/jwt"
	"podid/internal/policy"
	"podid/internal/satoken"
	"podid/internal/session"
	"podid/internal/store"
)

// Audiences that a service account token may be meant for when it is
// exchanged here. The pod identity audience is not among them: a pod's token
// for EKS Auth must be good for nothing else, nor may a token for the API
// server be taken.
var webIdentityAudiences = []string{AudienceControlPlane, AudienceSTS}

// The audiences of web identity tokens.
const (
	AudienceControlPlane = "podid.dev/control-plane" // agents and operators
	AudienceSTS          = "sts.amazonaws.com"       // IRSA
	audiencePods         = "pods.eks.amazonaws.com"  // refused here, even beside another
)

// TokenClusters verifies tokens with the keys of registered clusters.
type TokenClusters interface {
	Verify(ctx context.Context, c *cluster.Cluster, check func(*jwt.KeySet) error) error
}

// WebIdentityInput is what a caller of AssumeRoleWithWebIdentity says.
type WebIdentityInput struct {
	RoleARN     string
	SessionName string
	Token       string // 4..20000 characters
	Duration    int    // seconds; 0 = 3600
	Policy      string
	PolicyARNs  []string

	MinTokenSize int // bytes; the session token is padded to it; 0 = not at all
}

// check is what can be said of the request without looking anything up.
func (in *WebIdentityInput) check() error {
	var c constraints
	c.roleARN(in.RoleARN)
	c.name(in.SessionName, "roleSessionName", 64)
	c.seconds(in.Duration, MaxDuration)
	c.policies(in.Policy, in.PolicyARNs)
	c.tokenSize(in.MinTokenSize)
	switch n := len(in.Token); {
	case n < 4:
		c.hidden("webIdentityToken", atLeast(4))
	case n > 20000:
		c.hidden("webIdentityToken", atMost(20000))
	}
	if err := c.err(); err != nil {
		return err
	}
	if _, err := arn.ParseRole(in.RoleARN); err != nil {
		return invalid("%.200s is invalid", in.RoleARN)
	}
	return nil
}

// WebIdentityResult is the session and what the token proved.
type WebIdentityResult struct {
	Assumed
	Subject, Audience string
	Provider          string // ARN of the provider that the trust policy named
}

// proven is a token that the keys of exactly one cluster signed.
type proven struct {
	cluster *cluster.Cluster
	claims  satoken.Claims
	shared  bool // other clusters of the account have the same issuer
}

// AssumeRoleWithWebIdentity exchanges a service account token of a registered
// cluster for a role session. The cluster is found by whose keys signed the
// token: an issuer URL alone identifies nothing. The node in the token becomes
// the session's node.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, in WebIdentityInput) (*WebIdentityResult, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	life, err := duration(in.Duration, false)
	if err != nil {
		return nil, err
	}
	iss, err := issuerOf(in.Token)
	if err != nil {
		return nil, fault.New(fault.InvalidToken, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)").WithReason("token-malformed").Because(err)
	}
	// Web identity has no caller whose rights a stale view could miss, and is
	// rare: it always looks at what any replica has acknowledged.
	v, err := s.Store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	p, err := s.prove(ctx, v, iss, in.Token)
	if err != nil {
		return s.otherwise(ctx, v, in, iss, life, err)
	}
	// From here on answers depend on which policies and roles there are:
	// strangers learn nothing of them.
	if err := s.checkSessionPolicies(v, accountOf(in.RoleARN), in.Policy, in.PolicyARNs); err != nil {
		return nil, err
	}
	role, ok := iam.RoleByARN(v, in.RoleARN)
	if !ok {
		return nil, fault.New(fault.AccessDenied, "Not authorized to perform sts:AssumeRoleWithWebIdentity").WithReason("role-not-found")
	}
	g := &Grant{
		Role: role, SessionName: in.SessionName, Duration: life, Policy: in.Policy, PolicyARNs: in.PolicyARNs, MinTokenSize: in.MinTokenSize,
		Origin: origin(p.cluster.UID, p.claims),
		Node:   session.Node{ClusterUID: p.cluster.UID, Name: p.claims.NodeName, UID: p.claims.NodeUID},
	}
	return s.assumeProven(ctx, v, g, p)
}

// origin is the pod that the token was issued to, if to one: its sessions are
// revoked with it, as those of EKS Auth are.
func origin(clusterUID string, c satoken.Claims) session.Origin {
	if c.PodUID == "" {
		return session.Origin{}
	}
	return session.Origin{ClusterUID: clusterUID, PodUID: c.PodUID, Pod: c.Namespace + "/" + c.PodName}
}

// prove finds the one cluster whose keys signed the token that names the issuer.
func (s *Service) prove(ctx context.Context, v *store.View, iss, token string) (proven, error) {
	var found []proven
	var refusal error
	n := 0
	for _, c := range cluster.ByIssuer(v, store.Scope{Account: s.Account, Region: s.Region}, iss) {
		n++
		claims, err := s.verify(ctx, c, token)
		if err != nil {
			refusal = preferred(refusal, err)
			continue
		}
		found = append(found, proven{cluster: c, claims: claims})
	}
	switch {
	case n == 0:
		return proven{}, fault.New(fault.InvalidToken, "No OpenIDConnect provider found in your account for %.200s", iss).WithReason("token-issuer")
	case len(found) == 0:
		return proven{}, tokenFault(refusal)
	case len(found) > 1:
		return proven{}, fault.New(fault.IdPRejected, "%d clusters of the account have the issuer %.200s and the same keys, so the token does not say which cluster it comes from", len(found), iss).WithReason("token-cluster-ambiguous")
	}
	found[0].shared = n > 1
	return found[0], nil
}

func issuerOf(token string) (string, error) {
	_, payload, err := jwt.PeekUnverified(token)
	if err != nil {
		return "", err
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer == "" {
		return "", errors.Join(errors.New("no issuer in the token"), err)
	}
	return c.Issuer, nil
}

// verify checks the token with a cluster's keys for each audience in turn.
func (s *Service) verify(ctx context.Context, c *cluster.Cluster, token string) (satoken.Claims, error) {
	var claims satoken.Claims
	err := s.Clusters.Verify(ctx, c, func(keys *jwt.KeySet) error {
		var err error
		for _, aud := range webIdentityAudiences {
			claims, err = satoken.Verify(token, satoken.Params{Keys: keys, Issuer: c.Issuer, Audience: aud, Leeway: s.Leeway, MaxLife: s.MaxLife, Now: s.Now})
			var refused *satoken.Error
			if !errors.As(err, &refused) || refused.Reason != satoken.ReasonAudience {
				break
			}
		}
		if err == nil && slices.Contains(claims.Audiences, audiencePods) {
			return &satoken.Error{Reason: satoken.ReasonAudience, Message: "Token is meant for EKS Pod Identity too"}
		}
		return err
	})
	return claims, err
}

// preferred keeps the refusal that says most: a token whose signature was
// good was refused for what is in it.
func preferred(old, err error) error {
	var e *satoken.Error
	if old == nil || errors.As(err, &e) && !slices.Contains([]string{"token-signature", "token-unknown-key", "token-algorithm"}, e.Reason) {
		return err
	}
	return old
}

// tokenFault puts a token's refusal into the words of STS.
func tokenFault(err error) error {
	var e *satoken.Error
	if !errors.As(err, &e) {
		return &fault.Error{Kind: fault.Internal, Reason: "cluster-keys-unreadable", Err: err}
	}
	switch e.Reason {
	case satoken.ReasonExpired:
		return fault.New(fault.ExpiredToken, "Token expired: current date/time must be before the expiration date/time").WithReason(e.Reason)
	case satoken.ReasonAudience:
		return fault.New(fault.InvalidToken, "Incorrect token audience").WithReason(e.Reason).Because(err)
	default:
		return fault.New(fault.InvalidToken, "%s", e.Message).WithReason(e.Reason).Because(err)
	}
}

// assumeProven evaluates trust. The cluster's own provider stands for exactly
// its keys. The provider of the plain issuer, as IRSA's trust policies name
// it, counts only while no other cluster of the account has that issuer.
func (s *Service) assumeProven(ctx context.Context, v *store.View, g *Grant, p proven) (*WebIdentityResult, error) {
	result := func(a *Assumed) *WebIdentityResult {
		return &WebIdentityResult{Assumed: *a, Subject: p.claims.Subject, Audience: audience(p.claims), Provider: g.WebIdentity.ProviderARN}
	}
	s.identify(g, p, p.cluster.ProviderARN(), p.cluster.ProviderHost())
	out, err := s.Assume(ctx, v, g)
	if err == nil {
		return result(out), nil
	}
	if !fault.Is(err, fault.AccessDenied) {
		return nil, err
	}
	host := strings.TrimPrefix(p.cluster.Issuer, "https://")
	s.identify(g, p, arn.IAM(s.Partition, s.Account, "oidc-provider", "/", host), host)
	if p.shared {
		return nil, s.sharedIssuer(ctx, v, g, p, err)
	}
	if out, plainErr := s.Assume(ctx, v, g); plainErr == nil {
		return result(out), nil
	} else if !fault.Is(plainErr, fault.AccessDenied) {
		return nil, plainErr
	}
	return nil, err
}

// sharedIssuer says why a trust policy that would do for a unique issuer does
// not here; any other refusal stays what it was.
func (s *Service) sharedIssuer(ctx context.Context, v *store.View, g *Grant, p proven, refusal error) error {
	req, err := s.Request(ctx, v, g)
	if err != nil {
		return err
	}
	if allowed, _ := req.Evaluate(); !allowed {
		return refusal
	}
	return fault.New(fault.AccessDenied, "Not authorized to perform sts:AssumeRoleWithWebIdentity: several clusters of the account share the issuer %.200s, "+
		"so a trust policy that names it does not say which cluster is meant; name the cluster's own provider %s instead", p.cluster.Issuer, p.cluster.ProviderARN()).
		WithReason("issuer-shared")
}

func (s *Service) identify(g *Grant, p proven, providerARN, host string) {
	g.Principal = policy.FederatedPrincipal(providerARN)
	g.WebIdentity = &policy.WebIdentity{ProviderARN: providerARN, Issuer: host, Claims: map[string][]string{
		"sub": {p.claims.Subject}, "aud": {audience(p.claims)},
	}}
}

// audience is the one of the token's audiences that made it good here.
func audience(c satoken.Claims) string {
	for _, a := range webIdentityAudiences {
		if slices.Contains(c.Audiences, a) {
			return a
		}
	}
	return ""
}
