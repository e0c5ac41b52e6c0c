// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"strings"

	"podid/internal/policy"
	"podid/internal/policy/source"
)

// defaultSession names sessions of roles that the file does not name.
const defaultSession = "test"

func (r *reader) roles(n *source.Node) {
	r.each(n, "roles", func(name string, at source.Pos, n *source.Node) {
		a := r.actor(n, "role "+name, name, members{})
		a.isRole = true
		if a.arn == "" {
			a.arn = r.suite.arnOf("iam", "", "role/"+strings.TrimPrefix(name, "/"))
		}
		p, err := policy.ParsePrincipal(a.arn)
		if err != nil || p.Kind() != policy.RoleSessionKind || p.RoleARN() != a.arn {
			r.fail(at, "role %s: %q is not the ARN of a role", name, a.arn)
			return
		}
		a.principal = p
		r.suite.roles[name] = a
		r.suite.order = append(r.suite.order, name)
	})
}

func (r *reader) principals(n *source.Node) {
	r.each(n, "principals", func(name string, at source.Pos, n *source.Node) {
		var service, federated string
		var anonymous bool
		a := r.actor(n, "principal "+name, name, members{
			"service": r.string("service", &service), "federated": r.string("federated", &federated), "anonymous": r.bool("anonymous", &anonymous),
		})
		if r.suite.roles[name] != nil {
			r.fail(at, "%s is the name of a role, too", name)
		}
		kinds := 0
		for _, given := range []bool{a.arn != "", service != "", federated != "", anonymous} {
			if given {
				kinds++
			}
		}
		if kinds != 1 {
			r.fail(at, "principal %s: give one of arn, service, federated and anonymous", name)
			return
		}
		switch {
		case anonymous:
			a.principal = policy.AnonymousPrincipal()
		case federated != "":
			a.arn, a.principal = federated, policy.FederatedPrincipal(federated)
		default:
			a.arn += service
			p, err := policy.ParsePrincipal(a.arn)
			if err != nil {
				r.fail(at, "principal %s: %v", name, err)
				return
			}
			a.principal, a.isRole = p, p.RoleARN() == a.arn
		}
		r.suite.others[name] = a
	})
}

// actor reads what roles and other principals have in common.
func (r *reader) actor(n *source.Node, what, name string, more members) *actor {
	a := &actor{name: name, scps: r.suite.scps, rcps: r.suite.rcps, given: map[string]bool{}}
	known := members{
		"arn":      r.string("arn", &a.arn),
		"identity": r.list(policy.Identity, what+" identity", &a.identity),
		"boundary": r.one(policy.Boundary, what+" boundary", &a.boundary),
		"sessionPolicy": func(n *source.Node) {
			a.hasSession = true
			r.list(policy.SessionPolicy, what+" sessionPolicy", &a.session)(n)
		},
		"trust": r.one(policy.Trust, what+" trust", &a.trust),
		"scps":  r.levels(policy.SCP, what+" scps", &a.scps),
		"rcps":  r.levels(policy.RCP, what+" rcps", &a.rcps),
		"tags":  r.tags("tags", &a.tags),
	}
	for member, read := range r.sessionMembers(&a.sessionOf) {
		known[member] = read
	}
	for member, read := range more {
		known[member] = read
	}
	r.object(n, what, known)
	for i := range n.Members {
		a.given[n.Members[i].Name] = true
	}
	return a
}

// sessionMembers describe the session of a role.
func (r *reader) sessionMembers(s *sessionOf) members {
	return members{
		"sessionName": r.string("sessionName", &s.sessionName),
		"sessionTags": r.tags("sessionTags", &s.sessionTags),
		"transitive":  r.strings("transitive", &s.transitive),
		"podIdentity": func(n *source.Node) { s.pod = r.pod(n) },
	}
}

func (r *reader) pod(n *source.Node) *pod {
	p := &pod{account: r.suite.account, region: r.suite.region, uid: "00000000-0000-4000-8000-000000000000"}
	sessionTags := true
	r.object(n, "podIdentity", members{
		"cluster": r.string("cluster", &p.cluster), "namespace": r.string("namespace", &p.namespace),
		"serviceAccount": r.string("serviceAccount", &p.serviceAccount), "pod": r.string("pod", &p.name),
		"podUid": r.string("podUid", &p.uid), "account": r.string("account", &p.account),
		"region": r.string("region", &p.region), "sessionTags": r.bool("sessionTags", &sessionTags),
	})
	p.noTags = !sessionTags
	if p.cluster == "" || p.namespace == "" || p.serviceAccount == "" {
		r.fail(n.Pos, "podIdentity: cluster, namespace and serviceAccount are needed")
	}
	if p.region == "" {
		p.region = "us-west-2"
	}
	if p.name == "" {
		p.name = p.serviceAccount + "-0"
	}
	return p
}

func (r *reader) resourceMap(n *source.Node) {
	r.each(n, "resources", func(name string, at source.Pos, n *source.Node) {
		res := &resource{rcps: r.suite.rcps}
		what := "resource " + name
		r.object(n, what, members{
			"arn": r.string("arn", &res.arn), "account": r.string("account", &res.account), "tags": r.tags("tags", &res.tags),
			"policy": r.one(policy.Resource, what+" policy", &res.policy), "rcps": r.levels(policy.RCP, what+" rcps", &res.rcps),
		})
		if res.arn == "" {
			r.fail(at, "%s: arn is missing", what)
			return
		}
		if res.account == "" {
			res.account = accountOf(res.arn)
		}
		if res.account == "" {
			res.account = r.suite.account
		}
		r.suite.resources = append(r.suite.resources, res)
	})
}
