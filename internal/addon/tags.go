// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"context"
	"maps"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/store"
)

// Tag adds tags to an add-on. Action: eks:TagResource.
func (m *Manager) Tag(ctx context.Context, caller iam.Caller, clusterName, name string, tags map[string]string) error {
	return m.retag(ctx, caller, "eks:TagResource", clusterName, name, cluster.RequestTags(tags), func(have map[string]string) (map[string]string, error) {
		return cluster.MergedTags(have, tags)
	})
}

// Untag removes tags from an add-on. Action: eks:UntagResource.
func (m *Manager) Untag(ctx context.Context, caller iam.Caller, clusterName, name string, keys []string) error {
	return m.retag(ctx, caller, "eks:UntagResource", clusterName, name, []iam.ConditionKey{cluster.TagKeys(keys)}, func(have map[string]string) (map[string]string, error) {
		return cluster.RemainingTags(maps.Clone(have), keys)
	})
}

// Tags returns an add-on's tags. Action: eks:ListTagsForResource.
func (m *Manager) Tags(ctx context.Context, caller iam.Caller, clusterName, name string) (map[string]string, error) {
	a, err := m.recorded(ctx, caller, "eks:ListTagsForResource", clusterName, name)
	if err != nil {
		return nil, err
	}
	return a.Tags, nil
}

func (m *Manager) retag(
	ctx context.Context, caller iam.Caller, action, clusterName, name string, keys []iam.ConditionKey, fn func(map[string]string) (map[string]string, error),
) error {
	judged, err := m.recorded(ctx, caller, action, clusterName, name, keys...)
	if err != nil {
		return err
	}
	return m.change(ctx, "tag add-on", judged, func(tx *store.Tx, c *cluster.Cluster, a *Addon) error {
		n := *a
		var err error
		if n.Tags, err = fn(a.Tags); err != nil {
			return err
		}
		n.Modified = m.now()
		Addons.Put(tx, m.scope(), key(c.UID, n.Name), &n)
		return nil
	})
}
