// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"podid/internal/arn"
	"podid/internal/authz"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/session"
	"podid/internal/store"
)

// AssumeRoleInput is what a caller of AssumeRole says.
type AssumeRoleInput struct {
	RoleARN        string
	SessionName    string
	Duration       int // seconds; 0 = 3600
	Policy         string
	PolicyARNs     []string
	Tags           []session.Tag // Transitive is set from TransitiveKeys
	TransitiveKeys []string
	ExternalID     string
	SourceIdentity string
}

// AssumeRole checks the request, evaluates trust and identity policies and
// issues a session. A role that does not exist is AccessDenied, as with AWS:
// nobody learns which roles there are.
func (s *Service) AssumeRole(ctx context.Context, caller iam.Caller, in AssumeRoleInput) (*Assumed, error) {
	v := s.Store.View()
	out, err := s.assumeRole(ctx, v, caller, in)
	if !fault.Is(err, fault.AccessDenied) {
		return out, err
	}
	// What another replica acknowledged must count before a refusal is final.
	fresh, ferr := s.Store.Fence(ctx)
	if ferr != nil {
		return nil, fault.StoreUnread(ferr)
	}
	if fresh.Revision() == v.Revision() {
		return nil, err
	}
	return s.assumeRole(ctx, fresh, caller, in)
}

func (s *Service) assumeRole(ctx context.Context, v *store.View, caller iam.Caller, in AssumeRoleInput) (*Assumed, error) {
	g, err := s.grantFor(v, caller, in)
	if err != nil {
		return nil, err
	}
	return s.Assume(ctx, v, g)
}

func (s *Service) grantFor(v *store.View, caller iam.Caller, in AssumeRoleInput) (*Grant, error) {
	if _, err := arn.ParseRole(in.RoleARN); err != nil {
		return nil, invalid("%s is invalid", in.RoleARN)
	}
	if err := checkSession(in.SessionName, in.SourceIdentity, in.ExternalID); err != nil {
		return nil, err
	}
	if err := s.checkSessionPolicies(v, in.Policy, in.PolicyARNs); err != nil {
		return nil, err
	}
	g := &Grant{
		Caller: caller, Principal: authz.Principal(caller), SessionName: in.SessionName, ExternalID: in.ExternalID,
		SourceIdentity: in.SourceIdentity, Policy: in.Policy, PolicyARNs: in.PolicyARNs,
	}
	if caller.Session != nil && caller.Session.SourceIdentity != "" {
		if in.SourceIdentity != "" && in.SourceIdentity != caller.Session.SourceIdentity {
			return nil, denied(caller, "sts:SetSourceIdentity", in.RoleARN)
		}
		g.SourceIdentity = caller.Session.SourceIdentity
	}
	var err error
	if g.Tags, err = sessionTags(in.Tags, in.TransitiveKeys, g.inherited()); err != nil {
		return nil, err
	}
	if g.Duration, err = duration(in.Duration, caller.Session != nil); err != nil {
		return nil, err
	}
	// From here on answers depend on which roles there are.
	role, ok := iam.RoleByARN(v, in.RoleARN)
	if !ok {
		return nil, denied(caller, "sts:AssumeRole", in.RoleARN)
	}
	g.Role = role
	return g, nil
}

func denied(c iam.Caller, action, resource string) error {
	return fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s on resource: %s", c.ARN, action, resource).WithReason("assume-role-denied")
}

func invalid(format string, args ...any) error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason("invalid-parameter")
}

// duration applies the limits that hold for every role: form, then chain.
func duration(seconds int, chained bool) (time.Duration, error) {
	if seconds == 0 {
		return DefaultDuration, nil
	}
	d := time.Duration(seconds) * time.Second
	switch {
	case d < MinDuration:
		return 0, invalid("1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900", seconds)
	case d > MaxDuration:
		return 0, invalid("1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200", seconds)
	case chained && d > MaxChained:
		return 0, invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	return d, nil
}

var (
	sessionNameRE = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	externalIDRE  = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
)

func checkSession(name, sourceIdentity, externalID string) error {
	if !sessionNameRE.MatchString(name) {
		return constraint(name, "roleSessionName", `[\w+=,.@-]*, 2 to 64 characters`)
	}
	if sourceIdentity != "" && !sessionNameRE.MatchString(sourceIdentity) {
		return constraint(sourceIdentity, "sourceIdentity", `[\w+=,.@-]*, 2 to 64 characters`)
	}
	if n := len(externalID); n > 0 && (n < 2 || n > 1224 || !externalIDRE.MatchString(externalID)) {
		return invalid("1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@:\\/-]*, 2 to 1224 characters")
	}
	return nil
}

func constraint(value, member, pattern string) error {
	return invalid("1 validation error detected: Value '%.100s' at '%s' failed to satisfy constraint: Member must satisfy regular expression pattern: %s", value, member, pattern)
}

// sessionTags checks tags by "Passing session tags in AWS STS": at most 50,
// keys unique without regard to case, no key of an inherited transitive tag.
func sessionTags(tags []session.Tag, transitiveKeys []string, inherited []session.Tag) ([]session.Tag, error) {
	if len(tags)+len(inherited) > 50 {
		return nil, invalid("1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50")
	}
	out := make([]session.Tag, 0, len(tags))
	seen := make(map[string]int, len(tags))
	for _, t := range tags {
		if err := checkTag(t); err != nil {
			return nil, err
		}
		low := strings.ToLower(t.Key)
		if _, dup := seen[low]; dup {
			return nil, invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		for _, i := range inherited {
			if strings.EqualFold(i.Key, t.Key) {
				return nil, invalid("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
			}
		}
		seen[low] = len(out)
		out = append(out, session.Tag{Key: t.Key, Value: t.Value})
	}
	for _, k := range transitiveKeys {
		i, ok := seen[strings.ToLower(k)]
		if !ok {
			return nil, invalid("The specified transitive tag key must be included in the requested tags.")
		}
		out[i].Transitive = true
	}
	return out, nil
}

func checkTag(t session.Tag) error {
	if n := utf8.RuneCountInString(t.Key); n < 1 || n > 128 || !tagText(t.Key) || strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
		return invalid("The tag key %.128q is invalid: 1 to 128 letters, digits, white space or _.:/=+-@, not beginning with aws:.", t.Key)
	}
	if utf8.RuneCountInString(t.Value) > 256 || !tagText(t.Value) {
		return invalid("The value of tag %.128q is invalid: at most 256 letters, digits, white space or _.:/=+-@.", t.Key)
	}
	return nil
}

func tagText(s string) bool {
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.In(r, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

func (s *Service) checkSessionPolicies(r store.Reader, inline string, arns []string) error {
	if utf8.RuneCountInString(inline) > policy.SessionPolicyMax {
		return invalid("1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to %d", policy.SessionPolicyMax)
	}
	if inline != "" {
		if _, err := s.Policies.Get(policy.SessionPolicy, inline); err != nil {
			var m *policy.MalformedError
			if errors.As(err, &m) {
				return fault.New(fault.MalformedPolicy, "%s", m.Message).WithReason("malformed-policy")
			}
			return err
		}
	}
	if len(arns) > 10 {
		return invalid("1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to 10")
	}
	for _, a := range arns {
		if _, err := iam.ManagedPolicy(r, a); err != nil {
			return invalid("PolicyArn %.200s does not exist or is not attachable.", a)
		}
	}
	return nil
}

// Identity is the answer of GetCallerIdentity.
type Identity struct{ Account, ARN, UserID string }

// GetCallerIdentity tells callers who they are. It is always allowed.
func (s *Service) GetCallerIdentity(c iam.Caller) Identity {
	return Identity{Account: c.Account, ARN: c.ARN, UserID: c.UserID}
}
