// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"podid/internal/cli/clients"
	"podid/internal/cli/ekssource"
	"podid/internal/cli/setup"
	"podid/internal/cli/trust"
)

// EKS plans to take over a cluster's associations, the roles that they name,
// and the policies of these. Names and paths stay, account, partition and
// cluster are those of the target: in ARNs of roles and of the account's own
// policies, and in the parts of trust policies that name them. Documents of
// permissions are kept as they are, for what they name is still at AWS. AWS'
// own policies are kept by ARN and have to be known here.
func EKS(ctx context.Context, c *clients.Clients, t Target, s *ekssource.Snapshot) (*Plan, error) {
	base, err := newPlanner(ctx, c, "eks", t)
	if err != nil {
		return nil, err
	}
	p := &eksPlanner{planner: base, from: s, policies: map[string]*Line{}}
	for _, a := range s.Associations {
		if err := p.association(ctx, &a); err != nil {
			return nil, err
		}
	}
	return p.plan, nil
}

type eksPlanner struct {
	*planner
	from     *ekssource.Snapshot
	policies map[string]*Line // by ARN at the source; in the plan or not
}

// moved is an ARN of the source's account as it is here.
func (p *eksPlanner) moved(arn string) string {
	parts := strings.SplitN(arn, ":", arnParts)
	if len(parts) != arnParts {
		return arn
	}
	parts[1] = p.plan.Target.Partition
	if parts[4] == p.from.Account {
		parts[4] = p.plan.Target.Account
	}
	return strings.Join(parts, ":")
}

const arnParts = 6

// otherAccount reports whether the account changes.
func (p *eksPlanner) otherAccount() bool { return p.from.Account != p.plan.Target.Account }

func (p *eksPlanner) association(ctx context.Context, a *ekssource.Association) error {
	l := &Line{Kind: KindAssociation, Name: a.Namespace + "/" + a.ServiceAccount}
	switch {
	case len(a.Missing) > 0:
		l.refuse("it is not known whole; missing: %s", strings.Join(a.Missing, ", "))
	case ekssource.AccountOf(a.RoleARN) != p.from.Account:
		l.refuse("its role %s is not of its cluster's account %s", a.RoleARN, p.from.Account)
	case p.otherAccount() && ekssource.AccountOf(a.TargetRoleARN) == p.from.Account:
		l.refuse("its target role %s is of account %s, and roles behind a role are not taken over: make it here, and the association by hand", a.TargetRoleARN, p.from.Account)
	}
	if l.Action == Refuse {
		p.plan.add(l)
		return nil
	}
	kept, notes := plainTags(a.Tags)
	want := &associationChange{
		Cluster: p.plan.Target.Cluster, Namespace: a.Namespace, ServiceAccount: a.ServiceAccount, Role: p.moved(a.RoleARN),
		TargetRole: a.TargetRoleARN, Policy: a.Policy, DisableTags: a.DisableSessionTags, Tags: kept,
	}
	if !p.free(l, want) {
		p.plan.add(l)
		return nil
	}
	role, err := p.role(ctx, a.RoleARN)
	if err != nil {
		return err
	}
	l = p.associate(want, role)
	if l.Action != Create {
		return nil
	}
	if a.OwnerARN != "" {
		notes = append(notes, "it belonged to "+a.OwnerARN+"; here it stands alone")
	}
	l.Notes = append(notes, p.names("its session policy", a.Policy)...)
	return nil
}

// plainTags drops tags that only AWS may set.
func plainTags(tags map[string]string) (kept map[string]string, notes []string) {
	kept = map[string]string{}
	for k, v := range tags {
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			notes = append(notes, "dropped tag "+k+": only AWS sets such tags")
			continue
		}
		kept[k] = v
	}
	slices.Sort(notes)
	return kept, notes
}

// names notes that a document, which is kept, names the old account.
func (p *eksPlanner) names(what, document string) []string {
	if !p.otherAccount() || !strings.Contains(document, p.from.Account) {
		return nil
	}
	return []string{what + " names account " + p.from.Account + " and is kept as it is"}
}

// role looks at a role of the source once, and plans it with its policies.
func (p *eksPlanner) role(ctx context.Context, arn string) (*roleLine, error) {
	if r := p.roles[arn]; r != nil {
		return r, nil
	}
	r := &roleLine{line: &Line{Kind: KindRole, Name: ekssource.NameOf(arn)}, arn: arn}
	p.roles[arn] = r
	policies, err := p.planRole(ctx, r.line, p.from.Roles[arn])
	if err != nil {
		return nil, err
	}
	if r.line.Action != Refuse { // a role that is not made needs no policies
		for _, l := range policies {
			if !slices.Contains(p.plan.Lines, l) {
				p.plan.add(l)
			}
		}
	}
	p.plan.add(r.line)
	return r, nil
}

func (p *eksPlanner) planRole(ctx context.Context, l *Line, src *ekssource.Role) ([]*Line, error) {
	t := p.plan.Target
	if src == nil || len(src.Missing) > 0 {
		l.refuse("it is not known whole; missing: %s", missingOf(src))
		return nil, nil
	}
	doc, err := trust.Rewrite(src.Trust, trust.Move{FromAccount: p.from.Account, FromCluster: p.from.ClusterARN, ToAccount: t.Account, ToCluster: t.ClusterARN})
	switch {
	case err != nil:
		l.refuse("its trust policy cannot be moved: %v", err)
		return nil, nil
	case !doc.Admits:
		l.refuse("its trust policy does not let pods of cluster %s in", p.from.ClusterARN)
		return nil, nil
	}
	want := p.wanted(src, doc)
	var policies []*Line
	for _, arn := range append(slices.Clone(src.Attached), src.BoundaryARN) {
		if arn == "" {
			continue
		}
		pl, err := p.policy(ctx, arn)
		if err != nil {
			return nil, err
		}
		if pl.Action == Refuse {
			l.refuse("policy %s: %s", arn, pl.Why)
			return nil, nil
		}
		policies = append(policies, pl)
	}
	return policies, p.compare(ctx, l, want, src, doc, policies)
}

func missingOf(src *ekssource.Role) string {
	if src == nil {
		return "the role"
	}
	return strings.Join(src.Missing, ", ")
}

// wanted is the role as it is to be here.
func (p *eksPlanner) wanted(src *ekssource.Role, doc *trust.Moved) *roleChange {
	kept, _ := plainTags(src.Tags)
	out := &roleChange{
		ARN: p.moved(src.ARN), Name: src.Name, Path: src.Path, Description: src.Description, MaxSession: src.MaxSession, Trust: doc.Document, Tags: kept,
	}
	for _, arn := range src.Attached {
		out.Attached = append(out.Attached, p.moved(arn))
	}
	if src.BoundaryARN != "" {
		out.Boundary = p.moved(src.BoundaryARN)
	}
	for _, d := range src.Inline {
		out.Inline = append(out.Inline, document{d.Name, d.Text})
	}
	return out
}

// compare decides between making the role, using the one that is there, and
// refusing.
func (p *eksPlanner) compare(ctx context.Context, l *Line, want *roleChange, src *ekssource.Role, doc *trust.Moved, policies []*Line) error {
	have, err := setup.DescribeRole(ctx, p.c, want.Name)
	switch {
	case clients.IsNotFound(err):
		l.Action, l.Why, l.change, l.needs = Create, "from "+src.ARN, want, policies
		l.Notes = p.roleNotes(src, doc)
		return nil
	case clients.IsRefused(err):
		l.refuse("the role of that name here may not be read: %s", clients.Code(err))
		return nil
	case err != nil:
		return fmt.Errorf("look for role %s: %w", want.Name, err)
	case aws.ToString(have.Arn) != want.ARN:
		l.refuse("the role of that name here is %s, not %s", aws.ToString(have.Arn), want.ARN)
		return nil
	}
	inline, err := setup.InlinePolicies(ctx, p.c, have)
	if err != nil {
		return err
	}
	if d := want.differs(have, inline); len(d) > 0 {
		l.refuse("it is there with other %s; with equal ones it would be used", strings.Join(d, " and "))
		return nil
	}
	p.extend(l, have)
	return nil
}

// differs names what a role that is there gives or bounds otherwise.
func (x *roleChange) differs(have *setup.Role, inline []setup.InlinePolicy) []string {
	var out []string
	a, b := slices.Sorted(slices.Values(have.Attached)), slices.Sorted(slices.Values(x.Attached))
	if !slices.Equal(a, b) {
		out = append(out, "attached policies")
	}
	if len(inline) != len(x.Inline) || slices.ContainsFunc(inline, func(p setup.InlinePolicy) bool { return !x.has(p) }) {
		out = append(out, "inline policies")
	}
	boundary := ""
	if have.PermissionsBoundary != nil {
		boundary = aws.ToString(have.PermissionsBoundary.PermissionsBoundaryArn)
	}
	if boundary != x.Boundary {
		out = append(out, "permissions boundary")
	}
	return out
}

func (p *eksPlanner) roleNotes(src *ekssource.Role, doc *trust.Moved) []string {
	_, tags := plainTags(src.Tags)
	notes := append(slices.Clone(doc.Notes), tags...)
	for _, d := range src.Inline {
		notes = append(notes, p.names("inline policy "+d.Name, d.Text)...)
	}
	if src.MaxSession == 0 {
		notes = append(notes, "its longest session is not in the files (iam get-role has it); it is one hour here")
	}
	return notes
}

// policy looks at a managed policy once. The line is not in the plan yet.
func (p *eksPlanner) policy(ctx context.Context, arn string) (*Line, error) {
	if l := p.policies[arn]; l != nil {
		return l, nil
	}
	l := &Line{Kind: KindPolicy, Name: ekssource.NameOf(arn)}
	p.policies[arn] = l
	src := p.from.Policies[arn]
	if !ekssource.OfAWS(arn) && (src == nil || len(src.Missing) > 0) {
		what := arn
		if src != nil {
			what = strings.Join(src.Missing, ", ")
		}
		l.refuse("it is not known whole; missing: %s", what)
		return l, nil
	}
	here := p.moved(arn)
	have, err := setup.DescribePolicy(ctx, p.c, here)
	switch {
	case clients.IsRefused(err):
		l.refuse("it may not be read here: %s", clients.Code(err))
	case err != nil && !clients.IsNotFound(err):
		return nil, err
	case ekssource.OfAWS(arn) && err != nil:
		l.refuse("this control plane does not know it; podid import managed-policies brings AWS' policies")
	case ekssource.OfAWS(arn):
		l.Action, l.Why = Keep, "AWS' own, known here"
	case err != nil:
		kept, notes := plainTags(src.Tags)
		l.Action, l.Why = Create, "from "+arn
		l.Notes = append(notes, p.names("its document", src.Document)...)
		l.change = &policyChange{ARN: here, Name: src.Name, Path: src.Path, Description: src.Description, Document: src.Document, Tags: kept}
	case !same(have.Document, src.Document):
		l.refuse("it is there with another document")
	default:
		l.Action, l.Why = Keep, "it is there with the same document"
	}
	return l, nil
}
