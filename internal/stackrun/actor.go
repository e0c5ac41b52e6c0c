// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"slices"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/store"
	"podid/internal/sts"
)

// An actor is who a run's actions are done as. Via says that it is the caller,
// for whom CloudFormation asks; a stack's role asks for itself.
type actor struct {
	who iam.Caller
	via bool
}

// via asks as CloudFormation does for its caller: a policy may allow what
// stacks do, and not the same done by hand. Source: IAM User Guide, "AWS global
// condition context keys", aws:CalledVia.
type via struct{ Authorizer }

// Authorize implements Authorizer.
func (v via) Authorize(ctx context.Context, c iam.Caller, q iam.Query) error {
	q.Keys = append(slices.Clone(q.Keys),
		iam.ConditionKey{Name: "aws:ViaAWSService", Values: []string{"true"}},
		iam.ConditionKey{Name: "aws:CalledVia", Values: []string{Service}, Multi: true},
		iam.ConditionKey{Name: "aws:CalledViaFirst", Values: []string{Service}},
		iam.ConditionKey{Name: "aws:CalledViaLast", Values: []string{Service}})
	return v.Authorizer.Authorize(ctx, c, q)
}

// pass asks whether the caller may give the role to CloudFormation.
func (m *Manager) pass(ctx context.Context, caller iam.Caller, roleARN string) error {
	if roleARN == "" {
		return nil
	}
	role, err := arn.ParseRole(roleARN)
	if err != nil {
		return invalid("role-arn", "Role %.256s is invalid or cannot be assumed", roleARN)
	}
	if role.Account != m.Account || role.Partition != m.Partition {
		return fault.New(fault.AccessDenied, "Cross-account pass role is not allowed.").WithReason("cross-account-role")
	}
	return m.Authz.Authorize(ctx, caller, iam.Query{Action: "iam:PassRole", Resource: roleARN, Keys: []iam.ConditionKey{
		{Name: "iam:PassedToService", Values: []string{Service}},
	}})
}

// actor is who the stack's actions are done as: the caller, or a session of
// the role, whose trust policy has to let CloudFormation in.
func (m *Manager) actor(ctx context.Context, r store.Reader, caller iam.Caller, roleARN, stackID string) (actor, error) {
	if roleARN == "" {
		return actor{caller, true}, nil
	}
	refused := invalid("role-not-assumed", "Role %.256s is invalid or cannot be assumed", roleARN)
	role, ok := iam.RoleByARN(r, roleARN)
	if !ok || role.Account != m.Account {
		return actor{}, refused
	}
	g := &sts.Grant{
		Caller:    iam.Caller{Kind: iam.CallerService, Partition: m.Partition, Account: m.Account, ARN: Service, Service: Service},
		Principal: policy.ServicePrincipal(Service), Role: role, SessionName: "AWSCloudFormation", Duration: sts.DefaultDuration,
		SourceAccount: m.Account, SourceARN: stackID,
	}
	if err := m.Sessions.Permit(ctx, r, g); err != nil {
		if fault.Is(err, fault.AccessDenied) {
			return actor{}, refused.Because(err)
		}
		return actor{}, err
	}
	s := m.Sessions.NewSession(g)
	return actor{who: iam.Caller{
		Kind: iam.CallerSession, Partition: m.Partition, Account: m.Account, ARN: s.ARN(), UserID: s.AssumedRoleID(), Role: role, Session: s,
	}}, nil
}
