// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"podid/internal/fault"
	"podid/internal/iam"
)

// MaxTags is the number of tags that a resource may carry.
const MaxTags = 50

var tagRE = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+@-]*$`)

// CheckTags judges tags by EKS' rules: at most 50, keys of 1 to 128
// characters that do not begin with aws: in any case, values of up to 256.
// Source: EKS API Reference, TagResource; EKS User Guide, "Tag restrictions".
func CheckTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return invalid("tag-count", "A resource can have at most %d tags, not %d.", MaxTags, len(tags))
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		v := tags[k]
		if n := utf8.RuneCountInString(k); n < 1 || n > 128 || !tagRE.MatchString(k) {
			return invalid("tag-key", "The tag key %.140q is not valid: 1 to 128 letters, digits, spaces and + - = . _ : / @.", k)
		}
		if len(k) >= 4 && strings.EqualFold(k[:4], "aws:") {
			return invalid("tag-reserved", "The tag key %.140q begins with aws:, which is reserved.", k)
		}
		if utf8.RuneCountInString(v) > 256 || !tagRE.MatchString(v) {
			return invalid("tag-value", "The value of the tag %.140q is not valid: up to 256 letters, digits, spaces and + - = . _ : / @.", k)
		}
	}
	return nil
}

// RequestTags are the condition keys of tags that a request brings.
func RequestTags(tags map[string]string) []iam.ConditionKey {
	if len(tags) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(tags))
	keys := make([]iam.ConditionKey, 0, len(names)+1)
	for _, k := range names {
		keys = append(keys, iam.ConditionKey{Name: "aws:RequestTag/" + k, Values: []string{tags[k]}})
	}
	return append(keys, TagKeys(names))
}

// TagKeys is the condition key of the tag keys that a request names.
func TagKeys(names []string) iam.ConditionKey {
	return iam.ConditionKey{Name: "aws:TagKeys", Values: names, Multi: true}
}

// ResourceTags are the condition keys of the tags that a resource has.
func ResourceTags(tags map[string]string) []iam.ConditionKey {
	keys := make([]iam.ConditionKey, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		keys = append(keys, iam.ConditionKey{Name: "aws:ResourceTag/" + k, Values: []string{tags[k]}})
	}
	return keys
}

// MergedTags returns have with add laid over it, or a fault when add is empty
// or breaks a rule, or the sum is too many.
func MergedTags(have, add map[string]string) (map[string]string, error) {
	if len(add) == 0 {
		return nil, fault.New(fault.MissingParameter, "At least one tag is wanted.").WithReason("tags-missing")
	}
	if err := CheckTags(add); err != nil {
		return nil, err
	}
	out := make(map[string]string, len(have)+len(add))
	maps.Copy(out, have)
	maps.Copy(out, add)
	if len(out) > MaxTags {
		return nil, invalid("tag-count", "A resource can have at most %d tags; with these it would have %d.", MaxTags, len(out))
	}
	return out, nil
}

// RemainingTags returns have without the keys named. Keys that are not there
// are no error.
func RemainingTags(have map[string]string, remove []string) (map[string]string, error) {
	if len(remove) == 0 {
		return nil, fault.New(fault.MissingParameter, "At least one tag key is wanted.").WithReason("tags-missing")
	}
	if len(remove) > MaxTags {
		return nil, invalid("tag-count", "At most %d tag keys can be removed at once, not %d.", MaxTags, len(remove))
	}
	out := maps.Clone(have)
	for _, k := range remove {
		delete(out, k)
	}
	return out, nil
}

// Tag adds tags to a cluster. Action: eks:TagResource.
func (m *Manager) Tag(ctx context.Context, caller iam.Caller, name string, tags map[string]string) error {
	judged, err := m.authorize(ctx, caller, "eks:TagResource", name, RequestTags(tags)...)
	if err != nil {
		return err
	}
	_, err = m.change(ctx, name, judged, func(c *Cluster) (err error) {
		c.Tags, err = MergedTags(c.Tags, tags)
		return err
	})
	return err
}

// Untag removes tags from a cluster. Action: eks:UntagResource.
func (m *Manager) Untag(ctx context.Context, caller iam.Caller, name string, keys []string) error {
	judged, err := m.authorize(ctx, caller, "eks:UntagResource", name, TagKeys(keys))
	if err != nil {
		return err
	}
	_, err = m.change(ctx, name, judged, func(c *Cluster) (err error) {
		c.Tags, err = RemainingTags(c.Tags, keys)
		return err
	})
	return err
}

// Tags returns a cluster's tags. Action: eks:ListTagsForResource.
func (m *Manager) Tags(ctx context.Context, caller iam.Caller, name string) (map[string]string, error) {
	c, err := m.read(ctx, caller, "eks:ListTagsForResource", name)
	if err != nil {
		return nil, err
	}
	return c.Tags, nil
}
