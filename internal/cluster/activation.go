// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/secret"
	"podid/internal/uuid"
)

// ActivationLife is how long an activation code is good. Source: EKS API
// Reference, RegisterCluster ("within three days").
const ActivationLife = 3 * 24 * time.Hour

const (
	activationPrefix = "podid-activation."
	activationSecret = 32 // random bytes
	maxActivation    = 128
)

// Activation is how a cluster that was registered without keys comes to them:
// a code that the cluster brings with its issuer and keys, once. Of the code
// only the hash is kept.
type Activation struct {
	ID       string    `cbor:"1,keyasint"` // a UUID; no secret
	Hash     []byte    `cbor:"2,keyasint"` // SHA-256 of the code
	Expires  time.Time `cbor:"3,keyasint"`
	Used     time.Time `cbor:"4,keyasint,omitempty"` // zero: the cluster is PENDING
	Issuer   string    `cbor:"5,keyasint,omitempty"` // the only one that the cluster may name; "" is any
	Provider string    `cbor:"6,keyasint,omitempty"` // as RegisterCluster of EKS was told
	RoleARN  string    `cbor:"7,keyasint,omitempty"` // likewise; nothing uses the role
	Request  Request   `cbor:"8,keyasint,omitempty"` // what it was registered with
}

// Pending reports whether the cluster waits for its issuer and keys.
func (c *Cluster) Pending() bool { return c.Activation != nil && c.Activation.Used.IsZero() }

// CheckActive returns a fault for a cluster that is PENDING: nothing can
// belong to it yet, and no token can come from it.
func (c *Cluster) CheckActive() error {
	if !c.Pending() {
		return nil
	}
	return fault.New(fault.InvalidRequest, "The cluster %s is PENDING: it has to be activated with its activation code first.", c.Name).WithReason("cluster-pending")
}

// newActivation makes a code for a cluster of the account.
func newActivation(rand io.Reader, account string, now time.Time) (*Activation, secret.String, error) {
	code, err := newCode(rand, account)
	if err != nil {
		return nil, secret.String{}, err
	}
	id, err := uuid.New(rand)
	if err != nil {
		return nil, secret.String{}, err
	}
	return &Activation{ID: id, Hash: codeHash(code.Reveal()), Expires: now.Add(ActivationLife)}, code, nil
}

// newCode makes an activation code. It names the account: names of clusters
// mean nothing without one, and who brings a code signs nothing.
func newCode(rand io.Reader, account string) (secret.String, error) {
	var b [activationSecret]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return secret.String{}, fmt.Errorf("read random activation code: %w", err)
	}
	return secret.New(activationPrefix + account + "." + base64.RawURLEncoding.EncodeToString(b[:])), nil
}

func codeHash(code string) []byte {
	sum := sha256.Sum256([]byte(code))
	return sum[:]
}

// accountOfCode reads the account in a code, "" where there is none.
func accountOfCode(code string) string {
	if len(code) > maxActivation {
		return ""
	}
	rest, ok := strings.CutPrefix(code, activationPrefix)
	account, _, two := strings.Cut(rest, ".")
	if !ok || !two || !arn.IsAccount(account) {
		return ""
	}
	return account
}

// provenBy reports whether the code is the one that was made for the cluster.
func (c *Cluster) provenBy(code string) bool {
	return c.Activation != nil && subtle.ConstantTimeCompare(c.Activation.Hash, codeHash(code)) == 1
}

// usable refuses a code that is over. Only who has proven to know the code
// may hear it.
func (x *Activation) usable(now time.Time) error {
	switch {
	case !x.Used.IsZero():
		return fault.New(fault.AlreadyExists, "The activation code was used at %s, and a code is good once. The cluster is ACTIVE.", x.Used.Format(time.RFC3339)).WithReason("activation-used")
	case !now.Before(x.Expires):
		return fault.New(fault.ExpiredToken, "The activation code ended at %s. Deregister the cluster and register it again.", x.Expires.Format(time.RFC3339)).WithReason("activation-expired")
	}
	return nil
}
