// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package glob matches texts with the patterns of PodIdentityRolePolicies. It
// owns what * and ? mean and nothing of what is matched; there is no way to
// write a star that stands for itself, since no role's ARN has one.
package glob

// Match reports whether a pattern matches the whole of a text: * stands for
// any characters, ? for one. It takes at most len(pattern)*len(text) steps.
func Match(pattern, text string) bool {
	p, t := 0, 0
	star, resume := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			resume++
			p, t = star+1, resume
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
