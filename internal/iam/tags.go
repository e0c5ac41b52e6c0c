// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"podid/internal/fault"
)

const (
	maxTags  = 50
	tagChars = `[\p{L}\p{Z}\p{N}_.:/=+\-@]`

	keyBoundary  = "iam:PermissionsBoundary"
	keyPolicyARN = "iam:PolicyARN"
)

var tagRE = regexp.MustCompile(`^` + tagChars + `*$`)

// checkTags holds the rules of IAM's tags: IAM User Guide, "Tags for IAM
// resources": 50 of them, keys of 1 to 128 characters that are unique without
// regard to case and do not begin with aws:, values of at most 256.
func checkTags(tags []Tag) error {
	if len(tags) > maxTags {
		return constraint("tags", fmt.Sprintf("%d tags", len(tags)), "have length less than or equal to %d", maxTags)
	}
	seen := make(map[string]bool, len(tags))
	for i, t := range tags {
		if err := checkTagKey(fmt.Sprintf("tags.%d.member.key", i+1), t.Key); err != nil {
			return err
		}
		member := fmt.Sprintf("tags.%d.member.value", i+1)
		if err := checkLength(member, t.Value, 0, 256); err != nil {
			return err
		}
		if !tagRE.MatchString(t.Value) {
			return constraint(member, t.Value, "satisfy regular expression pattern: %s*", tagChars)
		}
		if seen[strings.ToLower(t.Key)] {
			return badInput("duplicate-tag-key", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[strings.ToLower(t.Key)] = true
	}
	return nil
}

func checkTagKey(member, key string) error {
	if err := checkLength(member, key, 1, 128); err != nil {
		return err
	}
	if !tagRE.MatchString(key) {
		return constraint(member, key, "satisfy regular expression pattern: %s+", tagChars)
	}
	if len(key) >= 4 && strings.EqualFold(key[:4], "aws:") {
		return badInput("reserved-tag-key", "Tag keys that begin with %q are reserved for system use: %s", "aws:", key)
	}
	return nil
}

func checkTagKeys(keys []string) error {
	if len(keys) > maxTags {
		return constraint("tagKeys", fmt.Sprintf("%d keys", len(keys)), "have length less than or equal to %d", maxTags)
	}
	for i, k := range keys {
		if err := checkLength(fmt.Sprintf("tagKeys.%d.member", i+1), k, 1, 128); err != nil {
			return err
		}
	}
	return nil
}

// badInput is IAM's InvalidInput.
func badInput(reason, format string, args ...any) error {
	return fault.New(fault.InvalidRequest, format, args...).WithReason(reason)
}

// mergeTags sets tags among have: a key that is there keeps its place and
// takes the new spelling and value.
func (m *Manager) mergeTags(have, set []Tag, quota Quota) ([]Tag, error) {
	out := slices.Clone(have)
	for _, t := range set {
		i := slices.IndexFunc(out, func(o Tag) bool { return strings.EqualFold(o.Key, t.Key) })
		if i < 0 {
			out = append(out, t)
			continue
		}
		out[i] = t
	}
	if limit := m.quota(quota); len(out) > limit {
		return nil, overQuota(quota, limit)
	}
	return out, nil
}

// dropTags removes the keys named; keys that are not there are no error.
func dropTags(have []Tag, keys []string) []Tag {
	return slices.DeleteFunc(slices.Clone(have), func(t Tag) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, t.Key) })
	})
}

// requestKeys are the condition keys of tags that a request brings.
func requestKeys(tags []Tag) []ConditionKey {
	if len(tags) == 0 {
		return nil
	}
	keys := ConditionKey{Name: "aws:TagKeys", Multi: true}
	out := make([]ConditionKey, 0, len(tags)+1)
	for _, t := range tags {
		keys.Values = append(keys.Values, t.Key)
		out = append(out, ConditionKey{Name: "aws:RequestTag/" + t.Key, Values: []string{t.Value}})
	}
	return append(out, keys)
}

// resourceKeys are the condition keys of the tags that a resource has.
func resourceKeys(tags []Tag) []ConditionKey {
	out := make([]ConditionKey, 0, 2*len(tags)+2)
	for _, t := range tags {
		out = append(out,
			ConditionKey{Name: "aws:ResourceTag/" + t.Key, Values: []string{t.Value}},
			ConditionKey{Name: "iam:ResourceTag/" + t.Key, Values: []string{t.Value}})
	}
	return out
}

func tagKeysKey(keys []string) []ConditionKey {
	if len(keys) == 0 {
		return nil
	}
	return []ConditionKey{{Name: "aws:TagKeys", Values: keys, Multi: true}}
}

func hasKey(keys []ConditionKey, name string) bool {
	return slices.ContainsFunc(keys, func(k ConditionKey) bool { return k.Name == name })
}
