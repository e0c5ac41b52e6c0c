// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"strings"

	"podid/internal/policy"
)

// widthChecks find statements that allow more than it seems.
func widthChecks() []Check {
	return []Check{
		{
			"full-access", Warning, "Everything is allowed on everything",
			"name the actions and resources that are needed", checkFullAccess,
		},
		{
			"service-wildcard", Warning, "A wildcard in the service's part of an action",
			"name the service: s3:Get*, not *:Get*", checkServiceWildcard,
		},
		{
			"pass-role-wide", Warning, "Any role may be passed to any service",
			"name the roles under Resource and the service in a condition on iam:PassedToService", checkPassRole,
		},
		{
			"allow-not-action", Warning, "Allow with NotAction grants every action that AWS will ever add",
			"list what is allowed under Action; NotAction is for Deny", checkNotAction,
		},
		{
			"allow-not-resource", Warning, "Allow with NotResource grants every resource but those",
			"list what is allowed under Resource; NotResource is for Deny", checkNotResource,
		},
		{
			"allow-not-principal", Error, "Allow with NotPrincipal grants everybody else, anonymous callers included",
			"list who is allowed under Principal; NotPrincipal is for Deny, and even there a condition on aws:PrincipalArn is safer", checkNotPrincipal,
		},
		{
			"for-all-values-unguarded", Warning, "ForAllValues holds for requests without the key",
			`add "Null": {"<key>": "false"}, so that the key has to be there`, checkForAllValues,
		},
		{
			"if-exists-in-allow", Warning, "IfExists in an Allow holds for requests without the key",
			`use the operator without IfExists, or add "Null": {"<key>": "false"}, unless requests without the key are meant to pass`, checkIfExists,
		},
	}
}

func checkFullAccess(d *document, r *reporter) {
	if d.kind == policy.SCP || d.kind == policy.RCP || d.kind == policy.Boundary || d.kind == policy.Trust {
		return
	}
	for _, s := range d.statements {
		if s.deny || s.actions.not || s.resources.not || len(s.conditions) > 0 {
			continue
		}
		actions, resources := false, false
		for _, a := range s.actions.values {
			actions = actions || strings.Trim(a.Text, "*:") == "" && a.Text != ""
		}
		for _, v := range s.resources.values {
			resources = resources || v.Text == "*"
		}
		if actions && resources {
			r.add(s.Pos, s, "the statement allows every action on every resource")
		}
	}
}

func checkServiceWildcard(d *document, r *reporter) {
	for _, s := range d.statements {
		for _, a := range s.actions.values {
			service, operation, ok := strings.Cut(a.Text, ":")
			if ok && strings.ContainsAny(service, "*?") && operation != "*" {
				r.add(a.Pos, s, "action %q has a wildcard in the service's name", a.Text)
			}
		}
	}
}

func checkPassRole(d *document, r *reporter) {
	for _, s := range d.statements {
		if s.deny || s.actions.not || d.kind == policy.SCP || d.kind == policy.RCP || d.kind == policy.Boundary {
			continue
		}
		limited := false
		for i := range s.conditions {
			limited = limited || s.conditions[i].folded == "iam:passedtoservice" || s.conditions[i].folded == "iam:associatedresourcearn"
		}
		for _, a := range s.actions.values {
			if limited || a.Text == "*" || !contains(a.Text, "iam:PassRole", true) {
				continue
			}
			for _, v := range s.resources.values {
				if v.Text == "*" || strings.HasSuffix(v.Text, ":role/*") {
					r.add(a.Pos, s, "%s on %q without iam:PassedToService", a.Text, v.Text)
					break
				}
			}
		}
	}
}

// notElement reports the Not form of an element in an Allow.
func notElement(d *document, r *reporter, name string, has func(*statement) bool, what string) {
	if d.kind == policy.SCP || d.kind == policy.RCP || d.kind == policy.Boundary {
		return // those bound what is granted elsewhere
	}
	for _, s := range d.statements {
		if s.deny || !has(s) {
			continue
		}
		at := s.Pos
		for i := range s.node.Members {
			if strings.EqualFold(s.node.Members[i].Name, name) {
				at = s.node.Members[i].Pos
			}
		}
		r.add(at, s, "%s", what)
	}
}

func checkNotAction(d *document, r *reporter) {
	notElement(d, r, "NotAction", func(s *statement) bool { return s.actions.not }, "the statement allows every action but those listed")
}

func checkNotResource(d *document, r *reporter) {
	notElement(d, r, "NotResource", func(s *statement) bool { return s.resources.not }, "the statement allows every resource but those listed")
}

func checkNotPrincipal(d *document, r *reporter) {
	notElement(d, r, "NotPrincipal", func(s *statement) bool { return s.notPrincipal }, "the statement allows everybody but those listed")
}

func checkForAllValues(d *document, r *reporter) {
	for _, s := range d.statements {
		for i := range s.conditions {
			c := &s.conditions[i]
			if !s.deny && c.set == setAll && !s.guarded(c.folded) {
				r.add(c.Pos, s, "%s %s holds for a request that has no %s at all", c.name, c.key, c.key)
			}
		}
	}
}

func checkIfExists(d *document, r *reporter) {
	for _, s := range d.statements {
		for i := range s.conditions {
			c := &s.conditions[i]
			if !s.deny && c.ifExists && c.set != setAll && !s.guarded(c.folded) {
				r.add(c.Pos, s, "%s %s holds for a request that has no %s at all", c.name, c.key, c.key)
			}
		}
	}
}
