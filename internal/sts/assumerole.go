// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"context"
	"errors"
	"time"

	"podid/internal/arn"
	"podid/internal/authz"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/session"
	"podid/internal/store"
)

// AssumeRoleInput is what a caller of AssumeRole says.
type AssumeRoleInput struct {
	RoleARN        string
	SessionName    string
	Duration       int // seconds; 0 = 3600
	Policy         string
	PolicyARNs     []string
	Tags           []session.Tag // Transitive is set from TransitiveKeys
	TransitiveKeys []string
	ExternalID     string
	SourceIdentity string
	MinTokenSize   int    // bytes; the token is padded to it; 0 = not at all
	SerialNumber   string // of an MFA device, which podid has not: refused
	TokenCode      string // likewise
}

// AssumeRole checks the request, evaluates trust and identity policies and
// issues a session. A role that does not exist is AccessDenied, as with AWS:
// nobody learns which roles there are.
func (s *Service) AssumeRole(ctx context.Context, caller iam.Caller, in AssumeRoleInput) (*Assumed, error) {
	v := s.Store.View()
	out, err := s.assumeRole(ctx, v, caller, in)
	if !fault.Is(err, fault.AccessDenied) {
		return out, err
	}
	// What another replica acknowledged must count before a refusal is final.
	fresh, ferr := s.Store.Fence(ctx)
	if ferr != nil {
		return nil, fault.StoreUnread(ferr)
	}
	if fresh.Revision() == v.Revision() {
		return nil, err
	}
	return s.assumeRole(ctx, fresh, caller, in)
}

func (s *Service) assumeRole(ctx context.Context, v *store.View, caller iam.Caller, in AssumeRoleInput) (*Assumed, error) {
	g, err := s.grantFor(v, caller, in)
	if err != nil {
		return nil, err
	}
	if g.Role.Account != caller.Account {
		// Which policies another account has is for those it lets in.
		if err := s.Permit(ctx, v, g); err != nil {
			return nil, err
		}
		if err := checkManaged(v, g.Role.Account, in.PolicyARNs); err != nil {
			return nil, err
		}
	}
	return s.Assume(ctx, v, g)
}

// check is what can be said of the request without looking anything up.
func (in *AssumeRoleInput) check() error {
	var c constraints
	c.roleARN(in.RoleARN)
	c.name(in.SessionName, "roleSessionName", 64)
	c.seconds(in.Duration, MaxDuration)
	c.externalID(in.ExternalID)
	if in.SourceIdentity != "" {
		c.name(in.SourceIdentity, "sourceIdentity", 64)
	}
	c.policies(in.Policy, in.PolicyARNs)
	c.tags(in.Tags, in.TransitiveKeys)
	c.tokenSize(in.MinTokenSize)
	if err := c.err(); err != nil {
		return err
	}
	if _, err := arn.ParseRole(in.RoleARN); err != nil {
		return invalid("%.200s is invalid", in.RoleARN)
	}
	return withoutMFA(in.SerialNumber, in.TokenCode)
}

func (s *Service) grantFor(v *store.View, caller iam.Caller, in AssumeRoleInput) (*Grant, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := s.checkInline(in.Policy); err != nil {
		return nil, err
	}
	if accountOf(in.RoleARN) == caller.Account {
		if err := checkManaged(v, caller.Account, in.PolicyARNs); err != nil {
			return nil, err
		}
	}
	g := &Grant{
		Caller: caller, Principal: authz.Principal(caller), SessionName: in.SessionName, ExternalID: in.ExternalID,
		SourceIdentity: in.SourceIdentity, Policy: in.Policy, PolicyARNs: in.PolicyARNs, MinTokenSize: in.MinTokenSize,
	}
	if caller.Session != nil && caller.Session.SourceIdentity != "" {
		if in.SourceIdentity != "" && in.SourceIdentity != caller.Session.SourceIdentity {
			return nil, denied(caller, "sts:SetSourceIdentity", in.RoleARN)
		}
		g.SourceIdentity = caller.Session.SourceIdentity
	}
	var err error
	if g.Tags, err = sessionTags(in.Tags, in.TransitiveKeys, g.inherited()); err != nil {
		return nil, err
	}
	if g.Duration, err = duration(in.Duration, chained(caller)); err != nil {
		return nil, err
	}
	// From here on answers depend on which roles there are.
	role, ok := iam.RoleByARN(v, in.RoleARN)
	if !ok || caller.Kind == iam.CallerFederated {
		return nil, denied(caller, "sts:AssumeRole", in.RoleARN)
	}
	g.Role = role
	return g, nil
}

func denied(c iam.Caller, action, resource string) error {
	return fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s on resource: %s", c.ARN, action, resource).WithReason("assume-role-denied").
		WithDetail(Refusal{Role: resource})
}

// duration is that of a role session whose seconds are good in form; 0 is the
// default.
func duration(seconds int, chained bool) (time.Duration, error) {
	if seconds == 0 {
		return DefaultDuration, nil
	}
	d := time.Duration(seconds) * time.Second
	if chained && d > MaxChained {
		return 0, invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	return d, nil
}

// accountOf is the account in a role's ARN that has been checked.
func accountOf(roleARN string) string {
	r, err := arn.ParseRole(roleARN)
	if err != nil {
		return ""
	}
	return r.Account
}

// checkSessionPolicies wants an inline policy that is one, and managed ones
// that the account has.
func (s *Service) checkSessionPolicies(r store.Reader, account, inline string, arns []string) error {
	if err := s.checkInline(inline); err != nil {
		return err
	}
	return checkManaged(r, account, arns)
}

func (s *Service) checkInline(inline string) error {
	if inline == "" {
		return nil
	}
	_, err := s.Policies.Get(policy.SessionPolicy, inline)
	var m *policy.MalformedError
	if errors.As(err, &m) {
		return fault.New(fault.MalformedPolicy, "%s", m.Message).WithReason("malformed-policy")
	}
	return err
}

func checkManaged(r store.Reader, account string, arns []string) error {
	for _, a := range arns {
		if _, ok := iam.FindPolicy(r, account, a); !ok {
			return invalid("PolicyArn %.200s does not exist or is not attachable.", a)
		}
	}
	return nil
}

// Identity is the answer of GetCallerIdentity.
type Identity struct{ Account, ARN, UserID string }

// GetCallerIdentity tells callers who they are. It is always allowed.
func (s *Service) GetCallerIdentity(c iam.Caller) Identity {
	return Identity{Account: c.Account, ARN: c.ARN, UserID: c.UserID}
}
