// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package accessentry owns the access entries of clusters: which IAM users
// and roles are let into a cluster's Kubernetes API, under which user name and
// groups, and which access policies they have there. It holds the verbs of the
// EKS API on them, and the bearer tokens that a cluster's API server proves
// itself with when it asks for a TokenReview. Every verb takes the caller and
// asks the Authorizer itself. It refuses principals that do not exist or are
// of another account, reserved names and groups, and policies it does not
// know. An entry is bound to the unique id of its principal: a role made again
// under the same name is another one.
// Source: EKS API Reference, CreateAccessEntry; EKS User Guide, "Grant IAM
// users access to Kubernetes with EKS access entries".
package accessentry

import (
	"time"

	"podid/internal/cluster"
	"podid/internal/store"
)

// Standard is the type of entry that people and programs have. All others are
// for nodes, which no token of podid's stands for.
const Standard = "STANDARD"

// Entry lets one principal into one cluster.
type Entry struct {
	ARN          string            `cbor:"1,keyasint"`
	ClusterUID   string            `cbor:"2,keyasint"`
	ClusterName  string            `cbor:"3,keyasint"`
	PrincipalARN string            `cbor:"4,keyasint"`
	PrincipalID  string            `cbor:"5,keyasint"` // AIDA… or AROA…
	Type         string            `cbor:"6,keyasint"`
	Username     string            `cbor:"7,keyasint,omitempty"` // may hold {{…}}, see Names
	Groups       []string          `cbor:"8,keyasint,omitempty"`
	Policies     []Associated      `cbor:"9,keyasint,omitempty"` // by ARN
	Tags         map[string]string `cbor:"10,keyasint,omitempty"`
	Created      time.Time         `cbor:"11,keyasint"`
	Modified     time.Time         `cbor:"12,keyasint"`
	Request      cluster.Request   `cbor:"13,keyasint"` // that made it
}

// Associated is an access policy that an entry has.
type Associated struct {
	PolicyARN  string    `cbor:"1,keyasint"`
	Namespaces []string  `cbor:"2,keyasint,omitempty"` // none: the whole cluster
	Created    time.Time `cbor:"3,keyasint"`
	Modified   time.Time `cbor:"4,keyasint"`
}

// Entries is the table, by Key.
var Entries = store.NewTable[Entry]("access-entry", nil)

// Key is the id of an entry's record.
func Key(clusterUID, principalARN string) string { return clusterUID + "/" + principalARN }

// Find returns the entry of a principal in a cluster as r shows it. The unique
// id has to be the principal's as well.
func Find(r store.Reader, c *cluster.Cluster, principalARN, principalID string) (*Entry, bool) {
	e, ok := Entries.Get(r, c.Scope(), Key(c.UID, principalARN))
	return e, ok && e.PrincipalID == principalID
}
