// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package authz decides what a caller may do: it gathers the policies that
// bind the caller (identity, boundary, session), adds what follows from caller
// and request to the condition keys, and asks policy. Verbs call it with
// themselves named as action and resource. It denies by default, and its
// refusals carry AWS' words for the caller and an explanation for audit.
package authz

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/reqctx"
	"podid/internal/session"
	"podid/internal/store"
)

// Authorizer answers verbs. Fields are set once, before use.
type Authorizer struct {
	Store    store.Store
	Policies *policy.Cache
	Now      func() time.Time
	Region   string
	OrgID    string // aws:PrincipalOrgID and aws:ResourceOrgID; "" = no organisation

	contexts    sync.Pool // of *policy.Context
	permissions store.Memo[permission, struct{}]
	bounds      store.Memo[bound, Bounds]
}

// Bounds are the documents that bind a caller, and the caller as policies
// name it.
type Bounds struct {
	Caller     iam.Caller // with its record as it stands now
	Principal  policy.Principal
	Identity   []policy.Named
	Boundary   *policy.Named
	Session    []policy.Named
	HasSession bool // a session policy was given: what it does not allow is denied
}

// Authorize returns nil when the caller may do q, else a fault of kind
// AccessDenied with the explanation as its detail.
func (a *Authorizer) Authorize(ctx context.Context, c iam.Caller, q iam.Query) error {
	if ok, err := a.Allowed(ctx, c, q); ok || err != nil {
		return err
	}
	// A policy that another replica attached a moment ago must count.
	v, err := a.Store.Fence(ctx)
	if err != nil {
		return fault.StoreUnread(err)
	}
	x, err := a.Explain(ctx, v, c, q)
	if err != nil {
		return err
	}
	if x.Decision.Allowed {
		return nil
	}
	return Denied(c, q, x)
}

// Allowed is Authorize without the words: a question, not a demand.
func (a *Authorizer) Allowed(ctx context.Context, c iam.Caller, q iam.Query) (bool, error) {
	v := a.Store.View()
	p, memorable := permissionOf(c, q)
	if memorable {
		if _, ok := a.permissions.Get(v, p); ok {
			return true, nil
		}
	}
	k, ok := a.contexts.Get().(*policy.Context)
	if !ok {
		k = &policy.Context{}
	}
	defer func() {
		k.Reset() // also of what it refers to
		a.contexts.Put(k)
	}()
	in, err := a.input(ctx, v, k, c, q, true)
	if err != nil {
		return false, err
	}
	allowed := policy.Evaluate(in).Allowed
	if allowed && memorable && k.Closed() {
		a.permissions.Put(v, p, struct{}{})
	}
	return allowed, nil
}

// Explain returns the decision on q and what led to it, on the view given.
func (a *Authorizer) Explain(ctx context.Context, v *store.View, c iam.Caller, q iam.Query) (policy.Explanation, error) {
	in, err := a.input(ctx, v, &policy.Context{}, c, q, false)
	if err != nil {
		return policy.Explanation{}, err
	}
	return policy.Explain(in), nil
}

// Denied is the fault for a refused query, in AWS' words (IAM User Guide,
// "Troubleshoot access denied error messages").
func Denied(c iam.Caller, q iam.Query, x policy.Explanation) error {
	return fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s on resource: %s %s", c.ARN, q.Action, q.Resource, because(q.Action, x)).
		WithReason("not-authorized").WithDetail(x)
}

// because is the end of AWS' sentence: which kind of policy denied, or did not
// allow.
func because(action string, x policy.Explanation) string {
	if x.Decision.Explicit {
		return "with an explicit deny" + within(x.Kind())
	}
	switch x.Decision.Cause {
	case policy.NoIdentityAllow:
		return "because no identity-based policy allows the " + action + " action"
	case policy.NoBoundaryAllow:
		return "because no permissions boundary allows the " + action + " action"
	case policy.NoSessionAllow:
		return "because no session policy allows the " + action + " action"
	case policy.NoResourceAllow, policy.NoTrustAllow:
		return "because no resource-based policy allows the " + action + " action"
	case policy.NoSCPAllow:
		return "because no service control policy allows the " + action + " action"
	case policy.NoRCPAllow:
		return "because no resource control policy allows the " + action + " action"
	}
	return "because no policy allows the " + action + " action"
}

// within names the kind of policy that denied, with its article.
func within(kind string) string {
	switch kind {
	case "":
		return ""
	case "identity policy":
		return " in an identity-based policy"
	case "trust policy", "resource policy":
		return " in a resource-based policy"
	}
	return " in a " + kind
}

// input puts the query into the evaluator's words, its keys into the empty k;
// with limit only those that a policy names, which is enough for a decision.
func (a *Authorizer) input(ctx context.Context, r store.Reader, k *policy.Context, c iam.Caller, q iam.Query, limit bool) (*policy.Input, error) {
	b, err := a.Bounds(r, c)
	if err != nil {
		return nil, err
	}
	in := &policy.Input{
		Principal: b.Principal, Action: q.Action, Resource: q.Resource, ResourceAccount: resourceAccount(c, q.Resource), Context: k,
		Identity: b.Identity, Boundary: b.Boundary, Session: b.Session, HasSession: b.HasSession,
	}
	if limit {
		if k.Limit(in); k.Closed() {
			return in, nil
		}
	}
	a.CallerKeys(ctx, k, b.Caller)
	for _, key := range q.Keys {
		if key.Multi || len(key.Values) != 1 {
			k.SetMulti(key.Name, key.Values...)
		} else {
			k.Set(key.Name, key.Values[0])
		}
	}
	k.Set("aws:ResourceAccount", in.ResourceAccount)
	return in, nil
}

// Bounds gathers the policies that bind a caller, as they stand in r: the
// caller's own record may be older. A document that cannot be read is an error,
// not an absence: it might hold a denial.
func (a *Authorizer) Bounds(r store.Reader, c iam.Caller) (Bounds, error) {
	v, viewed := r.(*store.View)
	who, memorable := boundOf(c)
	if !viewed || !memorable {
		return a.gather(r, c)
	}
	b, ok := a.bounds.Get(v, who)
	if !ok {
		var err error
		if b, err = a.gather(v, c); err != nil {
			return Bounds{}, err
		}
		a.bounds.Put(v, who, b)
	}
	b.Caller.AccessKeyID = c.AccessKeyID // which binds nobody
	return b, nil
}

func (a *Authorizer) gather(r store.Reader, c iam.Caller) (Bounds, error) {
	c, err := current(r, c)
	if err != nil {
		return Bounds{}, err
	}
	switch c.Kind {
	case iam.CallerUser:
		return a.userBounds(r, c)
	case iam.CallerSession:
		return a.sessionBounds(r, c)
	case iam.CallerFederated:
		return a.federatedBounds(r, c)
	case iam.CallerService:
		return Bounds{Caller: c, Principal: Principal(c)}, nil
	default:
		return Bounds{}, fault.New(fault.MissingAuthentication, "Missing Authentication Token").WithReason("signature-missing")
	}
}

// current puts the caller's user or role record as it stands in r in the place
// of the one that authentication saw: what was attached or detached since counts.
func current(r store.Reader, c iam.Caller) (iam.Caller, error) {
	scope := store.Scope{Account: c.Account, Region: store.Global}
	switch c.Kind {
	case iam.CallerUser, iam.CallerFederated:
		u, ok := iam.Users.Get(r, scope, strings.ToLower(c.User.Name))
		if !ok || u.ID != c.User.ID { // renamed since, or gone
			if u, ok = iam.UserByID(r, c.Account, c.User.ID); !ok {
				return iam.Caller{}, gone("user-deleted")
			}
		}
		if c.Kind == iam.CallerUser && c.User != u {
			c.ARN = u.ARN()
		}
		c.User = u
	case iam.CallerSession:
		role, ok := iam.FindRole(r, c.Session.Account, c.Session.RoleName)
		if !ok || role.ID != c.Session.RoleID {
			return iam.Caller{}, gone("session-role-deleted")
		}
		c.Role = role
	}
	return c, nil
}

// gone is the fault for a caller that was deleted since it was proven.
func gone(reason string) error {
	return fault.New(fault.UnknownAccessKey, "The security token included in the request is invalid.").WithReason(reason)
}

// Principal is the caller as policies name it.
func Principal(c iam.Caller) policy.Principal {
	switch c.Kind {
	case iam.CallerUser:
		return policy.UserPrincipal(c.ARN).WithID(c.User.ID)
	case iam.CallerSession:
		return policy.SessionPrincipal(c.Session.RoleARN(), c.Session.ARN()).WithID(c.Session.RoleID)
	case iam.CallerFederated:
		return policy.FederatedUserPrincipal(c.ARN)
	case iam.CallerService:
		return policy.ServicePrincipal(c.Service)
	}
	return policy.AnonymousPrincipal()
}

func (a *Authorizer) userBounds(r store.Reader, c iam.Caller) (Bounds, error) {
	b := Bounds{Caller: c, Principal: Principal(c)}
	refs, err := iam.PoliciesOfUser(r, c.User)
	if err != nil {
		return Bounds{}, err
	}
	if b.Identity, err = a.compile(policy.Identity, refs); err != nil {
		return Bounds{}, err
	}
	b.Boundary, err = a.boundary(r, c.User.Boundary)
	return b, err
}

func (a *Authorizer) sessionBounds(r store.Reader, c iam.Caller) (Bounds, error) {
	s := c.Session
	b := Bounds{Caller: c, Principal: Principal(c)}
	refs, err := iam.PoliciesOfRole(r, c.Role)
	if err != nil {
		return Bounds{}, err
	}
	if b.Identity, err = a.compile(policy.Identity, refs); err != nil {
		return Bounds{}, err
	}
	if b.Boundary, err = a.boundary(r, c.Role.Boundary); err != nil {
		return Bounds{}, err
	}
	b.Session, b.HasSession, err = a.sessionPolicies(r, s.Policy, s.PolicyARNs)
	return b, err
}

// federatedBounds are the user's who vouches, and the session's policies: what
// both allow. Without session policies nothing is allowed.
func (a *Authorizer) federatedBounds(r store.Reader, c iam.Caller) (Bounds, error) {
	b, err := a.userBounds(r, c)
	if err != nil {
		return Bounds{}, err
	}
	b.Session, _, err = a.sessionPolicies(r, c.Session.Policy, c.Session.PolicyARNs)
	b.HasSession = true
	return b, err
}

// sessionPolicies compiles the policies of a session.
func (a *Authorizer) sessionPolicies(r store.Reader, inline string, arns []string) ([]policy.Named, bool, error) {
	var refs []iam.PolicyRef
	if inline != "" {
		refs = append(refs, iam.PolicyRef{Name: "session policy", Document: inline})
	}
	for _, p := range arns {
		ref, err := iam.ManagedPolicy(r, p)
		if err != nil {
			return nil, false, err
		}
		refs = append(refs, ref)
	}
	named, err := a.compile(policy.SessionPolicy, refs)
	return named, len(refs) > 0, err
}

func (a *Authorizer) boundary(r store.Reader, boundaryARN string) (*policy.Named, error) {
	ref, given, err := iam.BoundaryOf(r, boundaryARN)
	if err != nil || !given {
		return nil, err
	}
	named, err := a.compile(policy.Boundary, []iam.PolicyRef{ref})
	if err != nil {
		return nil, err
	}
	return &named[0], nil
}

func (a *Authorizer) compile(kind policy.DocumentKind, refs []iam.PolicyRef) ([]policy.Named, error) {
	out := make([]policy.Named, len(refs))
	for i, ref := range refs {
		doc, err := a.Policies.Get(kind, ref.Document)
		if err != nil {
			return nil, fmt.Errorf("compile policy %s: %w", ref.Name, err)
		}
		name := ref.Name
		if ref.Group != "" {
			name += " of group " + ref.Group
		}
		out[i] = policy.Named{Name: name, ARN: ref.ARN, Doc: doc}
	}
	return out, nil
}

// CallerKeys sets the condition keys that follow from caller and request
// (IAM User Guide, "AWS global condition context keys").
func (a *Authorizer) CallerKeys(ctx context.Context, k *policy.Context, c iam.Caller) {
	k.SetCaller(Principal(c))
	a.requestKeys(ctx, k)
	k.Set("aws:PrincipalAccount", c.Account)
	k.Set("aws:userid", c.UserID)
	if a.OrgID != "" {
		k.Set("aws:PrincipalOrgID", a.OrgID)
		k.Set("aws:ResourceOrgID", a.OrgID)
	}
	switch c.Kind {
	case iam.CallerUser:
		k.Set("aws:PrincipalArn", c.ARN)
		k.Set("aws:PrincipalType", "User")
		k.Set("aws:username", c.User.Name)
		for _, t := range c.User.Tags {
			k.SetTag("aws:PrincipalTag/", t.Key, t.Value)
		}
		if c.Session != nil {
			temporaryKeys(k, c.Session)
		}
	case iam.CallerSession:
		a.sessionKeys(k, c)
	case iam.CallerFederated:
		federatedKeys(k, c)
	}
}

// temporaryKeys are those of all temporary credentials. podid has no MFA.
func temporaryKeys(k *policy.Context, s *session.Session) {
	k.Set("aws:TokenIssueTime", s.Issued.UTC().Format(time.RFC3339))
	k.Set("aws:MultiFactorAuthPresent", "false")
}

// federatedKeys: the user's tags lie under those of the session.
func federatedKeys(k *policy.Context, c iam.Caller) {
	temporaryKeys(k, c.Session)
	k.Set("aws:PrincipalArn", c.ARN)
	k.Set("aws:PrincipalType", "FederatedUser")
	for _, t := range c.User.Tags {
		k.SetTag("aws:PrincipalTag/", t.Key, t.Value)
	}
	for _, t := range c.Session.Tags {
		k.SetTag("aws:PrincipalTag/", t.Key, t.Value)
	}
}

// requestKeys are those of every request, whoever made it.
func (a *Authorizer) requestKeys(ctx context.Context, k *policy.Context) {
	info := reqctx.From(ctx)
	k.SetTime(a.Now())
	k.Set("aws:SecureTransport", strconv.FormatBool(info.TLS))
	k.Set("aws:RequestedRegion", a.Region)
	k.Set("aws:ViaAWSService", "false")
	k.Set("aws:PrincipalIsAWSService", "false")
	if info.SourceIP.IsValid() {
		k.Set("aws:SourceIp", info.SourceIP.Unmap().String())
	}
	if info.UserAgent != "" {
		k.Set("aws:UserAgent", info.UserAgent)
	}
}

// sessionKeys: role tags lie under session tags (iam-sts: new session tags,
// then inherited ones, then role tags; the session holds the first two).
func (a *Authorizer) sessionKeys(k *policy.Context, c iam.Caller) {
	s := c.Session
	k.Set("aws:PrincipalArn", s.RoleARN())
	k.Set("aws:PrincipalType", "AssumedRole")
	temporaryKeys(k, s)
	if s.FederatedProvider != "" {
		k.Set("aws:FederatedProvider", s.FederatedProvider)
	}
	if s.SourceIdentity != "" {
		k.Set("aws:SourceIdentity", s.SourceIdentity)
	}
	if c.Role != nil {
		for _, t := range c.Role.Tags {
			k.SetTag("aws:PrincipalTag/", t.Key, t.Value)
		}
	}
	for _, t := range s.Tags {
		k.SetTag("aws:PrincipalTag/", t.Key, t.Value)
	}
}
