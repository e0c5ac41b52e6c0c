// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry

import (
	"context"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/store"
)

// Tag adds tags to the entry with that ARN. Action: eks:TagResource.
func (m *Manager) Tag(ctx context.Context, caller iam.Caller, clusterName, entryARN string, tags map[string]string) error {
	return m.retag(ctx, caller, "eks:TagResource", clusterName, entryARN, cluster.RequestTags(tags), func(have map[string]string) (map[string]string, error) {
		return cluster.MergedTags(have, tags)
	})
}

// Untag removes tags from the entry with that ARN. Action: eks:UntagResource.
func (m *Manager) Untag(ctx context.Context, caller iam.Caller, clusterName, entryARN string, keys []string) error {
	return m.retag(ctx, caller, "eks:UntagResource", clusterName, entryARN, []iam.ConditionKey{cluster.TagKeys(keys)}, func(have map[string]string) (map[string]string, error) {
		return cluster.RemainingTags(have, keys)
	})
}

// Tags returns the tags of the entry with that ARN.
// Action: eks:ListTagsForResource.
func (m *Manager) Tags(ctx context.Context, caller iam.Caller, clusterName, entryARN string) (map[string]string, error) {
	_, e, err := m.onARN(ctx, caller, "eks:ListTagsForResource", clusterName, entryARN, nil)
	if err != nil {
		return nil, err
	}
	return e.Tags, nil
}

func (m *Manager) retag(
	ctx context.Context, caller iam.Caller, action, clusterName, entryARN string, keys []iam.ConditionKey, fn func(map[string]string) (map[string]string, error),
) error {
	c, judged, err := m.onARN(ctx, caller, action, clusterName, entryARN, keys)
	if err != nil {
		return err
	}
	_, err = m.change(ctx, c, judged, func(e *Entry) (err error) {
		if e.Tags, err = fn(e.Tags); err != nil {
			return err
		}
		e.Modified = m.now()
		return nil
	})
	return err
}

// onARN asks for action on the entry with that ARN. All of it has to be the
// entry's, the random part too: an entry made again is another one. The ARN
// leaves out the principal's path, so it does not give the record's key.
func (m *Manager) onARN(ctx context.Context, caller iam.Caller, action, clusterName, entryARN string, keys []iam.ConditionKey) (*cluster.Cluster, *Entry, error) {
	return m.judge(ctx, caller, action, clusterName, entryARN, func(r store.Reader, c *cluster.Cluster) (*Entry, bool) {
		for _, e := range Entries.List(r, m.scope(), c.UID+"/", "") {
			if e.ARN == entryARN {
				return e, true
			}
		}
		return nil, false
	}, keys)
}
