// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association

import (
	"encoding/hex"
	"time"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/store"
)

// tokenLife is how long a clientRequestToken is remembered.
const tokenLife = 24 * time.Hour

// Request remembers what a clientRequestToken was used for.
type Request struct {
	Input         []byte    `cbor:"1,keyasint"` // SHA-256 of the input
	Key           string    `cbor:"2,keyasint"` // of the association's record
	AssociationID string    `cbor:"3,keyasint"`
	Expires       time.Time `cbor:"4,keyasint"`
}

// Requests is the table of tokens, by cluster unique id, operation and the
// hash of the caller's account and token.
var Requests = store.NewTable[Request]("association-request", nil)

// once is one use of a clientRequestToken; the zero once is none.
type once struct {
	operation string
	request   cluster.Request
}

func newOnce(caller iam.Caller, operation, token string, input any) once {
	return once{operation, cluster.NewRequest(caller.Account, token, input)}
}

// key of the token's record; "" is none.
func (o once) key(c *cluster.Cluster) string {
	if o.request.Token == nil {
		return ""
	}
	return c.UID + "/" + o.operation + "/" + hex.EncodeToString(o.request.Token)
}

// replay returns the association that the token made or changed before, as it
// is now; nil when the token is new. A token of other input is refused. So is
// one whose association is gone: a late repeat must not bring it back.
func (o once) replay(tx *store.Tx, m *Manager, c *cluster.Cluster) (*Association, error) {
	key := o.key(c)
	if key == "" {
		return nil, nil
	}
	r, ok := Requests.Get(tx, m.scope(), key)
	if !ok || !m.Now().Before(r.Expires) {
		return nil, nil
	}
	if _, err := o.request.Repeats(cluster.Request{Token: o.request.Token, Input: r.Input}); err != nil {
		return nil, err
	}
	a, ok := Associations.Get(tx, m.scope(), r.Key)
	if !ok || a.ID != r.AssociationID {
		return nil, notFound(r.AssociationID)
	}
	return a, nil
}

// keep remembers the token with the association it was used for.
func (o once) keep(tx *store.Tx, m *Manager, c *cluster.Cluster, a *Association) {
	key := o.key(c)
	if key == "" {
		return
	}
	r := &Request{o.request.Input, Key(c.UID, a.Namespace, a.ServiceAccount), a.ID, m.Now().UTC().Add(tokenLife)}
	Requests.PutTTL(tx, m.scope(), key, r, tokenLife)
}

func (in CreateInput) withoutToken() CreateInput { in.Token = ""; return in }

func (in UpdateInput) withoutToken() UpdateInput { in.Token = ""; return in }
