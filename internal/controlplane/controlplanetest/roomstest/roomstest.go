// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package roomstest assembles the rooms behind the exchange in memory, for
// tests of sts, exchange and the embedded issuer: a store without an engine, a
// clock that stands still, roles, clusters and tokens. Authorisation, trust,
// tokens and seals are the real ones. It refuses to be linked by the product.
package roomstest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"podid/internal/association"
	"podid/internal/authz"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/iam"
	"podid/internal/issuer/embedded"
	"podid/internal/jwt/jwttest"
	"podid/internal/policy"
	"podid/internal/seal"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/store/storetest"
	"podid/internal/sts"
)

// Settings of every world.
const (
	Account   = "111122223333"
	Region    = "us-west-2"
	Partition = "aws"
	// Issuer is kubeadm's default, the same in every cluster.
	Issuer = "https://kubernetes.default.svc.cluster.local"
)

// AllowAll is an identity policy; PodTrust a trust policy for every pod.
const (
	AllowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	PodTrust = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}}`
)

// DB is a store whose view may lag behind what a fence shows.
type DB struct {
	*storetest.Memory
	mu     sync.Mutex
	stale  *store.View
	fences int
}

// View implements store.Store.
func (d *DB) View() *store.View {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stale != nil {
		return d.stale
	}
	return d.Memory.View()
}

// Fence implements store.Store and counts.
func (d *DB) Fence(ctx context.Context) (*store.View, error) {
	d.mu.Lock()
	d.fences++
	d.mu.Unlock()
	return d.Memory.Fence(ctx)
}

// Lag makes View show v until it is called with nil, and forgets the fences.
func (d *DB) Lag(v *store.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stale, d.fences = v, 0
}

// Fences is how many fences there were since the last Lag.
func (d *DB) Fences() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fences
}

type tokenKeys struct{ k seal.TokenKey }

func (t tokenKeys) Primary() (seal.TokenKey, error) { return t.k, nil }
func (t tokenKeys) Lookup(context.Context, uint32) (seal.TokenKey, bool, error) {
	return t.k, true, nil
}

// World is one account with its rooms.
type World struct {
	DB       *DB
	Minter   *session.Minter
	Authz    *authz.Authorizer
	STS      *sts.Service
	Issuer   *embedded.Issuer
	Exchange *exchange.Service

	tb  testing.TB
	now time.Time
}

// New returns an empty world.
func New(tb testing.TB) *World {
	tb.Helper()
	k, err := seal.NewTokenKey(1, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	if err != nil {
		tb.Fatal(err)
	}
	w := &World{tb: tb, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	w.DB = &DB{Memory: storetest.NewMemory(store.NewSchema(iam.Users, iam.Roles, iam.Groups, iam.Policies, iam.OIDCProviders, cluster.Clusters, association.Associations))}
	policies, keys := policy.NewCache(1<<20), &cluster.KeySets{}
	w.Minter = &session.Minter{Keys: tokenKeys{k}, Rand: rand.Reader, Now: w.Now, Account: Account, Partition: Partition}
	w.Authz = &authz.Authorizer{Store: w.DB, Policies: policies, Now: w.Now, Region: Region}
	w.STS = &sts.Service{
		Store: w.DB, Callers: w.Authz, Policies: policies, Minter: w.Minter, Clusters: keys, Now: w.Now, Rand: rand.Reader,
		Partition: Partition, Account: Account, Region: Region,
	}
	w.Issuer = &embedded.Issuer{STS: w.STS}
	w.Exchange = &exchange.Service{
		Store: w.DB, Authz: w.Authz, Keys: keys, Issuer: w.Issuer, Checker: w.Authz, Now: w.Now, Rand: rand.Reader,
		Scope: store.Scope{Account: Account, Region: Region}, Partition: Partition,
	}
	return w
}

// Now is the world's clock, which stands still.
func (w *World) Now() time.Time { return w.now }

// Update changes records.
func (w *World) Update(fn func(tx *store.Tx)) {
	w.tb.Helper()
	if err := w.DB.Update(context.Background(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		w.tb.Fatal(err)
	}
}

func global() store.Scope { return store.Scope{Account: Account, Region: store.Global} }

// Role makes or replaces a role. change may be nil.
func (w *World) Role(name, trust, identity string, change func(*iam.Role)) *iam.Role {
	w.tb.Helper()
	r := &iam.Role{
		ID: "AROA" + strings.ToUpper(strings.ReplaceAll(name, "-", "X")), Partition: Partition, Account: Account, Path: "/", Name: name,
		Trust: trust, MaxSession: 3600, Created: w.Now(),
	}
	if identity != "" {
		r.Inline = []iam.InlinePolicy{{Name: "inline", Document: identity}}
	}
	if change != nil {
		change(r)
	}
	w.Update(func(tx *store.Tx) { iam.Roles.Put(tx, global(), strings.ToLower(name), r) })
	return r
}

// DeleteRole removes a role.
func (w *World) DeleteRole(name string) {
	w.tb.Helper()
	w.Update(func(tx *store.Tx) { iam.Roles.Delete(tx, global(), strings.ToLower(name)) })
}

// User makes a user and returns it as a caller.
func (w *World) User(name, identity string) iam.Caller {
	w.tb.Helper()
	u := &iam.User{ID: "AIDA" + strings.ToUpper(name), Partition: Partition, Account: Account, Path: "/", Name: name}
	if identity != "" {
		u.Inline = []iam.InlinePolicy{{Name: "inline", Document: identity}}
	}
	w.Update(func(tx *store.Tx) { iam.Users.Put(tx, global(), strings.ToLower(name), u) })
	return iam.Caller{Kind: iam.CallerUser, Partition: Partition, Account: Account, ARN: u.ARN(), UserID: u.ID, User: u}
}

// Session is a session of a role as a caller. change may be nil.
func (w *World) Session(r *iam.Role, change func(*session.Session)) iam.Caller {
	s := &session.Session{
		Partition: Partition, Account: Account, RoleID: r.ID, RolePath: r.Path, RoleName: r.Name, Name: "session", Issued: w.Now(), Expires: w.Now().Add(time.Hour),
	}
	if change != nil {
		change(s)
	}
	return iam.Caller{Kind: iam.CallerSession, Partition: Partition, Account: Account, ARN: s.ARN(), UserID: s.AssumedRoleID(), Role: r, Session: s}
}

// Cluster is a registered cluster and its issuer's key.
type Cluster struct {
	*cluster.Cluster
	Key crypto.Signer
	Kid string
	w   *World
}

// Cluster registers a cluster under Issuer with an EC key of its own. change
// may be nil.
func (w *World) Cluster(name string, change func(*cluster.Cluster)) *Cluster {
	w.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.tb.Fatal(err)
	}
	return w.ClusterWithKey(name, key, change)
}

// RSACluster registers a cluster with an RSA key of 2048 bits, as API servers
// have by default.
func (w *World) RSACluster(name string) *Cluster {
	w.tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		w.tb.Fatal(err)
	}
	return w.ClusterWithKey(name, key, nil)
}

// ClusterWithKey registers a cluster with the key given.
func (w *World) ClusterWithKey(name string, key crypto.Signer, change func(*cluster.Cluster)) *Cluster {
	w.tb.Helper()
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Use: "sig"}}})
	if err != nil {
		w.tb.Fatal(err)
	}
	c := &cluster.Cluster{
		UID: strings.Repeat("0", 32-2*len(name)) + hex.EncodeToString([]byte(name)), Partition: Partition, Account: Account, Region: Region, Name: name, Issuer: Issuer,
		JWKS: jwks, NodeBinding: cluster.NodeBindingDefault, Created: w.Now(),
	}
	if change != nil {
		change(c)
	}
	w.Update(func(tx *store.Tx) { cluster.Clusters.Put(tx, c.Scope(), c.Name, c) })
	return &Cluster{Cluster: c, Key: key, Kid: "k1", w: w}
}

// Claims are a good token's claims of the textbook pod on node-1; edit them
// before Sign.
func (c *Cluster) Claims(audiences ...string) map[string]any {
	now := c.w.Now()
	return map[string]any{
		"aud": audiences, "iss": c.Issuer, "sub": "system:serviceaccount:s3-app-ns:s3-app-sa",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": rand.Text(),
		"kubernetes.io": map[string]any{
			"namespace":      "s3-app-ns",
			"serviceaccount": map[string]any{"name": "s3-app-sa", "uid": "sa-uid"},
			"pod":            map[string]any{"name": "app1-v1-56b9f94b4-dvd5c", "uid": "pod-uid"},
			"node":           map[string]any{"name": "node-1", "uid": "node-1-uid"},
		},
	}
}

// Sign signs claims with the cluster's key.
func (c *Cluster) Sign(claims map[string]any) string {
	c.w.tb.Helper()
	alg := jose.ES256
	if _, ok := c.Key.(*rsa.PrivateKey); ok {
		alg = jose.RS256
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		c.w.tb.Fatal(err)
	}
	return jwttest.Sign(c.w.tb, alg, jose.JSONWebKey{Key: c.Key, KeyID: c.Kid}, nil, payload)
}

// Token is a pod's token for EKS Pod Identity.
func (c *Cluster) Token() string { return c.Sign(c.Claims(exchange.Audience)) }

// Associate binds the textbook service account to a role. change may be nil.
func (c *Cluster) Associate(roleARN string, change func(*association.Association)) *association.Association {
	c.w.tb.Helper()
	a := &association.Association{
		ID: "a-abcdefghijklmnop1", ClusterUID: c.UID, ClusterName: c.Name, Namespace: "s3-app-ns", ServiceAccount: "s3-app-sa", RoleARN: roleARN,
		ARN: "arn:aws:eks:us-west-2:111122223333:podidentityassociation/" + c.Name + "/a-abcdefghijklmnop1",
	}
	if change != nil {
		change(a)
	}
	c.w.Update(func(tx *store.Tx) {
		association.Associations.Put(tx, c.Scope(), association.Key(a.ClusterUID, a.Namespace, a.ServiceAccount), a)
	})
	return a
}

// NodeRole makes the cluster's node role with the policy of AWS' worker nodes
// inline, and Agent a session of it on the node named.
func (c *Cluster) NodeRole() *iam.Role {
	c.w.tb.Helper()
	return c.w.Role("podid-node-"+c.Name, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"`+c.ProviderARN()+`"},"Action":"sts:AssumeRoleWithWebIdentity"}}`,
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"eks-auth:AssumeRoleForPodIdentity","Resource":"*"}}`, nil)
}

// Agent is the agent of a node as a caller.
func (c *Cluster) Agent(node string) iam.Caller {
	c.w.tb.Helper()
	return c.w.Session(c.NodeRole(), func(s *session.Session) {
		s.Node = session.Node{ClusterUID: c.UID, Name: node, UID: node + "-uid"}
	})
}
