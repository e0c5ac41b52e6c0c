// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Extension is the change of a trust policy that lets one more cluster use
// the role.
type Extension struct {
	Old, New string // formatted alike
	Changed  bool   // false: the policy names the cluster already
}

// Extend lets the cluster's pods assume a role. The cluster's ARN joins the
// aws:SourceArn values of statements for pods of the account, which keep all
// their other conditions; when those do not cover both actions, a statement
// of its own is added.
func Extend(document, account, clusterARN string) (*Extension, error) {
	doc, err := parse(document)
	if err != nil {
		return nil, err
	}
	statements := doc.get("Statement", false)
	if doc.kind != '{' || statements == nil {
		return nil, errors.New("read policy: it has no Statement")
	}
	x := &Extension{Old: doc.String()}
	covered := map[string]bool{}
	for _, s := range statements.list() {
		if !forPods(s) {
			continue
		}
		named, changed := admit(s, account, clusterARN)
		x.Changed = x.Changed || changed
		if named {
			cover(covered, s.get("Action", false).strings())
		}
	}
	if !covered["sts:assumerole"] || !covered["sts:tagsession"] {
		own, err := parse(podStatement(freeSid(statements), account, []string{clusterARN}))
		if err != nil {
			return nil, fmt.Errorf("make statement: %w", err)
		}
		statements.add(own)
		x.Changed = true
	}
	x.New = doc.String()
	return x, nil
}

func forPods(s *node) bool {
	p := s.get("Principal", false)
	return slices.Equal(s.get("Effect", false).strings(), []string{"Allow"}) && p != nil &&
		slices.Contains(p.get("Service", false).strings(), PodService)
}

// admit adds the cluster to a statement. named reports whether the statement
// holds for the cluster then, as far as account and cluster go.
func admit(s *node, account, clusterARN string) (named, changed bool) {
	cond := s.get("Condition", false)
	if cond == nil {
		return true, false
	}
	var sources []*node
	for _, op := range cond.members {
		for _, key := range op.value.members {
			switch strings.ToLower(key.name) {
			case "aws:sourceaccount":
				if !positive(op.name) || !slices.Contains(key.value.strings(), account) {
					return false, false
				}
			case "aws:sourcearn":
				if !positive(op.name) {
					return false, false
				}
				sources = append(sources, key.value)
			}
		}
	}
	for _, v := range sources {
		if !slices.Contains(v.strings(), clusterARN) {
			v.add(text(clusterARN))
			changed = true
		}
	}
	return true, changed
}

// positive reports whether the operator holds when one of its values is the
// key's value, so that a further value only adds a further source.
func positive(operator string) bool {
	return slices.Contains([]string{"arnequals", "arnlike", "stringequals", "stringlike", "stringequalsignorecase"}, strings.ToLower(operator))
}

func cover(covered map[string]bool, actions []string) {
	for _, a := range actions {
		a = strings.ToLower(a)
		if a == "*" || a == "sts:*" {
			covered["sts:assumerole"], covered["sts:tagsession"] = true, true
		}
		covered[a] = true
	}
}

// freeSid is a Sid that no statement has.
func freeSid(statements *node) string {
	taken := map[string]bool{}
	for _, s := range statements.list() {
		for _, sid := range s.get("Sid", false).strings() {
			taken[sid] = true
		}
	}
	for i := 1; ; i++ {
		if sid := fmt.Sprintf("PodIdentityCluster%d", i); !taken[sid] {
			return sid
		}
	}
}
