// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"unicode/utf8"
)

// verdict is the outcome of one test. open means that it depends on a key whose
// value is unknown; broken that it can hold in no form, negated or not, because
// a variable is unresolvable or a value is not of the operator's type.
type verdict uint8

const (
	no verdict = iota
	yes
	open
	broken
)

func verdictOf(ok bool) verdict {
	if ok {
		return yes
	}
	return no
}

// patternStyle says how a pattern's text is read.
type patternStyle struct {
	wildcards bool // "*" and "?" are wildcards
	variables bool // ${...} are policy variables (version 2012-10-17)
	foldCase  bool // compare without regard to case
}

type tokenKind uint8

const (
	tokLiteral tokenKind = iota
	tokStar
	tokAny // exactly one character
	tokVariable
)

type token struct {
	kind       tokenKind
	text       string // literal, or the variable's default value
	hasDefault bool
	key        keyRef
}

// pattern is a compiled string with wildcards and variables. Matching takes
// time in the order of pattern length times value length at worst, allocates
// nothing for up to eight variables, and never treats the value of a variable
// as anything but literal text.
type pattern struct {
	source string
	tokens []token
	fold   bool
	shape  patternShape
	vars   int
}

type patternShape uint8

const (
	shapeGlob   patternShape = iota
	shapeExact               // one literal, or nothing
	shapeAll                 // a lone star
	shapePrefix              // a literal and a star
)

// compilePattern never fails: text that is no well-formed variable is literal.
func compilePattern(text string, style patternStyle) pattern {
	p := pattern{source: text, fold: style.foldCase}
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			p.tokens = append(p.tokens, token{kind: tokLiteral, text: lit.String()})
			lit.Reset()
		}
	}
	for i := 0; i < len(text); {
		if style.variables && strings.HasPrefix(text[i:], "${") {
			if tok, n, ok := parseVariable(text[i:]); ok {
				i += n
				if tok.kind == tokLiteral {
					lit.WriteString(tok.text)
					continue
				}
				flush()
				p.tokens = append(p.tokens, tok)
				p.vars++
				continue
			}
		}
		switch {
		case style.wildcards && text[i] == '*':
			flush()
			if n := len(p.tokens); n == 0 || p.tokens[n-1].kind != tokStar {
				p.tokens = append(p.tokens, token{kind: tokStar})
			}
		case style.wildcards && text[i] == '?':
			flush()
			p.tokens = append(p.tokens, token{kind: tokAny})
		default:
			lit.WriteByte(text[i])
		}
		i++
	}
	flush()
	p.shape = shapeOf(p.tokens)
	return p
}

// literalPrefix returns the text before the first wildcard or variable.
func (p *pattern) literalPrefix() (text string, whole bool) {
	if len(p.tokens) == 0 {
		return "", true
	}
	if p.tokens[0].kind != tokLiteral {
		return "", false
	}
	return p.tokens[0].text, len(p.tokens) == 1
}

func shapeOf(tokens []token) patternShape {
	switch {
	case len(tokens) == 0:
		return shapeExact
	case len(tokens) == 1 && tokens[0].kind == tokLiteral:
		return shapeExact
	case len(tokens) == 1 && tokens[0].kind == tokStar:
		return shapeAll
	case len(tokens) == 2 && tokens[0].kind == tokLiteral && tokens[1].kind == tokStar:
		return shapePrefix
	}
	return shapeGlob
}

// parseVariable reads one ${...} at the start of s: an escaped character, or a
// key with an optional default, after a comma and a space, in single quotes. n is the length it takes.
func parseVariable(s string) (tok token, n int, ok bool) {
	end := variableEnd(s)
	if end < 0 {
		return token{}, 0, false
	}
	body := s[2:end]
	switch body {
	case "":
		return token{}, 0, false
	case "*", "?", "$":
		return token{kind: tokLiteral, text: body}, end + 1, true
	}
	tok = token{kind: tokVariable}
	key := body
	if name, def, ok := strings.Cut(body, ", '"); ok && strings.HasSuffix(def, "'") {
		key, tok.text, tok.hasDefault = name, strings.TrimSuffix(def, "'"), true
	}
	tok.key = newKeyRef(strings.TrimSpace(key))
	return tok, end + 1, true
}

// variableEnd returns the index of the brace that closes the ${ at the start of
// s, skipping a quoted default; -1 when there is none.
func variableEnd(s string) int {
	quoted := false
	for i := 2; i < len(s); i++ {
		switch {
		case s[i] == '\'':
			quoted = !quoted
		case s[i] == '}' && !quoted:
			return i
		}
	}
	return strings.IndexByte(s, '}')
}

// maxInlineVariables is the number of variables that one pattern resolves
// without allocating.
const maxInlineVariables = 8

// match compares a value with the pattern under the context's variables.
func (p *pattern) match(value string, ctx *Context) verdict {
	switch p.shape {
	case shapeAll:
		return yes
	case shapeExact:
		text := ""
		if len(p.tokens) == 1 {
			text = p.tokens[0].text
		}
		if p.fold {
			return verdictOf(foldEqual(text, value))
		}
		return verdictOf(text == value)
	case shapePrefix:
		if p.fold {
			_, ok := foldedPrefix(p.tokens[0].text, value)
			return verdictOf(ok)
		}
		return verdictOf(strings.HasPrefix(value, p.tokens[0].text))
	}
	return p.matchGlob(value, ctx)
}

// matchGlob is match for patterns of no simple shape.
func (p *pattern) matchGlob(value string, ctx *Context) verdict {
	var inline [maxInlineVariables]string
	vars := inline[:0]
	if p.vars > maxInlineVariables {
		vars = make([]string, 0, p.vars)
	}
	if p.vars > 0 {
		var v verdict
		if vars, v = p.resolve(vars, ctx); v != yes {
			return v
		}
	}
	return verdictOf(p.glob(value, vars))
}

// resolve appends the value of every variable in order. An empty value is none,
// as AWS has it: a tag left empty must not turn ${tag}* into a lone star.
func (p *pattern) resolve(vars []string, ctx *Context) ([]string, verdict) {
	result := yes
	for i := range p.tokens {
		tok := &p.tokens[i]
		if tok.kind != tokVariable {
			continue
		}
		switch e := ctx.lookup(&tok.key); {
		case e != nil && e.unknown:
			result = open
			vars = append(vars, "")
		case e != nil && !e.multi && e.value != "":
			vars = append(vars, e.value)
		case (e == nil || !e.multi || e.empty()) && tok.hasDefault:
			vars = append(vars, tok.text)
		default:
			return vars, broken
		}
	}
	return vars, result
}

// cursor is a place in the pattern: a token, and how many of the variables
// before it are behind us.
type cursor struct{ tok, vars int }

// glob matches by the usual method: on a mismatch it returns to the last star
// and lets it take one more character, so no star is ever reconsidered.
func (p *pattern) glob(value string, vars []string) bool {
	var at, star cursor
	pos, starPos, starred := 0, 0, false
	for {
		if at.tok < len(p.tokens) {
			tok := &p.tokens[at.tok]
			if tok.kind == tokStar {
				at.tok++
				if at.tok == len(p.tokens) {
					return true
				}
				star, starPos, starred = at, pos, true
				continue
			}
			if n, ok := p.step(tok, at, value[pos:], vars); ok {
				pos += n
				at.tok++
				if tok.kind == tokVariable {
					at.vars++
				}
				continue
			}
		} else if pos == len(value) {
			return true
		}
		if !starred || starPos >= len(value) {
			return false
		}
		starPos += runeLen(value[starPos:])
		at, pos = star, starPos
	}
}

// runeLen is the length of the first character of a text that is not empty.
func runeLen(s string) int {
	if s[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// step matches one token that is no star at the start of rest.
func (p *pattern) step(tok *token, at cursor, rest string, vars []string) (int, bool) {
	text := tok.text
	switch tok.kind {
	case tokAny:
		if rest == "" {
			return 0, false
		}
		return runeLen(rest), true
	case tokVariable:
		text = vars[at.vars]
	}
	if !p.fold {
		return len(text), strings.HasPrefix(rest, text)
	}
	after, ok := foldedPrefix(text, rest)
	return len(rest) - len(after), ok
}

// openKeys appends the unknown keys that the pattern refers to.
func (p *pattern) openKeys(keys []string, ctx *Context) []string {
	for i := range p.tokens {
		tok := &p.tokens[i]
		if tok.kind != tokVariable {
			continue
		}
		if e := ctx.lookup(&tok.key); e != nil && e.unknown {
			keys = append(keys, tok.key.text)
		}
	}
	return keys
}
