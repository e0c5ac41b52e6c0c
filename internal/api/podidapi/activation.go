// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/reqctx"
	"podid/internal/secret"
)

// activationJSON is how a PENDING cluster becomes ACTIVE. The code is in the
// answer of RegisterCluster only.
type activationJSON struct {
	ID        string        `json:"id"`
	Code      string        `json:"code,omitempty"`
	Issuer    string        `json:"issuer,omitempty"` // the only one that is taken
	ExpiresAt restjson.Time `json:"expiresAt"`
}

func newActivation(c *cluster.Cluster) *activationJSON {
	if !c.Pending() {
		return nil
	}
	a := c.Activation
	return &activationJSON{ID: a.ID, Issuer: a.Issuer, ExpiresAt: restjson.Time(a.Expires)}
}

// connect registers a cluster that brings issuer and keys by itself.
func (a *API) connect(ctx context.Context, c *call.Call, in *registerInput) (any, error) {
	if len(in.EnrolmentKey) > 0 || len(in.JWKS) > 0 || in.Discover || in.Version != "" || in.Endpoint != "" || in.CertificateAuthority != "" {
		return nil, fault.New(fault.InvalidRequest, "With connect the cluster brings its keys, version, endpoint, authority and enrolment key by itself: give none of them.").WithReason("connect-form")
	}
	made, err := a.Clusters.Connect(ctx, c.Caller, cluster.ConnectInput{
		Name: in.Name, Issuer: in.Issuer, NodeBinding: cluster.NodeBinding(in.NodeBinding), Tags: in.Tags, Token: in.ClientRequestToken,
	})
	if err != nil {
		return nil, err
	}
	body := newCluster(made.Cluster)
	shown := *body.Cluster.Activation
	shown.Code = audit.Hidden
	told := body
	told.Cluster.Activation = &shown
	record(c, made.Cluster, told)
	body.Cluster.Activation.Code = made.Code.Reveal()
	return body, nil
}

// Activator makes clusters ACTIVE. The cluster is returned beside an error too
// when the code was its own.
type Activator interface {
	Activate(ctx context.Context, from netip.Addr, in cluster.ActivateInput) (*cluster.Cluster, error)
}

// Activation is where a cluster brings its activation code, issuer and keys: no
// operation of the API, since it has no key to sign with, but a path beside it.
type Activation struct {
	gate  *call.Gate
	verb  Activator
	codec *restjson.Codec
}

// maxActivation bounds what a stranger may send, in bytes: keys and an
// authority are some kilobytes.
const maxActivation = 128 << 10

// NewActivation returns the path on a gate.
func NewActivation(gate *call.Gate, verb Activator) *Activation {
	own := *gate
	own.MaxBody = maxActivation
	return &Activation{gate: &own, verb: verb, codec: restjson.NewCodec(nil)}
}

// Handles reports whether a request is an activation.
func (a *Activation) Handles(r *http.Request) bool {
	return r.Method == http.MethodPost && clusterOfPath(r, activationAfter) != ""
}

const activationAfter = "/activation"

// ServeHTTP activates a cluster.
func (a *Activation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := call.Operation{Service: Service, Source: "podid.dev", Name: "ActivateCluster", Action: "none", Resource: onCluster, Anonymous: true}
	a.gate.Serve(w, r, op, a.codec, a.activate)
}

// activateInput is the body of an activation.
type activateInput struct {
	Name                 string          `json:"name"`
	Code                 string          `json:"activationCode"`
	Issuer               string          `json:"issuer"`
	JWKS                 json.RawMessage `json:"jwks,omitempty"`
	Version              string          `json:"version,omitempty"`
	Endpoint             string          `json:"endpoint,omitempty"`
	CertificateAuthority string          `json:"certificateAuthority,omitempty"` // base64 of PEM
	EnrolmentKey         json.RawMessage `json:"enrolmentKey,omitempty"`         // public, a JWK
}

// activatedJSON is what the cluster's side has to know to go on.
type activatedJSON struct {
	Name        string   `json:"name"`
	Arn         string   `json:"arn"`
	UID         string   `json:"uid"`
	ProviderArn string   `json:"providerArn"`
	Issuer      string   `json:"issuer"`
	KeyIDs      []string `json:"keyIds"`
	Status      string   `json:"status"`
}

type activatedOutput struct {
	Cluster activatedJSON `json:"cluster"`
}

func (a *Activation) activate(ctx context.Context, c *call.Call) (any, error) {
	var in activateInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.Name = clusterOfPath(c.HTTP, activationAfter)
	audited := in
	audited.JWKS, audited.EnrolmentKey = nil, nil // it may hold private keys by mistake: what was stored is in the answer
	if audited.Code != "" {
		audited.Code = audit.Hidden
	}
	c.Event.RequestParameters = audited
	if in.Code == "" {
		return nil, fault.New(fault.MissingParameter, "The parameter activationCode is required.").WithReason("activation-code-missing")
	}
	out, err := a.verb.Activate(ctx, reqctx.From(ctx).SourceIP, cluster.ActivateInput{
		Name: in.Name, Code: secret.New(in.Code), Issuer: in.Issuer, JWKS: in.JWKS, Version: in.Version, Endpoint: in.Endpoint, CA: in.CertificateAuthority,
		Enrolment: in.EnrolmentKey,
	})
	if out != nil {
		c.Event.RecipientAccountID = out.Account
		c.Event.UserIdentity = audit.UserIdentity{Type: "Unknown", PrincipalID: "activation:" + out.Activation.ID, AccountID: out.Account}
		record(c, out, nil)
	}
	if err != nil {
		return nil, err
	}
	body := activatedOutput{activatedJSON{
		Name: out.Name, Arn: out.ARN(), UID: out.UID, ProviderArn: out.ProviderARN(), Issuer: out.Issuer, KeyIDs: out.KeyIDs(), Status: statusOf(out),
	}}
	c.Event.ResponseElements = body
	return body, nil
}

// statusOf is the cluster's status, as EKS names it.
func statusOf(c *cluster.Cluster) string {
	if c.Pending() {
		return "PENDING"
	}
	return "ACTIVE"
}

var (
	_ Clusters  = (*cluster.Manager)(nil)
	_ Activator = (*cluster.Activator)(nil)
)

// Connector registers clusters that bring issuer and keys by themselves.
type Connector interface {
	Connect(ctx context.Context, caller iam.Caller, in cluster.ConnectInput) (*cluster.Connected, error)
}
