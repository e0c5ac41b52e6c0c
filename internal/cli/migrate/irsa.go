// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"podid/internal/cli/clients"
	"podid/internal/cli/ekssource"
	"podid/internal/cli/irsa"
	"podid/internal/cli/setup"
	"podid/internal/cli/trust"
)

// planner is a plan in the making, with what the control plane has.
type planner struct {
	c     *clients.Clients
	plan  *Plan
	roles map[string]*roleLine                        // by name
	there map[string]*ekstypes.PodIdentityAssociation // by namespace/service account
}

// roleLine is a role of the plan, looked at once. line is nil as long as
// nobody uses the role.
type roleLine struct {
	line *Line
	arn  string
}

func newPlanner(ctx context.Context, c *clients.Clients, kind string, t Target) (*planner, error) {
	found, err := setup.ListAssociations(ctx, c, &eks.ListPodIdentityAssociationsInput{ClusterName: &t.Cluster})
	if err != nil {
		return nil, fmt.Errorf("list associations of cluster %s: %w", t.Cluster, err)
	}
	p := &planner{c: c, plan: &Plan{Import: kind, Target: t}, roles: map[string]*roleLine{}, there: map[string]*ekstypes.PodIdentityAssociation{}}
	for _, a := range found {
		p.there[aws.ToString(a.Namespace)+"/"+aws.ToString(a.ServiceAccount)] = a
	}
	return p, nil
}

// IRSA plans an association for every annotated service account, and the
// extension of the trust policies of their roles, which have to exist. An
// association that is there is never changed.
func IRSA(ctx context.Context, c *clients.Clients, t Target, found *irsa.Found) (*Plan, error) {
	p, err := newPlanner(ctx, c, "irsa", t)
	if err != nil {
		return nil, err
	}
	times := map[string]int{}
	for _, s := range found.Annotated {
		times[s.Namespace+"/"+s.Name]++
	}
	for _, s := range found.Annotated {
		if err := p.serviceAccount(ctx, s, times[s.Namespace+"/"+s.Name]); err != nil {
			return nil, err
		}
	}
	return p.plan, nil
}

func (p *planner) serviceAccount(ctx context.Context, s irsa.ServiceAccount, times int) error {
	l := &Line{Kind: KindServiceAccount, Name: s.Namespace + "/" + s.Name}
	if why := p.unfit(s, times); why != "" {
		l.refuse("%s", why)
		p.plan.add(l)
		return nil
	}
	want := &associationChange{Cluster: p.plan.Target.Cluster, Namespace: s.Namespace, ServiceAccount: s.Name, Role: s.RoleARN}
	if !p.free(l, want) {
		p.plan.add(l)
		return nil
	}
	role, err := p.existingRole(ctx, s.RoleARN)
	if err != nil {
		return err
	}
	p.associate(want, role)
	return nil
}

// unfit says why a service account cannot become an association.
func (p *planner) unfit(s irsa.ServiceAccount, times int) string {
	t := p.plan.Target
	switch _, err := setup.RoleName(s.RoleARN); {
	case s.Namespace == "":
		return "it has no metadata.namespace; kubectl get writes it"
	case times > 1:
		return "it is there more than once, with several roles: " + s.RoleARN
	case err != nil:
		return fmt.Sprintf("its annotation %s is %q, not the ARN of a role", irsa.Annotation, s.RoleARN)
	case ekssource.AccountOf(s.RoleARN) != t.Account || !strings.HasPrefix(s.RoleARN, "arn:"+t.Partition+":iam:"):
		return fmt.Sprintf("its role %s is not of this control plane's account %s (arn:%s:iam::%s:role/…): make the role here, or take it over by podid import eks, and annotate that",
			s.RoleARN, t.Account, t.Partition, t.Account)
	}
	return ""
}

// free reports whether the association can be made or is there as wanted; if
// not, the line says what stands in its place.
func (p *planner) free(l *Line, want *associationChange) bool {
	a := p.there[want.Namespace+"/"+want.ServiceAccount]
	if a == nil {
		return true
	}
	d := want.differs(a)
	if len(d) == 0 {
		return true
	}
	l.Kind = KindAssociation
	l.refuse("association %s is there with another %s (role %s); podid update podidentityassociation changes it",
		aws.ToString(a.AssociationId), strings.Join(d, " and "), aws.ToString(a.RoleArn))
	return false
}

// associate adds the line of an association whose place is free.
func (p *planner) associate(want *associationChange, role *roleLine) *Line {
	l := p.plan.add(&Line{Kind: KindAssociation, Name: want.Namespace + "/" + want.ServiceAccount})
	switch a := p.there[want.Namespace+"/"+want.ServiceAccount]; {
	case role.line.Action == Refuse:
		l.refuse("role %s is refused", role.line.Name)
	case a != nil:
		l.Action, l.Why = Keep, "it is there as "+aws.ToString(a.AssociationId)
	default:
		l.Action, l.Why, l.change = Create, "role "+want.Role, want
		if want.TargetRole != "" {
			l.Why += ", target role " + want.TargetRole
		}
		l.needs = []*Line{role.line}
	}
	return l
}

// existingRole looks at a role that has to be there, and plans the extension
// of its trust policy.
func (p *planner) existingRole(ctx context.Context, arn string) (*roleLine, error) {
	name, err := setup.RoleName(arn)
	if err != nil {
		return nil, err
	}
	if r := p.roles[strings.ToLower(name)]; r != nil && r.arn == arn {
		return r, nil
	}
	r := &roleLine{line: p.plan.add(&Line{Kind: KindRole, Name: name}), arn: arn}
	p.roles[strings.ToLower(name)] = r
	role, err := setup.DescribeRole(ctx, p.c, name)
	switch {
	case clients.IsNotFound(err):
		r.line.refuse("role %s does not exist here: make it, or take it over by podid import eks", arn)
	case clients.IsRefused(err):
		r.line.refuse("role %s may not be read: %s", arn, clients.Code(err))
	case err != nil:
		return nil, fmt.Errorf("look for role %s: %w", name, err)
	case aws.ToString(role.Arn) != arn:
		r.line.refuse("the role of that name here is %s, not %s", aws.ToString(role.Arn), arn)
	default:
		p.extend(r.line, role)
	}
	return r, nil
}

// extend plans to let the cluster into a role's trust policy, if it is not.
func (p *planner) extend(l *Line, role *setup.Role) {
	t := p.plan.Target
	x, err := trust.Extend(role.Trust, t.Account, t.ClusterARN)
	switch {
	case err != nil:
		l.refuse("its trust policy cannot be extended: %v", err)
	case !x.Changed:
		l.Action, l.Why = Keep, "its trust policy lets pods of cluster "+t.Cluster+" in"
	default:
		l.Action, l.Why = Extend, "its trust policy does not let pods of cluster "+t.Cluster+" in"
		l.Diff = x.Diff("trust policy of "+l.Name, "with cluster "+t.Cluster)
		l.change = &trustChange{Role: l.Name, Old: role.Trust, New: x.New}
	}
}
