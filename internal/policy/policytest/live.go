// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"podid/internal/policy"
)

// A LiveDocument is a policy as a server has it.
type LiveDocument struct{ Name, ARN, Text string }

// A LiveRole is a role as a server has it.
type LiveRole struct {
	ARN      string
	Trust    string
	Boundary *LiveDocument
	Identity []LiveDocument // inline first, then attached
	Tags     map[string]string
}

// RoleNames lists the roles that the file defines, by their ARN's last part, in
// the order of the file.
func (s *Suite) RoleNames() []string {
	var out []string
	for _, name := range s.order {
		arn := s.roles[name].arn
		out = append(out, arn[strings.LastIndexByte(arn, '/')+1:])
	}
	return out
}

// RunLive decides the cases with a server's roles in place of the file's, by
// the roles' names. ARN, trust policy, identity policies, boundary and tags are
// the server's; what the file says of sessions and organisations stays. The
// report names the differences between the two, and the checks whose verdict
// they change. Every role of the file has to be given.
func (s *Suite) RunLive(filter *regexp.Regexp, live map[string]LiveRole) FileReport {
	before := s.Run(filter)
	out := FileReport{File: s.Name}
	var undo []actor
	for _, name := range s.order {
		a := s.roles[name]
		undo = append(undo, *a)
		role, ok := live[a.arn[strings.LastIndexByte(a.arn, '/')+1:]]
		if !ok {
			out.Errors = append(out.Errors, fmt.Sprintf("%s: role %s is not there", s.Name, name))
			continue
		}
		differences, err := s.replace(a, role)
		if err != nil {
			out.Errors = append(out.Errors, fmt.Sprintf("%s: role %s of the server: %v", s.Name, name, err))
		}
		out.Differences = append(out.Differences, differences...)
	}
	defer func() { // the suite may be run again
		for i, name := range s.order {
			*s.roles[name] = undo[i]
		}
	}()
	if len(out.Errors) > 0 {
		return out
	}
	out.Checks = s.Run(filter).Checks
	for i := range out.Checks {
		if was := before.Checks[i].Verdict; was != out.Checks[i].Verdict {
			out.Checks[i].InFile = was
		}
	}
	return out
}

// replace gives an actor a server's documents and says where they differ from
// what the file has. What the file does not mention is no difference.
func (s *Suite) replace(a *actor, live LiveRole) ([]string, error) {
	var out []string
	differ := func(format string, args ...any) {
		out = append(out, "role "+a.name+": "+fmt.Sprintf(format, args...))
	}
	if a.arn != live.ARN {
		if a.given["arn"] {
			differ("arn is %s, in the file %s", live.ARN, a.arn)
		}
		p, err := policy.ParsePrincipal(live.ARN)
		if err != nil {
			return out, err
		}
		a.arn, a.principal = live.ARN, p
	}
	trust, err := s.named(policy.Trust, LiveDocument{Name: "trust policy", Text: live.Trust})
	if err != nil {
		return out, err
	}
	if a.trust != nil && !sameDocument(a.trust.Doc.Text(), live.Trust) {
		differ("the trust policy differs from the file's %s", a.trust.Name)
	}
	a.trust = &trust
	if err := s.replaceBoundary(a, live.Boundary, differ); err != nil {
		return out, err
	}
	if err := s.replaceIdentity(a, live.Identity, differ); err != nil {
		return out, err
	}
	if a.given["tags"] && !reflect.DeepEqual(a.tags, live.Tags) {
		differ("tags are %v, in the file %v", live.Tags, a.tags)
	}
	a.tags = live.Tags
	return out, nil
}

func (s *Suite) replaceBoundary(a *actor, live *LiveDocument, differ func(string, ...any)) error {
	was := a.boundary
	a.boundary = nil
	if live == nil {
		if was != nil {
			differ("there is no permissions boundary; the file has %s", was.Name)
		}
		return nil
	}
	doc, err := s.named(policy.Boundary, *live)
	if err != nil {
		return err
	}
	a.boundary = &doc
	switch {
	case was == nil && a.given["identity"]:
		differ("there is a permissions boundary, %s, that the file does not have", live.Name)
	case was != nil && !sameDocument(was.Doc.Text(), live.Text):
		differ("the permissions boundary %s differs from the file's %s", live.Name, was.Name)
	}
	return nil
}

// replaceIdentity pairs documents by content: their names seldom agree.
func (s *Suite) replaceIdentity(a *actor, live []LiveDocument, differ func(string, ...any)) error {
	was := a.identity
	a.identity = nil
	unmatched := slices.Clone(was)
	for _, l := range live {
		doc, err := s.named(policy.Identity, l)
		if err != nil {
			return err
		}
		a.identity = append(a.identity, doc)
		at := slices.IndexFunc(unmatched, func(n policy.Named) bool { return sameDocument(n.Doc.Text(), l.Text) })
		switch {
		case at >= 0:
			unmatched = slices.Delete(unmatched, at, at+1)
		case a.given["identity"]:
			differ("policy %s is in none of the file's identity documents", l.Name)
		}
	}
	for _, n := range unmatched {
		differ("no policy has the content of the file's %s", n.Name)
	}
	return nil
}

func (s *Suite) named(kind policy.DocumentKind, l LiveDocument) (policy.Named, error) {
	doc, err := s.cache.Get(kind, l.Text)
	if err != nil {
		return policy.Named{}, fmt.Errorf("%s: %w", l.Name, err)
	}
	return policy.Named{Name: l.Name, ARN: l.ARN, Doc: doc}, nil
}

// sameDocument compares as JSON values: white space and the order of members
// are no difference.
func sameDocument(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	return reflect.DeepEqual(x, y)
}
