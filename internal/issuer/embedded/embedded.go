// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package embedded owns the issuer that needs no other service: roles of
// podid's own IAM, trust evaluated and sessions sealed by podid's own STS. It
// acts as the service principal pods.eks.amazonaws.com, chains into a target
// role as the first role's session, and checks at create time that a role's
// trust could hold. It refuses roles that do not exist or do not trust the
// service for both sts:AssumeRole and sts:TagSession.
package embedded

import (
	"context"

	"podid/internal/arn"
	"podid/internal/association"
	"podid/internal/authz"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/issuer"
	"podid/internal/policy"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/sts"
)

// STS is what the issuer needs of the Security Token Service.
type STS interface {
	Request(ctx context.Context, r store.Reader, g *sts.Grant) (*policy.AssumeRole, error)
	Permit(ctx context.Context, r store.Reader, g *sts.Grant) error
	NewSession(g *sts.Grant) *session.Session
	Mint(s *session.Session) (*sts.Assumed, error)
}

// Issuer issues from podid's own IAM and STS.
type Issuer struct{ STS STS }

// hop is one assumption on the way: its grant and what it is called.
type hop struct {
	name  string
	grant *sts.Grant
}

// Issue implements exchange.Issuer.
func (i *Issuer) Issue(ctx context.Context, r store.Reader, o *exchange.Order, t *exchange.Trace) (*exchange.Issued, error) {
	first, err := i.firstHop(r, o)
	if err != nil {
		return nil, err
	}
	last := first
	if err := i.permit(ctx, r, first, t); err != nil {
		return nil, err
	}
	if o.Association.TargetRoleARN != "" {
		if last, err = i.target(ctx, r, o, first, t); err != nil {
			return nil, err
		}
	}
	sess := i.STS.NewSession(last.grant)
	out := &exchange.Issued{RoleARN: sess.RoleARN(), AssumedRoleARN: sess.ARN(), AssumedRoleID: sess.AssumedRoleID(), Session: sess, Role: last.grant.Role}
	if o.DryRun {
		return out, nil
	}
	assumed, err := i.STS.Mint(sess)
	if err != nil {
		return nil, err
	}
	out.Credentials = assumed.Credentials
	return out, nil
}

// target takes the second hop. A target role may be of another account: who
// asks for a trace learns of it whether it would be assumed, and neither
// whether it exists nor what its trust policy says.
func (i *Issuer) target(ctx context.Context, r store.Reader, o *exchange.Order, first hop, t *exchange.Trace) (hop, error) {
	ref, err := arn.ParseRole(o.Association.TargetRoleARN)
	foreign := err == nil && ref.Account != o.Cluster.Account
	inner := t
	if foreign {
		inner = nil
	}
	last, err := i.targetHop(r, o, first)
	if err == nil {
		err = i.permit(ctx, r, last, inner)
	}
	if t == nil || !foreign {
		return last, err
	}
	rep := exchange.StepReport{Step: "target role: sts:AssumeRole", Verdict: exchange.Pass, Note: "the target role is of account " + ref.Account}
	if err == nil && len(last.grant.Unknown) > 0 {
		rep.Note += "; what depends on the pod was not checked"
	}
	if err != nil {
		if !fault.Is(err, fault.AccessDenied) {
			return last, err
		}
		const why = "the role is of another account: it does not exist, does not trust the first role for sts:AssumeRole and sts:TagSession, or the first role may not assume it"
		rep.Verdict, rep.Reason, rep.Message = exchange.Fail, "target-role-refused", why
		err = fault.New(fault.AccessDenied, "%s", issuer.Unauthorized).WithReason(rep.Reason)
	}
	t.Report(rep)
	return last, err
}

func (i *Issuer) permit(ctx context.Context, r store.Reader, h hop, t *exchange.Trace) error {
	if t != nil {
		return i.traced(ctx, r, h, t)
	}
	return refusal(i.STS.Permit(ctx, r, h.grant))
}

// traced evaluates a hop action by action and reports each.
func (i *Issuer) traced(ctx context.Context, r store.Reader, h hop, t *exchange.Trace) error {
	req, err := i.STS.Request(ctx, r, h.grant)
	if err != nil {
		return err
	}
	ok := true
	for _, a := range req.Explain() {
		d := a.Explanation.Decision
		rep := exchange.StepReport{Step: h.name + " " + a.Action, Verdict: exchange.Pass, Open: d.Open}
		if d.Allowed {
			rep.Note = a.Explanation.Reason()
		} else {
			ok = false
			rep.Verdict, rep.Reason, rep.Message, rep.Detail = exchange.Fail, "trust-policy-denied", a.Explanation.Reason(), a.Explanation
		}
		if d.Allowed && len(d.Open) > 0 {
			rep.Verdict = exchange.Open
		}
		t.Report(rep)
	}
	if !ok {
		return refusal(sts.Refused(h.grant, req))
	}
	return nil
}

// refusal gives STS' refusal the words that EKS Auth has for it. Reason and
// detail stay.
func refusal(err error) error {
	if !fault.Is(err, fault.AccessDenied) {
		return err
	}
	f := *fault.As(err)
	f.Message = issuer.Unauthorized
	return &f
}

func (i *Issuer) firstHop(r store.Reader, o *exchange.Order) (hop, error) {
	role, err := findRole(r, o.Cluster.Account, o.Association.RoleARN)
	if err != nil {
		return hop{}, err
	}
	g := serviceGrant(o.Cluster, role)
	g.SessionName, g.Duration, g.Unknown = o.SessionName, issuer.Lifetime, issuer.UnknownKeys(o.Pod)
	g.Origin = session.Origin{ClusterUID: o.Cluster.UID, AssociationID: o.Association.ID, PodUID: o.Pod.UID}
	if o.Association.DisableSessionTags {
		g.Origin.Pod = o.Pod.Namespace + "/" + o.Pod.Name // what else the tags say
	} else {
		g.Tags = issuer.PodTags(o.Cluster, g.SourceARN, o.Pod)
	}
	if o.Association.TargetRoleARN == "" {
		g.Policy = o.Association.Policy
	}
	return hop{"trust policy of the role:", g}, nil
}

// targetHop chains: the first role's session assumes the target role. Its
// session tags are transitive, so they come along as request tags; without
// tags the external id stands for the service account instead.
func (i *Issuer) targetHop(r store.Reader, o *exchange.Order, first hop) (hop, error) {
	role, err := findTarget(r, o.Cluster.Account, o.Association.TargetRoleARN)
	if err != nil {
		return hop{}, err
	}
	sess := i.STS.NewSession(first.grant)
	from := iam.Caller{
		Kind: iam.CallerSession, Partition: sess.Partition, Account: sess.Account, ARN: sess.ARN(), UserID: sess.AssumedRoleID(),
		Role: first.grant.Role, Session: sess,
	}
	g := &sts.Grant{
		Caller: from, Principal: authz.Principal(from), Role: role,
		SessionName: o.SessionName, Duration: issuer.TargetLifetime, Policy: o.Association.Policy, Unknown: first.grant.Unknown, Origin: sess.Origin,
	}
	if o.Association.DisableSessionTags {
		g.ExternalID = o.Association.ExternalID
	}
	return hop{"target role:", g}, nil
}

func serviceGrant(c *cluster.Cluster, role *iam.Role) *sts.Grant {
	return &sts.Grant{
		Caller:    iam.Caller{Kind: iam.CallerService, Partition: c.Partition, Account: c.Account, ARN: policy.PodIdentityService, Service: policy.PodIdentityService},
		Principal: policy.ServicePrincipal(policy.PodIdentityService), Role: role, SourceAccount: c.Account, SourceARN: c.ARN(),
	}
}

// findRole finds a role of the account by its whole ARN.
func findRole(r store.Reader, account, roleARN string) (*iam.Role, error) {
	if ref, err := arn.ParseRole(roleARN); err == nil && ref.Account != account {
		return nil, noRole("role-other-account", roleARN)
	}
	return findTarget(r, account, roleARN)
}

// findTarget finds a role of any account of the installation by its whole ARN.
func findTarget(r store.Reader, account, roleARN string) (*iam.Role, error) {
	ref, err := arn.ParseRole(roleARN)
	if err != nil {
		return nil, noRole("role-not-found", roleARN)
	}
	// Name by name, not by the role's own ARN: that would have to be made.
	role, ok := iam.FindRole(r, ref.Account, ref.Name)
	switch {
	case ok && ref == (arn.Role{Partition: role.Partition, Account: role.Account, Path: role.Path, Name: role.Name}):
		return role, nil
	case ref.Account != account:
		return nil, noRole("role-other-account", roleARN)
	}
	return nil, noRole("role-not-found", roleARN)
}

func noRole(reason, roleARN string) error {
	return fault.New(fault.AccessDenied, "%s", issuer.Unauthorized).WithReason(reason).WithDetail(map[string]string{"role": roleARN})
}

// AskRole implements association.RoleChecker. All that the check needs is in
// the store.
func (i *Issuer) AskRole(context.Context, store.Reader, *cluster.Cluster, *association.Association) association.RoleCheck {
	return i.CheckRole
}

// CheckRole is association's check at create and update: the role
// exists and its trust policy could hold for some pod of the service account.
// Pod name, pod uid, session name and time are unknown then, and a condition
// on an unknown passes.
func (i *Issuer) CheckRole(ctx context.Context, r store.Reader, c *cluster.Cluster, a *association.Association) error {
	if _, err := arn.ParseRole(a.RoleARN); err != nil {
		return fault.New(fault.InvalidParameter, "%s", err).WithReason("role-arn-malformed")
	}
	role, err := findRole(r, c.Account, a.RoleARN)
	if err != nil {
		return fault.New(fault.InvalidParameter, "Role provided in the request does not exist.").WithReason(fault.As(err).Reason)
	}
	tagged := i.createGrant(c, role)
	tagged.Tags = issuer.PodTags(c, tagged.SourceARN, exchange.Pod{Namespace: a.Namespace, ServiceAccount: a.ServiceAccount})
	grants := []*sts.Grant{tagged}
	if a.DisableSessionTags {
		// Without tags the conditions on them are not met; sts:TagSession must
		// be allowed all the same, as AWS checks both actions at create.
		grants = append(grants, i.createGrant(c, role))
	}
	for _, g := range grants {
		if err := i.checkTrust(ctx, r, g, a); err != nil {
			return err
		}
	}
	return nil
}

func (i *Issuer) createGrant(c *cluster.Cluster, role *iam.Role) *sts.Grant {
	g := serviceGrant(c, role)
	g.Unknown = append(issuer.UnknownKeys(exchange.Pod{}), "aws:CurrentTime", "aws:EpochTime")
	return g
}

// checkTrust evaluates one grant at create. For an association without tags
// the tagged grant counts for sts:TagSession only.
func (i *Issuer) checkTrust(ctx context.Context, r store.Reader, g *sts.Grant, a *association.Association) error {
	req, err := i.STS.Request(ctx, r, g)
	if err != nil {
		return err
	}
	_, decisions := req.Evaluate()
	for _, d := range decisions {
		if d.Decision.Allowed || a.DisableSessionTags && len(g.Tags) > 0 && d.Action != policy.ActionTagSession {
			continue
		}
		return fault.New(fault.InvalidParameter, "Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue.").
			WithReason("trust-policy-invalid").WithDetail(sts.Refusal{Role: a.RoleARN, Actions: req.Explain()})
	}
	return nil
}
