// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"crypto/subtle"
	"net/netip"
	"time"

	"podid/internal/fault"
	"podid/internal/jwt"
	"podid/internal/store"
)

// DefaultProofSkew is how far the clock of whoever signs a proof may be off.
const DefaultProofSkew = 5 * time.Minute

// KeyKeeper takes the keys that operators bring for their own clusters, of all
// accounts. Whoever calls it signs with the cluster's enrolment key, not with
// one of IAM: the cluster's own keys, which every session of the operator's
// hangs on, may have been swapped. Who has no good proof learns nothing, not
// even whether there is a cluster of the name. Make it with NewKeyKeeper.
type KeyKeeper struct {
	store    store.Store
	now      func() time.Time
	region   string
	skew     time.Duration
	life     time.Duration
	attempts *attempts
}

// NewKeyKeeper returns a KeyKeeper for the clusters of a region. skew is how
// far clocks may be apart, 0 for DefaultProofSkew; life is how long tokens of a
// key that was given up are good, 0 for DefaultTokenLife.
func NewKeyKeeper(s store.Store, now func() time.Time, region string, skew, life time.Duration) *KeyKeeper {
	return &KeyKeeper{store: s, now: now, region: region, skew: cmp.Or(skew, DefaultProofSkew), life: cmp.Or(life, DefaultTokenLife), attempts: newAttempts()}
}

// PutKeysInput is what an operator brings.
type PutKeysInput struct {
	Name  string
	Proof string // a compact JWS, see docs/operations/enrolment.md
	Body  []byte // that the proof is over
	JWKS  []byte // what the API server publishes now
}

// Put replaces the cluster's keys. Those that the set has no more are retired:
// accepted until their tokens have expired. From names the source of the
// request, whose wrong proofs are counted. The cluster is returned beside an
// error too when the proof was its own. Errors: AccessDenied for a proof that
// is none of a cluster of the name, or over another body; ExpiredToken for one
// that is too old or from the future; AlreadyExists for one that is not newer
// than the last; Throttled; InvalidParameter for keys that a cluster must not
// have.
func (k *KeyKeeper) Put(ctx context.Context, from netip.Addr, in PutKeysInput) (*Cluster, error) {
	p, c, err := k.find(ctx, from, &in)
	if err != nil {
		return nil, err
	}
	now := k.now().UTC().Truncate(time.Millisecond)
	switch issued := time.UnixMilli(p.IssuedAt); {
	case !p.isOf(in.Body):
		return c, fault.New(fault.AccessDenied, "The proof is not over the body of this request.").WithReason("enrolment-body")
	case issued.Before(now.Add(-k.skew)) || issued.After(now.Add(k.skew)):
		return c, fault.New(fault.ExpiredToken, "The proof is of %s, and it is %s here: clocks may be %s apart.", issued.UTC().Format(time.RFC3339), now.Format(time.RFC3339), k.skew).WithReason("enrolment-time")
	}
	if err := p.newer(c.Enrolment); err != nil {
		return c, err
	}
	if len(in.JWKS) == 0 {
		return c, fault.New(fault.MissingParameter, "The cluster's keys are missing: give jwks.").WithReason("keys-missing")
	}
	jwks, set, err := checkKeySet(in.JWKS)
	if err != nil {
		return c, err
	}
	var out *Cluster
	err = Commit(ctx, k.store, "put cluster keys", func(tx *store.Tx) error {
		out, err = k.put(tx, c, p, jwks, set, now)
		return err
	})
	if err != nil {
		return c, err
	}
	return out, nil
}

// newer refuses a proof that is not newer than the one that was taken last:
// each is good once, and none after its successor.
func (p *proof) newer(e *Enrolment) error {
	if p.IssuedAt > e.Last {
		return nil
	}
	return fault.New(fault.AlreadyExists, "A proof of %s was taken already: sign a newer one.", time.UnixMilli(e.Last).UTC().Format("2006-01-02T15:04:05.000Z")).WithReason("enrolment-replayed")
}

// find returns the proof and the cluster whose enrolment key has signed it. A
// good proof is found without a look at the limit, so that nobody can keep an
// operator out by wrong ones.
func (k *KeyKeeper) find(ctx context.Context, from netip.Addr, in *PutKeysInput) (*proof, *Cluster, error) {
	p, ok := parseProof(in.Proof)
	if ok {
		if c, ok := k.proven(k.store.View(), in, p); ok {
			return p, c, nil
		}
	}
	if wait := k.attempts.wait(from, k.now()); wait > 0 {
		return nil, nil, fault.New(fault.Throttled, "Too many wrong proofs came from this address. Try again later.").WithReason("enrolment-throttled").After(wait)
	}
	if ok && p.account() != "" {
		// Another replica may have taken the key a moment ago.
		v, err := k.store.Fence(ctx)
		if err != nil {
			return nil, nil, fault.StoreUnread(err)
		}
		if c, ok := k.proven(v, in, p); ok {
			return p, c, nil
		}
	}
	return nil, nil, badProof()
}

func badProof() error {
	return fault.New(fault.AccessDenied, "The proof is none of a cluster of this name.").WithReason("enrolment-proof")
}

func (k *KeyKeeper) proven(r store.Reader, in *PutKeysInput, p *proof) (*Cluster, bool) {
	account := p.account()
	if account == "" || !ValidName(in.Name) {
		return nil, false
	}
	c, ok := Clusters.Get(r, store.Scope{Account: account, Region: k.region}, in.Name)
	if !ok || c.Enrolment == nil || c.ARN() != p.Cluster || subtle.ConstantTimeCompare([]byte(c.UID), []byte(p.UID)) != 1 {
		return nil, false
	}
	return c, c.Enrolment.proves(in.Proof)
}

// put runs in the transaction: the record that it sees is the one that the
// proof has to be good for.
func (k *KeyKeeper) put(tx *store.Tx, judged *Cluster, p *proof, jwks []byte, set *jwt.KeySet, now time.Time) (*Cluster, error) {
	c, ok := Clusters.Get(tx, judged.Scope(), judged.Name)
	if !ok || c.UID != judged.UID || c.Enrolment == nil || c.Enrolment.ID != judged.Enrolment.ID {
		return nil, badProof()
	}
	if err := p.newer(c.Enrolment); err != nil {
		return nil, err
	}
	if err := c.CheckActive(); err != nil {
		return nil, err
	}
	if err := checkOwnKeys(tx, c, c.Issuer, set); err != nil {
		return nil, err
	}
	n, e := *c, *c.Enrolment
	e.Last = p.IssuedAt
	n.Enrolment = &e
	if string(n.JWKS) != string(jwks) {
		n.retire(jwks, now, now.Add(k.life))
		n.Modified = now
	}
	Clusters.Put(tx, c.Scope(), c.Name, &n)
	return &n, nil
}
