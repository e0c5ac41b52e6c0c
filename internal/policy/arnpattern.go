// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import "strings"

// arnParts is the number of parts of an ARN: arn, partition, service, region,
// account and resource; only the last may hold colons.
const arnParts = 6

// arnPattern compares ARNs part by part, so that a wildcard never crosses one
// of the first five colons.
type arnPattern struct {
	source string
	all    bool // a lone "*"
	short  bool // fewer than six parts where those may not be left out: matches nothing
	stray  bool // a variable outside the last part of a Resource: matches nothing
	typed  wildType
	vars   int    // variables in all parts
	prefix string // literal text that every match begins with
	lead   string // the literal parts at the front, with their colons
	leads  int    // the number of those parts
	parts  [arnParts]pattern
}

// compileARN compiles the value of an ARN condition operator. Variables may
// stand in any part.
func compileARN(text string, variables bool) arnPattern {
	return compileARNPattern(text, variables, false)
}

// compileResource compiles a Resource or NotResource entry. Missing parts count
// as "*"; in documents on resources only after a trailing star, which AWS lets
// run beyond its part. Variables may stand in the last part only.
func compileResource(text string, variables, onResource bool) arnPattern {
	p := compileARNPattern(text, variables, !onResource || strings.HasSuffix(text, "*"))
	if variables {
		p.stray = p.vars > p.parts[arnParts-1].vars
	}
	if parts := splitPattern(text, variables); len(parts) == arnParts {
		p.typed = wildTypeOf(parts[arnParts-1])
	}
	return p
}

func compileARNPattern(text string, variables, short bool) arnPattern {
	p := arnPattern{source: text, all: text == "*"}
	style := patternStyle{wildcards: true, variables: variables}
	parts := splitPattern(text, variables)
	p.short = len(parts) < arnParts && !short
	for i := range p.parts {
		if i < len(parts) {
			p.parts[i] = compilePattern(parts[i], style)
		} else {
			p.parts[i] = compilePattern("*", style)
		}
		p.vars += p.parts[i].vars
	}
	p.setPrefix()
	return p
}

func (p *arnPattern) setPrefix() {
	for i := range p.parts {
		text, whole := p.parts[i].literalPrefix()
		p.prefix += text
		if !whole || i == arnParts-1 {
			return
		}
		p.prefix += ":"
		p.lead, p.leads = p.prefix, i+1
	}
}

// mayMatch is a quick test that few patterns pass without matching. It does not
// look at variables, so it decides nothing for negated elements.
func (p *arnPattern) mayMatch(value string) bool { return p.all || strings.HasPrefix(value, p.prefix) }

// splitPattern splits at the first five colons that stand outside ${...}.
func splitPattern(text string, variables bool) []string {
	var parts []string
	start := 0
	for i := 0; i < len(text) && len(parts) < arnParts-1; i++ {
		if variables && strings.HasPrefix(text[i:], "${") {
			if end := variableEnd(text[i:]); end > 0 {
				i += end
				continue
			}
		}
		if text[i] == ':' {
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

// matchResource compares a requested resource; "*" stands for a request without
// one and is matched by the pattern "*" only.
func (p *arnPattern) matchResource(value string, ctx *Context) verdict {
	if p.all {
		return yes
	}
	if p.stray {
		return broken
	}
	return p.match(value, ctx)
}

// match compares a value with the pattern; a value that is no ARN matches nothing.
func (p *arnPattern) match(value string, ctx *Context) verdict {
	if p.all {
		return verdictOf(isARN(value))
	}
	if p.short || !strings.HasPrefix(value, p.lead) {
		return p.mismatch(ctx)
	}
	rest := value[len(p.lead):]
	result := yes
	for i := p.leads; i < arnParts; i++ {
		part := rest
		if i < arnParts-1 {
			at := strings.IndexByte(rest, ':')
			if at < 0 {
				return p.mismatch(ctx)
			}
			part, rest = rest[:at], rest[at+1:]
		}
		result = worse(result, p.parts[i].match(part, ctx))
		if result == no || result == broken {
			return p.mismatch(ctx)
		}
	}
	return result
}

// isARN reports whether a value has the six parts of an ARN.
func isARN(value string) bool { return strings.Count(value, ":") >= arnParts-1 }

// mismatch tells a plain mismatch from one that a variable without a value spoils.
func (p *arnPattern) mismatch(ctx *Context) verdict {
	if p.vars == 0 {
		return no
	}
	for i := range p.parts {
		var inline [maxInlineVariables]string
		if _, v := p.parts[i].resolve(inline[:0], ctx); v == broken {
			return broken
		}
	}
	return no
}

// worse joins the verdicts of parts that must all hold.
func worse(a, b verdict) verdict {
	switch {
	case a == broken || b == broken:
		return broken
	case a == no || b == no:
		return no
	case a == open || b == open:
		return open
	}
	return yes
}

func (p *arnPattern) openKeys(keys []string, ctx *Context) []string {
	for i := range p.parts {
		keys = p.parts[i].openKeys(keys, ctx)
	}
	return keys
}
