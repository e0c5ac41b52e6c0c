// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
)

// Outcome is what one kind of policy says of a request by itself.
type Outcome uint8

// The outcomes, from the mildest.
const (
	Allows Outcome = iota + 1
	DeniesImplicitly
	DeniesExplicitly
)

// Matched is a statement that matched a request.
type Matched struct {
	Document  *Named
	Statement int
}

// Simulation is a decision taken apart, as the policy simulator shows it.
type Simulation struct {
	Decision Decision
	// Matched are the statements that the decision rests on: of an explicit
	// denial every Deny that matched; of an allowance every Allow of identity
	// and resource policies; none of an implicit denial. Statements of service
	// and resource control policies are not among them, as with AWS.
	Matched []Matched
	// Missing are the condition keys, sorted, that a statement about the action
	// looks at and the request has not. Control policies do not count here.
	Missing []string

	CrossAccount bool // the resource is of another account than the caller
	Identity     Outcome
	Resource     Outcome // DeniesImplicitly without a resource policy
	Boundary     Outcome // 0 without a boundary
	Organization Outcome // of the service control policies; 0 without any
}

// Outcome is the decision in the words of the simulator.
func (s *Simulation) Outcome() Outcome {
	switch {
	case s.Decision.Allowed:
		return Allows
	case s.Decision.Explicit:
		return DeniesExplicitly
	}
	return DeniesImplicitly
}

// Simulate decides a request as Evaluate does, and says what each policy had to
// do with it. It allocates; unknown keys are not for it.
func Simulate(in *Input) Simulation {
	ev := evaluation{in: in}
	s := Simulation{Decision: Evaluate(in), CrossAccount: !ev.sameAccount()}
	s.Identity = ev.outcome(in.Identity)
	s.Resource = ev.outcome(alone(in.ResourcePolicy))
	if in.Boundary != nil {
		s.Boundary = ev.outcome(alone(in.Boundary))
	}
	if in.SCPs != nil {
		s.Organization = ev.organization()
	}
	switch s.Outcome() {
	case DeniesExplicitly:
		s.Matched = ev.matches(true, in.Identity, alone(in.ResourcePolicy), alone(in.Boundary), in.Session)
	case Allows:
		s.Matched = ev.matches(false, in.Identity, alone(in.ResourcePolicy))
	}
	s.Missing = missing(in)
	return s
}

// alone is the slice that a document alone makes.
func alone(n *Named) []Named {
	if n == nil || n.Doc == nil {
		return nil
	}
	return []Named{*n}
}

func (ev *evaluation) outcome(docs []Named) Outcome {
	switch {
	case ev.denyIn(docs).doc != nil:
		return DeniesExplicitly
	case ev.allowIn(docs).doc != nil:
		return Allows
	}
	return DeniesImplicitly
}

func (ev *evaluation) organization() Outcome {
	result := Allows
	for _, level := range ev.in.SCPs {
		result = max(result, ev.outcome(level))
	}
	return result
}

// matches lists the statements of one effect that match.
func (ev *evaluation) matches(deny bool, sets ...[]Named) []Matched {
	var out []Matched
	for _, docs := range sets {
		for i := range docs {
			n := &docs[i]
			if n.Doc == nil {
				continue
			}
			for j := range n.Doc.statements {
				s := &n.Doc.statements[j]
				if s.deny != deny {
					continue
				}
				if _, ok := ev.applies(s); ok {
					out = append(out, Matched{Document: n, Statement: j})
				}
			}
		}
	}
	return out
}

// missing collects the keys that bear on the request and are not in it.
func missing(in *Input) []string {
	seen := map[string]string{} // spelling by folded name
	for _, docs := range [][]Named{in.Identity, alone(in.ResourcePolicy), alone(in.Boundary), in.Session} {
		for i := range docs {
			if docs[i].Doc == nil {
				continue
			}
			for j := range docs[i].Doc.statements {
				docs[i].Doc.statements[j].eachMissing(in, func(k keyRef) {
					if _, ok := seen[k.folded]; !ok {
						seen[k.folded] = k.text
					}
				})
			}
		}
	}
	return sortedKeys(seen)
}

// eachMissing visits the absent keys that a statement about the request looks
// at. One about another action, caller or resource needs none.
func (s *statement) eachMissing(in *Input, add func(keyRef)) {
	if !s.matchAction(in.Action) || s.matchPrincipal(in) == grantNone || s.matchResource(in) == no && !s.needsKeys(in) {
		return
	}
	s.eachKey(func(k keyRef) {
		if e := in.Context.lookup(&k); e == nil || e.empty() {
			add(k)
		}
	})
}

// needsKeys reports whether a resource might match if its variables had values.
func (s *statement) needsKeys(in *Input) bool {
	return slices.ContainsFunc(s.resources, func(p arnPattern) bool {
		return p.mayMatch(in.Resource) && p.matchResource(in.Resource, in.Context) == broken
	})
}

// ContextKeys returns the condition keys that documents name, in conditions and
// in variables: sorted without regard to case, each once, spelled as it was
// written first.
func ContextKeys(docs ...*Document) []string {
	seen := map[string]string{}
	for _, d := range docs {
		for _, key := range d.Keys() {
			if f := fold(key); seen[f] == "" {
				seen[f] = key
			}
		}
	}
	return sortedKeys(seen)
}

// sortedKeys returns the spellings in the order of the folded names.
func sortedKeys(spelling map[string]string) []string {
	out := make([]string, 0, len(spelling))
	for _, text := range spelling {
		out = append(out, text)
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(fold(a), fold(b)) })
	return out
}

// IsNumber reports whether numeric operators can read a value.
func IsNumber(value string) bool { _, ok := parseDecimal(value); return ok }

// IsDate reports whether date operators can read a value.
func IsDate(value string) bool { _, ok := parseInstant(value); return ok }
