// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/secret"
	"podid/internal/store"
)

// Reviewer is what a cluster's API server proves itself with: hashes only.
type Reviewer struct {
	Hashes   [][]byte  `cbor:"1,keyasint"` // SHA-256 of bearer tokens, newest first
	Modified time.Time `cbor:"2,keyasint"`
}

// Reviewers is the table, by the cluster's unique id.
var Reviewers = store.NewTable[Reviewer]("token-reviewer", nil)

const (
	reviewPrefix = "podid-review."
	reviewSecret = 32 // random bytes
	// keptHashes lets an API server go on with the token before while it is
	// given the new one.
	keptHashes = 2
)

// CreateReviewToken makes a bearer token for the API server of a cluster. The
// token before it stays good, older ones do not. Nothing can show it again.
// Action: podid:CreateReviewToken on the cluster.
func (m *Manager) CreateReviewToken(ctx context.Context, caller iam.Caller, clusterName string) (secret.String, error) {
	_, judged, err := m.clusters().On(ctx, caller, "podid:CreateReviewToken", clusterName)
	if err != nil {
		return secret.String{}, err
	}
	var b [reviewSecret]byte
	if _, err := io.ReadFull(m.Rand, b[:]); err != nil {
		return secret.String{}, fmt.Errorf("read random review token: %w", err)
	}
	token := reviewPrefix + m.Account + "." + base64.RawURLEncoding.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(token))
	err = cluster.Commit(ctx, m.Store, "create review token", func(tx *store.Tx) error {
		c, err := cluster.Named(tx, m.scope(), clusterName)
		if err != nil {
			return err
		}
		if err := cluster.AsJudged(judged, c); err != nil {
			return err
		}
		n := &Reviewer{Hashes: [][]byte{sum[:]}, Modified: m.now()}
		if old, ok := Reviewers.Get(tx, m.scope(), c.UID); ok {
			n.Hashes = append(n.Hashes, old.Hashes[:min(len(old.Hashes), keptHashes-1)]...)
		}
		Reviewers.Put(tx, m.scope(), c.UID, n)
		return nil
	})
	if err != nil {
		return secret.String{}, err
	}
	return secret.New(token), nil
}

// ReviewedCluster returns the cluster of that name whose API server has the
// bearer token; the token says of which account. False says no more than that
// it is none.
func ReviewedCluster(r store.Reader, region, clusterName, token string) (*cluster.Cluster, bool) {
	rest, ok := strings.CutPrefix(token, reviewPrefix)
	account, _, two := strings.Cut(rest, ".")
	if !ok || !two || !arn.IsAccount(account) || len(token) > 128 {
		return nil, false
	}
	scope := store.Scope{Account: account, Region: region}
	c, known := cluster.Clusters.Get(r, scope, clusterName)
	if !known {
		return nil, false
	}
	have, known := Reviewers.Get(r, scope, c.UID)
	if !known {
		return nil, false
	}
	sum, good := sha256.Sum256([]byte(token)), 0
	for _, h := range have.Hashes {
		good |= subtle.ConstantTimeCompare(sum[:], h)
	}
	return c, good == 1
}

// sameEntry reports whether an entry is still the one that was judged.
func sameEntry(judged, now *Entry) bool {
	return judged.ARN == now.ARN && maps.Equal(judged.Tags, now.Tags)
}
