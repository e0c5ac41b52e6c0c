// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association

import (
	"context"
	"io"
	"maps"
	"time"

	"podid/internal/arn"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/policy"
	"podid/internal/store"
)

// Authorizer decides whether a caller may. Nil means yes; a refusal is a
// fault of kind AccessDenied.
type Authorizer interface {
	Authorize(ctx context.Context, c iam.Caller, q iam.Query) error
}

// RoleChecker decides whether an association's role can be used by it: the
// role exists under exactly that ARN, path and case included, and trusts
// pods.eks.amazonaws.com with sts:AssumeRole and sts:TagSession. Its refusals
// are InvalidParameter faults in EKS' words.
type RoleChecker interface {
	// AskRole finds out what the check needs and the store does not know. It
	// may take seconds; verbs call it before their transaction, with the
	// association as it is to be.
	AskRole(ctx context.Context, r store.Reader, c *cluster.Cluster, a *Association) RoleCheck
}

// RoleCheck is the decision. It reads through r only, since it runs inside a
// transaction and may run several times; what it was asked about and is no
// longer so is a fault of its own, see cluster.ChangedMeanwhile.
type RoleCheck func(ctx context.Context, r store.Reader, c *cluster.Cluster, a *Association) error

// askRole is AskRole where there may be no cluster, nothing that was judged,
// or no role to ask about. Such a check is reached by what appeared meanwhile.
func (m *Manager) askRole(ctx context.Context, r store.Reader, c *cluster.Cluster, a *Association) RoleCheck {
	if c == nil || a == nil {
		return func(context.Context, store.Reader, *cluster.Cluster, *Association) error {
			return cluster.ChangedMeanwhile("association")
		}
	}
	return m.Roles.AskRole(ctx, r, c, a)
}

// DefaultLimit is EKS' quota of associations per cluster.
const DefaultLimit = 5000

// Manager holds the verbs on associations. All fields are required but Limit.
type Manager struct {
	Store     store.Store
	Authz     Authorizer
	Roles     RoleChecker
	Now       func() time.Time
	Rand      io.Reader // safe for concurrent use
	Partition string
	Account   string
	Region    string
	Limit     int // associations per cluster; 0 is DefaultLimit
}

// CreateInput is what a new association is made of.
type CreateInput struct {
	Cluster            string // name
	Namespace          string
	ServiceAccount     string
	RoleARN            string // a role of this account
	TargetRoleARN      string // optional, of any account
	Policy             string // optional session policy; wants DisableSessionTags
	DisableSessionTags bool
	Tags               map[string]string
	// Token makes the call idempotent for 24 hours: the same token and input
	// give the same association. Optional.
	Token string
}

// UpdateInput is what may change of an association; nil leaves a value as it
// is, and the empty string unsets TargetRoleARN and Policy.
type UpdateInput struct {
	Cluster, ID        string
	RoleARN            *string
	TargetRoleARN      *string
	Policy             *string
	DisableSessionTags *bool
	Token              string
}

// ListInput is a page of a cluster's associations, in the order of namespace
// and service account. Empty filters match everything.
type ListInput struct {
	Cluster        string
	Namespace      string
	ServiceAccount string
	After          string // what List returned as next; "" is the beginning
	Max            int    // 1..100
}

func (m *Manager) now() time.Time { return m.Now().UTC().Truncate(time.Millisecond) }

func (m *Manager) scope() store.Scope { return store.Scope{Account: m.Account, Region: m.Region} }

// Find returns the association of a service account of a cluster as r shows
// it: the look-up of the exchange.
func Find(r store.Reader, s store.Scope, clusterUID, namespace, serviceAccount string) (*Association, bool) {
	return Associations.Get(r, s, Key(clusterUID, namespace, serviceAccount))
}

// byID returns the association with the id, of the cluster of that name.
func (m *Manager) byID(r store.Reader, clusterName, id string) (*cluster.Cluster, *Association, error) {
	if len(id) != idLength {
		return nil, nil, invalid("association-id", "The parameter associationId should be %d characters long.", idLength)
	}
	c, err := cluster.Named(r, m.scope(), clusterName)
	if err != nil {
		return nil, nil, err
	}
	_, a, ok := Associations.FindIndex(r, m.scope(), id)
	if !ok || a.ClusterUID != c.UID {
		return nil, nil, notFound(id)
	}
	return c, a, nil
}

func notFound(id string) error {
	return fault.New(fault.NotFound, "No association found for id: %.40s", id).WithReason("association-not-found")
}

func (m *Manager) clusters() cluster.Rights {
	return cluster.Rights{Store: m.Store, Authz: m.Authz, Partition: m.Partition, Account: m.Account, Region: m.Region}
}

// authorize is cluster.Rights.On for the association with the id.
func (m *Manager) authorize(ctx context.Context, caller iam.Caller, action, clusterName, id string, keys ...iam.ConditionKey) (*store.View, *Association, error) {
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, nil, cluster.StoreFault("authorize "+action, err)
	}
	_, a, ok := Associations.FindIndex(v, m.scope(), id)
	if !ok || a.ClusterName != clusterName {
		a = nil
	} else {
		keys = append(keys, cluster.ResourceTags(a.Tags)...)
	}
	resource := arn.Association(m.Partition, m.Region, m.Account, clusterName, id)
	return v, a, m.Authz.Authorize(ctx, caller, iam.Query{Action: action, Resource: resource, Keys: keys})
}

// asJudged refuses an association whose tags are not those that a caller's
// right was judged on. Its id says which it is.
func asJudged(judged, now *Association) error {
	if judged == nil || !maps.Equal(judged.Tags, now.Tags) {
		return cluster.ChangedMeanwhile("association")
	}
	return nil
}

// authorizePass refuses roles of other accounts and asks for iam:PassRole.
func (m *Manager) authorizePass(ctx context.Context, caller iam.Caller, clusterName string, role arn.Role) error {
	if role.Account != m.Account {
		return fault.New(fault.AccessDenied, "Cross-account pass role is not allowed.").WithReason("cross-account-role")
	}
	return m.Authz.Authorize(ctx, caller, iam.Query{Action: "iam:PassRole", Resource: role.String(), Keys: []iam.ConditionKey{
		{Name: "iam:PassedToService", Values: []string{policy.PodIdentityService}},
		{Name: "iam:AssociatedResourceArn", Values: []string{m.clusters().ARN(clusterName)}},
	}})
}

// Create makes an association. Actions, in this order:
// eks:CreatePodIdentityAssociation on the cluster, iam:PassRole on the role;
// then the cluster must exist, the service account be free, and the role
// trust EKS Pod Identity.
func (m *Manager) Create(ctx context.Context, caller iam.Caller, in CreateInput) (*Association, error) {
	v, judged, err := m.clusters().On(ctx, caller, "eks:CreatePodIdentityAssociation", in.Cluster, cluster.RequestTags(in.Tags)...)
	if err != nil {
		return nil, err
	}
	role, err := in.validate(m.Partition)
	if err != nil {
		return nil, err
	}
	if err := m.authorizePass(ctx, caller, in.Cluster, role); err != nil {
		return nil, err
	}
	id, err := newID(m.Rand)
	if err != nil {
		return nil, err
	}
	once := newOnce(caller, "create", in.Token, in.withoutToken())
	check := m.askRole(ctx, v, judged, m.build(id, judged, &in))
	var out *Association
	err = cluster.Commit(ctx, m.Store, "create association", func(tx *store.Tx) error {
		c, err := cluster.Named(tx, m.scope(), in.Cluster)
		if err != nil {
			return err
		}
		if err := cluster.AsJudged(judged, c); err != nil {
			return err
		}
		if out, err = once.replay(tx, m, c); out != nil || err != nil {
			return err
		}
		a := m.build(id, c, &in)
		if err := m.admit(ctx, tx, c, a, check); err != nil {
			return err
		}
		Associations.Put(tx, m.scope(), Key(c.UID, a.Namespace, a.ServiceAccount), a)
		once.keep(tx, m, c, a)
		out = a
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// build makes the record; nil for no cluster.
func (m *Manager) build(id string, c *cluster.Cluster, in *CreateInput) *Association {
	if c == nil {
		return nil
	}
	now := m.now()
	a := &Association{
		ID: id, ClusterUID: c.UID, ClusterName: c.Name, ARN: arn.Association(m.Partition, m.Region, m.Account, c.Name, id),
		Namespace: in.Namespace, ServiceAccount: in.ServiceAccount, RoleARN: in.RoleARN, Policy: in.Policy,
		DisableSessionTags: in.DisableSessionTags, Tags: maps.Clone(in.Tags), Created: now, Modified: now,
	}
	m.setTarget(a, in.TargetRoleARN)
	return a
}

// setTarget sets or unsets the target role and, with it, the external id.
// Source: EKS User Guide, "Access AWS resources using EKS Pod Identity target roles".
func (m *Manager) setTarget(a *Association, target string) {
	a.TargetRoleARN, a.ExternalID = target, ""
	if target != "" {
		a.ExternalID = m.Region + "/" + m.Account + "/" + a.ClusterName + "/" + a.Namespace + "/" + a.ServiceAccount
	}
}

// admit checks what only the store knows: uniqueness, quota, trust.
func (m *Manager) admit(ctx context.Context, tx *store.Tx, c *cluster.Cluster, a *Association, check RoleCheck) error {
	if old, ok := Find(tx, m.scope(), c.UID, a.Namespace, a.ServiceAccount); ok {
		return fault.New(fault.AlreadyExists, "Association already exists: %s", old.ID).WithReason("association-exists")
	}
	if err := m.checkLimit(tx, c); err != nil {
		return err
	}
	return check(ctx, tx, c, a)
}

// limitMargin is how near to the quota the count becomes part of the
// transaction. Farther away, creations in one cluster do not have to wait for
// each other, and more than that many are never in flight at once.
const limitMargin = 512

func (m *Manager) checkLimit(tx *store.Tx, c *cluster.Cluster) error {
	limit := m.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	n := m.count(tx.View(), c)
	if n >= limit-limitMargin {
		n = m.count(tx, c)
	}
	if n >= limit {
		return fault.New(fault.LimitExceeded, "The cluster %s has reached the limit of %d pod identity associations.", c.Name, limit).
			WithReason("association-limit")
	}
	return nil
}

func (m *Manager) count(r store.Reader, c *cluster.Cluster) int {
	n := 0
	for range Associations.List(r, m.scope(), c.UID+"/", "") {
		n++
	}
	return n
}

// Describe returns an association. Action: eks:DescribePodIdentityAssociation.
func (m *Manager) Describe(ctx context.Context, caller iam.Caller, clusterName, id string) (*Association, error) {
	return m.read(ctx, caller, "eks:DescribePodIdentityAssociation", clusterName, id)
}

func (m *Manager) read(ctx context.Context, caller iam.Caller, action, clusterName, id string) (*Association, error) {
	v, _, err := m.authorize(ctx, caller, action, clusterName, id)
	if err != nil {
		return nil, err
	}
	_, a, err := m.byID(v, clusterName, id)
	return a, err
}

// List returns a page, and what to give as After for the next one, "" on the
// last. Pages go by namespace and service account, so they survive inserts
// and deletes between them. Action: eks:ListPodIdentityAssociations on the
// cluster.
func (m *Manager) List(ctx context.Context, caller iam.Caller, in ListInput) (page []*Association, next string, err error) {
	v, _, err := m.clusters().On(ctx, caller, "eks:ListPodIdentityAssociations", in.Cluster)
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
	prefix, after := c.UID+"/", ""
	if in.Namespace != "" {
		prefix += in.Namespace + "/"
	}
	if in.After != "" {
		after = c.UID + "/" + in.After
	}
	for _, a := range Associations.List(v, m.scope(), prefix, after) {
		if in.ServiceAccount != "" && a.ServiceAccount != in.ServiceAccount {
			continue
		}
		if len(page) == in.Max {
			last := page[in.Max-1]
			return page, last.Namespace + "/" + last.ServiceAccount, nil
		}
		page = append(page, a)
	}
	return page, "", nil
}
