// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"podid/internal/policy"
)

// Run decides the cases whose name the expression matches; nil is all.
func (s *Suite) Run(filter *regexp.Regexp) FileReport {
	out := FileReport{File: s.Name}
	for _, c := range s.cases {
		if filter != nil && !filter.MatchString(c.name) {
			continue
		}
		for _, e := range c.checks {
			out.Checks = append(out.Checks, s.check(c, e))
		}
	}
	return out
}

func (s *Suite) check(c *suiteCase, e *expectation) Check {
	explanations := s.explain(e)
	got := Check{File: s.Name, Line: e.Line, Case: c.name, Ask: e.ask(), Expected: Deny, Verdict: Allow}
	if e.allow {
		got.Expected = Allow
	}
	decisive := &explanations[0]
	for i := range explanations {
		if x := &explanations[i]; !x.Decision.Allowed {
			got.Verdict, decisive = Deny, x
			break
		}
	}
	got.describe(decisive)
	got.judge(e, decisive)
	return got
}

// explain asks the evaluator: one explanation, or one for each of STS' actions.
func (s *Suite) explain(e *expectation) []policy.Explanation {
	if e.assume == nil {
		return []policy.Explanation{s.explainAction(e)}
	}
	var out []policy.Explanation
	for _, x := range s.assumption(e).Explain() {
		out = append(out, x.Explanation)
	}
	return out
}

// sessionFor is the actor's session with what the expectation says of it.
func (e *expectation) sessionFor() sessionOf {
	s := e.as.sessionOf
	if e.session.sessionName != "" {
		s.sessionName = e.session.sessionName
	}
	if e.session.sessionTags != nil {
		s.sessionTags = e.session.sessionTags
	}
	if e.session.transitive != nil {
		s.transitive = e.session.transitive
	}
	if e.session.pod != nil {
		s.pod = e.session.pod
	}
	return s
}

// caller is the principal; a role asks as a session of it.
func (e *expectation) caller() policy.Principal {
	p := e.as.principal
	if !e.as.isRole {
		return p
	}
	name := defaultSession
	switch session := e.sessionFor(); {
	case session.sessionName != "":
		name = session.sessionName
	case session.pod != nil:
		name = session.pod.sessionName()
	}
	role := p.RoleARN()
	parts := strings.SplitN(role, ":", 6)
	session := strings.Join([]string{"arn", parts[1], "sts", "", parts[4], "assumed-role/" + role[strings.LastIndexByte(role, '/')+1:] + "/" + name}, ":")
	return policy.SessionPrincipal(role, session)
}

// callerContext holds the keys that every request of the caller has. What the
// test gives itself beats them.
func (s *Suite) callerContext(e *expectation, caller policy.Principal) *policy.Context {
	ctx := &policy.Context{}
	ctx.SetCaller(caller)
	ctx.Set("aws:SecureTransport", "true")
	ctx.Set("aws:ViaAWSService", "false")
	if s.region != "" {
		ctx.Set("aws:RequestedRegion", s.region)
	}
	if s.orgID != "" {
		ctx.Set("aws:ResourceOrgID", s.orgID)
		if caller.Account() != "" {
			ctx.Set("aws:PrincipalOrgID", s.orgID)
		}
	}
	if e.as != nil {
		for _, t := range tags(e.as.tags) {
			ctx.SetTag("aws:PrincipalTag/", t.Key, t.Value)
		}
		session := e.sessionFor()
		if session.pod != nil {
			for _, t := range session.pod.tags(s.partition) {
				ctx.SetTag("aws:PrincipalTag/", t.Key, t.Value)
			}
		}
		for _, t := range tags(session.sessionTags) {
			ctx.SetTag("aws:PrincipalTag/", t.Key, t.Value)
		}
	}
	return ctx
}

func (e *expectation) setGiven(ctx *policy.Context) {
	for _, key := range slices.Sorted(maps.Keys(e.context)) {
		if v := e.context[key]; v.multi {
			ctx.SetMulti(key, v.values...)
		} else {
			ctx.Set(key, v.values[0])
		}
	}
}

func (s *Suite) explainAction(e *expectation) policy.Explanation {
	caller := e.caller()
	in := policy.Input{
		Principal: caller, Action: e.action, Resource: e.resource, ResourceAccount: accountOf(e.resource),
		Identity: e.as.identity, Boundary: e.as.boundary, Session: e.as.session, HasSession: e.as.hasSession,
		SCPs: e.as.scps, RCPs: s.rcps, Context: s.callerContext(e, caller),
	}
	if res := s.resourceOf(e.resource); res != nil {
		in.ResourceAccount, in.ResourcePolicy, in.RCPs = res.account, res.policy, res.rcps
		for _, t := range tags(res.tags) {
			in.Context.SetTag("aws:ResourceTag/", t.Key, t.Value)
		}
	}
	switch {
	case in.ResourceAccount != "":
		in.Context.Set("aws:ResourceAccount", in.ResourceAccount)
	case caller.Account() != "":
		in.Context.Set("aws:ResourceAccount", caller.Account())
	}
	e.setGiven(in.Context)
	return policy.Explain(&in)
}

// resourceOf finds the resource that an ARN is of: the longest that is equal to
// it, or that it stands below.
func (s *Suite) resourceOf(arn string) *resource {
	var best *resource
	for _, r := range s.resources {
		rest, ok := strings.CutPrefix(arn, r.arn)
		if ok && (rest == "" || rest[0] == '/' || rest[0] == ':') && (best == nil || len(r.arn) > len(best.arn)) {
			best = r
		}
	}
	return best
}

func (s *Suite) assumption(e *expectation) *policy.AssumeRole {
	q := e.assume
	a := &policy.AssumeRole{
		RoleARN: q.role.principal.RoleARN(), RoleAccount: q.role.principal.Account(), RoleTags: tags(q.role.tags), RCPs: q.role.rcps,
		Tags: tags(q.tags), TransitiveKeys: q.transitive, RoleSessionName: q.sessionName, ExternalID: q.externalID,
		SourceIdentity: q.identity, SourceAccount: q.account, SourceARN: q.arn,
	}
	if q.role.trust != nil {
		a.Trust = *q.role.trust
	}
	switch {
	case q.pod != nil:
		s.firstHop(a, q.pod)
	case q.web != nil:
		a.Action, a.Caller = policy.ActionAssumeRoleWithWebIdentity, policy.FederatedPrincipal(q.web.provider)
		a.WebIdentity = &policy.WebIdentity{ProviderARN: q.web.provider, Issuer: q.web.issuer, Claims: q.web.claims}
	default:
		a.Caller = e.caller()
		a.Identity, a.Boundary, a.Session, a.HasSession, a.SCPs = e.as.identity, e.as.boundary, e.as.session, e.as.hasSession, e.as.scps
		a.Inherited = e.inherited(s.partition)
	}
	if a.RoleSessionName == "" {
		a.RoleSessionName = defaultSession
	}
	a.CallerContext = s.callerContext(e, a.Caller)
	e.setGiven(a.CallerContext)
	for key, v := range e.context { // the request's own members would come after the context's
		text := ""
		if !v.multi {
			text = v.values[0]
		}
		switch {
		case strings.EqualFold(key, "aws:SourceAccount"):
			a.SourceAccount = text
		case strings.EqualFold(key, "aws:SourceArn"):
			a.SourceARN = text
		}
	}
	return a
}

// firstHop is what Pod Identity asks for a pod.
func (s *Suite) firstHop(a *policy.AssumeRole, p *pod) {
	a.Caller = policy.ServicePrincipal(policy.PodIdentityService)
	six := p.tags(s.partition)
	for _, t := range six {
		a.TransitiveKeys = append(a.TransitiveKeys, t.Key)
	}
	a.Tags = append(six, a.Tags...)
	if a.RoleSessionName == "" {
		a.RoleSessionName = p.sessionName()
	}
	if a.SourceAccount == "" {
		a.SourceAccount = p.account
	}
	if a.SourceARN == "" {
		a.SourceARN = p.clusterARN(s.partition)
	}
}

// inherited are the transitive tags of the caller's session.
func (e *expectation) inherited(partition string) []policy.Tag {
	session := e.sessionFor()
	var out []policy.Tag
	if session.pod != nil {
		out = session.pod.tags(partition)
	}
	for _, t := range tags(session.sessionTags) {
		if slices.ContainsFunc(session.transitive, func(k string) bool { return strings.EqualFold(k, t.Key) }) {
			out = append(out, t)
		}
	}
	return out
}
