// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cluster owns registered clusters: name, unique id, issuer and the
// keys that its service account tokens are signed with. A cluster is
// identified by account, region and name for people and by its unique id for
// everything that outlives a request; an issuer URL identifies nothing. Every
// verb takes the caller and asks the Authorizer itself; a PENDING cluster's
// activation asks for its code instead, and what brings a cluster's keys for
// the cluster's enrolment key. It refuses weak or private keys, and
// registers no name twice.
package cluster

import (
	"time"

	"podid/internal/arn"
	"podid/internal/store"
)

// NodeBinding says whether a pod's token may be exchanged by another node
// than the pod's own.
type NodeBinding string

// The settings of NodeBinding.
const (
	// NodeBindingDefault is required for tokens that carry the node claim
	// (Kubernetes 1.30 on) and ifPresent for those that cannot.
	NodeBindingDefault   NodeBinding = "default"
	NodeBindingRequired  NodeBinding = "required"  // caller must prove the pod's node
	NodeBindingIfPresent NodeBinding = "ifPresent" // checked when both sides carry a node
	NodeBindingOff       NodeBinding = "off"
)

// Cluster is a registered cluster.
type Cluster struct {
	UID         string            `cbor:"1,keyasint"` // 32 hexadecimal digits, never reused
	Partition   string            `cbor:"2,keyasint"`
	Account     string            `cbor:"3,keyasint"`
	Region      string            `cbor:"4,keyasint"`
	Name        string            `cbor:"5,keyasint"`
	Issuer      string            `cbor:"6,keyasint"`
	JWKS        []byte            `cbor:"7,keyasint"`           // the key set as JSON, public keys only
	Discover    bool              `cbor:"8,keyasint,omitempty"` // keys are fetched from the issuer when an unknown kid comes
	NodeBinding NodeBinding       `cbor:"9,keyasint"`
	Version     string            `cbor:"10,keyasint,omitempty"` // Kubernetes "1.34"
	Endpoint    string            `cbor:"11,keyasint,omitempty"` // API server URL
	CA          string            `cbor:"12,keyasint,omitempty"` // base64 of PEM, for clients of the API server
	Tags        map[string]string `cbor:"13,keyasint,omitempty"`
	Created     time.Time         `cbor:"14,keyasint"`
	Modified    time.Time         `cbor:"15,keyasint"`
	Activation  *Activation       `cbor:"16,keyasint,omitempty"` // of a cluster that was registered without keys
	Retired     []RetiredKey      `cbor:"17,keyasint,omitempty"` // keys that sign no more and are still accepted; see AcceptedKeys
	Enrolment   *Enrolment        `cbor:"18,keyasint,omitempty"` // nil: no operator brings keys
}

// ARN is the cluster's ARN.
func (c *Cluster) ARN() string { return arn.Cluster(c.Partition, c.Region, c.Account, c.Name) }

// ProviderHost is the name of the OIDC provider that stands for exactly this
// cluster's keys, in condition keys: "<host>:sub", "<host>:aud".
func (c *Cluster) ProviderHost() string { return "clusters.podid.dev/" + c.UID }

// ProviderARN is the ARN of that provider, for Principal.Federated.
func (c *Cluster) ProviderARN() string {
	return arn.IAM(c.Partition, c.Account, "oidc-provider", "/", c.ProviderHost())
}

// Scope is where the cluster and all that belongs to it stand.
func (c *Cluster) Scope() store.Scope { return store.Scope{Account: c.Account, Region: c.Region} }

// Clusters is the table, by name; indexed by issuer and by unique id, see
// ByIssuer and ByUID. An issuer is a URL, so the two never meet. A PENDING
// cluster has none.
var Clusters = store.NewTable("cluster", func(c *Cluster) []string {
	if c.Issuer == "" {
		return []string{c.UID}
	}
	return []string{c.Issuer, c.UID}
})
