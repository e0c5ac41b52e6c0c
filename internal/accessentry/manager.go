// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"podid/internal/arn"
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

// Limits of one cluster.
const (
	MaxEntries  = 2000 // access entries
	MaxPolicies = 20   // access policies of an entry
)

// Manager holds the verbs on access entries. All fields are required.
type Manager struct {
	Store     store.Store
	Authz     Authorizer
	Now       func() time.Time
	Rand      io.Reader // safe for concurrent use
	Partition string
	Account   string
	Region    string
}

// CreateInput is what a new entry is made of.
type CreateInput struct {
	Cluster      string // name
	PrincipalARN string // a user or role of this account
	Type         string // "" is Standard
	Username     string // "" is EKS' default
	Groups       []string
	Tags         map[string]string
	// Token makes the call idempotent while the entry is there. Optional.
	Token string
}

// UpdateInput is what may change of an entry; nil leaves a value as it is.
type UpdateInput struct {
	Cluster, PrincipalARN string
	Username              *string // "" is EKS' default
	Groups                *[]string
}

// ListInput is a page of a cluster's entries, in the order of principal ARNs.
type ListInput struct {
	Cluster   string
	PolicyARN string // "" matches every entry
	After     string // what List returned as next; "" is the beginning
	Max       int    // 1..100
}

func (m *Manager) scope() store.Scope { return store.Scope{Account: m.Account, Region: m.Region} }

func notFound() error {
	return fault.New(fault.NotFound, "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.").
		WithReason("access-entry-not-found")
}

func (m *Manager) clusters() cluster.Rights {
	return cluster.Rights{Store: m.Store, Authz: m.Authz, Partition: m.Partition, Account: m.Account, Region: m.Region}
}

// onEntry asks for action on the entry of a principal, which may not exist,
// and returns both as they were judged.
func (m *Manager) onEntry(ctx context.Context, caller iam.Caller, action, name, principalARN string, keys ...iam.ConditionKey) (*cluster.Cluster, *Entry, error) {
	return m.judge(ctx, caller, action, name, m.entryARN(name, principalARN, ""), func(r store.Reader, c *cluster.Cluster) (*Entry, bool) {
		return Entries.Get(r, m.scope(), Key(c.UID, principalARN))
	}, keys)
}

// judge asks for action on the entry that find finds in the cluster of that
// name, and on resource when there is none. It returns cluster and entry as
// they were judged.
func (m *Manager) judge(
	ctx context.Context, caller iam.Caller, action, name, resource string, find func(store.Reader, *cluster.Cluster) (*Entry, bool), keys []iam.ConditionKey,
) (*cluster.Cluster, *Entry, error) {
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, nil, cluster.StoreFault("authorize "+action, err)
	}
	var e *Entry
	c, ok := cluster.Clusters.Get(v, m.scope(), name)
	if ok {
		if e, ok = find(v, c); ok {
			resource = e.ARN
			keys = append(keys, cluster.ResourceTags(e.Tags)...)
		}
	}
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: action, Resource: resource, Keys: keys}); err != nil {
		return nil, nil, err
	}
	if c == nil {
		_, err = cluster.Named(v, m.scope(), name)
		return nil, nil, err
	}
	if !ok {
		return nil, nil, notFound()
	}
	return c, e, nil
}

// entryARN is the ARN of a principal's entry: the cluster, the principal's
// kind, account and name, and a random part, which is empty for none.
func (m *Manager) entryARN(name, principalARN, random string) string {
	parts := strings.SplitN(principalARN, ":", 6)
	kind, path := "", ""
	if len(parts) == 6 {
		kind, path, _ = strings.Cut(parts[5], "/")
	}
	return arn.AccessEntry(m.Partition, m.Region, m.Account, name, kind, path[strings.LastIndexByte(path, '/')+1:], random)
}

// Create makes an entry. Action: eks:CreateAccessEntry on the cluster. Then
// the cluster and the principal must exist, and have no entry yet.
func (m *Manager) Create(ctx context.Context, caller iam.Caller, in CreateInput) (*Entry, error) {
	if in.Type == "" {
		in.Type = Standard
	}
	keys := append(cluster.RequestTags(in.Tags),
		iam.ConditionKey{Name: "eks:principalArn", Values: []string{in.PrincipalARN}}, iam.ConditionKey{Name: "eks:accessEntryType", Values: []string{in.Type}},
		iam.ConditionKey{Name: "eks:username", Values: []string{in.Username}}, iam.ConditionKey{Name: "eks:kubernetesGroups", Values: in.Groups, Multi: true})
	_, judged, err := m.clusters().On(ctx, caller, "eks:CreateAccessEntry", in.Cluster, keys...)
	if err != nil {
		return nil, err
	}
	if err := in.validate(); err != nil {
		return nil, err
	}
	id, err := uuid.New(m.Rand)
	if err != nil {
		return nil, err
	}
	request := cluster.NewRequest(caller.Account, in.Token, in.withoutToken())
	var out *Entry
	err = cluster.Commit(ctx, m.Store, "create access entry", func(tx *store.Tx) error {
		c, err := cluster.Named(tx, m.scope(), in.Cluster)
		if err != nil {
			return err
		}
		if err := cluster.AsJudged(judged, c); err != nil {
			return err
		}
		out, err = m.admit(tx, c, &in, request, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (in *CreateInput) validate() error {
	if in.PrincipalARN == "" {
		return fault.New(fault.MissingParameter, "The parameter principalArn is required.").WithReason("principal-missing")
	}
	if err := cluster.CheckToken(in.Token); err != nil {
		return err
	}
	if err := checkNames(in.Type, in.Username, in.Groups); err != nil {
		return err
	}
	return cluster.CheckTags(in.Tags)
}

// admit checks what only the store knows and puts the entry.
func (m *Manager) admit(tx *store.Tx, c *cluster.Cluster, in *CreateInput, request cluster.Request, id string) (*Entry, error) {
	if old, ok := Entries.Get(tx, m.scope(), Key(c.UID, in.PrincipalARN)); ok {
		if again, err := request.Repeats(old.Request); again || err != nil {
			return old, err
		}
		return nil, fault.New(fault.AlreadyExists, "The specified access entry resource is already in use on this cluster.").WithReason("access-entry-exists")
	}
	p, err := findPrincipal(tx, m.Partition, m.Account, in.PrincipalARN)
	if err != nil {
		return nil, err
	}
	if in.Type != Standard && p.kind != "role" {
		return nil, invalid("entry-type", "An entry of the type %s needs a role.", in.Type)
	}
	n := 0
	for range Entries.List(tx, m.scope(), c.UID+"/", "") {
		n++
	}
	if n >= MaxEntries {
		return nil, fault.New(fault.LimitExceeded, "The cluster %s has reached the limit of %d access entries.", c.Name, MaxEntries).WithReason("access-entry-limit")
	}
	now := m.now()
	e := &Entry{
		ARN: m.entryARN(c.Name, p.arn, id), ClusterUID: c.UID, ClusterName: c.Name, PrincipalARN: p.arn, PrincipalID: p.id, Type: in.Type,
		Username: in.Username, Groups: slices.Clone(in.Groups), Tags: maps.Clone(in.Tags), Created: now, Modified: now, Request: request,
	}
	if e.Username == "" && e.Type == Standard {
		e.Username = defaultUsername(m.Partition, m.Account, p)
	}
	Entries.Put(tx, m.scope(), Key(c.UID, e.PrincipalARN), e)
	return e, nil
}

func (in CreateInput) withoutToken() CreateInput { in.Token = ""; return in }

func (m *Manager) now() time.Time { return m.Now().UTC().Truncate(time.Millisecond) }

// Describe returns an entry. Action: eks:DescribeAccessEntry.
func (m *Manager) Describe(ctx context.Context, caller iam.Caller, clusterName, principalARN string) (*Entry, error) {
	_, e, err := m.onEntry(ctx, caller, "eks:DescribeAccessEntry", clusterName, principalARN)
	return e, err
}

// List returns a page of principal ARNs, and what to give as After for the
// next one, "" on the last. Action: eks:ListAccessEntries on the cluster.
func (m *Manager) List(ctx context.Context, caller iam.Caller, in ListInput) (page []string, next string, err error) {
	v, _, err := m.clusters().On(ctx, caller, "eks:ListAccessEntries", in.Cluster)
	if err != nil {
		return nil, "", err
	}
	if in.Max < 1 || in.Max > 100 {
		return nil, "", invalid("max-results", "maxResults must be between 1 and 100, not %d.", in.Max)
	}
	if in.PolicyARN != "" {
		if err := checkPolicy(m.Partition, in.PolicyARN); err != nil {
			return nil, "", err
		}
	}
	c, err := cluster.Named(v, m.scope(), in.Cluster)
	if err != nil {
		return nil, "", err
	}
	after := ""
	if in.After != "" {
		after = Key(c.UID, in.After)
	}
	page = []string{}
	for _, e := range Entries.List(v, m.scope(), c.UID+"/", after) {
		if in.PolicyARN != "" && !slices.Contains(e.PolicyARNs(), in.PolicyARN) {
			continue
		}
		if len(page) == in.Max {
			return page, page[in.Max-1], nil
		}
		page = append(page, e.PrincipalARN)
	}
	return page, "", nil
}
