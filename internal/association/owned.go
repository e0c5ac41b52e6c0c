// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association

import (
	"context"
	"maps"
	"slices"

	"podid/internal/arn"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// OwnedRole is what an owner wants a service account to have.
type OwnedRole struct{ ServiceAccount, RoleARN string }

// OwnedInput is the whole set of associations that an owner is to have.
type OwnedInput struct {
	Cluster   string // name
	Namespace string // of all of them
	OwnerARN  string
	Roles     []OwnedRole
}

// OwnedPlan is what makes an owner's associations those of the input, after
// every part of it was authorised as the caller. It is applied in the
// transaction that writes the owner's record: all or nothing.
type OwnedPlan struct {
	m       *Manager
	in      OwnedInput
	view    *store.View
	judged  *cluster.Cluster
	was     map[string]*Association // the owner's, by id, as they were judged
	creates []ownedCreate
	updates map[string]ownedUpdate // by id
	deletes []string               // ids
}

type ownedCreate struct {
	id    string
	in    *CreateInput
	check RoleCheck
}

type ownedUpdate struct {
	role  string // ARN
	check RoleCheck
}

// OwnedBy returns an owner's associations as r shows them, in the order of
// namespace and service account.
func OwnedBy(r store.Reader, s store.Scope, ownerARN string) []*Association {
	var out []*Association
	for _, a := range Associations.ByIndex(r, s, ownerIndex(ownerARN)) {
		out = append(out, a)
	}
	return out
}

func ownerIndex(ownerARN string) string { return "owner/" + ownerARN }

// ownedElsewhere refuses what would change an association behind its owner's back.
func ownedElsewhere(a *Association) error {
	if a.OwnerARN == "" {
		return nil
	}
	return fault.New(fault.InvalidRequest, "The pod identity association %s is owned by the add-on %s. Change it with UpdateAddon or DeleteAddon.", a.ID, a.OwnerARN).
		WithReason("association-owned")
}

// PrepareOwned compares what the owner has with what it is to have, and asks
// for each difference: eks:CreatePodIdentityAssociation,
// eks:UpdatePodIdentityAssociation or eks:DeletePodIdentityAssociation, and
// iam:PassRole for every role that is named anew.
func (m *Manager) PrepareOwned(ctx context.Context, caller iam.Caller, in OwnedInput) (*OwnedPlan, error) {
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, cluster.StoreFault("authorize associations", err)
	}
	p := &OwnedPlan{m: m, in: in, view: v, was: map[string]*Association{}, updates: map[string]ownedUpdate{}}
	p.judged, _ = cluster.Clusters.Get(v, m.scope(), in.Cluster)
	have := map[string]*Association{}
	for _, a := range OwnedBy(v, m.scope(), in.OwnerARN) {
		p.was[a.ID], have[a.ServiceAccount] = a, a
	}
	seen := map[string]bool{}
	for _, want := range in.Roles {
		if seen[want.ServiceAccount] {
			return nil, invalid("service-account-twice", "The serviceAccount %.260q is given twice.", want.ServiceAccount)
		}
		seen[want.ServiceAccount] = true
		if err := p.want(ctx, caller, want, have[want.ServiceAccount]); err != nil {
			return nil, err
		}
	}
	for _, sa := range slices.Sorted(maps.Keys(have)) {
		if a := have[sa]; !seen[sa] {
			if err := m.authorizeOwned(ctx, caller, "eks:DeletePodIdentityAssociation", a); err != nil {
				return nil, err
			}
			p.deletes = append(p.deletes, a.ID)
		}
	}
	return p, nil
}

// want plans one service account; a is what it has, or nil.
func (p *OwnedPlan) want(ctx context.Context, caller iam.Caller, want OwnedRole, a *Association) error {
	m := p.m
	if a != nil && a.RoleARN == want.RoleARN {
		return nil
	}
	create := &CreateInput{Cluster: p.in.Cluster, Namespace: p.in.Namespace, ServiceAccount: want.ServiceAccount, RoleARN: want.RoleARN}
	if a == nil {
		var keys []iam.ConditionKey
		if p.judged != nil {
			keys = cluster.ResourceTags(p.judged.Tags)
		}
		q := iam.Query{Action: "eks:CreatePodIdentityAssociation", Resource: m.clusters().ARN(p.in.Cluster), Keys: keys}
		if err := m.Authz.Authorize(ctx, caller, q); err != nil {
			return err
		}
	} else if err := m.authorizeOwned(ctx, caller, "eks:UpdatePodIdentityAssociation", a); err != nil {
		return err
	}
	role, err := create.validate(m.Partition)
	if err != nil {
		return err
	}
	if err := m.authorizePass(ctx, caller, p.in.Cluster, role); err != nil {
		return err
	}
	if a != nil {
		n := *a
		n.RoleARN = want.RoleARN
		p.updates[a.ID] = ownedUpdate{want.RoleARN, m.askRole(ctx, p.view, p.judged, &n)}
		return nil
	}
	id, err := newID(m.Rand)
	if err != nil {
		return err
	}
	p.creates = append(p.creates, ownedCreate{id, create, m.askRole(ctx, p.view, p.judged, m.build(id, p.judged, create))})
	return nil
}

func (m *Manager) authorizeOwned(ctx context.Context, caller iam.Caller, action string, a *Association) error {
	resource := arn.Association(m.Partition, m.Region, m.Account, a.ClusterName, a.ID)
	return m.Authz.Authorize(ctx, caller, iam.Query{Action: action, Resource: resource, Keys: cluster.ResourceTags(a.Tags)})
}

// Apply makes the planned changes in tx. The owner's associations have to be
// still as they were judged; the caller writes the owner's record in the same
// transaction, so that two changes of one owner cannot pass each other.
func (p *OwnedPlan) Apply(ctx context.Context, tx *store.Tx, c *cluster.Cluster) error {
	if err := cluster.AsJudged(p.judged, c); err != nil {
		return err
	}
	m := p.m
	now := OwnedBy(tx, m.scope(), p.in.OwnerARN)
	if len(now) != len(p.was) {
		return cluster.ChangedMeanwhile("add-on")
	}
	for _, a := range now {
		if err := asJudged(p.was[a.ID], a); err != nil {
			return err
		}
	}
	for _, a := range now {
		key := Key(c.UID, a.Namespace, a.ServiceAccount)
		if slices.Contains(p.deletes, a.ID) {
			Associations.Delete(tx, m.scope(), key)
			continue
		}
		u, ok := p.updates[a.ID]
		if !ok {
			continue
		}
		n := *a
		n.RoleARN, n.Modified = u.role, m.now()
		if err := u.check(ctx, tx, c, &n); err != nil {
			return err
		}
		Associations.Put(tx, m.scope(), key, &n)
	}
	for _, n := range p.creates {
		a := m.build(n.id, c, n.in)
		a.OwnerARN = p.in.OwnerARN
		if err := m.admit(ctx, tx, c, a, n.check); err != nil {
			return err
		}
		Associations.Put(tx, m.scope(), Key(c.UID, a.Namespace, a.ServiceAccount), a)
	}
	return nil
}

// Release makes an owner's associations nobody's in tx; they stay.
func (m *Manager) Release(tx *store.Tx, ownerARN string) {
	for _, a := range OwnedBy(tx, m.scope(), ownerARN) {
		n := *a
		n.OwnerARN, n.Modified = "", m.now()
		Associations.Put(tx, m.scope(), Key(n.ClusterUID, n.Namespace, n.ServiceAccount), &n)
	}
}
