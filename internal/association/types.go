// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package association owns pod identity associations: the binding of an IAM
// role to (cluster, namespace, service account), its rules, and the verbs of
// the EKS API on it. Every verb takes the caller and asks the Authorizer
// itself, in the order: eks action, iam:PassRole, existence, trust; so nobody
// can probe roles that they may not pass. It refuses a second association for
// the same service account, roles that do not exist or do not trust
// pods.eks.amazonaws.com, and roles of other accounts.
package association

import (
	"time"

	"podid/internal/store"
)

// Association binds a role to a service account of a cluster.
type Association struct {
	ID                 string            `cbor:"1,keyasint"` // a- and 17 of [a-z0-9]
	ClusterUID         string            `cbor:"2,keyasint"`
	ClusterName        string            `cbor:"3,keyasint"`
	ARN                string            `cbor:"4,keyasint"`
	Namespace          string            `cbor:"5,keyasint"`
	ServiceAccount     string            `cbor:"6,keyasint"`
	RoleARN            string            `cbor:"7,keyasint"`
	TargetRoleARN      string            `cbor:"8,keyasint,omitempty"`
	ExternalID         string            `cbor:"9,keyasint,omitempty"` // set with TargetRoleARN: region/account/cluster/namespace/serviceaccount
	Policy             string            `cbor:"10,keyasint,omitempty"`
	DisableSessionTags bool              `cbor:"11,keyasint,omitempty"`
	Tags               map[string]string `cbor:"12,keyasint,omitempty"`
	OwnerARN           string            `cbor:"13,keyasint,omitempty"`
	Created            time.Time         `cbor:"14,keyasint"`
	Modified           time.Time         `cbor:"15,keyasint"`
}

// Associations is the table. The id of a record is Key(cluster uid,
// namespace, service account), so one service account has one association;
// indexed by association id and by owner, see OwnedBy.
var Associations = store.NewTable("association", func(a *Association) []string {
	if a.OwnerARN != "" {
		return []string{a.ID, ownerIndex(a.OwnerARN)}
	}
	return []string{a.ID}
})

// Key is the id of an association's record.
func Key(clusterUID, namespace, serviceAccount string) string {
	return clusterUID + "/" + namespace + "/" + serviceAccount
}
