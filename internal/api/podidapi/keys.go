// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/reqctx"
)

// KeyKeeper takes keys from clusters' operators. The cluster is returned beside
// an error too when the proof was its own.
type KeyKeeper interface {
	Put(ctx context.Context, from netip.Addr, in cluster.PutKeysInput) (*cluster.Cluster, error)
}

var _ KeyKeeper = (*cluster.KeyKeeper)(nil)

// Keys is where a cluster's operator brings the keys of its API server: no
// operation of the API, since a signature of IAM's would hang on those keys,
// but a path beside it.
type Keys struct {
	gate  *call.Gate
	verb  KeyKeeper
	codec *restjson.Codec
}

// NewKeys returns the path on a gate.
func NewKeys(gate *call.Gate, verb KeyKeeper) *Keys {
	return &Keys{gate: gate, verb: verb, codec: restjson.NewCodec(nil)}
}

const (
	keysAfter   = "/keys"
	proofScheme = "Podid-Enrolment"
)

// Handles reports whether a request brings keys.
func (k *Keys) Handles(r *http.Request) bool {
	return r.Method == http.MethodPut && clusterOfPath(r, keysAfter) != ""
}

// ServeHTTP takes the keys.
func (k *Keys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := call.Operation{Service: Service, Source: "podid.dev", Name: "PutClusterKeys", Action: "none", Resource: onCluster, Anonymous: true}
	k.gate.Serve(w, r, op, k.codec, k.put)
}

type putKeysInput struct {
	JWKS json.RawMessage `json:"jwks"`
}

// putKeysJSON is what the operator has to know.
type putKeysJSON struct {
	Name        string           `json:"name"`
	Arn         string           `json:"arn"`
	KeyIDs      []string         `json:"keyIds"`
	RetiredKeys []retiredKeyJSON `json:"retiredKeys,omitempty"`
}

type putKeysOutput struct {
	Cluster putKeysJSON `json:"cluster"`
}

// put takes the keys. What is wrong with the body only who has proven himself hears.
func (k *Keys) put(ctx context.Context, c *call.Call) (any, error) {
	in := cluster.PutKeysInput{Name: clusterOfPath(c.HTTP, keysAfter), Body: c.Body}
	c.Event.RequestParameters = map[string]string{"name": in.Name}
	scheme, proof, _ := strings.Cut(c.HTTP.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, proofScheme) || len(c.HTTP.Header.Values("Authorization")) != 1 || proof == "" {
		return nil, fault.New(fault.MissingAuthentication, "The header Authorization with scheme %s and a proof is wanted.", proofScheme).WithReason("enrolment-missing")
	}
	in.Proof = proof
	var body putKeysInput
	decoded := restjson.Decode(c.Body, &body)
	if decoded == nil {
		in.JWKS = body.JWKS
	}
	out, err := k.verb.Put(ctx, reqctx.From(ctx).SourceIP, in)
	if out != nil {
		c.Event.RecipientAccountID = out.Account
		c.Event.UserIdentity = audit.UserIdentity{Type: "Unknown", PrincipalID: "enrolment:" + out.Enrolment.ID, AccountID: out.Account}
		record(c, out, nil)
	}
	switch {
	case err != nil && out != nil && decoded != nil:
		return nil, decoded // what it brought cannot be read; it may hear so
	case err != nil:
		return nil, err
	}
	answer := putKeysOutput{putKeysJSON{Name: out.Name, Arn: out.ARN(), KeyIDs: out.KeyIDs(), RetiredKeys: newRetired(out)}}
	c.Event.ResponseElements = answer
	return answer, nil
}
