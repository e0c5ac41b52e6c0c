// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package compactjson reads JSON in the form in which programs write it: without white space, strings of ASCII without
// control characters and escapes, plain numbers, objects of members that are known and come once.
//
// It owns that grammar, from the reader's side and (IsPlain) from the writer's, and nothing else: its users say which
// members they know, leave every other text, right or wrong, to encoding/json, and hold the two together with a fuzz target. It
// refuses by failing, and decides nothing about a text that it refuses. It stands on the ground floor, under the readers of
// tokens' claims and of EKS Auth's answers, where encoding/json, which goes over a text twice and finds members by reflection,
// took a tenth of the CPU and more, and under those who write audit lines and answers.
package compactjson

import (
	"strconv"
	"strings"
)

// Scanner takes JSON off the front of a text. What it returns are parts of that text, which stays in memory with them.
// After a failure every value is zero. It is for one goroutine.
type Scanner struct {
	rest   string
	failed bool
}

// New returns a scanner of text.
func New(text string) *Scanner { return &Scanner{rest: text} }

// Done tells whether all of the text was read, and every part of it in the form of this package.
func (s *Scanner) Done() bool { return !s.failed && s.rest == "" }

// Failed tells whether something was not in the form of this package.
func (s *Scanner) Failed() bool { return s.failed }

// Fail gives the text up.
func (s *Scanner) Fail() { s.failed, s.rest = true, "" }

// Take takes one byte if it is c.
func (s *Scanner) Take(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// Object takes an object of at least one member. For each, member takes the value and returns a bit of its own; 0 says
// that it does not know the name, and fails the scanner, as a second member of one name does.
func (s *Scanner) Object(member func(name string) uint) {
	seen, more := uint(0), s.Take('{')
	for more {
		name := s.Text()
		if !s.Take(':') {
			break
		}
		bit := member(name)
		if s.failed || bit == 0 || seen&bit != 0 {
			break
		}
		if s.Take('}') {
			return
		}
		seen |= bit
		more = s.Take(',')
	}
	s.Fail()
}

// Member is a member of an object, a string; To is where it goes, nil where nobody wants it.
type Member struct {
	Name string
	To   *string
}

// Texts takes an object of these members, at least one of them.
func (s *Scanner) Texts(members ...Member) {
	s.Object(func(name string) uint {
		for i, m := range members {
			if m.Name != name {
				continue
			}
			if v := s.Text(); m.To != nil {
				*m.To = v
			}
			return 1 << i
		}
		return 0
	})
}

// Text takes a string of ASCII without control characters and escapes.
func (s *Scanner) Text() string {
	if s.Take('"') {
		if end := strings.IndexByte(s.rest, '"'); end >= 0 && IsPlain(s.rest[:end]) {
			v := s.rest[:end]
			s.rest = s.rest[end+1:]
			return v
		}
	}
	s.Fail()
	return ""
}

// Whole takes a whole number, not below zero, of at most 15 digits, which a float64 holds exactly.
func (s *Scanner) Whole() float64 {
	n := s.digits()
	if n == 0 || n > 15 || n > 1 && s.rest[0] == '0' {
		s.Fail()
		return 0
	}
	v := int64(0)
	for _, c := range []byte(s.rest[:n]) {
		v = v*10 + int64(c-'0')
	}
	s.rest = s.rest[n:] // a fraction or exponent is no comma or brace, so it fails there
	return float64(v)
}

// Number takes a number that is not below zero and has no exponent; it may have a fraction.
func (s *Scanner) Number() float64 {
	whole := s.digits()
	end := whole
	if end < len(s.rest) && s.rest[end] == '.' {
		rest := Scanner{rest: s.rest[end+1:]}
		if end += 1 + rest.digits(); end == whole+1 {
			whole = 0
		}
	}
	if whole == 0 || whole > 1 && s.rest[0] == '0' {
		s.Fail()
		return 0
	}
	v, err := strconv.ParseFloat(s.rest[:end], 64)
	if err != nil {
		s.Fail()
		return 0
	}
	s.rest = s.rest[end:]
	return v
}

// digits is how many are in front.
func (s *Scanner) digits() int {
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		n++
	}
	return n
}
