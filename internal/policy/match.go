// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

// applies reports whether a statement matches the request, and how closely it
// names the caller.
func (ev *evaluation) applies(s *statement) (grant, bool) {
	if !s.matchAction(ev.in.Action) {
		return grantNone, false
	}
	g := s.matchPrincipal(ev.in)
	if g == grantNone {
		return grantNone, false
	}
	v := s.matchResource(ev.in)
	if v == no || v == broken {
		return grantNone, false
	}
	for i := range s.conditions {
		switch s.conditions[i].eval(ev.in.Context) {
		case no, broken:
			return grantNone, false
		case open:
			v = open
		}
	}
	if v == open {
		ev.sawOpen = true
		return g, s.deny == ev.strict
	}
	return g, true
}

func (s *statement) matchAction(action string) bool {
	for i := range s.actions {
		if s.actions[i].match(action, nil) == yes {
			return !s.notAction
		}
	}
	return s.notAction
}

// matchPrincipal gives statements without the element the closest grant: they
// stand in documents attached to the caller.
func (s *statement) matchPrincipal(in *Input) grant {
	if !s.hasPrincipal {
		return grantDirect
	}
	g := s.principals.match(&in.Principal)
	if !s.notPrincipal {
		return g
	}
	// AWS: Deny with NotPrincipal always hits a caller that has a boundary.
	if g == grantNone || s.deny && in.Boundary != nil {
		return grantDirect
	}
	return grantNone
}

// matchResource matches any entry of Resource, or none of NotResource. Trust
// policies have neither: they stand on their role.
func (s *statement) matchResource(in *Input) verdict {
	if len(s.resources) == 0 {
		return yes
	}
	result := no
	for i := range s.resources {
		if !s.notResource && !s.resources[i].mayMatch(in.Resource) {
			continue
		}
		switch s.resources[i].matchResource(in.Resource, in.Context) {
		case yes:
			if !s.notResource && !s.deny && !s.resources[i].typeNamed(in.Resource) {
				continue
			}
			return verdictOf(!s.notResource)
		case open:
			result = open
		case broken:
			// Nothing can be excepted by it. AWS documents that it matches no
			// resource; a grant of everything does not follow from that here.
			if s.notResource && !s.deny {
				return no
			}
		}
	}
	if result == no && s.notResource {
		return yes
	}
	return result
}

// openKeys collects the unknown keys of all statements that depend on one.
func openKeys(in *Input) []string {
	var keys []string
	eachDocument(in, func(n *Named) {
		for i := range n.Doc.statements {
			s := &n.Doc.statements[i]
			probe := evaluation{in: in}
			if _, _ = probe.applies(s); !probe.sawOpen {
				continue
			}
			for j := range s.resources {
				keys = s.resources[j].openKeys(keys, in.Context)
			}
			for j := range s.conditions {
				keys = s.conditions[j].openKeys(keys, in.Context)
			}
		}
	})
	slices.Sort(keys)
	return slices.Compact(keys)
}

// eachDocument visits every document that bears on the request.
func eachDocument(in *Input, visit func(*Named)) {
	one := func(n *Named) {
		if n != nil && n.Doc != nil {
			visit(n)
		}
	}
	all := func(docs []Named) {
		for i := range docs {
			one(&docs[i])
		}
	}
	one(in.ResourcePolicy)
	all(in.Identity)
	one(in.Boundary)
	all(in.Session)
	for _, level := range in.RCPs {
		all(level)
	}
	if in.Principal.boundBySCP() {
		for _, level := range in.SCPs {
			all(level)
		}
	}
}
