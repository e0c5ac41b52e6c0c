// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Move says from which account and cluster to which a role is taken.
// Clusters are given by ARN.
type Move struct {
	FromAccount, FromCluster string
	ToAccount, ToCluster     string
}

// Moved is a trust policy as it reads after a Move.
type Moved struct {
	Document string   // formatted
	Notes    []string // what was changed, dropped or left, in the order of the statements
	Admits   bool     // pods of the cluster may assume the role, as far as account and cluster go
}

// Rewrite makes of a role's trust policy one for pods of the new cluster.
// Statements for pods keep all their conditions; in those on account and
// cluster the new ones take the place of the old. It widens nothing: a pattern
// becomes the one cluster, a value that names another cluster stays, and statements that let in others than pods are
// dropped, since their principals are somebody else's in another account. What
// cannot be moved without a guess is refused: NotPrincipal, policy
// variables, and patterns of Deny and of negated operators that do not say the
// same of both clusters.
func Rewrite(document string, m Move) (*Moved, error) {
	doc, err := parse(document)
	if err != nil {
		return nil, err
	}
	statements := doc.get("Statement", false)
	if doc.kind != '{' || statements == nil {
		return nil, errors.New("read policy: it has no Statement")
	}
	out := &Moved{}
	kept := &node{kind: '['}
	for i, s := range statements.list() {
		r := &mover{Move: m, at: fmt.Sprintf("trust statement %d", i+1), out: out}
		keep, err := r.statement(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.at, err)
		}
		if keep {
			one := *s // a single statement is the very node that becomes the list
			kept.items = append(kept.items, &one)
		}
	}
	*statements = *kept
	out.Document = doc.String()
	x, err := Extend(out.Document, m.ToAccount, m.ToCluster)
	if err != nil {
		return nil, err
	}
	out.Admits = !x.Changed
	return out, nil
}

// mover rewrites one statement.
type mover struct {
	Move
	at  string
	out *Moved
}

func (r *mover) note(format string, args ...any) {
	r.out.Notes = append(r.out.Notes, r.at+": "+fmt.Sprintf(format, args...))
}

func (r *mover) statement(s *node) (keep bool, err error) {
	if s.get("NotPrincipal", false) != nil {
		return false, errors.New("NotPrincipal cannot be moved to another account")
	}
	p := s.get("Principal", false)
	if p == nil {
		return false, errors.New("it has no Principal")
	}
	allow := slices.Equal(s.get("Effect", false).strings(), []string{"Allow"})
	if !r.principal(p, allow) {
		return false, nil
	}
	cond := s.get("Condition", false)
	if cond == nil {
		return true, nil
	}
	for _, op := range cond.members {
		for _, key := range op.value.members {
			if err := r.values(op.name, key, allow); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// principal reports whether the statement bears on pods, and takes others out
// of one that allows. A Deny for others is dropped with the Allow that it was
// an exception of.
func (r *mover) principal(p *node, allow bool) bool {
	pods := slices.Contains(p.get("Service", false).strings(), PodService)
	if !allow && (pods || everybody(p)) {
		return true
	}
	if !pods {
		r.note("dropped: it is for %s, not for pods", principals(p))
		return false
	}
	if len(p.members) == 1 && len(p.get("Service", false).list()) == 1 {
		return true
	}
	r.note("for pods only; dropped the other principals of %s", principals(p))
	*p = node{kind: '{', members: []member{{"Service", text(PodService)}}}
	return true
}

func everybody(p *node) bool {
	return slices.Contains(p.strings(), "*") || slices.Contains(p.get("AWS", false).strings(), "*")
}

// principals is a principal on one line.
func principals(p *node) string {
	if p.kind != '{' {
		return strings.Join(p.strings(), ", ")
	}
	var out []string
	for _, m := range p.members {
		out = append(out, m.name+" "+strings.Join(m.value.strings(), ", "))
	}
	return strings.Join(out, " and ")
}

// values rewrites the values of one condition key.
func (r *mover) values(operator string, key member, allow bool) error {
	from, to := r.pair(key.name)
	for _, v := range key.value.list() {
		for _, old := range v.strings() {
			switch {
			case from == "" && r.FromAccount != r.ToAccount && strings.Contains(old, r.FromAccount):
				r.note("%s keeps %s, which names account %s", key.name, old, r.FromAccount)
			case from == "" || old == to:
			case strings.Contains(old, "${"):
				return fmt.Errorf("%s %s: a policy variable cannot be moved", key.name, old)
			case old == from:
				r.replace(key.name, v, old, to)
			case !isPattern(operator, old):
				r.note("%s keeps %s, which is not what is imported", key.name, old)
			default:
				if err := r.pattern(operator, key.name, v, old, allow); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *mover) replace(key string, v *node, old, to string) {
	*v = *text(to)
	r.note("%s %s is now %s", key, old, to)
}

// pattern rewrites a pattern where that narrows what is let in. Elsewhere it
// may stay if it says the same of both clusters.
func (r *mover) pattern(operator, key string, v *node, old string, allow bool) error {
	from, to := r.pair(key)
	switch was, is := matches(operator, old, from), matches(operator, old, to); {
	case was && allow && positive(operator):
		r.replace(key, v, old, to)
	case !was && !is:
		r.note("%s keeps %s, which does not match what is imported", key, old)
	case was != is:
		return fmt.Errorf("%s %s: the pattern does not say the same of %s, and another would be a guess", key, old, to)
	}
	return nil
}

// pair is what stands for the source and for the destination in a key's
// values; "" for keys that name neither account nor cluster.
func (m Move) pair(key string) (from, to string) {
	switch strings.ToLower(key) {
	case "aws:sourceaccount":
		return m.FromAccount, m.ToAccount
	case "aws:sourcearn", "aws:requesttag/eks-cluster-arn":
		return m.FromCluster, m.ToCluster
	case "aws:requesttag/eks-cluster-name":
		return clusterName(m.FromCluster), clusterName(m.ToCluster)
	}
	return "", ""
}

func clusterName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// isPattern reports whether the operator takes the value's wildcards as such:
// those of ARNs do, ArnEquals too, and StringLike.
func isPattern(operator, value string) bool {
	operator = strings.ToLower(operator)
	return strings.ContainsAny(value, "*?") && (strings.Contains(operator, "arn") || strings.Contains(operator, "like"))
}

// matches compares as the operator does: ARNs part by part.
func matches(operator, pattern, value string) bool {
	if !strings.HasPrefix(strings.ToLower(operator), "arn") {
		return glob(pattern, value)
	}
	if pattern == "*" {
		return true
	}
	p, v := strings.SplitN(pattern, ":", arnParts), strings.SplitN(value, ":", arnParts)
	if len(p) != arnParts || len(v) != arnParts {
		return false
	}
	for i := range p {
		if !glob(p[i], v[i]) {
			return false
		}
	}
	return true
}

const arnParts = 6

// glob matches * and ? in time linear in both for each *, by going back to the
// last * only.
func glob(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			p, mark = star+1, mark+1
			i = mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
