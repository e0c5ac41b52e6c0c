// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The naive evaluator is written for obviousness: it walks decoded JSON, turns
// patterns into regular expressions and knows no compiled form. The compiled
// evaluator is compared with it on random documents.
type naive struct {
	who      Principal
	action   string
	resource string
	account  string
	ctx      map[string][]string // lower-case key; multi lists those with several values
	multi    map[string]bool
	old      bool
}

type naiveStatement struct {
	Effect                string
	Principal             map[string][]string
	NotPrincipal          map[string][]string
	Action, NotAction     []string
	Resource, NotResource []string
	Condition             map[string]map[string][]string
}

func naiveStatements(t testing.TB, text string) []naiveStatement {
	t.Helper()
	var d struct{ Statement []naiveStatement }
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d.Statement
}

// allowed decides for an identity policy and, where they are not nil, a resource
// policy, a boundary, a session policy and a service control policy.
func (n *naive) allowed(identity, resource, boundary, session, scp []naiveStatement) bool {
	allows := map[string]bool{}
	for name, document := range map[string][]naiveStatement{"identity": identity, "boundary": boundary, "session": session, "scp": scp} {
		allows[name] = document == nil
		for _, s := range document {
			if n.matches(s) {
				if s.Effect == "Deny" {
					return false
				}
				allows[name] = true
			}
		}
	}
	var byResource, toRole, toCaller bool
	for _, s := range resource {
		caller, role, named := n.named(s.Principal["AWS"])
		if s.NotPrincipal != nil {
			_, _, excepted := n.named(s.NotPrincipal["AWS"])
			named = !excepted || boundary != nil
		}
		if !named || !n.matches(s) {
			continue
		}
		if s.Effect == "Deny" {
			return false
		}
		byResource = true
		toCaller = toCaller || caller
		toRole = toRole || role
	}
	limits := allows["boundary"] && allows["session"]
	switch {
	case !allows["scp"]:
		return false
	case n.account != n.who.account:
		return allows["identity"] && byResource && limits
	case toCaller:
		return true
	}
	return (allows["identity"] || toRole) && limits
}

// named tells whether a list of principals names the caller itself, its role, and
// either of them or its account.
func (n *naive) named(principals []string) (caller, role, anyhow bool) {
	caller = slices.Contains(principals, "*") || slices.Contains(principals, n.who.arn)
	role = n.who.roleARN != "" && slices.Contains(principals, n.who.roleARN)
	return caller, role, caller || role || slices.Contains(principals, n.who.account)
}

func (n *naive) matches(s naiveStatement) bool {
	anyAction := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return n.glob(strings.ToLower(p), strings.ToLower(n.action), false) })
	}
	if s.Action != nil && !anyAction(s.Action) || s.NotAction != nil && anyAction(s.NotAction) {
		return false
	}
	deny := s.Effect == "Deny"
	if s.Resource != nil && !slices.ContainsFunc(s.Resource, func(p string) bool { return n.arn(p, n.resource, true) && (deny || !naiveTypeWildcard.MatchString(p)) }) {
		return false
	}
	if s.NotResource != nil && slices.ContainsFunc(s.NotResource, func(p string) bool { return !deny && n.unresolved(p) || n.arn(p, n.resource, true) }) {
		return false
	}
	for op, keys := range s.Condition {
		for key, want := range keys {
			if !n.condition(op, strings.ToLower(key), want, deny) {
				return false
			}
		}
	}
	return true
}

// naiveTypeWildcard finds patterns for EC2, of whose ARNs all begin their last
// part with a type, that leave the type open.
var naiveTypeWildcard = regexp.MustCompile(`^arn:[^:]*:ec2:[^:]*:[^:]*:[^/]*[*?][^/]*/`)

var naiveVariable = regexp.MustCompile(`\$\{([^}]*)\}`)

// expression writes a pattern as a regular expression with variables quoted.
func (n *naive) expression(pattern string, wildcards bool) (string, bool) {
	var b strings.Builder
	last, ok := 0, true
	plain := func(s string) {
		q := regexp.QuoteMeta(s)
		if wildcards {
			q = strings.ReplaceAll(strings.ReplaceAll(q, `\*`, `.*`), `\?`, `.`)
		}
		b.WriteString(q)
	}
	if n.old {
		plain(pattern)
		return b.String(), true
	}
	for _, at := range naiveVariable.FindAllStringSubmatchIndex(pattern, -1) {
		plain(pattern[last:at[0]])
		name := pattern[at[2]:at[3]]
		last = at[1]
		if name == "*" || name == "?" || name == "$" {
			b.WriteString(regexp.QuoteMeta(name))
			continue
		}
		key, def, hasDefault := strings.Cut(name, ", ")
		values, present := n.ctx[strings.ToLower(key)]
		switch {
		case present && !n.multi[strings.ToLower(key)] && values[0] != "":
			b.WriteString(regexp.QuoteMeta(values[0]))
		case (!present || len(values) == 0 || !n.multi[strings.ToLower(key)]) && hasDefault:
			b.WriteString(regexp.QuoteMeta(strings.Trim(def, "'")))
		default:
			ok = false
		}
	}
	plain(pattern[last:])
	return b.String(), ok
}

func (n *naive) unresolved(pattern string) bool {
	_, ok := n.expression(pattern, true)
	return !ok
}

func (n *naive) glob(pattern, value string, wildcards bool) bool {
	expr, ok := n.expression(pattern, wildcards || !strings.Contains(pattern, "${"))
	return ok && regexp.MustCompile(`(?s)\A`+expr+`\z`).MatchString(value)
}

func (n *naive) equal(pattern, value string) bool {
	expr, ok := n.expression(pattern, false)
	return ok && regexp.MustCompile(`(?s)\A`+expr+`\z`).MatchString(value)
}

// arn compares part by part. The generator keeps colons out of variables' names
// by a stand-in, so that splitting is simple here.
func (n *naive) arn(pattern, value string, short bool) bool {
	if pattern == "*" {
		return short || strings.Count(value, ":") >= 5
	}
	hidden := naiveVariable.ReplaceAllStringFunc(pattern, func(v string) string { return strings.ReplaceAll(v, ":", "\x00") })
	parts := strings.SplitN(hidden, ":", 6)
	if len(parts) < 6 && !short {
		return false
	}
	for len(parts) < 6 {
		parts = append(parts, "*")
	}
	values := strings.SplitN(value, ":", 6)
	if len(values) < 6 {
		return false
	}
	for i := range parts {
		if !n.glob(strings.ReplaceAll(parts[i], "\x00", ":"), values[i], true) {
			return false
		}
	}
	return true
}

func (n *naive) condition(op, key string, want []string, deny bool) bool {
	values, present := n.ctx[key]
	present = present && len(values) > 0
	if op == "Null" {
		return slices.Contains(want, map[bool]string{true: "false", false: "true"}[present])
	}
	set := ""
	if at := strings.Index(op, ":"); at > 0 {
		set, op = op[:at], op[at+1:]
	}
	op, ifExists := strings.CutSuffix(op, "IfExists")
	base := strings.Replace(op, "Not", "", 1)
	negated := base != op
	test := func(value string) bool {
		if !negated {
			return slices.ContainsFunc(want, func(w string) bool { return n.compare(base, w, value) })
		}
		return !slices.ContainsFunc(want, func(w string) bool { return !deny && n.incomparable(base, w, value) || n.compare(base, w, value) })
	}
	nothing := !slices.ContainsFunc(values, func(v string) bool { return v != "" })
	switch {
	case set == "ForAllValues":
		return !present || nothing || !slices.ContainsFunc(values, func(v string) bool { return !test(v) })
	case set == "ForAnyValue" && !present:
		return ifExists
	case set == "ForAnyValue":
		return !nothing && slices.ContainsFunc(values, test)
	case !present:
		return ifExists || negated
	case n.multi[key]:
		return false
	}
	return test(values[0])
}

// incomparable tells values that fail a condition even when it is negated.
func (n *naive) incomparable(op, want, value string) bool {
	switch op {
	case "NumericEquals":
		_, a := new(big.Rat).SetString(want)
		_, b := new(big.Rat).SetString(value)
		return !a || !b
	case "DateEquals":
		_, a := naiveTime(want)
		_, b := naiveTime(value)
		return a != nil || b != nil
	}
	if op == "IpAddress" {
		return naiveNetwork(want) == nil || net.ParseIP(value) == nil
	}
	return n.unresolved(want) || op == "ArnLike" && strings.Count(value, ":") < 5
}

// naiveNetwork reads an address or a network; nil when it is neither.
func naiveNetwork(s string) *net.IPNet {
	if ip := net.ParseIP(s); ip != nil {
		bits := 8 * len(ip)
		if ip.To4() != nil {
			ip, bits = ip.To4(), 32
		}
		return &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)}
	}
	_, network, err := net.ParseCIDR(s)
	if err != nil {
		return nil
	}
	return network
}

// naiveTime reads RFC 3339 and epoch seconds, all that the generator draws.
func naiveTime(s string) (time.Time, error) {
	if seconds, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	return time.Parse(time.RFC3339, s)
}

func (n *naive) compare(op, want, value string) bool {
	switch op {
	case "StringEquals":
		return n.equal(want, value)
	case "StringEqualsIgnoreCase":
		return n.equal(strings.ToLower(want), strings.ToLower(value))
	case "StringLike":
		expr, ok := n.expression(want, true)
		return ok && regexp.MustCompile(`(?s)\A`+expr+`\z`).MatchString(value)
	case "ArnLike", "ArnEquals":
		return n.arn(want, value, false)
	case "IpAddress":
		network, ip := naiveNetwork(want), net.ParseIP(value)
		return network != nil && ip != nil && (len(network.IP) == net.IPv4len) == (ip.To4() != nil) && network.Contains(ip)
	case "BinaryEquals":
		a, errA := base64.StdEncoding.DecodeString(want)
		b, errB := base64.StdEncoding.DecodeString(value)
		return errA == nil && errB == nil && bytes.Equal(a, b)
	case "Bool":
		return strings.EqualFold(want, value) && (strings.EqualFold(want, "true") || strings.EqualFold(want, "false"))
	case "DateLessThan", "DateEquals":
		a, errA := naiveTime(value)
		b, errB := naiveTime(want)
		if errA != nil || errB != nil {
			return false
		}
		return op == "DateEquals" && a.Equal(b) || op == "DateLessThan" && a.Before(b)
	}
	a, okA := new(big.Rat).SetString(value)
	b, okB := new(big.Rat).SetString(want)
	if !okA || !okB {
		return false
	}
	switch c := a.Cmp(b); op {
	case "NumericEquals":
		return c == 0
	case "NumericLessThan":
		return c < 0
	case "NumericGreaterThanEquals":
		return c >= 0
	}
	return false
}
