// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"podid/internal/policy"
)

// What simulations say: IAM API Reference, EvaluationResult and Statement. The
// names of kinds are those that AWS answers with, whatever its model lists.
const (
	SimulatedAllow        = "allowed"
	SimulatedExplicitDeny = "explicitDeny"
	SimulatedImplicitDeny = "implicitDeny"

	KindIAMPolicy      = "IAM Policy"
	KindResourcePolicy = "Resource Policy"
	KindBoundary       = "Permissions Boundary Policy"
)

// ContextEntry is a condition key of a simulated request.
type ContextEntry struct {
	Key    string
	Type   string // string, stringList, numeric … as in the service model
	Values []string
}

// SimulateInput is what both simulations have in common.
type SimulateInput struct {
	Policies       []string // documents beside those of the principal, or all there are
	Boundary       []string // at most one
	Actions        []string
	Resources      []string // ARNs or "*"; none is "*"
	ResourcePolicy *string
	ResourceOwner  string // account number, or arn:…:root
	CallerARN      string
	Handling       string // one of the scenarios of EC2, or ""
	Context        []ContextEntry
	Page           Page // of actions
}

// SimulateCustomInput is what SimulateCustomPolicy takes.
type SimulateCustomInput struct {
	SimulateInput
	// Levels are service control policies, from the root of an organisation
	// down to the account.
	Levels [][]string
}

// SimulatePrincipalInput is what SimulatePrincipalPolicy takes.
type SimulatePrincipalInput struct {
	SimulateInput
	SourceARN string
	Exclude   []PolicyExclusion
}

// MatchedStatement is a statement that a result rests on.
type MatchedStatement struct {
	PolicyID string
	Kind     string
	policy.Span
}

// Simulated is the result for one action, over all resources, or of one
// resource of it. Parts and those that follow are nil where AWS leaves them out.
type Simulated struct {
	Action   string
	Resource string
	Decision string
	Matched  []MatchedStatement
	Missing  []string
	Parts    map[string]string // decision of each kind of policy, across accounts
	Boundary *bool             // the boundary allows
	Levels   *bool             // the organisation allows
	Each     []Simulated       // of each resource that was named
}

// SimulateCustomPolicy decides actions by the documents given.
func (m *Manager) SimulateCustomPolicy(ctx context.Context, caller Caller, in SimulateCustomInput) (Listing[Simulated], error) {
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:SimulateCustomPolicy", Resource: "*"}); err != nil {
		return Listing[Simulated]{}, err
	}
	s := &simulation{in: &in.SimulateInput, list: "SimulateCustomPolicy"}
	if len(in.Policies) == 0 {
		return Listing[Simulated]{}, constraint("policyInputList", "[]", "have length greater than or equal to 1")
	}
	if in.ResourcePolicy != nil && in.CallerARN == "" {
		return Listing[Simulated]{}, badSimulation("caller-arn-missing", "CallerArn must be specified when a resource policy is specified.")
	}
	if err := s.prepare(nil, m.Partition, m.Account); err != nil {
		return Listing[Simulated]{}, err
	}
	for i, level := range in.Levels {
		if len(level) == 0 {
			return Listing[Simulated]{}, badSimulation("organization-level-empty", "OrderedOrganizationPolicyInputList.%d has no policy.", i+1)
		}
		docs, err := parseInputs(policy.SCP, fmt.Sprintf("OrderedOrganizationPolicyInputList.%d.ServiceControlPolicyInputList", i+1), level)
		if err != nil {
			return Listing[Simulated]{}, err
		}
		s.base.SCPs = append(s.base.SCPs, docs)
	}
	return s.run(ctx)
}

// SimulatePrincipalPolicy decides actions by the policies of a user, with those
// of its groups, of a group or of a role, and documents beside them.
func (m *Manager) SimulatePrincipalPolicy(ctx context.Context, caller Caller, in SimulatePrincipalInput) (Listing[Simulated], error) {
	src, err := m.policySource(ctx, caller, "iam:SimulatePrincipalPolicy", in.SourceARN)
	if err != nil {
		return Listing[Simulated]{}, err
	}
	if err := src.exclude(in.Exclude); err != nil {
		return Listing[Simulated]{}, err
	}
	s := &simulation{in: &in.SimulateInput, list: "SimulatePrincipalPolicy"}
	if err := s.prepare(src, m.Partition, m.Account); err != nil {
		return Listing[Simulated]{}, err
	}
	return s.run(ctx)
}

// simulation is one call: the request that is the same for all actions and
// resources, and what is known of the documents.
type simulation struct {
	in     *SimulateInput
	list   string
	base   policy.Input
	owner  string // of resources whose ARN names none
	keys   policy.Context
	given  map[string]bool // keys that the caller set, folded
	places map[*policy.Document][]policy.Span
}

// run simulates the actions of one page.
func (s *simulation) run(ctx context.Context) (Listing[Simulated], error) {
	order := make([]int, len(s.in.Actions))
	for i := range order {
		order[i] = i
	}
	l, err := page(s.list, s.in.Page, order, func(i int) string { return fmt.Sprintf("%06d", i) })
	if err != nil {
		return Listing[Simulated]{}, err
	}
	s.places = map[*policy.Document][]policy.Span{}
	out := Listing[Simulated]{Marker: l.Marker}
	for _, i := range l.Items {
		if err := ctx.Err(); err != nil {
			return Listing[Simulated]{}, fmt.Errorf("simulate: %w", err)
		}
		out.Items = append(out.Items, s.action(s.in.Actions[i]))
	}
	return out, nil
}

// action decides one action on every resource. Its own result is the most
// restrictive of theirs, with the statements of those that it was taken from.
func (s *simulation) action(name string) Simulated {
	if len(s.in.Resources) == 0 || len(s.in.Resources) == 1 && s.in.Resources[0] == "*" {
		return s.one(name, "*")
	}
	out := Simulated{Action: name, Resource: "*"}
	if len(s.in.Resources) == 1 {
		out.Resource = s.in.Resources[0]
	}
	for _, resource := range s.in.Resources {
		out.Each = append(out.Each, s.one(name, resource))
	}
	for i := range out.Each {
		out.restrict(&out.Each[i])
	}
	if out.Parts == nil && (out.Levels == nil || *out.Levels) {
		out.Parts = map[string]string{} // as with AWS: there, and empty
	}
	for i := range out.Each {
		if out.Each[i].Decision == out.Decision {
			for _, m := range out.Each[i].Matched {
				if !slices.Contains(out.Matched, m) {
					out.Matched = append(out.Matched, m)
				}
			}
		}
		out.Each[i].Levels = nil
	}
	slices.SortFunc(out.Missing, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return out
}

// restrict makes the result at least as restrictive as r, part by part.
func (out *Simulated) restrict(r *Simulated) {
	out.Decision = stricter(out.Decision, r.Decision)
	for kind, decision := range r.Parts {
		if out.Parts == nil {
			out.Parts = map[string]string{}
		}
		out.Parts[kind] = stricter(out.Parts[kind], decision)
	}
	both := func(a, b *bool) *bool {
		if a == nil || b == nil {
			return b
		}
		return new(*a && *b)
	}
	out.Boundary, out.Levels = both(out.Boundary, r.Boundary), both(out.Levels, r.Levels)
	for _, key := range r.Missing {
		if !slices.Contains(out.Missing, key) {
			out.Missing = append(out.Missing, key)
		}
	}
}

// stricter is the more restrictive of two decisions; "" is none.
func stricter(a, b string) string {
	for _, d := range []string{SimulatedExplicitDeny, SimulatedImplicitDeny} {
		if a == d || b == d {
			return d
		}
	}
	return SimulatedAllow
}

func outcome(o policy.Outcome) string {
	switch o {
	case policy.Allows:
		return SimulatedAllow
	case policy.DeniesExplicitly:
		return SimulatedExplicitDeny
	}
	return SimulatedImplicitDeny
}

// one decides one action on one resource.
func (s *simulation) one(action, resource string) Simulated {
	in := s.base
	in.Action, in.Resource, in.Context = action, resource, &s.keys
	in.ResourceAccount = s.ownerOf(resource)
	if !s.given["aws:resourceaccount"] {
		s.keys.Set("aws:ResourceAccount", in.ResourceAccount)
	}
	x := policy.Simulate(&in)
	out := Simulated{Action: action, Resource: resource, Decision: outcome(x.Outcome()), Missing: x.Missing}
	for _, match := range x.Matched {
		out.Matched = append(out.Matched, s.matched(match))
	}
	if x.Boundary != 0 {
		out.Boundary = new(x.Boundary == policy.Allows)
	}
	if x.Organization != 0 {
		out.Levels = new(x.Organization == policy.Allows)
	}
	if x.CrossAccount && x.Organization <= policy.Allows {
		out.Parts = map[string]string{KindIAMPolicy: outcome(x.Identity), KindResourcePolicy: outcome(x.Resource)}
		if x.Boundary != 0 {
			out.Parts[KindBoundary] = outcome(x.Boundary)
		}
	}
	return out
}

func (s *simulation) matched(match policy.Matched) MatchedStatement {
	doc := match.Document.Doc
	spans, ok := s.places[doc]
	if !ok {
		spans = doc.Positions()
		s.places[doc] = spans
	}
	out := MatchedStatement{PolicyID: match.Document.Name, Kind: KindIAMPolicy, Span: spans[match.Statement]}
	switch doc.Kind() {
	case policy.Resource:
		out.Kind = KindResourcePolicy
	case policy.Boundary:
		out.Kind = KindBoundary
	}
	return out
}
