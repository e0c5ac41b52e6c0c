// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/session"
)

// Claims of AWS' own in ID tokens: IAM User Guide, "Pass session tags in AWS
// STS", and "Monitor and control actions taken with assumed roles". Providers
// that cannot nest claims write claimTags, a slash and the rest of the path.
const (
	claimTags           = "https://aws.amazon.com/tags"
	claimSourceIdentity = "https://aws.amazon.com/source_identity"

	principalTags    = "principal_tags"
	transitiveTags   = "transitive_tag_keys"
	maxSubject       = 255
	maxTokenAudience = 100
	maxTokenTime     = 1 << 40 // seconds: later is no date
	defaultLeeway    = time.Minute
	defaultTokenLife = 24 * time.Hour
)

// idToken is what a signed ID token says.
type idToken struct {
	subject        string
	audiences      []string
	authorized     string // azp
	methods        []string
	issued, ends   time.Time
	begins         time.Time // zero for none
	tags           []session.Tag
	transitiveKeys []string
	sourceIdentity string
}

// audience is what the token was made for: the party that was authorised where
// the token names one, else the first of its audiences that the provider
// knows.
func (t *idToken) audience(clientIDs []string) (string, bool) {
	if t.authorized != "" {
		return t.authorized, slices.Contains(clientIDs, t.authorized)
	}
	for _, a := range t.audiences {
		if slices.Contains(clientIDs, a) {
			return a, true
		}
	}
	return "", false
}

// claims are the condition keys of the token: with azp set, aud is azp and
// oaud is aud (IAM User Guide, "Available keys for AWS OIDC federation").
func (t *idToken) claims(audience string) map[string][]string {
	out := map[string][]string{"sub": {t.subject}, "aud": {audience}}
	if t.authorized != "" {
		out["azp"], out["oaud"] = []string{t.authorized}, t.audiences
	}
	if len(t.methods) > 0 {
		out["amr"] = t.methods
	}
	return out
}

func badToken(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidToken, format, args...).WithReason(reason)
}

func missingClaim(name string) error {
	return badToken("token-claim-missing", "Missing a required claim: %s", name)
}

// rejected is a claim that a good token must not have.
func rejected(claim, format string, args ...any) error {
	return fault.New(fault.IdPRejected, "The claim %s is not accepted: %s", claim, fmt.Sprintf(format, args...)).WithReason("token-claim-rejected")
}

// readIDToken reads the payload of a token whose signature is good.
func readIDToken(payload []byte) (*idToken, string, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(payload, &m); err != nil {
		return nil, "", notAJWT(err)
	}
	t := &idToken{}
	issuer, err := text(m, "iss")
	if err != nil {
		return nil, "", err
	}
	if t.subject, err = text(m, "sub"); err != nil {
		return nil, "", err
	}
	if len(t.subject) > maxSubject {
		return nil, "", badToken("token-subject", "The subject of the token is longer than %d characters", maxSubject)
	}
	if err := t.readAudiences(m); err != nil {
		return nil, "", err
	}
	if err := t.readTimes(m); err != nil {
		return nil, "", err
	}
	if err := t.readTags(m); err != nil {
		return nil, "", err
	}
	if raw, ok := m[claimSourceIdentity]; ok {
		var c constraints
		if json.Unmarshal(raw, &t.sourceIdentity) != nil {
			return nil, "", rejected(claimSourceIdentity, "it is no string")
		}
		c.name(t.sourceIdentity, "sourceIdentity", 64)
		if err := c.err(); err != nil {
			return nil, "", rejected(claimSourceIdentity, "%s", fault.As(err).Message)
		}
	}
	return t, issuer, nil
}

// text reads a claim that has to be there.
func text(m map[string]json.RawMessage, name string) (string, error) {
	var s string
	if raw, ok := m[name]; !ok || json.Unmarshal(raw, &s) != nil || s == "" {
		return "", missingClaim(name)
	}
	return s, nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// list reads a string or an array of strings.
func list(raw json.RawMessage) ([]string, bool) {
	var one string
	if isNull(raw) {
		return nil, false
	}
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, true
	}
	var many []string
	if json.Unmarshal(raw, &many) != nil || many == nil {
		return nil, false
	}
	return many, true
}

func (t *idToken) readAudiences(m map[string]json.RawMessage) error {
	var ok bool
	if t.audiences, ok = list(m["aud"]); !ok || len(t.audiences) == 0 {
		return missingClaim("aud")
	}
	if len(t.audiences) > maxTokenAudience {
		return badToken("token-audience", "The token names more than %d audiences", maxTokenAudience)
	}
	if raw, there := m["azp"]; there && json.Unmarshal(raw, &t.authorized) != nil {
		return badToken("token-audience", "The azp claim of the token is no string")
	}
	if raw, there := m["amr"]; there {
		if t.methods, ok = list(raw); !ok {
			return badToken("token-malformed", "The amr claim of the token is neither a string nor an array of strings")
		}
	}
	return nil
}

func (t *idToken) readTimes(m map[string]json.RawMessage) error {
	for _, c := range []struct {
		name     string
		into     *time.Time
		required bool
	}{{"exp", &t.ends, true}, {"iat", &t.issued, true}, {"nbf", &t.begins, false}} {
		raw, ok := m[c.name]
		if !ok {
			if c.required {
				return missingClaim(c.name)
			}
			continue
		}
		var seconds float64
		if json.Unmarshal(raw, &seconds) != nil || seconds < 0 || seconds > maxTokenTime {
			return badToken("token-malformed", "The %s claim of the token is no date", c.name)
		}
		*c.into = time.Unix(int64(seconds), 0).UTC()
	}
	return nil
}

// readTags reads session tags, nested or flat, and holds them to the rules of
// session tags. Each tag has one value.
func (t *idToken) readTags(m map[string]json.RawMessage) error {
	var nested struct {
		Tags map[string]json.RawMessage `json:"principal_tags"`
		Keys json.RawMessage            `json:"transitive_tag_keys"`
	}
	if raw, ok := m[claimTags]; ok && json.Unmarshal(raw, &nested) != nil {
		return rejected(claimTags, "it is no object with %s and %s", principalTags, transitiveTags)
	}
	values := nested.Tags
	if values == nil {
		values = map[string]json.RawMessage{}
	}
	for name, raw := range m {
		if key, ok := strings.CutPrefix(name, claimTags+"/"+principalTags+"/"); ok {
			if _, twice := values[key]; twice {
				return rejected(claimTags, "the tag %.128q is there twice", key)
			}
			values[key] = raw
		}
	}
	if raw, ok := m[claimTags+"/"+transitiveTags]; ok && isNull(nested.Keys) {
		nested.Keys = raw
	}
	for key, raw := range values {
		value, ok := list(raw)
		if !ok || len(value) != 1 {
			return rejected(claimTags, "the tag %.128q must have exactly one value, a string in an array of one", key)
		}
		t.tags = append(t.tags, session.Tag{Key: key, Value: value[0]})
	}
	slices.SortFunc(t.tags, func(a, b session.Tag) int { return strings.Compare(a.Key, b.Key) })
	if !isNull(nested.Keys) {
		var ok bool
		if t.transitiveKeys, ok = list(nested.Keys); !ok {
			return rejected(claimTags, "%s is no array of strings", transitiveTags)
		}
	}
	var c constraints
	c.tags(t.tags, t.transitiveKeys)
	err := c.err()
	if err == nil {
		t.tags, err = sessionTags(t.tags, t.transitiveKeys, nil)
	}
	if err != nil {
		return rejected(claimTags, "%s", fault.As(err).Message)
	}
	return nil
}

// check holds a token against the provider and the clock.
func (t *idToken) check(p *iam.OIDCProvider, issuer string, now time.Time, leeway, longest time.Duration) (audience string, err error) {
	if leeway == 0 {
		leeway = defaultLeeway
	}
	if longest == 0 {
		longest = defaultTokenLife
	}
	audience, known := t.audience(p.ClientIDs)
	switch {
	case issuer != p.Issuer():
		return "", badToken("token-issuer", "The issuer of the token is not the provider's")
	case slices.Contains(t.audiences, audiencePods) || t.authorized == audiencePods:
		return "", badToken("token-audience", "Incorrect token audience: a pod's token for EKS Pod Identity is good for nothing else")
	case !known:
		return "", badToken("token-audience", "Incorrect token audience")
	case !now.Before(t.ends.Add(leeway)):
		return "", fault.New(fault.ExpiredToken, "Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), t.ends.Unix()).WithReason("token-expired")
	case t.issued.After(now.Add(leeway)), t.begins.After(now.Add(leeway)):
		return "", badToken("token-not-yet-valid", "The token is not valid yet")
	case !t.ends.After(t.issued):
		return "", badToken("token-malformed", "The token ends before it begins")
	case t.ends.Sub(t.issued) > longest:
		return "", badToken("token-life-too-long", "The token is valid for longer than %s", longest)
	}
	return audience, nil
}
