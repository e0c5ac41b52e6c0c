// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policy decides what a principal may do: it parses IAM policy
// documents, compiles them once and evaluates requests against them many times.
//
// It owns the document language (both versions), its write-time validation with
// AWS' messages, the matching of principals, actions, resources and conditions,
// and the order in which identity, session, boundary, resource, trust, service
// control and resource control policies combine. AssumeRole expands a role
// assumption into the authorisations that STS asks for.
//
// It refuses by default: a request is allowed only by a statement that says so,
// and no statement does when a variable cannot be resolved, a value cannot be
// parsed or a key with several values meets an operator for one.
//
// It stores nothing, reads no clock and imports nothing of podid. Callers bring
// the documents and the facts (Context); a Decision carries the statement that
// decided, and Explain, a second pass, the conditions that nearly held.
//
// Choices where AWS' documentation is open, each covered by a test and with its
// reasons in docs/compat/policies.md:
//
//   - ForAnyValue with IfExists holds when the key is absent.
//   - ArnLike with a lone "*" matches every well-formed ARN; a shorter pattern
//     with fewer than six parts matches nothing.
//   - What cannot be compared (a variable without a value, a value that is not of
//     the operator's type) counts against the caller: it meets no positive
//     operator, no negated one of an Allow, and every negated one of a Deny.
//   - An empty value is no value for a variable; its default is taken.
//   - An Allow whose Resource leaves the word for the resource's type to a wildcard
//     allows nothing, except for services whose ARNs have no such word.
//   - Numbers with an exponent are no numbers.
//   - "*" as a principal includes service principals, and grants to the session
//     itself: neither boundary nor session policy limits it by omission.
//   - A level of resource control policies without any Allow statement is open
//     apart from its denials, because RCPFullAWSAccess cannot be detached.
package policy
