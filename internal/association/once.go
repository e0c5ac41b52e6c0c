// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	id    string // operation and hash, under the cluster's unique id
	input []byte
}

func newOnce(caller iam.Caller, operation, token string, input any) once {
	if token == "" {
		return once{}
	}
	text, err := json.Marshal(input)
	if err != nil {
		panic(err) // a struct of strings, booleans and a map of strings
	}
	sum := sha256.Sum256(text)
	scope := sha256.Sum256([]byte(caller.Account + "\x00" + token))
	return once{operation + "/" + hex.EncodeToString(scope[:]), sum[:]}
}

// replay returns the association that the token made or changed before, as it
// is now; nil when the token is new. A token of other input is refused. So is
// one whose association is gone: a late repeat must not bring it back.
func (o once) replay(tx *store.Tx, m *Manager, c *cluster.Cluster) (*Association, error) {
	if o.id == "" {
		return nil, nil
	}
	r, ok := Requests.Get(tx, m.scope(), c.UID+"/"+o.id)
	if !ok || !m.Now().Before(r.Expires) {
		return nil, nil
	}
	if !bytes.Equal(r.Input, o.input) {
		return nil, invalid("client-request-token", "The clientRequestToken was used before with other parameters.")
	}
	a, ok := Associations.Get(tx, m.scope(), r.Key)
	if !ok || a.ID != r.AssociationID {
		return nil, notFound(r.AssociationID)
	}
	return a, nil
}

// keep remembers the token with the association it was used for.
func (o once) keep(tx *store.Tx, m *Manager, c *cluster.Cluster, a *Association) {
	if o.id == "" {
		return
	}
	r := &Request{o.input, Key(c.UID, a.Namespace, a.ServiceAccount), a.ID, m.Now().UTC().Add(tokenLife)}
	Requests.PutTTL(tx, m.scope(), c.UID+"/"+o.id, r, tokenLife)
}

func (in CreateInput) withoutToken() CreateInput { in.Token = ""; return in }

func (in UpdateInput) withoutToken() UpdateInput { in.Token = ""; return in }
