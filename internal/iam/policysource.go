// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/policy"
	"podid/internal/store"
)

// entityARN is the ARN of a user, group or role.
type entityARN struct {
	Partition, Account string
	Kind               string // "user", "group", "role"; "" for an account as a whole
	Path, Name         string
}

func (e entityARN) String() string { return arn.IAM(e.Partition, e.Account, e.Kind, e.Path, e.Name) }

func parseEntity(text string) (entityARN, bool) {
	a, err := arn.Parse(text)
	if err != nil || a.Service != "iam" || a.Region != "" || !arn.IsAccount(a.Account) {
		return entityARN{}, false
	}
	kind, _, _ := strings.Cut(a.Resource, "/")
	rest := strings.TrimPrefix(a.Resource, kind)
	i := strings.LastIndexByte(rest, '/')
	if i < 0 || kind != "user" && kind != "group" && kind != "role" {
		return entityARN{}, false
	}
	e := entityARN{a.Partition, a.Account, kind, rest[:i+1], rest[i+1:]}
	return e, arn.IsName(e.Name, maxGroupName) && arn.IsPath(e.Path)
}

// sourcePolicy is a policy of a principal with what identifies it.
type sourcePolicy struct {
	policy.Named
	kind       string // as exclusions name it
	holderKind string // what an inline policy is in
	holder     string
	name       string
}

// Kinds of policies, as PolicyExclusionList names them.
const (
	policyInline      = "inline"
	policyAWSManaged  = "aws-managed"
	policyUserManaged = "user-managed"
	policyBoundary    = "permission-boundary"
)

// policySource is a user, group or role whose policies are simulated.
type policySource struct {
	entity   entityARN
	id       string
	tags     []Tag
	policies []sourcePolicy // the boundary among them
}

func (s *policySource) identity() []policy.Named {
	var out []policy.Named
	for _, p := range s.policies {
		if p.kind != policyBoundary {
			out = append(out, p.Named)
		}
	}
	return out
}

func (s *policySource) boundary() *policy.Named {
	for i := range s.policies {
		if s.policies[i].kind == policyBoundary {
			return &s.policies[i].Named
		}
	}
	return nil
}

// documents are all documents, the boundary included.
func (s *policySource) documents() []*policy.Document {
	var out []*policy.Document
	for i := range s.policies {
		out = append(out, s.policies[i].Doc)
	}
	return out
}

// policySource finds the entity that an ARN names and compiles its policies;
// the question whether the caller may do the action on it comes first.
func (m *Manager) policySource(ctx context.Context, caller Caller, action, text string) (*policySource, error) {
	if err := checkLength("policySourceArn", text, minSourceARN, maxResourceARN); err != nil {
		return nil, err
	}
	entity, ok := parseEntity(text)
	if !ok {
		return nil, noEntity(text)
	}
	if entity.Account != m.Account || entity.Partition != m.Partition {
		if err := m.Authz.Authorize(ctx, caller, Query{Action: action, Resource: text}); err != nil {
			return nil, err
		}
		return nil, entity.missing()
	}
	s := &policySource{entity: entity}
	refs, boundary, err := m.policiesOf(ctx, caller, action, s)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		if err := s.add(ref, policy.Identity); err != nil {
			return nil, err
		}
	}
	ref, given, err := BoundaryOf(m.Store.View(), boundary)
	if err != nil || !given {
		return s, evaluationFailed(err)
	}
	return s, s.add(ref, policy.Boundary)
}

// policiesOf reads the entity's record and the policies that it has. A record of
// the name at another path is another entity.
func (m *Manager) policiesOf(ctx context.Context, caller Caller, action string, s *policySource) (refs []PolicyRef, boundary string, err error) {
	read := func(found string, policies func(store.Reader) ([]PolicyRef, error)) error {
		if found != s.entity.String() {
			return s.entity.missing()
		}
		refs, err = policies(m.Store.View())
		return evaluationFailed(err)
	}
	switch s.entity.Kind {
	case "user":
		u, err := m.user(ctx, caller, action, s.entity.Name)
		if err != nil {
			return nil, "", err
		}
		s.id, s.tags = u.ID, u.Tags
		err = read(u.ARN(), func(r store.Reader) ([]PolicyRef, error) { return PoliciesOfUser(r, u) })
		return refs, u.Boundary, err
	case "role":
		role, err := m.role(ctx, caller, action, s.entity.Name)
		if err != nil {
			return nil, "", err
		}
		s.id, s.tags = role.ID, role.Tags
		err = read(role.ARN(), func(r store.Reader) ([]PolicyRef, error) { return PoliciesOfRole(r, role) })
		return refs, role.Boundary, err
	}
	g, err := m.group(ctx, caller, action, s.entity.Name)
	if err != nil {
		return nil, "", err
	}
	s.id = g.ID
	err = read(g.ARN(), func(r store.Reader) ([]PolicyRef, error) { return PoliciesOfGroup(r, g) })
	return refs, "", err
}

func (e entityARN) missing() error {
	switch e.Kind {
	case "user":
		return noUser(e.Name)
	case "role":
		return noRole(e.Name)
	}
	return noGroup(e.Name)
}

// add compiles a policy. Inline policies are named as AWS' simulator names
// them, by what they are in: role_app_policy.
func (s *policySource) add(ref PolicyRef, kind policy.DocumentKind) error {
	doc, err := policy.Parse(kind, ref.Document)
	if err != nil {
		return evaluationFailed(fmt.Errorf("compile policy %s of %s: %w", ref.Name, s.entity, err))
	}
	p := sourcePolicy{Named: policy.Named{Name: ref.Name, ARN: ref.ARN, Doc: doc}, kind: policyUserManaged, holderKind: s.entity.Kind, holder: s.entity.Name, name: ref.Name}
	if ref.Group != "" {
		p.holderKind, p.holder = "group", ref.Group
	}
	switch {
	case kind == policy.Boundary:
		p.kind = policyBoundary
	case ref.ARN == "":
		p.kind, p.Name = policyInline, p.holderKind+"_"+p.holder+"_"+ref.Name
	case strings.HasPrefix(ref.ARN, "arn:"+s.entity.Partition+":iam::aws:"):
		p.kind = policyAWSManaged
	}
	s.policies = append(s.policies, p)
	return nil
}

// reasonEvaluation is that of IAM's PolicyEvaluation: a policy that is in force
// cannot be read.
const reasonEvaluation = "policy-evaluation"

// IsPolicyEvaluation reports whether a fault is PolicyEvaluation.
func IsPolicyEvaluation(f *fault.Error) bool { return f.Reason == reasonEvaluation }

func evaluationFailed(err error) error {
	if err == nil {
		return nil
	}
	return &fault.Error{Kind: fault.Internal, Reason: reasonEvaluation, Err: err}
}

// PolicyExclusion names policies that a simulation leaves out: by their type,
// by ARN, or inline ones by name and holder. Exactly one of the three is given.
type PolicyExclusion struct {
	Type   string
	ARN    string
	Inline *InlineExclusion
}

// InlineExclusion names inline policies; Holder may hold wildcards.
type InlineExclusion struct{ Policy, HolderKind, Holder string }

// exclude takes out what the exclusions name. What names nothing is no error.
func (s *policySource) exclude(list []PolicyExclusion) error {
	for i, x := range list {
		matches, err := x.matcher(i + 1)
		if err != nil {
			return err
		}
		s.policies = slices.DeleteFunc(s.policies, matches)
	}
	return nil
}

func (x PolicyExclusion) matcher(n int) (func(sourcePolicy) bool, error) {
	given := 0
	for _, set := range []bool{x.Type != "", x.ARN != "", x.Inline != nil} {
		if set {
			given++
		}
	}
	if given != 1 {
		return nil, badSimulation("exclusion-invalid", "PolicyExclusionList.%d needs exactly one of PolicyType, PolicyArn and InlinePolicyIdentifier.", n)
	}
	switch {
	case x.Type != "":
		switch x.Type {
		case policyInline, policyAWSManaged, policyUserManaged, policyBoundary, "scp", "rcp":
			return func(p sourcePolicy) bool { return p.kind == x.Type }, nil
		}
		return nil, constraint(fmt.Sprintf("policyExclusionList.%d.member.policyType", n), x.Type, "satisfy enum value set: [inline, aws-managed, user-managed, permission-boundary, scp, rcp]")
	case x.ARN != "":
		if !excludableARN(x.ARN) {
			return nil, badSimulation("exclusion-invalid", "PolicyExclusionList.%d: %.300q is not the ARN of a managed policy; wildcards stand in its name only, * at most once.", n, x.ARN)
		}
		return func(p sourcePolicy) bool { return p.ARN != "" && matchesName(x.ARN, p.ARN) }, nil
	}
	in := x.Inline
	if in.Policy == "" || in.Holder == "" || strings.Count(in.Holder, "*") > 1 || in.HolderKind != "user" && in.HolderKind != "group" && in.HolderKind != "role" {
		return nil, badSimulation("exclusion-invalid", "PolicyExclusionList.%d: an inline policy is named by PolicyName, AttachmentType (user, group or role) and AttachmentName, in which * stands at most once.", n)
	}
	return func(p sourcePolicy) bool {
		return p.kind == policyInline && p.name == in.Policy && p.holderKind == in.HolderKind && matchesName(in.Holder, p.holder)
	}, nil
}

func excludableARN(text string) bool {
	a, err := arn.Parse(text)
	if err != nil || a.Service != "iam" || a.Region != "" || a.Account != managedAccount && !arn.IsAccount(a.Account) || !strings.HasPrefix(a.Resource, "policy/") {
		return false
	}
	head := text[:strings.LastIndexByte(text, '/')]
	return !strings.ContainsAny(head, "*?") && strings.Count(text, "*") <= 1
}

// matchesName matches a name with a pattern of at most one *, for any run of
// characters, and any number of ?, each for one.
func matchesName(pattern, name string) bool {
	like := func(pattern, s []rune) bool {
		return slices.EqualFunc(pattern, s, func(p, c rune) bool { return p == '?' || p == c })
	}
	head, tail, star := strings.Cut(pattern, "*")
	h, t, n := []rune(head), []rune(tail), []rune(name)
	if !star {
		return like(h, n)
	}
	return len(h)+len(t) <= len(n) && like(h, n[:len(h)]) && like(t, n[len(n)-len(t):])
}
