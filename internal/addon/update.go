// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/uuid"
)

// UpdateInput is what may change of an add-on; nil and "" leave a value as it
// is. An empty, not nil, list of roles takes all associations away.
type UpdateInput struct {
	Cluster, Name         string
	Version               string
	ServiceAccountRoleARN *string // "" unsets it
	ConfigurationValues   *string
	ResolveConflicts      string
	Roles                 *[]association.OwnedRole
	Token                 string
}

// params are the changes as DescribeUpdate shows them.
func (in *UpdateInput) params() []Param {
	var out []Param
	add := func(kind, value string) { out = append(out, Param{kind, value}) }
	if in.Version != "" {
		add("AddonVersion", in.Version)
	}
	if in.ServiceAccountRoleARN != nil {
		add("ServiceAccountRoleArn", *in.ServiceAccountRoleARN)
	}
	if in.ResolveConflicts != "" {
		add("ResolveConflicts", in.ResolveConflicts)
	}
	if in.ConfigurationValues != nil {
		add("ConfigurationValues", *in.ConfigurationValues)
	}
	if in.Roles != nil {
		type pair struct {
			ServiceAccount string `json:"serviceAccount"`
			RoleARN        string `json:"roleArn"`
		}
		pairs := []pair{}
		for _, r := range *in.Roles {
			pairs = append(pairs, pair(r))
		}
		text, err := json.Marshal(pairs)
		if err != nil {
			panic(err) // strings only
		}
		add("PodIdentityAssociations", string(text))
	}
	return out
}

// Update changes an add-on and the associations that it owns. Actions:
// eks:UpdateAddon, those of every association that changes, and iam:PassRole
// for each role that is named anew.
func (m *Manager) Update(ctx context.Context, caller iam.Caller, in UpdateInput) (*Update, error) {
	v, judged, err := m.authorize(ctx, caller, "eks:UpdateAddon", in.Cluster, in.Name)
	if err != nil {
		return nil, err
	}
	if _, err := cluster.Named(v, m.scope(), in.Cluster); err != nil {
		return nil, err
	}
	if judged == nil {
		return nil, notFound(in.Cluster, in.Name)
	}
	plan, err := m.prepare(ctx, caller, &in, judged)
	if err != nil {
		return nil, err
	}
	id, err := uuid.New(m.Rand)
	if err != nil {
		return nil, err
	}
	u := Update{ID: id, Params: in.params(), Created: m.now(), Request: cluster.NewRequest(caller.Account, in.Token, in.withoutToken())}
	out := &u
	err = m.change(ctx, "update add-on", judged, func(tx *store.Tx, c *cluster.Cluster, a *Addon) error {
		for i := range a.Updates {
			if again, err := u.Request.Repeats(a.Updates[i].Request); again || err != nil {
				out = &a.Updates[i]
				return err
			}
		}
		out = &u
		n := *a
		n.Tags, n.Modified = maps.Clone(a.Tags), u.Created
		n.Updates = append(slices.Clone(a.Updates[max(0, len(a.Updates)+1-maxUpdates):]), u)
		in.apply(&n)
		Addons.Put(tx, m.scope(), key(c.UID, n.Name), &n)
		if plan == nil {
			return nil
		}
		return plan.Apply(ctx, tx, c)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// prepare judges the input and asks for the rights that it needs.
func (m *Manager) prepare(ctx context.Context, caller iam.Caller, in *UpdateInput, a *Addon) (*association.OwnedPlan, error) {
	known, ok := Lookup(a.Name)
	if !ok {
		return nil, invalid("addon-unknown", "Addon %.100s is not supported by this release.", a.Name)
	}
	version, configuration := in.Version, ""
	if version == "" {
		version = a.Version
	}
	if version == a.Version && !slices.Contains(known.Versions, version) {
		known.Versions = append(known.Versions, version) // made by another release; it may stay
	}
	if in.ConfigurationValues != nil {
		configuration = *in.ConfigurationValues
	}
	var roles []association.OwnedRole
	if in.Roles != nil {
		roles = *in.Roles
	}
	if err := checkSettings(known, version, configuration, in.ResolveConflicts, in.Token, roles); err != nil {
		return nil, err
	}
	if in.ServiceAccountRoleARN != nil {
		if err := m.authorizePass(ctx, caller, in.Cluster, *in.ServiceAccountRoleARN); err != nil {
			return nil, err
		}
	}
	if in.Roles == nil {
		return nil, nil
	}
	return m.Associations.PrepareOwned(ctx, caller, association.OwnedInput{Cluster: in.Cluster, Namespace: a.Namespace, OwnerARN: a.ARN, Roles: roles})
}

func (in *UpdateInput) apply(a *Addon) {
	if in.Version != "" {
		a.Version = in.Version
	}
	if in.ServiceAccountRoleARN != nil {
		a.ServiceAccountRoleARN = *in.ServiceAccountRoleARN
	}
	if in.ConfigurationValues != nil {
		a.ConfigurationValues = *in.ConfigurationValues
	}
}

// recorded is authorize for verbs on what only a record has: the add-on's record, or NotFound.
func (m *Manager) recorded(ctx context.Context, caller iam.Caller, action, clusterName, name string, keys ...iam.ConditionKey) (*Addon, error) {
	v, a, err := m.authorize(ctx, caller, action, clusterName, name, keys...)
	if err != nil {
		return nil, err
	}
	if _, err := cluster.Named(v, m.scope(), clusterName); err != nil {
		return nil, err
	}
	if a == nil {
		return nil, notFound(clusterName, name)
	}
	return a, nil
}

// DescribeUpdate returns one of the latest updates of an add-on; without the
// add-on's name there is none, since clusters have no updates here. Action:
// eks:DescribeUpdate on the add-on, or on the cluster.
func (m *Manager) DescribeUpdate(ctx context.Context, caller iam.Caller, clusterName, name, id string) (*Update, error) {
	none := fault.New(fault.NotFound, "No update found for ID: %.60s", id).WithReason("update-not-found")
	if name == "" {
		v, _, err := m.clusters().On(ctx, caller, "eks:DescribeUpdate", clusterName)
		if err != nil {
			return nil, err
		}
		if _, err := cluster.Named(v, m.scope(), clusterName); err != nil {
			return nil, err
		}
		return nil, none
	}
	a, err := m.recorded(ctx, caller, "eks:DescribeUpdate", clusterName, name)
	if err != nil {
		return nil, err
	}
	for i := range a.Updates {
		if a.Updates[i].ID == id {
			return &a.Updates[i], nil
		}
	}
	return nil, none
}

// ListUpdates returns the ids of an add-on's latest updates, newest first; of
// the cluster's own, of which there are none, without a name. Action:
// eks:ListUpdates on the add-on, or on the cluster.
func (m *Manager) ListUpdates(ctx context.Context, caller iam.Caller, clusterName, name string) ([]string, error) {
	if name == "" {
		v, _, err := m.clusters().On(ctx, caller, "eks:ListUpdates", clusterName)
		if err != nil {
			return nil, err
		}
		_, err = cluster.Named(v, m.scope(), clusterName)
		return []string{}, err
	}
	a, err := m.recorded(ctx, caller, "eks:ListUpdates", clusterName, name)
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for i := range slices.Backward(a.Updates) {
		ids = append(ids, a.Updates[i].ID)
	}
	return ids, nil
}

// Known returns the catalog behind a name. Action:
// eks:DescribeAddonVersions on *.
func (m *Manager) Known(ctx context.Context, caller iam.Caller, after string) ([]Known, error) {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "eks:DescribeAddonVersions", Resource: "*"}); err != nil {
		return nil, err
	}
	return After(after), nil
}

// Configuration returns an add-on of the catalog that has the version. Action:
// eks:DescribeAddonConfiguration on *.
func (m *Manager) Configuration(ctx context.Context, caller iam.Caller, name, version string) (Known, error) {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "eks:DescribeAddonConfiguration", Resource: "*"}); err != nil {
		return Known{}, err
	}
	k, ok := Lookup(name)
	if !ok || !slices.Contains(k.Versions, version) {
		return Known{}, fault.New(fault.NotFound, "No addon: %.100s found with version: %.100s", name, version).WithReason("addon-not-found")
	}
	return k, nil
}
