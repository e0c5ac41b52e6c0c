// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"podid/internal/fault"
	"podid/internal/policy"
	"podid/internal/session"
)

// constraints gathers what is wrong with the form of a request and tells all of
// it at once, as STS does: "2 validation errors detected: Value …; Value …".
// The limits are those of the STS API Reference.
type constraints struct{ found []string }

// shown bounds what a refusal quotes of a value, in bytes.
const shown = 256

// broken notes a value that breaks a rule. What is longer than shown is cut.
func (c *constraints) broken(value, member, rule string) {
	if len(value) > shown {
		value = strings.ToValidUTF8(value[:shown], "") + "…"
	}
	c.found = append(c.found, "Value '"+value+"' at '"+member+"' failed to satisfy constraint: "+rule)
}

// hidden is broken for a value that no refusal may quote.
func (c *constraints) hidden(member, rule string) {
	c.found = append(c.found, "Value at '"+member+"' failed to satisfy constraint: "+rule)
}

func atMost(n int) string { return "Member must have length less than or equal to " + strconv.Itoa(n) }

func atLeast(n int) string {
	return "Member must have length greater than or equal to " + strconv.Itoa(n)
}

// length checks a text's length in characters.
func (c *constraints) length(value, member string, from, to int) {
	switch n := utf8.RuneCountInString(value); {
	case n < from:
		c.broken(value, member, atLeast(from))
	case n > to:
		c.broken(value, member, atMost(to))
	}
}

func matches(p string) string { return "Member must satisfy regular expression pattern: " + p }

// pattern is a rule of AWS' model, of any number of certain characters: what it
// says, and those characters.
type pattern struct{ said, characters string }

// word is what \w stands for.
const word = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

var (
	namePattern     = pattern{`[\w+=,.@-]*`, word + "+=,.@-"}
	externalPattern = pattern{`[\w+=,.@:\/-]*`, word + "+=,.@:/-"}
	keyIDPattern    = pattern{`[\w]*`, word}
)

func (p pattern) matches(s string) bool { return strings.Trim(s, p.characters) == "" }

func (c *constraints) form(value, member string, p pattern) {
	if !p.matches(value) {
		c.broken(value, member, matches(p.said))
	}
}

func (c *constraints) roleARN(v string) { c.length(v, "roleArn", 20, 2048) }

// name checks role session names, source identities and federated users' names.
func (c *constraints) name(value, member string, to int) {
	c.form(value, member, namePattern)
	c.length(value, member, 2, to)
}

// externalID may be a secret between two parties: it is not quoted.
func (c *constraints) externalID(v string) {
	if v == "" {
		return
	}
	if !externalPattern.matches(v) {
		c.hidden("externalId", matches(externalPattern.said))
	}
	switch n := utf8.RuneCountInString(v); {
	case n < 2:
		c.hidden("externalId", atLeast(2))
	case n > 1224:
		c.hidden("externalId", atMost(1224))
	}
}

// seconds checks a duration that was given; 0 is none.
func (c *constraints) seconds(n int, longest time.Duration) {
	switch d := time.Duration(n) * time.Second; {
	case n == 0:
	case d < MinDuration:
		c.broken(strconv.Itoa(n), "durationSeconds", "Member must have value greater than or equal to "+strconv.Itoa(int(MinDuration.Seconds())))
	case d > longest:
		c.broken(strconv.Itoa(n), "durationSeconds", "Member must have value less than or equal to "+strconv.Itoa(int(longest.Seconds())))
	}
}

func (c *constraints) tokenSize(n int) {
	switch {
	case n < 0:
		c.broken(strconv.Itoa(n), "minimumSessionTokenSize", "Member must have value greater than or equal to 0")
	case n > session.MaxTokenBytes:
		c.broken(strconv.Itoa(n), "minimumSessionTokenSize", "Member must have value less than or equal to "+strconv.Itoa(session.MaxTokenBytes))
	}
}

const (
	maxPolicyARNs = 10
	maxTags       = 50
	policyPattern = `[\u0009\u000A\u000D\u0020-\u00FF]+`
	tagPattern    = `[\p{L}\p{Z}\p{N}_.:/=+\-@]`
)

// policies checks the form of session policies: what they say, and whether
// there are such, is for later.
func (c *constraints) policies(inline string, arns []string) {
	if utf8.RuneCountInString(inline) > policy.SessionPolicyMax {
		c.hidden("policy", atMost(policy.SessionPolicyMax))
	}
	if strings.ContainsFunc(inline, func(r rune) bool { return r > 0xff || r < ' ' && r != '\t' && r != '\n' && r != '\r' }) {
		c.hidden("policy", matches(policyPattern))
	}
	if len(arns) > maxPolicyARNs {
		c.hidden("policyArns", atMost(maxPolicyARNs))
		return
	}
	for i, a := range arns {
		c.length(a, fmt.Sprintf("policyArns.%d.member.arn", i+1), 20, 2048)
	}
}

// tags checks the form of session tags and of the keys of transitive ones.
func (c *constraints) tags(tags []session.Tag, transitiveKeys []string) {
	if len(tags) > maxTags {
		c.hidden("tags", atMost(maxTags))
		return
	}
	if len(transitiveKeys) > maxTags {
		c.hidden("transitiveTagKeys", atMost(maxTags))
		return
	}
	for i, t := range tags {
		key, value := fmt.Sprintf("tags.%d.member.key", i+1), fmt.Sprintf("tags.%d.member.value", i+1)
		if c.length(t.Key, key, 1, 128); !tagText(t.Key) {
			c.broken(t.Key, key, matches(tagPattern+"+"))
		}
		if c.length(t.Value, value, 0, 256); !tagText(t.Value) {
			c.broken(t.Value, value, matches(tagPattern+"*"))
		}
	}
}

func tagText(s string) bool {
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.In(r, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// err is nil when nothing is wrong.
func (c *constraints) err() error {
	switch len(c.found) {
	case 0:
		return nil
	case 1:
		return invalid("%s", "1 validation error detected: "+c.found[0])
	}
	return invalid("%s", strconv.Itoa(len(c.found))+" validation errors detected: "+strings.Join(c.found, "; "))
}

func invalid(format string, args ...any) error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason("invalid-parameter")
}

// impossible is a value that is good in form and cannot be: STS'
// InvalidParameterValue.
func impossible(format string, args ...any) error {
	return fault.New(fault.InvalidRequest, format, args...).WithReason("invalid-value")
}

// sessionTags checks what tags may not be together ("Passing session tags in
// AWS STS"): keys are unique without regard to case, those of inherited
// transitive tags are taken, and transitive keys are among those passed.
func sessionTags(tags []session.Tag, transitiveKeys []string, inherited []session.Tag) ([]session.Tag, error) {
	if len(tags)+len(inherited) > maxTags {
		return nil, invalid("%s", "1 validation error detected: Value at 'tags' failed to satisfy constraint: "+atMost(maxTags))
	}
	out := make([]session.Tag, 0, len(tags))
	seen := make(map[string]int, len(tags))
	for _, t := range tags {
		low := strings.ToLower(t.Key)
		if strings.HasPrefix(low, "aws:") {
			return nil, invalid("The tag key %.128q is reserved: tag keys cannot begin with aws:.", t.Key)
		}
		if _, dup := seen[low]; dup {
			return nil, impossible("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		for _, i := range inherited {
			if strings.EqualFold(i.Key, t.Key) {
				return nil, impossible("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
			}
		}
		seen[low] = len(out)
		out = append(out, session.Tag{Key: t.Key, Value: t.Value})
	}
	for _, k := range transitiveKeys {
		i, ok := seen[strings.ToLower(k)]
		if !ok {
			return nil, impossible("The specified transitive tag key must be included in the requested tags.")
		}
		out[i].Transitive = true
	}
	return out, nil
}

// withoutMFA refuses what only a caller with an MFA device can say.
func withoutMFA(serial, code string) error {
	if serial == "" && code == "" {
		return nil
	}
	return fault.New(fault.AccessDenied, "MultiFactorAuthentication failed, unable to validate MFA code. "+
		"Please verify your MFA serial number is valid and associated with this user. podid has no MFA devices: leave SerialNumber and TokenCode out.").WithReason("mfa-unsupported")
}
