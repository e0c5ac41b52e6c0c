// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association

import (
	"context"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/store"
)

// Tag adds tags to an association. Action: eks:TagResource.
func (m *Manager) Tag(ctx context.Context, caller iam.Caller, clusterName, id string, tags map[string]string) error {
	_, judged, err := m.authorize(ctx, caller, "eks:TagResource", clusterName, id, cluster.RequestTags(tags)...)
	if err != nil {
		return err
	}
	_, err = m.change(ctx, clusterName, id, judged, once{}, func(_ *store.Tx, _ *cluster.Cluster, a *Association) (err error) {
		a.Tags, err = cluster.MergedTags(a.Tags, tags)
		return err
	})
	return err
}

// Untag removes tags from an association. Action: eks:UntagResource.
func (m *Manager) Untag(ctx context.Context, caller iam.Caller, clusterName, id string, keys []string) error {
	_, judged, err := m.authorize(ctx, caller, "eks:UntagResource", clusterName, id, cluster.TagKeys(keys))
	if err != nil {
		return err
	}
	_, err = m.change(ctx, clusterName, id, judged, once{}, func(_ *store.Tx, _ *cluster.Cluster, a *Association) (err error) {
		a.Tags, err = cluster.RemainingTags(a.Tags, keys)
		return err
	})
	return err
}

// Tags returns an association's tags. Action: eks:ListTagsForResource.
func (m *Manager) Tags(ctx context.Context, caller iam.Caller, clusterName, id string) (map[string]string, error) {
	a, err := m.read(ctx, caller, "eks:ListTagsForResource", clusterName, id)
	if err != nil {
		return nil, err
	}
	return a.Tags, nil
}
