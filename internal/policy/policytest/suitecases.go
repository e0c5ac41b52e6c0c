// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"podid/internal/policy"
	"podid/internal/policy/source"
)

// The reasons that a test may want, beside explicit and implicit: the kind of
// document in which an Allow is missing.
var missingIn = map[string]policy.Cause{
	"identity": policy.NoIdentityAllow, "boundary": policy.NoBoundaryAllow, "session": policy.NoSessionAllow,
	"resource": policy.NoResourceAllow, "trust": policy.NoTrustAllow, "scp": policy.NoSCPAllow, "rcp": policy.NoRCPAllow,
}

const (
	becauseExplicit = "explicit"
	becauseImplicit = "implicit"
)

// caseDefaults are what a case says for all of its expectations.
type caseDefaults struct {
	as      *actor
	session sessionOf
	hasOf   bool
	context map[string]value
}

func (r *reader) cases(n *source.Node) {
	if n.Kind != source.List {
		r.fail(n.Pos, "cases is a %s, want a list", n.Kind)
		return
	}
	names := map[string]bool{}
	for _, item := range n.Items {
		c := r.oneCase(item)
		switch {
		case c.name == "":
			r.fail(item.Pos, "a case has no name")
		case names[c.name]:
			r.fail(item.Pos, "two cases have the name %q", c.name)
		}
		names[c.name] = true
		r.suite.cases = append(r.suite.cases, c)
	}
}

func (r *reader) oneCase(n *source.Node) *suiteCase {
	c := &suiteCase{Pos: n.Pos}
	var d caseDefaults
	var allow, deny *source.Node
	known := r.defaultMembers(&d)
	known["name"] = r.string("name", &c.name)
	known["allow"] = func(n *source.Node) { allow = n }
	known["deny"] = func(n *source.Node) { deny = n }
	if !r.object(n, "a case", known) {
		return c
	}
	if allow == nil && deny == nil {
		r.fail(n.Pos, "case %q has neither allow nor deny", c.name)
	}
	for _, l := range []struct {
		list  *source.Node
		allow bool
	}{{allow, true}, {deny, false}} {
		if l.list == nil {
			continue
		}
		for _, item := range l.list.Strings() {
			c.checks = append(c.checks, r.expectations(item, d, l.allow)...)
		}
	}
	return c
}

// defaultMembers may stand in a case and in each of its expectations.
func (r *reader) defaultMembers(d *caseDefaults) members {
	known := members{
		"as": func(n *source.Node) {
			var name string
			r.string("as", &name)(n)
			if name == "" {
				return
			}
			a, err := r.suite.find(name)
			if err != nil {
				r.fail(n.Pos, "as: %v", err)
				return
			}
			d.as = a
		},
		"context": r.context(&d.context),
	}
	for name, read := range r.sessionMembers(&d.session) {
		known[name] = func(n *source.Node) { d.hasOf = true; read(n) }
	}
	return known
}

// expectations reads one item of allow or deny: "action resource", or an object
// with action and resource, or with assumeRole. Several actions or resources
// make an expectation for each pair.
func (r *reader) expectations(n *source.Node, d caseDefaults, allow bool) []*expectation {
	base := expectation{Pos: n.Pos, allow: allow}
	var actions, resources []string
	var assumed *source.Node
	switch n.Kind {
	case source.String:
		action, res, _ := strings.Cut(strings.TrimSpace(n.Text), " ")
		actions = []string{action}
		if res = strings.TrimSpace(res); res != "" {
			resources = []string{res}
		}
	case source.Object:
		known := r.defaultMembers(&d)
		known["action"] = r.strings("action", &actions)
		known["resource"] = r.strings("resource", &resources)
		known["assumeRole"] = func(n *source.Node) { assumed = n }
		known["because"] = r.string("because", &base.because)
		known["statement"] = r.string("statement", &base.statement)
		known["document"] = r.string("document", &base.document)
		r.object(n, "an expectation", known)
	default:
		r.fail(n.Pos, `an expectation is a %s, want "action resource" or an object`, n.Kind)
		return nil
	}
	base.as, base.session, base.hasSessionOf, base.context = d.as, d.session, d.hasOf, d.context
	if assumed != nil {
		base.assume = r.assume(assumed, &base)
		if len(actions)+len(resources) > 0 {
			r.fail(n.Pos, "assumeRole stands alone: it asks for the actions that STS asks for")
		}
	}
	r.checkExpectation(n, &base, len(actions))
	if base.assume != nil {
		return []*expectation{&base}
	}
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	var out []*expectation
	for _, action := range actions {
		if service, operation, ok := strings.Cut(action, ":"); !ok || service == "" || operation == "" || strings.ContainsAny(action, "*? ") {
			r.fail(n.Pos, "action %q: want service:Operation without wildcards, as a request has it", action)
		}
		for _, res := range resources {
			one := base
			one.action, one.resource = action, res
			out = append(out, &one)
		}
	}
	return out
}

func (r *reader) checkExpectation(n *source.Node, e *expectation, actions int) {
	if e.assume == nil && actions == 0 {
		r.fail(n.Pos, "an expectation has neither action nor assumeRole")
	}
	if e.as == nil && (e.assume == nil || e.assume.pod == nil && e.assume.web == nil) {
		r.fail(n.Pos, "as is missing: say who asks, in the case or here")
	}
	if e.hasSessionOf && e.as != nil && !e.as.isRole {
		r.fail(n.Pos, "%s is no role: sessionName, sessionTags, transitive and podIdentity are of a role's session", e.as.name)
	}
	_, missing := missingIn[e.because]
	switch {
	case e.because == "" || e.because == becauseExplicit && !e.allow || e.because == becauseImplicit && !e.allow:
	case missing && !e.allow:
	case e.allow:
		r.fail(n.Pos, "because belongs to what is denied; name the statement that allows under statement")
	default:
		r.fail(n.Pos, "because: %q is none of explicit, implicit, %s", e.because, strings.Join(slices.Sorted(maps.Keys(missingIn)), ", "))
	}
}

// assume reads a request to assume a role. Its podIdentity is for the first
// hop, by the service; that of the case is of the caller's session.
func (r *reader) assume(n *source.Node, e *expectation) *assume {
	a := &assume{}
	var role string
	r.object(n, "assumeRole", members{
		"role": r.string("role", &role), "podIdentity": func(n *source.Node) { a.pod = r.pod(n) },
		"tags": r.tags("tags", &a.tags), "transitive": r.strings("transitive", &a.transitive),
		"sessionName": r.string("sessionName", &a.sessionName), "externalId": r.string("externalId", &a.externalID),
		"sourceIdentity": r.string("sourceIdentity", &a.identity), "sourceAccount": r.string("sourceAccount", &a.account),
		"sourceArn": r.string("sourceArn", &a.arn), "webIdentity": func(n *source.Node) { a.web = r.web(n) },
	})
	target, err := r.suite.find(role)
	switch {
	case role == "":
		r.fail(n.Pos, "assumeRole: role is missing")
	case err != nil || !target.isRole:
		r.fail(n.Pos, "assumeRole: %q is no role of this file and no ARN of a role", role)
	default:
		a.role = target
	}
	if a.pod != nil && e.as != nil && e.as.principal.String() != policy.PodIdentityService {
		e.as = nil // the first hop is the service's whoever the case is about
	}
	if a.pod != nil && a.web != nil {
		r.fail(n.Pos, "assumeRole: podIdentity and webIdentity exclude each other")
	}
	return a
}

func (r *reader) web(n *source.Node) *webIdentity {
	w := &webIdentity{claims: map[string][]string{}}
	r.object(n, "webIdentity", members{
		"provider": r.string("provider", &w.provider), "issuer": r.string("issuer", &w.issuer),
		"claims": func(n *source.Node) {
			var claims map[string]value
			r.context(&claims)(n)
			for name, v := range claims {
				w.claims[name] = v.values
			}
		},
	})
	w.issuer = strings.TrimPrefix(w.issuer, "https://")
	switch {
	case w.provider == "" && w.issuer == "":
		r.fail(n.Pos, "webIdentity: provider or issuer is missing")
	case w.provider == "":
		w.provider = r.suite.arnOf("iam", "", "oidc-provider/"+w.issuer)
	case w.issuer == "":
		_, w.issuer, _ = strings.Cut(w.provider, ":oidc-provider/")
	}
	return w
}

// ask says what an expectation asks, for reports.
func (e *expectation) ask() string {
	a := e.assume
	switch {
	case a == nil && e.resource == "*":
		return e.action
	case a == nil:
		return e.action + " on " + e.resource
	case a.role == nil:
		return "assume a role"
	case a.pod != nil:
		return fmt.Sprintf("assume %s for pod %s of %s/%s in cluster %s", a.role.name, a.pod.name, a.pod.namespace, a.pod.serviceAccount, a.pod.cluster)
	case a.web != nil:
		return fmt.Sprintf("assume %s with a token of %s", a.role.name, a.web.issuer)
	}
	return fmt.Sprintf("assume %s as %s", a.role.name, e.as.name)
}
