// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sts owns the issue of temporary credentials: the one path by which
// any role session comes into being, whoever asks (a user, a role session, a
// federated token, or podid acting as pods.eks.amazonaws.com), and the sessions
// that users get for themselves and for those they vouch for. A role's trust
// policy is evaluated for each action by itself (sts:AssumeRole,
// sts:TagSession, sts:SetSourceIdentity). It refuses sessions that a trust
// policy does not allow, durations above the role's, tags that clash with
// inherited ones, chains above an hour, and temporary credentials where AWS
// wants a user's own.
package sts

import (
	"context"
	"io"
	"time"

	"podid/internal/authz"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/reqctx"
	"podid/internal/session"
	"podid/internal/store"
)

// Durations of role sessions, by AWS' documentation of AssumeRole.
const (
	MinDuration     = 15 * time.Minute
	DefaultDuration = time.Hour
	MaxDuration     = 12 * time.Hour
	MaxChained      = time.Hour // role chaining
)

// Callers tells which policies and condition keys bind a caller, and what he
// may do beside assuming roles.
type Callers interface {
	Authorize(ctx context.Context, c iam.Caller, q iam.Query) error
	Bounds(r store.Reader, c iam.Caller) (authz.Bounds, error)
	CallerKeys(ctx context.Context, k *policy.Context, c iam.Caller)
}

// Minter seals sessions.
type Minter interface {
	Mint(s *session.Session) (session.Credentials, error)
}

// Service is the Security Token Service of one account. Fields are set once,
// before use.
type Service struct {
	Store     store.Store
	Callers   Callers
	Policies  *policy.Cache
	Minter    Minter
	Messages  Messages      // for DecodeAuthorizationMessage
	Clusters  TokenClusters // for AssumeRoleWithWebIdentity
	Providers *ProviderKeys // for AssumeRoleWithWebIdentity by OIDC providers; nil for none
	Now       func() time.Time
	Rand      io.Reader
	Partition string
	Account   string
	Region    string
	OrgID     string
	Leeway    time.Duration // of a token's times; 0 = 60 s
	MaxLife   time.Duration // of a token; 0 = 24 h
}

// Grant is an assumption that somebody asks for. It is complete: what is not
// in it is not in the session.
type Grant struct {
	Caller         iam.Caller // the zero Caller with WebIdentity
	Principal      policy.Principal
	WebIdentity    *policy.WebIdentity
	Role           *iam.Role
	SessionName    string
	Duration       time.Duration
	Tags           []session.Tag
	ExternalID     string
	SourceIdentity string
	SourceAccount  string   // for service principals
	SourceARN      string   // for service principals
	Policy         string   // inline session policy
	PolicyARNs     []string // managed session policies
	Node           session.Node
	Origin         session.Origin
	MinTokenSize   int      // bytes; 0 = none
	Unknown        []string // condition keys that are not known yet (create time, explain)
}

// Assumed is a new role session.
type Assumed struct {
	Session     *session.Session
	Credentials session.Credentials
	PackedSize  int // percent, of what was passed: tags and session policies; 0 = nothing was
}

// chained reports whether the credentials of a role session ask: a role chain.
func chained(c iam.Caller) bool { return c.Session != nil && c.Session.Kind == session.OfRole }

// inherited are the transitive tags of the calling session.
func (g *Grant) inherited() []session.Tag {
	if g.Caller.Session == nil {
		return nil
	}
	var out []session.Tag
	for _, t := range g.Caller.Session.Tags {
		if t.Transitive {
			out = append(out, t)
		}
	}
	return out
}

// Request puts a grant into the evaluator's words, on the records of r.
func (s *Service) Request(ctx context.Context, r store.Reader, g *Grant) (*policy.AssumeRole, error) {
	trust, err := s.Policies.Get(policy.Trust, g.Role.Trust)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Internal, Reason: "trust-policy-unreadable", Err: err}
	}
	roleARN := g.Role.ARN()
	req := &policy.AssumeRole{
		Caller: g.Principal, RoleARN: roleARN, RoleAccount: g.Role.Account, Action: policy.ActionAssumeRole,
		Trust: policy.Named{Name: "trust policy of role " + g.Role.Name, ARN: roleARN, Doc: trust},
		Tags:  policyTags(g.Tags), Inherited: policyTags(g.inherited()), TransitiveKeys: transitive(g.Tags),
		RoleSessionName: g.SessionName, ExternalID: g.ExternalID, SourceIdentity: g.SourceIdentity,
		SourceAccount: g.SourceAccount, SourceARN: g.SourceARN, WebIdentity: g.WebIdentity, Unknown: g.Unknown,
		Now: s.Now(), SecureTransport: secure(ctx, g), RequestedRegion: s.Region,
	}
	if g.SourceAccount != "" {
		req.SourceOrgID = s.OrgID
	}
	req.ResourceOrgID = s.OrgID
	for _, t := range g.Role.Tags {
		req.RoleTags = append(req.RoleTags, policy.Tag{Key: t.Key, Value: t.Value})
	}
	if g.WebIdentity != nil {
		req.Action = policy.ActionAssumeRoleWithWebIdentity
		req.CallerContext = webContext(ctx, g)
		return req, nil
	}
	if g.Caller.Kind == iam.CallerService {
		return req, nil
	}
	b, err := s.Callers.Bounds(r, g.Caller)
	if err != nil {
		return nil, err
	}
	req.Identity, req.Boundary, req.Session, req.HasSession = b.Identity, b.Boundary, b.Session, b.HasSession
	s.Callers.CallerKeys(ctx, req.OpenCallerContext(), b.Caller)
	return req, nil
}

// secure is aws:SecureTransport. EKS Pod Identity asks from inside; so does a
// call without an address.
func secure(ctx context.Context, g *Grant) bool {
	info := reqctx.From(ctx)
	return info.TLS || g.Caller.Kind == iam.CallerService || !info.SourceIP.IsValid()
}

// webContext holds the keys of a caller who has a token and no record of ours:
// a trust policy may look at where he comes from, too.
func webContext(ctx context.Context, g *Grant) *policy.Context {
	k := &policy.Context{}
	k.SetCaller(g.Principal)
	info := reqctx.From(ctx)
	if info.SourceIP.IsValid() {
		k.Set("aws:SourceIp", info.SourceIP.Unmap().String())
	}
	if info.UserAgent != "" {
		k.Set("aws:UserAgent", info.UserAgent)
	}
	return k
}

func policyTags(in []session.Tag) []policy.Tag {
	if len(in) == 0 {
		return nil
	}
	out := make([]policy.Tag, len(in))
	for i, t := range in {
		out[i] = policy.Tag{Key: t.Key, Value: t.Value}
	}
	return out
}

func transitive(in []session.Tag) []string {
	if len(in) == 0 {
		return nil
	}
	out := make([]string, 0, len(in))
	for _, t := range in {
		if t.Transitive {
			out = append(out, t.Key)
		}
	}
	return out
}

// Refusal is the detail of a refused assumption: the action that was refused
// and why.
type Refusal struct {
	Role    string                     `json:"role"`
	Actions []policy.ActionExplanation `json:"actions"`
}

// Assume evaluates a grant on the records of r and issues the session, for at
// most the role's MaxSessionDuration. The fault of a refusal is AccessDenied
// with a Refusal as its detail. Policies come before the duration: who may not
// assume a role does not learn that it exists.
func (s *Service) Assume(ctx context.Context, r store.Reader, g *Grant) (*Assumed, error) {
	if err := s.Permit(ctx, r, g); err != nil {
		return nil, err
	}
	if g.Duration > time.Duration(g.Role.MaxSession)*time.Second {
		return nil, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	out, err := s.Mint(s.NewSession(g))
	if err != nil {
		return nil, err
	}
	out.PackedSize = session.PackedPolicySize(g.Tags, g.Policy, g.PolicyARNs)
	return out, nil
}

// Permit evaluates a grant and returns nil when every action is allowed.
func (s *Service) Permit(ctx context.Context, r store.Reader, g *Grant) error {
	req, err := s.Request(ctx, r, g)
	if err != nil {
		return err
	}
	if !req.Allowed() {
		return Refused(g, req)
	}
	return nil
}

// Refused is the fault for a grant that policies do not allow.
func Refused(g *Grant, req *policy.AssumeRole) *fault.Error {
	x := req.Explain()
	action, reason := req.Action, "trust-policy-denied"
	for _, a := range x {
		if !a.Explanation.Decision.Allowed {
			action, reason = a.Action, reasonOf(a)
			break
		}
	}
	msg := "Not authorized to perform " + req.Action
	if g.WebIdentity == nil {
		msg = "User: " + g.Principal.String() + " is not authorized to perform: " + action + " on resource: " + req.RoleARN
	}
	return fault.New(fault.AccessDenied, "%s", msg).WithReason(reason).WithDetail(Refusal{Role: req.RoleARN, Actions: x})
}

// reasonOf names the refusal: which action, and on which side.
func reasonOf(a policy.ActionExplanation) string {
	action := map[string]string{"sts:TagSession": "-tag-session", "sts:SetSourceIdentity": "-source-identity"}[a.Action]
	if kind := a.Explanation.Kind(); kind == "trust policy" || kind == "" {
		return "trust-policy-denied" + action
	}
	return "assume-role-denied" + action
}

// NewSession is the session of a grant that was permitted.
func (s *Service) NewSession(g *Grant) *session.Session {
	// Revocation compares to the millisecond; clients see seconds.
	now := s.Now().UTC().Truncate(time.Millisecond)
	sess := &session.Session{
		Partition: g.Role.Partition, Account: g.Role.Account, RoleID: g.Role.ID, RolePath: g.Role.Path, RoleName: g.Role.Name,
		Name: g.SessionName, Issued: now, Expires: now.Truncate(time.Second).Add(g.Duration), Tags: append(g.inherited(), g.Tags...),
		Chained: chained(g.Caller), SourceIdentity: g.SourceIdentity, Policy: g.Policy, PolicyARNs: g.PolicyARNs,
		Node: g.Node, Origin: g.Origin, MinTokenSize: g.MinTokenSize,
	}
	if g.WebIdentity != nil {
		sess.FederatedProvider = g.WebIdentity.ProviderARN
	}
	if from := g.Caller.Session; from != nil {
		// What the server set stays through chaining, whatever the caller asks.
		sess.Node, sess.FederatedProvider, sess.Chain = from.Node, from.FederatedProvider, from.Lineage()
		if sess.Origin == (session.Origin{}) {
			sess.Origin = from.Origin
		}
	}
	return sess
}

// Mint seals a session into credentials.
func (s *Service) Mint(sess *session.Session) (*Assumed, error) {
	cred, err := s.Minter.Mint(sess)
	if err != nil {
		return nil, err
	}
	return &Assumed{Session: sess, Credentials: cred}, nil
}
