// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association

import (
	"context"
	"maps"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/store"
)

// Update changes an association. Actions: eks:UpdatePodIdentityAssociation,
// and iam:PassRole whenever a role is named, be it the same one. The role's
// trust is checked then, and only then: who may not pass a role learns
// nothing of it.
func (m *Manager) Update(ctx context.Context, caller iam.Caller, in UpdateInput) (*Association, error) {
	v, judged, err := m.authorize(ctx, caller, "eks:UpdatePodIdentityAssociation", in.Cluster, in.ID)
	if err != nil {
		return nil, err
	}
	if err := in.validate(m.Partition); err != nil {
		return nil, err
	}
	var check RoleCheck
	if in.RoleARN != nil {
		role, err := parseRole(*in.RoleARN, m.Partition)
		if err != nil {
			return nil, err
		}
		if err := m.authorizePass(ctx, caller, in.Cluster, role); err != nil {
			return nil, err
		}
		check = m.askUpdated(ctx, v, judged, &in)
	}
	once := newOnce(caller, "update", in.Token, in.withoutToken())
	return m.change(ctx, in.Cluster, in.ID, judged, once, func(tx *store.Tx, c *cluster.Cluster, a *Association) error {
		if err := ownedElsewhere(a); err != nil {
			return err
		}
		in.apply(m, a)
		if a.Policy != "" && !a.DisableSessionTags {
			return policyNeedsNoTags()
		}
		if check == nil {
			return nil
		}
		return check(ctx, tx, c, a)
	})
}

// askUpdated asks for the role of an association as an update makes it.
func (m *Manager) askUpdated(ctx context.Context, r store.Reader, judged *Association, in *UpdateInput) RoleCheck {
	c, _ := cluster.Clusters.Get(r, m.scope(), in.Cluster)
	if judged == nil {
		return m.askRole(ctx, r, c, nil)
	}
	n := *judged
	in.apply(m, &n)
	return m.askRole(ctx, r, c, &n)
}

func (in *UpdateInput) apply(m *Manager, a *Association) {
	if in.RoleARN != nil {
		a.RoleARN = *in.RoleARN
	}
	if in.TargetRoleARN != nil {
		m.setTarget(a, *in.TargetRoleARN)
	}
	if in.Policy != nil {
		a.Policy = *in.Policy
	}
	if in.DisableSessionTags != nil {
		a.DisableSessionTags = *in.DisableSessionTags
	}
}

// change applies fn to a copy of the association and stores it. It has to be
// still as it was judged.
func (m *Manager) change(ctx context.Context, clusterName, id string, judged *Association, o once, fn func(*store.Tx, *cluster.Cluster, *Association) error) (*Association, error) {
	var out *Association
	err := cluster.Commit(ctx, m.Store, "update association", func(tx *store.Tx) error {
		c, a, err := m.byID(tx, clusterName, id)
		if err != nil {
			return err
		}
		if err := asJudged(judged, a); err != nil {
			return err
		}
		if out, err = o.replay(tx, m, c); out != nil || err != nil {
			return err
		}
		n := *a
		n.Tags = maps.Clone(a.Tags)
		if err := fn(tx, c, &n); err != nil {
			return err
		}
		n.Modified = m.now()
		Associations.Put(tx, m.scope(), Key(c.UID, n.Namespace, n.ServiceAccount), &n)
		o.keep(tx, m, c, &n)
		out = &n
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Delete removes an association and returns it as it was. Action:
// eks:DeletePodIdentityAssociation.
func (m *Manager) Delete(ctx context.Context, caller iam.Caller, clusterName, id string) (*Association, error) {
	_, judged, err := m.authorize(ctx, caller, "eks:DeletePodIdentityAssociation", clusterName, id)
	if err != nil {
		return nil, err
	}
	var out *Association
	err = cluster.Commit(ctx, m.Store, "delete association", func(tx *store.Tx) error {
		c, a, err := m.byID(tx, clusterName, id)
		if err != nil {
			return err
		}
		if err := asJudged(judged, a); err != nil {
			return err
		}
		if err := ownedElsewhere(a); err != nil {
			return err
		}
		Associations.Delete(tx, m.scope(), Key(c.UID, a.Namespace, a.ServiceAccount))
		out = a
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteOf removes at most limit associations of a cluster in tx: they go
// with their cluster. It asks nobody; the cluster's deletion has.
func (m *Manager) DeleteOf(tx *store.Tx, c *cluster.Cluster, limit int) int {
	var ids []string
	for id := range Associations.List(tx, c.Scope(), c.UID+"/", "") {
		if len(ids) == limit {
			break
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		Associations.Delete(tx, c.Scope(), id)
	}
	return len(ids)
}
