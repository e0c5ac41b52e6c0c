// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"slices"
	"strings"

	"podid/internal/policy"
	"podid/internal/policy/source"
)

// trustChecks are about who may assume a role or use a resource.
func trustChecks() []Check {
	return []Check{
		{
			"tag-session-missing", Error, "Pods' sessions carry tags, and the trust policy does not allow them",
			"add sts:TagSession to the actions for pods.eks.amazonaws.com; without it only associations with session tags disabled work", checkTagSession,
		},
		{
			"tag-session-key", Error, "A condition key that sts:TagSession does not have keeps it from being allowed",
			"give sts:TagSession a statement of its own without this condition: sts:ExternalId and sts:RoleSessionName are keys of sts:AssumeRole only", checkTagSessionKeys,
		},
		{
			"pod-identity-too-wide", Warning, "Pods of any cluster and account may assume the role",
			"limit the account with StringEquals aws:SourceAccount, or the cluster with ArnEquals aws:SourceArn", checkPodIdentityWidth,
		},
		{
			"confused-deputy", Warning, "A service may act for any of its customers",
			"add a condition on aws:SourceAccount, aws:SourceArn or aws:SourceOrgID where the service sends them", checkConfusedDeputy,
		},
		{
			"public-principal", Warning, "Everybody is allowed, without a condition",
			"name the principals, or add a condition that limits them such as aws:PrincipalOrgID", checkPublic,
		},
		{
			"principal-tag-of-service", Error, "A service has no principal tags",
			"use aws:RequestTag/… where a service such as pods.eks.amazonaws.com assumes the role: the tags are passed in the request", checkPrincipalTags,
		},
		{
			"request-tag-of-session", Warning, "The tags of a pod's session are principal tags in its later requests",
			"use aws:PrincipalTag/…: aws:RequestTag holds the tags that a request wants to set", checkRequestTags,
		},
		{
			"principal-id", Note, "A principal is a unique id: its role or user was deleted",
			"name the principal by its ARN; the id matches nobody any more", checkPrincipalIDs,
		},
	}
}

func (s *statement) namesPods() bool {
	return slices.ContainsFunc(s.services(), func(p principal) bool { return p.value == policy.PodIdentityService })
}

// reachesPods reports whether the statement speaks of the service, by name or by a star.
func (s *statement) reachesPods() bool {
	_, all := s.everybody()
	return all || s.namesPods() || slices.ContainsFunc(s.services(), func(p principal) bool { return p.value == "*" })
}

func checkTagSession(d *document, r *reporter) {
	if d.kind != policy.Trust {
		return
	}
	for _, s := range d.statements {
		if !s.deny && s.reachesPods() && s.grants(policy.ActionTagSession) {
			return
		}
	}
	for _, s := range d.statements {
		if !s.deny && s.namesPods() && s.grants(policy.ActionAssumeRole) {
			r.add(s.Pos, s, "pods.eks.amazonaws.com may assume the role and may not tag the session")
			return
		}
	}
}

func checkTagSessionKeys(d *document, r *reporter) {
	if d.kind != policy.Trust {
		return
	}
	foreign := func(s *statement) *condition {
		for i := range s.conditions {
			c := &s.conditions[i]
			if c.demands() && (c.folded == "sts:externalid" || c.folded == "sts:rolesessionname") {
				return c
			}
		}
		return nil
	}
	for _, s := range d.statements {
		if s.deny || !s.grants(policy.ActionTagSession) {
			continue
		}
		c := foreign(s)
		if c == nil {
			continue
		}
		other := slices.ContainsFunc(d.statements, func(o *statement) bool {
			return !o.deny && o.grants(policy.ActionTagSession) && foreign(o) == nil && coversPrincipals(o, s)
		})
		if !other {
			r.add(c.Pos, s, "the statement never allows sts:TagSession: it has no key %s", c.key)
		}
	}
}

// sourceKeys say for whom a service acts.
var sourceKeys = []string{"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"}

// limits returns whether a condition limits the accounts for which a service
// acts; wide is the value that keeps one on such a key from doing it.
func (s *statement) limits(keys []string) (limited bool, wide *source.Node) {
	for i := range s.conditions {
		c := &s.conditions[i]
		if !slices.Contains(keys, c.folded) || !c.demands() {
			continue
		}
		open := openValue(c)
		if open == nil {
			return true, nil
		}
		wide = open
	}
	return false, wide
}

// openValue returns a value that leaves the account open.
func openValue(c *condition) *source.Node {
	for _, v := range c.values {
		switch {
		case strings.Trim(v.Text, "*") == "":
			return v
		case !c.like() || !strings.HasPrefix(v.Text, "arn:"):
		case strings.ContainsAny(arnOf(v.Text)[4], "*?") && !strings.HasPrefix(v.Text, "arn:aws:s3:::"):
			return v
		}
	}
	return nil
}

func checkPodIdentityWidth(d *document, r *reporter) {
	keys := append(slices.Clone(sourceKeys), "aws:requesttag/eks-cluster-arn")
	for _, s := range d.statements {
		if s.deny || !s.namesPods() || !s.grants(policy.ActionAssumeRole) {
			continue
		}
		limited, wide := s.limits(keys)
		switch {
		case limited:
		case wide != nil:
			r.add(wide.Pos, s, "%q does not limit the account whose pods may assume the role", wide.Text)
		default:
			r.add(s.Pos, s, "no condition limits the account or the cluster whose pods may assume the role")
		}
	}
}

func checkConfusedDeputy(d *document, r *reporter) {
	if d.kind == policy.RCP {
		return
	}
	for _, s := range d.statements {
		if s.deny {
			continue
		}
		limited, _ := s.limits(sourceKeys)
		for _, p := range s.services() {
			if limited || p.value == policy.PodIdentityService {
				continue
			}
			f := r.add(p.Pos, s, "%s may act for any account: no condition limits the source", p.value)
			if d.kind == policy.Trust && p.value != "*" {
				f.Severity = Note // not every service that assumes roles sends the keys
			}
			break
		}
	}
}

func checkPublic(d *document, r *reporter) {
	if d.kind == policy.RCP {
		return
	}
	for _, s := range d.statements {
		p, all := s.everybody()
		if s.deny || s.notPrincipal || !all || len(s.conditions) > 0 {
			continue
		}
		if d.kind == policy.Trust {
			r.add(p.Pos, s, "everybody in every account may assume the role").Severity = Error
			continue
		}
		r.add(p.Pos, s, "everybody in every account is allowed, and without credentials, too")
	}
}

// eachKey visits the keys of conditions and of variables in values.
func (s *statement) eachKey(visit func(at source.Pos, key string, c *condition)) {
	variables := func(n *source.Node, c *condition) {
		for _, key := range variablesIn(n.Text) {
			visit(n.Pos, key, c)
		}
	}
	for _, n := range s.resources.values {
		variables(n, nil)
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		visit(c.Pos, c.key, c)
		for _, n := range c.values {
			variables(n, c)
		}
	}
}

// variablesIn lists the keys of ${key} and ${key, 'default'}.
func variablesIn(text string) []string {
	var out []string
	for {
		_, rest, ok := strings.Cut(text, "${")
		if !ok {
			return out
		}
		body, after, ok := strings.Cut(rest, "}")
		if !ok {
			return out
		}
		text = after
		key, _, _ := strings.Cut(body, ",")
		if key = strings.TrimSpace(key); key != "*" && key != "?" && key != "$" && key != "" {
			out = append(out, key)
		}
	}
}

func checkPrincipalTags(d *document, r *reporter) {
	for _, s := range d.statements {
		if s.deny || !s.onlyServices() {
			continue
		}
		s.eachKey(func(at source.Pos, key string, c *condition) {
			folded := strings.ToLower(key)
			if !strings.HasPrefix(folded, "aws:principaltag/") && folded != "aws:principalarn" && folded != "aws:principalaccount" {
				return
			}
			if c != nil && c.folded == folded && !c.demands() {
				return
			}
			r.add(at, s, "a service has no key %s: the statement never matches", key)
		})
	}
}

func checkRequestTags(d *document, r *reporter) {
	if d.kind != policy.Identity && d.kind != policy.Boundary && d.kind != policy.SessionPolicy {
		return
	}
	for _, s := range d.statements {
		if s.grants(policy.ActionTagSession) || s.grants(policy.ActionAssumeRole) {
			continue
		}
		s.eachKey(func(at source.Pos, key string, _ *condition) {
			tag, ok := strings.CutPrefix(strings.ToLower(key), "aws:requesttag/")
			if ok && slices.Contains(podTags, tag) {
				r.add(at, s, "%s is not in requests of a pod's session; aws:PrincipalTag/%s is", key, tag)
			}
		})
	}
}

func checkPrincipalIDs(d *document, r *reporter) {
	for _, s := range d.statements {
		for _, p := range s.principals {
			if p.kind == "AWS" && (strings.HasPrefix(p.value, "AROA") || strings.HasPrefix(p.value, "AIDA")) {
				r.add(p.Pos, s, "principal %s is the id of a deleted role or user", p.value)
			}
		}
	}
}
