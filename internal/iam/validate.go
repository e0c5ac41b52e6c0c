// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/policy"
)

// Sizes that the IAM service model sets; quotas are in quotas.go.
const (
	maxRoleName       = 64
	maxUserName       = 64
	maxGroupName      = 128
	maxPolicyName     = 128
	maxPath           = 512
	maxDescription    = 1000
	maxDocument       = 131072
	minSession        = 3600
	maxSession        = 43200
	defaultMaxSession = 3600
	maxMarker         = 1024
	defaultItems      = 100
	maxItems          = 1000
)

var (
	descriptionRE = regexp.MustCompile(`^[\x{0009}\x{000A}\x{000D}\x{0020}-\x{007E}\x{00A1}-\x{00FF}]*$`)
	pathPrefixRE  = regexp.MustCompile(`^/[\x21-\x7f]*$`)
	versionRE     = regexp.MustCompile(`^v[1-9][0-9]*(\.[A-Za-z0-9-]*)?$`)
	keyIDRE       = regexp.MustCompile(`^\w{16,128}$`)
)

// constraint is IAM's refusal of a value by its model.
func constraint(member, value, rule string, args ...any) error {
	return fault.New(fault.InvalidParameter, "1 validation error detected: Value '%.256s' at '%s' failed to satisfy constraint: Member must %s", value, member, fmt.Sprintf(rule, args...)).
		WithReason("invalid-" + kebab(member))
}

// invalid is IAM's refusal of a value in words of its own.
func invalid(member, format string, args ...any) error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason("invalid-" + kebab(member))
}

// kebab turns roleName into role-name and tags.1.member.key into tags.
func kebab(member string) string {
	member, _, _ = strings.Cut(member, ".")
	var b strings.Builder
	for _, r := range member {
		if 'A' <= r && r <= 'Z' {
			b.WriteByte('-')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func checkLength(member, value string, least, most int) error {
	switch n := utf8.RuneCountInString(value); {
	case n < least:
		return constraint(member, value, "have length greater than or equal to %d", least)
	case n > most:
		return constraint(member, value, "have length less than or equal to %d", most)
	}
	return nil
}

func checkName(member, value string, most int) error {
	if err := checkLength(member, value, 1, most); err != nil {
		return err
	}
	if !arn.IsName(value, most) {
		return invalid(member, "The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", member)
	}
	return nil
}

// checkPath returns the path, "/" for none.
func checkPath(value string) (string, error) {
	if value == "" {
		return "/", nil
	}
	if err := checkLength("path", value, 1, maxPath); err != nil {
		return "", err
	}
	if !arn.IsPath(value) {
		return "", invalid("path", "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return value, nil
}

func checkPathPrefix(value string) (string, error) {
	if value == "" {
		return "/", nil
	}
	if err := checkLength("pathPrefix", value, 1, maxPath); err != nil {
		return "", err
	}
	if !pathPrefixRE.MatchString(value) {
		return "", invalid("pathPrefix", "The specified value for pathPrefix is invalid. It must begin with a / and contain only alphanumeric characters and/or / characters.")
	}
	return value, nil
}

func checkDescription(value string) error {
	if err := checkLength("description", value, 0, maxDescription); err != nil {
		return err
	}
	if !descriptionRE.MatchString(value) {
		return constraint("description", value, `satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*`)
	}
	return nil
}

// checkSession returns the longest session in seconds; nil is the default.
func checkSession(seconds *int32) (int32, error) {
	switch {
	case seconds == nil:
		return defaultMaxSession, nil
	case *seconds < minSession:
		return 0, constraint("maxSessionDuration", fmt.Sprint(*seconds), "have value greater than or equal to %d", minSession)
	case *seconds > maxSession:
		return 0, constraint("maxSessionDuration", fmt.Sprint(*seconds), "have value less than or equal to %d", maxSession)
	}
	return *seconds, nil
}

// checkPolicyARN refuses what is no policy's ARN, without asking whether
// there is such a policy.
func (m *Manager) checkPolicyARN(value string) error {
	if n := len(value); n < 20 || n > 2048 {
		return checkLength("policyArn", value, 20, 2048)
	}
	a, err := arn.Parse(value)
	if err != nil || a.Service != "iam" || a.Region != "" || a.Partition != m.Partition ||
		!strings.HasPrefix(a.Resource, "policy/") || (a.Account != managedAccount && !arn.IsAccount(a.Account)) {
		return invalid("policyArn", "ARN %s is not valid.", value)
	}
	return nil
}

func checkVersion(value string) error {
	if !versionRE.MatchString(value) {
		return constraint("versionId", value, `satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?`)
	}
	return nil
}

// checkDocument bounds a document's text. The refusal does not repeat it.
func checkDocument(member, text string) error {
	switch n := utf8.RuneCountInString(text); {
	case n < 1:
		return constraint(member, "", "have length greater than or equal to 1")
	case n > maxDocument:
		return constraint(member, "", "have length less than or equal to %d", maxDocument)
	}
	return nil
}

// checkInline compiles an inline policy.
func checkInline(text string) error {
	if err := checkDocument("policyDocument", text); err != nil {
		return err
	}
	_, err := policy.Parse(policy.Identity, text)
	return malformed(err)
}

// checkManaged compiles a version of a managed policy.
func (m *Manager) checkManaged(text string) error {
	if err := checkDocument("policyDocument", text); err != nil {
		return err
	}
	if _, err := policy.ParseManaged(text); err != nil {
		return malformed(err)
	}
	if limit := m.quota(PolicySize); policy.Size(text) > limit {
		return overQuota(PolicySize, limit)
	}
	return nil
}
