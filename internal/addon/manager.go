// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"context"
	"encoding/hex"
	"io"
	"maps"
	"time"

	"podid/internal/arn"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/uuid"
)

// Authorizer decides whether a caller may. Nil means yes; a refusal is a
// fault of kind AccessDenied.
type Authorizer interface {
	Authorize(ctx context.Context, c iam.Caller, q iam.Query) error
}

// Manager holds the verbs on add-ons. All fields are required.
type Manager struct {
	Store        store.Store
	Authz        Authorizer
	Associations *association.Manager
	Agents       *Sightings
	Now          func() time.Time
	Rand         io.Reader // safe for concurrent use
	Partition    string
	Account      string
	Region       string
}

// CreateInput is what a new add-on is made of.
type CreateInput struct {
	Cluster, Name         string
	Version               string // "" is the catalog's default
	Namespace             string // "" is the catalog's
	ServiceAccountRoleARN string
	ConfigurationValues   string
	ResolveConflicts      string // checked; there is no software to conflict
	Roles                 []association.OwnedRole
	Tags                  map[string]string
	// Token makes the call idempotent: the same token and input give the same
	// add-on. Optional.
	Token string
}

// ListInput is a page of the names of a cluster's add-ons.
type ListInput struct {
	Cluster string
	After   string // the last name of the page before; "" is the beginning
	Max     int    // 1..100
}

func (m *Manager) scope() store.Scope { return store.Scope{Account: m.Account, Region: m.Region} }

func (m *Manager) now() time.Time { return m.Now().UTC().Truncate(time.Millisecond) }

// addonARN ends in the id of the add-on; "*" stands for that of one which
// there is not.
func (m *Manager) addonARN(clusterName, name, id string) string {
	return arn.Addon(m.Partition, m.Region, m.Account, clusterName, name, id)
}

func notFound(clusterName, name string) error {
	return fault.New(fault.NotFound, "No addon: %.100s found in cluster: %.100s", name, clusterName).WithReason("addon-not-found")
}

func (m *Manager) clusters() cluster.Rights {
	return cluster.Rights{Store: m.Store, Authz: m.Authz, Partition: m.Partition, Account: m.Account, Region: m.Region}
}

// authorize asks for action on an add-on, which may not exist, and returns it
// as it was judged; nil when there is no record.
func (m *Manager) authorize(ctx context.Context, caller iam.Caller, action, clusterName, name string, keys ...iam.ConditionKey) (*store.View, *Addon, error) {
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, nil, cluster.StoreFault("authorize "+action, err)
	}
	resource := m.addonARN(clusterName, name, "*")
	var a *Addon
	if c, ok := cluster.Clusters.Get(v, m.scope(), clusterName); ok {
		if a, ok = Addons.Get(v, m.scope(), key(c.UID, name)); ok {
			resource, keys = a.ARN, append(keys, cluster.ResourceTags(a.Tags)...)
		}
	}
	return v, a, m.Authz.Authorize(ctx, caller, iam.Query{Action: action, Resource: resource, Keys: keys})
}

// Create makes an add-on's record and the associations that it owns. Action:
// eks:CreateAddon on the cluster; for each association
// eks:CreatePodIdentityAssociation and iam:PassRole, and iam:PassRole on the
// service account role.
func (m *Manager) Create(ctx context.Context, caller iam.Caller, in CreateInput) (*State, error) {
	_, judged, err := m.clusters().On(ctx, caller, "eks:CreateAddon", in.Cluster, cluster.RequestTags(in.Tags)...)
	if err != nil {
		return nil, err
	}
	if err := in.validate(); err != nil {
		return nil, err
	}
	if err := m.authorizePass(ctx, caller, in.Cluster, in.ServiceAccountRoleARN); err != nil {
		return nil, err
	}
	id, err := uuid.New(m.Rand)
	if err != nil {
		return nil, err
	}
	now := m.now()
	a := &Addon{
		ClusterName: in.Cluster, Name: in.Name, ARN: m.addonARN(in.Cluster, in.Name, id), Version: in.Version, Namespace: in.Namespace,
		ServiceAccountRoleARN: in.ServiceAccountRoleARN, ConfigurationValues: in.ConfigurationValues, Tags: maps.Clone(in.Tags),
		Created: now, Modified: now, Request: cluster.NewRequest(caller.Account, in.Token, in.withoutToken()),
	}
	plan, err := m.Associations.PrepareOwned(ctx, caller, association.OwnedInput{Cluster: in.Cluster, Namespace: a.Namespace, OwnerARN: a.ARN, Roles: in.Roles})
	if err != nil {
		return nil, err
	}
	var out *Addon
	err = cluster.Commit(ctx, m.Store, "create add-on", func(tx *store.Tx) error {
		c, err := cluster.Named(tx, m.scope(), in.Cluster)
		if err != nil {
			return err
		}
		if err := cluster.AsJudged(judged, c); err != nil {
			return err
		}
		if old, ok := Addons.Get(tx, m.scope(), key(c.UID, in.Name)); ok {
			if again, err := a.Request.Repeats(old.Request); again || err != nil {
				out = old
				return err
			}
			return fault.New(fault.AlreadyExists, "Addon already exists.").WithReason("addon-exists")
		}
		n := *a
		n.ClusterUID = c.UID
		if err := plan.Apply(ctx, tx, c); err != nil {
			return err
		}
		Addons.Put(tx, m.scope(), key(c.UID, n.Name), &n)
		out = &n
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.state(m.Store.View(), out), nil
}

// state says how an add-on is and what it owns, as r shows it.
func (m *Manager) state(r store.Reader, a *Addon) *State {
	s := &State{Addon: a, Status: Active, Issues: []Issue{}, Associations: []string{}}
	for _, as := range association.OwnedBy(r, m.scope(), a.ARN) {
		s.Associations = append(s.Associations, as.ARN)
	}
	if a.Name == Agent {
		s.Status, s.Issues = m.Agents.health(r, m.scope(), a.ClusterUID, m.Now())
	}
	return s
}

// Describe returns an add-on. The agent's is there without a record too, when
// one has been seen. Action: eks:DescribeAddon.
func (m *Manager) Describe(ctx context.Context, caller iam.Caller, clusterName, name string) (*State, error) {
	v, a, err := m.authorize(ctx, caller, "eks:DescribeAddon", clusterName, name)
	if err != nil {
		return nil, err
	}
	c, err := cluster.Named(v, m.scope(), clusterName)
	if err != nil {
		return nil, err
	}
	if a == nil && name == Agent {
		a = m.running(v, c)
	}
	if a == nil {
		return nil, notFound(clusterName, name)
	}
	return m.state(v, a), nil
}

// running is what stands for an agent that nobody made a record of, nil when
// none was ever seen.
func (m *Manager) running(r store.Reader, c *cluster.Cluster) *Addon {
	seen, ok := m.Agents.Last(r, m.scope(), c.UID)
	id, err := hex.DecodeString(c.UID)
	if !ok || err != nil || len(id) != 16 {
		return nil
	}
	known, _ := Lookup(Agent)
	return &Addon{
		ClusterUID: c.UID, ClusterName: c.Name, Name: Agent, ARN: m.addonARN(c.Name, Agent, uuid.Format([16]byte(id))), Version: known.Versions[0],
		Namespace: known.Namespace, Created: seen.First, Modified: seen.First,
	}
}

// List returns a page of names in their order, and the name to give as After
// for the next page, "" on the last. Action: eks:ListAddons on the cluster.
func (m *Manager) List(ctx context.Context, caller iam.Caller, in ListInput) (names []string, next string, err error) {
	v, _, err := m.clusters().On(ctx, caller, "eks:ListAddons", in.Cluster)
	if err != nil {
		return nil, "", err
	}
	if in.Max < 1 || in.Max > 100 {
		return nil, "", invalid("max-results", "maxResults must be between 1 and 100, not %d.", in.Max)
	}
	c, err := cluster.Named(v, m.scope(), in.Cluster)
	if err != nil {
		return nil, "", err
	}
	agent := m.running(v, c) != nil
	names = []string{}
	for _, k := range Catalog() { // a record's name is in it, and it is in order
		_, ok := Addons.Get(v, m.scope(), key(c.UID, k.Name))
		if !ok && (k.Name != Agent || !agent) || k.Name <= in.After {
			continue
		}
		if len(names) == in.Max {
			return names, names[in.Max-1], nil
		}
		names = append(names, k.Name)
	}
	return names, "", nil
}

// Delete removes an add-on's record and the associations that it owns, or,
// with preserve, makes them nobody's. Actions: eks:DeleteAddon, and
// eks:DeletePodIdentityAssociation for each association that goes.
func (m *Manager) Delete(ctx context.Context, caller iam.Caller, clusterName, name string, preserve bool) (*State, error) {
	v, judged, err := m.authorize(ctx, caller, "eks:DeleteAddon", clusterName, name)
	if err != nil {
		return nil, err
	}
	c, err := cluster.Named(v, m.scope(), clusterName)
	if err != nil {
		return nil, err
	}
	if judged == nil {
		if name == Agent && m.running(v, c) != nil {
			return nil, fault.New(fault.InvalidRequest, "The add-on %s was not made by CreateAddon: it is podid's agent, seen in the cluster. Remove the agent there.", Agent).
				WithReason("addon-observed")
		}
		return nil, notFound(clusterName, name)
	}
	out := m.state(v, judged)
	out.Status = Deleting
	var plan *association.OwnedPlan
	if !preserve {
		if plan, err = m.Associations.PrepareOwned(ctx, caller, association.OwnedInput{Cluster: clusterName, OwnerARN: judged.ARN}); err != nil {
			return nil, err
		}
	}
	err = m.change(ctx, "delete add-on", judged, func(tx *store.Tx, c *cluster.Cluster, a *Addon) error {
		Addons.Delete(tx, m.scope(), key(c.UID, a.Name))
		if preserve {
			m.Associations.Release(tx, a.ARN)
			return nil
		}
		return plan.Apply(ctx, tx, c)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// change runs fn on the add-on, which has to be still the one that was judged.
func (m *Manager) change(ctx context.Context, what string, judged *Addon, fn func(*store.Tx, *cluster.Cluster, *Addon) error) error {
	return cluster.Commit(ctx, m.Store, what, func(tx *store.Tx) error {
		c, err := cluster.Named(tx, m.scope(), judged.ClusterName)
		if err != nil {
			return err
		}
		a, ok := Addons.Get(tx, m.scope(), key(c.UID, judged.Name))
		if !ok {
			return notFound(judged.ClusterName, judged.Name)
		}
		if a.ARN != judged.ARN || !maps.Equal(a.Tags, judged.Tags) {
			return cluster.ChangedMeanwhile("add-on")
		}
		return fn(tx, c, a)
	})
}

// DeleteOf implements cluster.Dependents: add-ons go with their cluster, and
// so does what was seen of its agent.
func (m *Manager) DeleteOf(tx *store.Tx, c *cluster.Cluster, limit int) int {
	var ids []string
	for id := range Addons.List(tx, c.Scope(), c.UID+"/", "") {
		if len(ids) == limit {
			return deleteAll(tx, c, ids)
		}
		ids = append(ids, id)
	}
	Seen.Delete(tx, c.Scope(), c.UID)
	return deleteAll(tx, c, ids)
}

func deleteAll(tx *store.Tx, c *cluster.Cluster, ids []string) int {
	for _, id := range ids {
		Addons.Delete(tx, c.Scope(), id)
	}
	return len(ids)
}
