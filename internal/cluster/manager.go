// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// Authorizer decides whether a caller may. Nil means yes; a refusal is a
// fault of kind AccessDenied.
type Authorizer interface {
	Authorize(ctx context.Context, c iam.Caller, q iam.Query) error
}

// Discoverer fetches an issuer's published keys.
type Discoverer interface {
	Discover(ctx context.Context, issuer string) (jwks []byte, uri string, err error)
}

// Dependents are records that live and die with a cluster.
type Dependents interface {
	// DeleteOf removes at most limit of them in tx, and reports how many it
	// removed; fewer than limit means that none is left.
	DeleteOf(tx *store.Tx, c *Cluster, limit int) int
}

// Manager holds the verbs on clusters. All fields but Keys and Dependents are
// required; without Keys nothing can be discovered.
type Manager struct {
	Store      store.Store
	Authz      Authorizer
	Keys       Discoverer
	Dependents []Dependents
	Now        func() time.Time
	Rand       io.Reader // safe for concurrent use
	Partition  string
	Account    string
	Region     string
	// TokenLife is how long a token may be good after its key was given up: the
	// longest life that is accepted, and the leeway of clocks. 0 is
	// DefaultTokenLife.
	TokenLife time.Duration
}

// DefaultTokenLife is that of tokens of at most 24 hours.
const DefaultTokenLife = 24*time.Hour + time.Minute

// RegisterInput is what a new cluster is made of. Keys come from JWKS, or,
// with Discover and no JWKS, from the issuer at once; Discover also lets keys
// that are unknown later be fetched from there.
type RegisterInput struct {
	Name        string // 1..100, [0-9A-Za-z][A-Za-z0-9_-]*
	Issuer      string // the iss of its tokens, an https URL; never changes
	JWKS        []byte
	Discover    bool
	NodeBinding NodeBinding // "" is NodeBindingDefault
	Version     string      // Kubernetes "1.34", optional
	Endpoint    string      // API server's https URL, optional
	CA          string      // base64 of PEM certificates, optional
	Tags        map[string]string
	Enrolment   []byte // public half of the key that the operator brings keys with, a JWK; optional
}

// UpdateInput is what may change of a cluster; nil leaves a setting as it is,
// and the empty string clears Version, Endpoint and CA. An Issuer other than
// the cluster's own is refused: tokens of another issuer are another cluster's.
type UpdateInput struct {
	Name        string
	Issuer      *string
	JWKS        []byte // replaces the key set
	KeepOld     bool   // keys that JWKS has no more are good until their tokens have expired; else no more at once
	FetchKeys   bool   // replaces the key set by the issuer's published one
	Discover    *bool
	NodeBinding *NodeBinding
	Version     *string
	Endpoint    *string
	CA          *string
	Enrolment   []byte // replaces the enrolment key: a JWK
	NoEnrolment bool   // takes the enrolment key away
}

// ListInput is a page of the names of clusters.
type ListInput struct {
	After   string // the last name of the page before; "" is the beginning
	Max     int    // 1..100
	Pending bool   // PENDING clusters too
}

// Scope is where this manager's clusters stand.
func (m *Manager) Scope() store.Scope { return store.Scope{Account: m.Account, Region: m.Region} }

// Named returns the cluster of that name as r shows it, for what belongs to a
// cluster: a NotFound fault in EKS' words if there is none, an InvalidRequest
// if it is PENDING. It asks nobody: verbs authorize before they call it.
func Named(r store.Reader, s store.Scope, name string) (*Cluster, error) {
	c, err := named(r, s, name)
	if err != nil {
		return nil, err
	}
	return c, c.CheckActive()
}

func named(r store.Reader, s store.Scope, name string) (*Cluster, error) {
	c, ok := Clusters.Get(r, s, name)
	if !ok {
		return nil, Unknown(name)
	}
	return c, nil
}

// Unknown is the refusal of a name that no cluster has, in the words of EKS.
func Unknown(name string) error {
	return fault.New(fault.NotFound, "No cluster found for name: %.100s.", name).WithReason("cluster-not-found")
}

// ByIssuer walks the clusters of a scope that share an issuer: an issuer URL
// does not identify a cluster.
func ByIssuer(r store.Reader, s store.Scope, issuer string) iter.Seq2[string, *Cluster] {
	return Clusters.ByIndex(r, s, issuer)
}

// ByUID returns the cluster of a scope with the unique id as r shows it.
func ByUID(r store.Reader, s store.Scope, uid string) (*Cluster, bool) {
	_, c, ok := Clusters.FindIndex(r, s, uid)
	return c, ok
}

// authorize is Rights.On for those who need no view.
func (m *Manager) authorize(ctx context.Context, caller iam.Caller, action, name string, keys ...iam.ConditionKey) (*Cluster, error) {
	_, c, err := Rights{m.Store, m.Authz, m.Partition, m.Account, m.Region}.On(ctx, caller, action, name, keys...)
	return c, err
}

// AsJudged refuses a cluster that is not the one, with the tags, that a
// caller's right was judged on. judged is nil when there was none.
func AsJudged(judged, now *Cluster) error {
	switch {
	case judged == nil:
		return ChangedMeanwhile("cluster")
	case judged.UID != now.UID:
		return fault.New(fault.AlreadyExists, "The cluster %s was registered anew meanwhile.", now.Name).WithReason("cluster-replaced")
	case !maps.Equal(judged.Tags, now.Tags):
		return ChangedMeanwhile("cluster")
	}
	return nil
}

// newUID draws the unique id of a cluster: 32 hexadecimal digits.
func newUID(rand io.Reader) (string, error) {
	var uid [16]byte
	if _, err := io.ReadFull(rand, uid[:]); err != nil {
		return "", fmt.Errorf("read random unique id: %w", err)
	}
	return hex.EncodeToString(uid[:]), nil
}

// Register makes a cluster. Action: podid:RegisterCluster.
func (m *Manager) Register(ctx context.Context, caller iam.Caller, in RegisterInput) (*Cluster, error) {
	if _, err := m.authorize(ctx, caller, "podid:RegisterCluster", in.Name, RequestTags(in.Tags)...); err != nil {
		return nil, err
	}
	if in.NodeBinding == "" {
		in.NodeBinding = NodeBindingDefault
	}
	if err := in.validate(); err != nil {
		return nil, err
	}
	keys, err := m.keySet(ctx, in.Issuer, in.JWKS, in.Discover)
	if err != nil {
		return nil, err
	}
	uid, err := newUID(m.Rand)
	if err != nil {
		return nil, err
	}
	now := m.Now().UTC().Truncate(time.Millisecond)
	var enrolment *Enrolment
	if in.Enrolment != nil {
		if enrolment, err = newEnrolment(in.Enrolment, now); err != nil {
			return nil, err
		}
	}
	c := &Cluster{
		UID: uid, Partition: m.Partition, Account: m.Account, Region: m.Region, Name: in.Name,
		Issuer: in.Issuer, JWKS: keys, Discover: in.Discover, NodeBinding: in.NodeBinding,
		Version: in.Version, Endpoint: in.Endpoint, CA: in.CA, Tags: maps.Clone(in.Tags), Created: now, Modified: now, Enrolment: enrolment,
	}
	err = Update(ctx, m.Store, "register cluster", func(tx *store.Tx) error {
		if _, ok := Clusters.Get(tx, m.Scope(), in.Name); ok {
			return fault.New(fault.AlreadyExists, "Cluster already exists with name: %s", in.Name).WithReason("cluster-exists")
		}
		Clusters.Put(tx, m.Scope(), in.Name, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Describe returns a cluster. Action: eks:DescribeCluster.
func (m *Manager) Describe(ctx context.Context, caller iam.Caller, name string) (*Cluster, error) {
	return m.read(ctx, caller, "eks:DescribeCluster", name)
}

// Inspect returns a cluster for podid's own API, which shows what EKS does
// not: unique id, keys, node binding. Action: podid:DescribeCluster.
func (m *Manager) Inspect(ctx context.Context, caller iam.Caller, name string) (*Cluster, error) {
	return m.read(ctx, caller, "podid:DescribeCluster", name)
}

func (m *Manager) read(ctx context.Context, caller iam.Caller, action, name string) (*Cluster, error) {
	c, err := m.authorize(ctx, caller, action, name)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, Unknown(name)
	}
	return c, nil
}

// List returns a page of names in their order, and the name to give as After
// for the next page, "" on the last. Action: eks:ListClusters.
func (m *Manager) List(ctx context.Context, caller iam.Caller, in ListInput) (names []string, next string, err error) {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "eks:ListClusters", Resource: "*"}); err != nil {
		return nil, "", err
	}
	if in.Max < 1 || in.Max > 100 {
		return nil, "", invalid("max-results", "maxResults must be between 1 and 100, not %d.", in.Max)
	}
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, "", StoreFault("list clusters", err)
	}
	names = []string{}
	for name, c := range Clusters.List(v, m.Scope(), "", in.After) {
		if c.Pending() && !in.Pending {
			continue
		}
		if len(names) == in.Max {
			return names, names[in.Max-1], nil
		}
		names = append(names, name)
	}
	return names, "", nil
}

// Update changes keys and settings. Action: podid:UpdateCluster.
func (m *Manager) Update(ctx context.Context, caller iam.Caller, in UpdateInput) (*Cluster, error) {
	was, err := m.authorize(ctx, caller, "podid:UpdateCluster", in.Name)
	if err != nil {
		return nil, err
	}
	if err := in.validate(); err != nil {
		return nil, err
	}
	if was == nil {
		return nil, Unknown(in.Name)
	}
	if in.Issuer != nil || in.JWKS != nil || in.FetchKeys || in.Discover != nil || in.Enrolment != nil {
		if err := was.CheckActive(); err != nil {
			return nil, err // its keys come with its activation
		}
	}
	if in.Issuer != nil && *in.Issuer != was.Issuer {
		return nil, invalid("issuer-immutable", "The issuer of a cluster cannot be changed. Register a cluster of another name, or delete this one first.")
	}
	var keys []byte
	if in.JWKS != nil || in.FetchKeys {
		// Fetched outside of the transaction: it may take seconds and must not run twice.
		if keys, err = m.keySet(ctx, was.Issuer, in.JWKS, in.FetchKeys); err != nil {
			return nil, err
		}
	}
	var enrolment *Enrolment
	if in.Enrolment != nil {
		if enrolment, err = newEnrolment(in.Enrolment, m.Now().UTC().Truncate(time.Millisecond)); err != nil {
			return nil, err
		}
	}
	return m.change(ctx, in.Name, was, func(c *Cluster) error {
		if enrolment != nil || in.NoEnrolment {
			c.Enrolment = enrolment
		}
		in.apply(c, keys, m.Now().UTC().Truncate(time.Millisecond), m.TokenLife)
		return nil
	})
}

func (in *UpdateInput) apply(c *Cluster, keys []byte, now time.Time, life time.Duration) {
	switch {
	case keys == nil:
	case in.KeepOld:
		c.retire(keys, now, now.Add(cmp.Or(life, DefaultTokenLife)))
	default:
		c.JWKS, c.Retired = keys, nil
	}
	if in.Discover != nil {
		c.Discover = *in.Discover
	}
	if in.NodeBinding != nil {
		c.NodeBinding = *in.NodeBinding
	}
	if in.Version != nil {
		c.Version = *in.Version
	}
	if in.Endpoint != nil {
		c.Endpoint = *in.Endpoint
	}
	if in.CA != nil {
		c.CA = *in.CA
	}
}

// change applies fn to a copy of the cluster and stores it. The cluster has to
// be still as it was judged.
func (m *Manager) change(ctx context.Context, name string, judged *Cluster, fn func(*Cluster) error) (*Cluster, error) {
	var out *Cluster
	err := Commit(ctx, m.Store, "update cluster", func(tx *store.Tx) error {
		c, err := named(tx, m.Scope(), name)
		if err != nil {
			return err
		}
		if err := AsJudged(judged, c); err != nil {
			return err
		}
		n := *c
		n.Tags = maps.Clone(c.Tags)
		if err := fn(&n); err != nil {
			return err
		}
		n.Modified = m.Now().UTC().Truncate(time.Millisecond)
		Clusters.Put(tx, m.Scope(), name, &n)
		out = &n
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// deleteBatch bounds the records that one transaction removes.
const deleteBatch = 50

// Delete removes a cluster and all that lives and dies with it. The cluster
// goes in the same transaction as the last of its dependents, so what is
// interrupted can be repeated and leaves no orphan. Returns the cluster as it
// was. Action: eks:DeleteCluster.
func (m *Manager) Delete(ctx context.Context, caller iam.Caller, name string) (*Cluster, error) {
	return m.remove(ctx, caller, "eks:DeleteCluster", name)
}

func (m *Manager) remove(ctx context.Context, caller iam.Caller, action, name string) (*Cluster, error) {
	judged, err := m.authorize(ctx, caller, action, name)
	if err != nil {
		return nil, err
	}
	var was *Cluster
	for done := false; !done; {
		err := Commit(ctx, m.Store, "delete cluster", func(tx *store.Tx) error {
			c, err := named(tx, m.Scope(), name)
			if err != nil {
				return err
			}
			if err := AsJudged(judged, c); err != nil {
				return err
			}
			left := deleteBatch
			for _, d := range m.Dependents {
				left -= d.DeleteOf(tx, c, left)
				if left <= 0 {
					break
				}
			}
			if done = left > 0; done {
				Clusters.Delete(tx, m.Scope(), name)
			}
			was = c
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return was, nil
}
