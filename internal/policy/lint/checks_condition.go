// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"podid/internal/policy/source"
)

// conditionChecks are about keys, operators and values.
func conditionChecks() []Check {
	return []Check{
		{
			"unknown-key", Warning, "A condition key that looks misspelt",
			"correct the key: a key that no request has makes the condition fail, or pass when it is negated", checkKeys,
		},
		{
			"set-operator-on-single", Warning, "ForAllValues or ForAnyValue on a key with one value",
			"use the operator without the set operator: ForAllValues would hold for requests without the key", checkSetOperators,
		},
		{
			"single-operator-on-set", Error, "A key with several values without a set operator",
			"put ForAnyValue: or ForAllValues: before the operator: without it the condition never holds", checkMissingSetOperators,
		},
		{
			"variable-not-taken", Error, "A variable where none is replaced",
			"variables stand in the last part of a Resource and in values of String and Arn operators only", checkVariables,
		},
		{
			"wildcard-not-taken", Warning, "A wildcard in an operator that compares literally",
			"use StringLike (or ArnLike) for wildcards, or ${*} for the character itself", checkWildcards,
		},
		{
			"value-type", Error, "A value that the operator cannot compare",
			"write the value in the operator's form: the condition never holds as it is", checkValueTypes,
		},
		{
			"case", Warning, "A value differs in case from what requests hold",
			"write the value in small letters: ARNs, principals and values depend on case", checkCase,
		},
	}
}

func checkKeys(d *document, r *reporter) {
	for _, s := range d.statements {
		s.eachKey(func(at source.Pos, key string, _ *condition) {
			folded := strings.ToLower(key)
			if want := podTagSuggestion(folded); want != "" {
				r.add(at, s, "key %q: Pod Identity's tag is %s", key, want)
				return
			}
			if isKnown(folded) {
				return
			}
			if want := suggestion(key); want != "" {
				r.add(at, s, "key %q is not known: did you mean %s?", key, want)
				return
			}
			if strings.HasPrefix(folded, "aws:") {
				r.add(at, s, "key %q is none of the global keys that are known here", key).Severity = Note
			}
			if !strings.Contains(key, ":") {
				r.add(at, s, "key %q has no service before it", key)
			}
		})
	}
}

func checkSetOperators(d *document, r *reporter) {
	for _, s := range d.statements {
		for i := range s.conditions {
			c := &s.conditions[i]
			if c.set != setNone && hasKey(singleKeys, c.folded) {
				r.add(c.Pos, s, "%s on %s, which has one value", c.name, c.key)
			}
		}
	}
}

func checkMissingSetOperators(d *document, r *reporter) {
	for _, s := range d.statements {
		for i := range s.conditions {
			c := &s.conditions[i]
			if c.set == setNone && c.family != famNull && isMulti(c.folded) {
				r.add(c.Pos, s, "%s on %s, which has several values, never holds", c.name, c.key)
			}
		}
	}
}

func checkVariables(d *document, r *reporter) {
	for _, s := range d.statements {
		for _, a := range s.actions.values {
			if strings.Contains(a.Text, "${") {
				r.add(a.Pos, s, "action %q: actions take no variables", a.Text)
			}
		}
		for _, p := range s.principals {
			if strings.Contains(p.value, "${") {
				r.add(p.Pos, s, "principal %q: principals take no variables", p.value)
			}
		}
		for _, v := range s.resources.values {
			parts := arnOf(v.Text)
			if d.variables() && strings.HasPrefix(v.Text, "arn:") && strings.Contains(strings.Join(parts[:5], ":"), "${") {
				r.add(v.Pos, s, "resource %q: variables are replaced in the last part of an ARN only", v.Text)
			}
		}
		for i := range s.conditions {
			c := &s.conditions[i]
			if c.family == famString || c.family == famARN || c.family == famUnknown {
				continue
			}
			for _, v := range c.values {
				if strings.Contains(v.Text, "${") {
					r.add(v.Pos, s, "condition %s %s: %q: the operator takes no variables", c.name, c.key, v.Text)
				}
			}
		}
	}
}

func checkWildcards(d *document, r *reporter) {
	for _, s := range d.statements {
		for i := range s.conditions {
			c := &s.conditions[i]
			if c.family != famString || c.like() {
				continue
			}
			for _, v := range c.values {
				plain := strings.NewReplacer("${*}", "", "${?}", "").Replace(v.Text)
				if strings.Contains(plain, "*") || strings.Contains(plain, "?") && strings.HasPrefix(plain, "arn:") {
					r.add(v.Pos, s, "condition %s %s: the wildcard in %q is compared as a character", c.name, c.key, v.Text)
				}
			}
		}
	}
}

func checkValueTypes(d *document, r *reporter) {
	for _, s := range d.statements {
		for i := range s.conditions {
			c := &s.conditions[i]
			for _, v := range c.values {
				if what := unfit(c, v.Text); what != "" && !strings.Contains(v.Text, "${") {
					r.add(v.Pos, s, "condition %s %s: %q is not %s", c.name, c.key, v.Text, what)
				}
			}
		}
	}
}

// unfit names what a value should be and is not; "" for one that fits.
func unfit(c *condition, v string) string {
	switch c.family {
	case famBool, famNull:
		if !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
			return "true or false"
		}
	case famNumeric:
		if _, err := strconv.ParseFloat(v, 64); err != nil {
			return "a number"
		}
	case famIP:
		if _, err := netip.ParsePrefix(v); err != nil {
			if _, err := netip.ParseAddr(v); err != nil {
				return "an address or network"
			}
		}
	case famARN:
		if v != "*" && strings.Count(v, ":") < arnParts-1 {
			return "an ARN of six parts"
		}
	case famString:
		account := slices.Contains([]string{"aws:sourceaccount", "aws:resourceaccount", "aws:principalaccount"}, c.folded)
		if account && !c.like() && !accountID(v) && !strings.ContainsAny(v, "*?") {
			return "an account id of twelve digits"
		}
		if c.folded == "aws:sourcearn" && !strings.HasPrefix(v, "arn:") && v != "*" {
			return "an ARN"
		}
	}
	return ""
}

func accountID(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

func checkCase(d *document, r *reporter) {
	upper := func(s string) bool { return s != strings.ToLower(s) }
	for _, s := range d.statements {
		for _, v := range s.resources.values {
			parts := arnOf(v.Text)
			if strings.HasPrefix(strings.ToLower(v.Text), "arn:") && upper(withoutVariables(strings.Join(parts[:4], ":"))) {
				r.add(v.Pos, s, "resource %q: partition, service and region are in small letters", v.Text)
			}
		}
		for _, p := range s.services() {
			if upper(p.value) {
				r.add(p.Pos, s, "service %q is written %q", p.value, strings.ToLower(p.value))
			}
		}
		for i := range s.conditions {
			c := &s.conditions[i]
			_, tag, _ := strings.Cut(c.folded, "tag/")
			if !strings.HasPrefix(tag, "kubernetes-") || strings.Contains(c.base, "ignorecase") {
				continue
			}
			for _, v := range c.values {
				if upper(withoutVariables(v.Text)) {
					r.add(v.Pos, s, "%q: names in Kubernetes are in small letters", v.Text)
				}
			}
		}
	}
}

// withoutVariables takes ${…} out of a text.
func withoutVariables(text string) string {
	for {
		start := strings.Index(text, "${")
		if start < 0 {
			return text
		}
		length := strings.IndexByte(text[start:], '}')
		if length < 0 {
			return text
		}
		text = text[:start] + text[start+length+1:]
	}
}
