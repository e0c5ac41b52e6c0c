// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts

import (
	"context"

	"podid/internal/arn"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/issuer"
)

// Names of steps in a trace. Trust is called as with the embedded issuer.
const (
	stepBase   = "base credentials"
	stepToken  = "token for the STS"
	stepTrust  = "trust policy of the role:"
	stepPolicy = "policies of the base credentials"
	stepTarget = "target role"
)

// explain says what podid can know of an issue without one: who asks, whether
// the role is there, how podid reads its trust. What only the upstream knows is
// reported as open, with the reason.
func (u *upstream) explain(ctx context.Context, x *order, t *exchange.Trace) (*exchange.Issued, error) {
	open := func(step, why string) {
		t.Report(exchange.StepReport{Step: step, Verdict: exchange.Open, Note: "not checked: " + why})
	}
	out := &exchange.Issued{RoleARN: x.Association.RoleARN, Tags: x.tags}
	who, err := u.whoAmI(ctx)
	if err != nil {
		f := fault.As(err)
		t.Report(exchange.StepReport{Step: stepBase, Verdict: exchange.Fail, Reason: f.Reason, Message: f.Message, Detail: f.Detail, Note: u.name})
		return nil, explained(err)
	}
	t.Report(exchange.StepReport{Step: stepBase, Verdict: exchange.Pass, Note: who.arn + " at " + u.name})
	if err := u.explainTrust(ctx, x, who, t, open); err != nil {
		return nil, err
	}
	open(stepPolicy, "whether "+who.arn+" may call sts:AssumeRole and sts:TagSession, and what bounds it, is decided by "+u.name)
	if x.Association.TargetRoleARN != "" {
		open(stepTarget, "the policies of the first role and the trust policy of the target role are judged by "+u.name)
	}
	return out, nil
}

// explained makes an outage a finding: it is what this exchange would meet now,
// where an outage of the store would say nothing of it.
func explained(err error) error {
	f := fault.As(err)
	return fault.New(fault.InvalidRequest, "%s", f.Message).WithReason(f.Reason).WithDetail(f.Detail).Because(err)
}

func (u *upstream) explainTrust(ctx context.Context, x *order, who *identity, t *exchange.Trace, open func(step, why string)) error {
	ref, err := arn.ParseRole(x.Association.RoleARN)
	if err != nil {
		return fault.New(fault.InvalidParameter, "%s", err).WithReason("role-arn-malformed")
	}
	answer := u.role(ctx, ref, who)
	switch {
	case answer.none:
		return fault.New(fault.AccessDenied, "%s", issuer.Unauthorized).WithReason("role-not-found").WithDetail(Refusal{Upstream: u.name, Role: x.Association.RoleARN})
	case answer.role == nil:
		open(stepTrust+" sts:AssumeRole", answer.why)
		return nil
	}
	req, why := u.trustRequest(ctx, answer.role, who, x)
	if req == nil {
		open(stepTrust+" sts:AssumeRole", why)
		return nil
	}
	ok := true
	for _, a := range req.Explain() {
		d := a.Explanation.Decision
		rep := exchange.StepReport{Step: stepTrust + " " + a.Action, Verdict: exchange.Pass, Open: d.Open, Note: "as podid reads it"}
		switch {
		case !d.Allowed:
			ok = false
			rep.Verdict, rep.Reason, rep.Message, rep.Detail = exchange.Fail, "trust-policy-denied", a.Explanation.Reason(), a.Explanation
		case len(d.Open) > 0:
			rep.Verdict = exchange.Open
		}
		t.Report(rep)
	}
	if !ok {
		return fault.New(fault.AccessDenied, "%s", issuer.Unauthorized).WithReason("trust-policy-denied").
			WithDetail(TrustRefusal{u.name, x.Association.RoleARN, who.arn, req.Explain()})
	}
	return nil
}
