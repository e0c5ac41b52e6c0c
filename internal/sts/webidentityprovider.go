// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"context"
	"errors"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/store"
)

// errNoProviderKeys: the process was put together without them.
var errNoProviderKeys = errors.New("no keys of OIDC providers")

// otherwise is for a token that no registered cluster has issued: it is held
// against the OIDC provider that the account has for the issuer. refusal is
// what stands when there is none, or when the token was a cluster's and is
// over or ambiguous.
func (s *Service) otherwise(ctx context.Context, v *store.View, in WebIdentityInput, iss string, life time.Duration, refusal error) (*WebIdentityResult, error) {
	p, ok := iam.FindOIDCProvider(v, s.Account, iss)
	if !ok || fault.Is(refusal, fault.ExpiredToken) || fault.Is(refusal, fault.IdPRejected) {
		return nil, refusal
	}
	if s.Providers == nil {
		return nil, &fault.Error{Kind: fault.Internal, Reason: "provider-keys-missing", Err: errNoProviderKeys}
	}
	payload, err := s.Providers.verify(ctx, p, in.Token)
	if err != nil {
		return nil, err
	}
	t, issuer, err := readIDToken(payload)
	if err != nil {
		return nil, err
	}
	audience, err := t.check(p, issuer, s.Now(), s.Leeway, s.MaxLife)
	if err != nil {
		return nil, err
	}
	// From here on answers depend on which policies and roles there are.
	if err := s.checkSessionPolicies(v, accountOf(in.RoleARN), in.Policy, in.PolicyARNs); err != nil {
		return nil, err
	}
	role, ok := iam.RoleByARN(v, in.RoleARN)
	if !ok {
		return nil, fault.New(fault.AccessDenied, "Not authorized to perform sts:AssumeRoleWithWebIdentity").WithReason("role-not-found")
	}
	out, err := s.Assume(ctx, v, &Grant{
		Principal: policy.FederatedPrincipal(p.ARN()), Role: role, SessionName: in.SessionName, Duration: life,
		WebIdentity: &policy.WebIdentity{ProviderARN: p.ARN(), Issuer: p.URL, Claims: t.claims(audience)},
		Tags:        t.tags, SourceIdentity: t.sourceIdentity, Policy: in.Policy, PolicyARNs: in.PolicyARNs, MinTokenSize: in.MinTokenSize,
	})
	if err != nil {
		return nil, err
	}
	return &WebIdentityResult{Assumed: *out, Subject: t.subject, Audience: audience, Provider: p.ARN()}, nil
}
