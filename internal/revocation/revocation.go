// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package revocation owns the not-before epochs of sessions: from when on the
// sessions of a role, a user, an association or a pod count. Sessions are not
// stored, so none can be deleted; an epoch refuses all that were issued up to
// it, and all that were chained from them. Every replica has the epochs in its
// view, so one counts as soon as the watch has brought it. It refuses epochs
// that could refuse nothing or lie ahead, and subjects that the caller may not
// revoke. In the flow authn asks it about every session.
package revocation

import (
	"time"

	"podid/internal/store"
)

// Kind says what the sessions of an epoch have in common.
type Kind string

// The kinds.
const (
	Role        Kind = "role"        // sessions of a role, by its unique id
	User        Kind = "user"        // GetSessionToken's and GetFederationToken's of a user, by his unique id
	Association Kind = "association" // sessions that EKS Auth issued for an association, by its id
	Pod         Kind = "pod"         // sessions that were issued to a pod, by cluster and UID
	PodName     Kind = "podName"     // to pods of a name, by cluster and namespace/name
)

// Longest is the longest session there is: GetSessionToken's.
const Longest = 36 * time.Hour

const (
	// slack is for clocks that differ, and for stores that remove late.
	slack = time.Hour
	// ahead is how far from now an epoch may lie: clocks of replicas differ.
	ahead = 5 * time.Minute
	// perAccount bounds the epochs of an account that stand at once.
	perAccount = 1000
)

// Epoch refuses the sessions of a subject that were issued up to NotBefore.
type Epoch struct {
	Account   string    `cbor:"1,keyasint"`
	Kind      Kind      `cbor:"2,keyasint"`
	ID        string    `cbor:"3,keyasint"` // the unique id that sessions carry
	Subject   string    `cbor:"4,keyasint"` // what was named, for people: an ARN, or cluster and pod
	NotBefore time.Time `cbor:"5,keyasint"` // to the millisecond
	Created   time.Time `cbor:"6,keyasint"`
	By        string    `cbor:"7,keyasint"` // ARN of who revoked
}

// Ends is when no session that the epoch refuses can be alive any more: none
// that was issued up to NotBefore, none that was chained from one before the
// epoch was made.
func (e *Epoch) Ends() time.Time {
	from := e.NotBefore
	if e.Created.After(from) {
		from = e.Created
	}
	return from.Add(Longest + slack)
}

// until is the last moment of issue that the epoch refuses. A store keeps times
// as floating point, which may lie a little below the millisecond they mean, and
// a session of that very millisecond must not slip through.
func (e *Epoch) until() time.Time { return e.NotBefore.Round(time.Millisecond) }

// Epochs is the table. All accounts' stand together: a session may come from
// another account than that of its role, and what is revoked there counts
// here, even after that account is gone.
var Epochs = store.NewTable[Epoch]("revocation", nil)

var scope = store.Scope{Account: store.System, Region: store.Global}

func key(account string, k Kind, id string) string { return account + "/" + string(k) + "/" + id }

// podID joins a cluster's unique id and what names a pod in it.
func podID(clusterUID, pod string) string { return clusterUID + "/" + pod }
