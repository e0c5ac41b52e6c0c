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
	all    bool   // a lone "*"
	short  bool   // fewer than six parts where those may not be left out: matches nothing
	stray  bool   // a variable outside the last part of a Resource: matches nothing
	vars   int    // variables in all parts
	prefix string // literal text that every match begins with
	parts  [arnParts]pattern
}

// compileARN compiles the value of an ARN condition operator. Variables may
// stand in any part.
func compileARN(text string, variables bool) arnPattern {
	return compileARNPattern(text, variables, false)
}

// compileResource compiles a Resource or NotResource entry. Where short is set,
// as in all but resource policies, missing parts count as "*". Variables may
// stand in the last part only.
func compileResource(text string, variables, short bool) arnPattern {
	p := compileARNPattern(text, variables, short)
	if variables {
		p.stray = p.vars > p.parts[arnParts-1].vars
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
	p.prefix = p.literalPrefix()
	return p
}

func (p *arnPattern) literalPrefix() string {
	var b strings.Builder
	for i := range p.parts {
		text, whole := p.parts[i].literalPrefix()
		b.WriteString(text)
		if !whole || i == arnParts-1 {
			break
		}
		b.WriteByte(':')
	}
	return b.String()
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
	rest := value
	if p.short && !p.all {
		return no
	}
	result := yes
	for i := range p.parts {
		part := rest
		if i < arnParts-1 {
			at := strings.IndexByte(rest, ':')
			if at < 0 {
				return no
			}
			part, rest = rest[:at], rest[at+1:]
		}
		if p.all {
			continue
		}
		switch p.parts[i].match(part, ctx) {
		case no:
			if p.vars == 0 {
				return no
			}
			result = worse(result, no)
		case broken:
			return broken
		case open:
			result = worse(result, open)
		}
	}
	return result
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
