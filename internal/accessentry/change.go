// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry

import (
	"context"
	"slices"
	"strings"

	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// asJudged returns the entry as it is now. It and its cluster have to be still
// those that were judged, with the same tags.
func (m *Manager) asJudged(tx *store.Tx, c *cluster.Cluster, judged *Entry) (*Entry, error) {
	now, err := cluster.Named(tx, m.scope(), c.Name)
	if err != nil {
		return nil, err
	}
	if err := cluster.AsJudged(c, now); err != nil {
		return nil, err
	}
	e, ok := Entries.Get(tx, m.scope(), Key(c.UID, judged.PrincipalARN))
	if !ok {
		return nil, notFound()
	}
	if !sameEntry(judged, e) {
		return nil, cluster.ChangedMeanwhile("access entry")
	}
	return e, nil
}

// change applies fn to a copy of the entry, which has to be asJudged, and
// stores it.
func (m *Manager) change(ctx context.Context, c *cluster.Cluster, judged *Entry, fn func(*Entry) error) (*Entry, error) {
	var out *Entry
	err := cluster.Commit(ctx, m.Store, "change access entry", func(tx *store.Tx) error {
		e, err := m.asJudged(tx, c, judged)
		if err != nil {
			return err
		}
		n := *e
		n.Policies = slices.Clone(e.Policies)
		if err := fn(&n); err != nil {
			return err
		}
		Entries.Put(tx, m.scope(), Key(c.UID, n.PrincipalARN), &n)
		out = &n
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Update changes user name and groups. Action: eks:UpdateAccessEntry.
func (m *Manager) Update(ctx context.Context, caller iam.Caller, in UpdateInput) (*Entry, error) {
	var keys []iam.ConditionKey
	if in.Username != nil {
		keys = append(keys, iam.ConditionKey{Name: "eks:username", Values: []string{*in.Username}})
	}
	if in.Groups != nil {
		keys = append(keys, iam.ConditionKey{Name: "eks:kubernetesGroups", Values: *in.Groups, Multi: true})
	}
	c, judged, err := m.onEntry(ctx, caller, "eks:UpdateAccessEntry", in.Cluster, in.PrincipalARN, keys...)
	if err != nil {
		return nil, err
	}
	return m.change(ctx, c, judged, func(e *Entry) error {
		if in.Username != nil {
			if err := checkNames(e.Type, *in.Username, nil); err != nil {
				return err
			}
			if e.Username = *in.Username; e.Username == "" && e.Type == Standard {
				kind, path, _ := strings.Cut(strings.SplitN(e.PrincipalARN, ":", 6)[5], "/")
				e.Username = defaultUsername(m.Partition, m.Account, principal{kind: kind, name: path[strings.LastIndexByte(path, '/')+1:], arn: e.PrincipalARN})
			}
		}
		if in.Groups != nil {
			if err := checkNames(e.Type, "", *in.Groups); err != nil {
				return err
			}
			e.Groups = slices.Clone(*in.Groups)
		}
		e.Modified = m.now()
		return nil
	})
}

// Delete removes an entry; tokens of its principal are refused from then on.
// Action: eks:DeleteAccessEntry.
func (m *Manager) Delete(ctx context.Context, caller iam.Caller, clusterName, principalARN string) error {
	c, judged, err := m.onEntry(ctx, caller, "eks:DeleteAccessEntry", clusterName, principalARN)
	if err != nil {
		return err
	}
	return cluster.Commit(ctx, m.Store, "delete access entry", func(tx *store.Tx) error {
		if _, err := m.asJudged(tx, c, judged); err != nil {
			return err
		}
		Entries.Delete(tx, m.scope(), Key(c.UID, principalARN))
		return nil
	})
}

// AssociateInput gives an entry an access policy.
type AssociateInput struct {
	Cluster, PrincipalARN, PolicyARN string
	Scope                            string // "cluster" or "namespace"
	Namespaces                       []string
}

// Associate gives an entry an access policy, or another scope to one that it
// has. Action: eks:AssociateAccessPolicy.
func (m *Manager) Associate(ctx context.Context, caller iam.Caller, in AssociateInput) (Associated, error) {
	c, judged, err := m.onEntry(ctx, caller, "eks:AssociateAccessPolicy", in.Cluster, in.PrincipalARN,
		iam.ConditionKey{Name: "eks:policyArn", Values: []string{in.PolicyARN}}, iam.ConditionKey{Name: "eks:accessScope", Values: []string{in.Scope}},
		iam.ConditionKey{Name: "eks:namespaces", Values: in.Namespaces, Multi: true})
	if err != nil {
		return Associated{}, err
	}
	if err := checkPolicy(m.Partition, in.PolicyARN); err != nil {
		return Associated{}, err
	}
	if err := checkScope(in.Scope, in.Namespaces); err != nil {
		return Associated{}, err
	}
	var out Associated
	_, err = m.change(ctx, c, judged, func(e *Entry) error {
		if e.Type != Standard {
			return invalid("entry-type", "Access policies can be associated with entries of the type STANDARD only.")
		}
		now := m.now()
		out = Associated{PolicyARN: in.PolicyARN, Namespaces: slices.Clone(in.Namespaces), Created: now, Modified: now}
		i, had := slices.BinarySearchFunc(e.Policies, in.PolicyARN, func(a Associated, arn string) int { return strings.Compare(a.PolicyARN, arn) })
		if had {
			out.Created = e.Policies[i].Created
			e.Policies[i] = out
			return nil
		}
		if len(e.Policies) >= MaxPolicies {
			return fault.New(fault.LimitExceeded, "The access entry has reached the limit of %d access policies.", MaxPolicies).WithReason("access-policy-limit")
		}
		e.Policies = slices.Insert(e.Policies, i, out)
		return nil
	})
	return out, err
}

// Disassociate takes an access policy from an entry.
// Action: eks:DisassociateAccessPolicy.
func (m *Manager) Disassociate(ctx context.Context, caller iam.Caller, clusterName, principalARN, policyARN string) error {
	c, judged, err := m.onEntry(ctx, caller, "eks:DisassociateAccessPolicy", clusterName, principalARN,
		iam.ConditionKey{Name: "eks:policyArn", Values: []string{policyARN}})
	if err != nil {
		return err
	}
	_, err = m.change(ctx, c, judged, func(e *Entry) error {
		n := len(e.Policies)
		e.Policies = slices.DeleteFunc(e.Policies, func(a Associated) bool { return a.PolicyARN == policyARN })
		if len(e.Policies) == n {
			return fault.New(fault.NotFound, "The access policy %.200q is not associated with the access entry.", policyARN).WithReason("access-policy-not-associated")
		}
		return nil
	})
	return err
}

// ListAssociated returns all access policies of an entry, by ARN; there are at
// most MaxPolicies. Action: eks:ListAssociatedAccessPolicies.
func (m *Manager) ListAssociated(ctx context.Context, caller iam.Caller, clusterName, principalARN string) ([]Associated, error) {
	_, e, err := m.onEntry(ctx, caller, "eks:ListAssociatedAccessPolicies", clusterName, principalARN)
	if err != nil {
		return nil, err
	}
	return e.Policies, nil
}

// ListPolicies returns the access policies that there are, by name.
// Action: eks:ListAccessPolicies.
func (m *Manager) ListPolicies(ctx context.Context, caller iam.Caller) ([]Policy, error) {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "eks:ListAccessPolicies", Resource: "*"}); err != nil {
		return nil, err
	}
	return Policies(m.Partition), nil
}

// DeleteOf removes at most limit records of a cluster in tx: they go with
// their cluster. It asks nobody; the cluster's deletion has.
func (m *Manager) DeleteOf(tx *store.Tx, c *cluster.Cluster, limit int) int {
	Reviewers.Delete(tx, c.Scope(), c.UID)
	var ids []string
	for id := range Entries.List(tx, c.Scope(), c.UID+"/", "") {
		if len(ids) == limit {
			break
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		Entries.Delete(tx, c.Scope(), id)
	}
	return len(ids)
}
