// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package podidapi owns podid's own API on the wire, /podid/v1: what EKS has
// no operation for, registering self-hosted clusters and their keys,
// explaining what an exchange would come to, and accounts. It is restJson1 like EKS, signed
// for the service "podid", and every route is an IAM action podid:* on an
// ARN. It never changes the answer of an AWS-shaped operation. It refuses
// what it cannot read; rules and authorisation are the verbs'.
package podidapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/iam"
)

// Clusters are the verbs on clusters.
type Clusters interface {
	Register(ctx context.Context, caller iam.Caller, in cluster.RegisterInput) (*cluster.Cluster, error)
	Inspect(ctx context.Context, caller iam.Caller, name string) (*cluster.Cluster, error)
	Update(ctx context.Context, caller iam.Caller, in cluster.UpdateInput) (*cluster.Cluster, error)
	Connector
}

// Explainer runs the exchange in trace mode.
type Explainer interface {
	Explain(ctx context.Context, caller iam.Caller, in exchange.ExplainRequest) (*exchange.Explanation, error)
}

// API is podid's own API. All fields are required.
type API struct {
	Clusters Clusters
	Exchange Explainer
	Accounts Accounts
	Issuers  Issuers

	Revocations Revocations
	Policies    ManagedPolicies
}

// Service is the name that requests are signed for.
const Service = "podid"

const onCluster = "arn:${Partition}:eks:${Region}:${Account}:cluster/${ClusterName}"

// Routes lists the operations.
func (a *API) Routes() []restjson.Route {
	const one = "/podid/v1/clusters/{name}"
	own := slices.Concat(a.accountRoutes(), a.issuerRoutes(), a.revocationRoutes(), a.policyRoutes())
	return append(own,
		Route(http.MethodPost, "/podid/v1/clusters", "RegisterCluster", onCluster, false, a.register),
		Route(http.MethodGet, one, "DescribeCluster", onCluster, true, a.describe),
		Route(http.MethodPatch, one, "UpdateCluster", onCluster, false, a.update),
		Route(http.MethodPost, one+"/explain", "Explain", onCluster, true, a.explain),
	)
}

// Route makes a route of this API: the action is podid: and the operation's
// name, on the resource.
func Route(method, pattern, name, resource string, readOnly bool, h call.Handler) restjson.Route {
	return restjson.Route{Method: method, Pattern: pattern, Handler: h, Operation: call.Operation{
		Service: Service, Source: "podid.dev", Name: name, Action: "podid:" + name, Resource: resource, ReadOnly: readOnly,
	}}
}

// registerInput is the body of RegisterCluster. With Connect the answer has an
// activation code, with which the cluster brings the rest by itself.
type registerInput struct {
	Name                 string            `json:"name"`
	Connect              bool              `json:"connect,omitempty"`
	ClientRequestToken   string            `json:"clientRequestToken,omitempty"` // of Connect
	Issuer               string            `json:"issuer"`
	JWKS                 json.RawMessage   `json:"jwks,omitempty"` // the key set, a JSON object
	Discover             bool              `json:"discover,omitempty"`
	NodeBinding          string            `json:"nodeBinding,omitempty"`
	Version              string            `json:"version,omitempty"`
	Endpoint             string            `json:"endpoint,omitempty"`
	CertificateAuthority string            `json:"certificateAuthority,omitempty"` // base64 of PEM
	Tags                 map[string]string `json:"tags,omitempty"`
	EnrolmentKey         json.RawMessage   `json:"enrolmentKey,omitempty"` // public, a JWK
}

// updateInput is the body of UpdateCluster; absent members change nothing.
type updateInput struct {
	Name                 string          `json:"name"`
	Issuer               *string         `json:"issuer,omitempty"`
	JWKS                 json.RawMessage `json:"jwks,omitempty"`
	KeepOldKeys          bool            `json:"keepOldKeys,omitempty"` // those that jwks has no more are good until their tokens have expired
	FetchKeys            bool            `json:"fetchKeys,omitempty"`
	Discover             *bool           `json:"discover,omitempty"`
	NodeBinding          *string         `json:"nodeBinding,omitempty"`
	Version              *string         `json:"version,omitempty"`
	Endpoint             *string         `json:"endpoint,omitempty"`
	CertificateAuthority *string         `json:"certificateAuthority,omitempty"`
	EnrolmentKey         json.RawMessage `json:"enrolmentKey,omitempty"`   // public, a JWK
	NoEnrolmentKey       bool            `json:"noEnrolmentKey,omitempty"` // takes it away
}

// clusterJSON is a cluster with all that podid knows of it.
type clusterJSON struct {
	Name                 string            `json:"name"`
	Arn                  string            `json:"arn"`
	Status               string            `json:"status"`
	Activation           *activationJSON   `json:"activation,omitempty"` // while PENDING
	UID                  string            `json:"uid"`
	ProviderArn          string            `json:"providerArn"`
	Issuer               string            `json:"issuer"`
	KeyIDs               []string          `json:"keyIds"`
	JWKS                 json.RawMessage   `json:"jwks"` // retired keys too
	RetiredKeys          []retiredKeyJSON  `json:"retiredKeys,omitempty"`
	EnrolmentKeyID       string            `json:"enrolmentKeyId,omitempty"`
	Discover             bool              `json:"discover"`
	NodeBinding          string            `json:"nodeBinding"`
	Version              string            `json:"version,omitempty"`
	Endpoint             string            `json:"endpoint,omitempty"`
	CertificateAuthority string            `json:"certificateAuthority,omitempty"`
	Tags                 map[string]string `json:"tags"`
	CreatedAt            restjson.Time     `json:"createdAt"`
	ModifiedAt           restjson.Time     `json:"modifiedAt"`
}

// retiredKeyJSON is a key that the API server has no more, and when tokens of
// it are no longer accepted.
type retiredKeyJSON struct {
	KeyID string        `json:"keyId"`
	Until restjson.Time `json:"until"`
}

func newRetired(c *cluster.Cluster) []retiredKeyJSON {
	var out []retiredKeyJSON
	for _, k := range c.Retired {
		out = append(out, retiredKeyJSON{k.ID(), restjson.Time(k.Until)})
	}
	return out
}

func enrolmentID(c *cluster.Cluster) string {
	if c.Enrolment == nil {
		return ""
	}
	return c.Enrolment.ID
}

type clusterOutput struct {
	Cluster clusterJSON `json:"cluster"`
}

func newCluster(c *cluster.Cluster) clusterOutput {
	tags := c.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	return clusterOutput{clusterJSON{
		Name: c.Name, Arn: c.ARN(), Status: statusOf(c), Activation: newActivation(c),
		UID: c.UID, ProviderArn: c.ProviderARN(), Issuer: c.Issuer, KeyIDs: append([]string{}, c.KeyIDs()...), JWKS: c.AcceptedKeys(time.Time{}), RetiredKeys: newRetired(c), EnrolmentKeyID: enrolmentID(c),
		Discover: c.Discover, NodeBinding: string(c.NodeBinding), Version: c.Version, Endpoint: c.Endpoint, CertificateAuthority: c.CA,
		Tags: tags, CreatedAt: restjson.Time(c.Created), ModifiedAt: restjson.Time(c.Modified),
	}}
}

func changed(c *call.Call, out *cluster.Cluster, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	body := newCluster(out)
	record(c, out, body)
	return body, nil
}

// record keeps for audit which cluster a call was about, and its answer.
func record(c *call.Call, out *cluster.Cluster, body any) {
	c.Event.ResponseElements = body
	c.Extra().ClusterUID = out.UID
	c.Event.Resources = []audit.Resource{{AccountID: out.Account, Type: "AWS::EKS::Cluster", ARN: out.ARN()}}
}

func (a *API) register(ctx context.Context, c *call.Call) (any, error) {
	var in registerInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	audited := in
	audited.JWKS, audited.EnrolmentKey = nil, nil // they may hold private keys by mistake: what was stored is in the answer
	c.Event.RequestParameters = audited
	if in.Connect {
		return a.connect(ctx, c, &in)
	}
	out, err := a.Clusters.Register(ctx, c.Caller, cluster.RegisterInput{
		Name: in.Name, Issuer: in.Issuer, JWKS: in.JWKS, Discover: in.Discover, NodeBinding: cluster.NodeBinding(in.NodeBinding),
		Version: in.Version, Endpoint: in.Endpoint, CA: in.CertificateAuthority, Tags: in.Tags, Enrolment: in.EnrolmentKey,
	})
	return changed(c, out, err)
}

func (a *API) update(ctx context.Context, c *call.Call) (any, error) {
	var in updateInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.Name = c.HTTP.PathValue("name")
	audited := in
	audited.JWKS, audited.EnrolmentKey = nil, nil
	c.Event.RequestParameters = audited
	out, err := a.Clusters.Update(ctx, c.Caller, cluster.UpdateInput{
		Name: in.Name, Issuer: in.Issuer, JWKS: in.JWKS, KeepOld: in.KeepOldKeys, FetchKeys: in.FetchKeys, Discover: in.Discover,
		NodeBinding: (*cluster.NodeBinding)(in.NodeBinding), Version: in.Version, Endpoint: in.Endpoint, CA: in.CertificateAuthority,
		Enrolment: in.EnrolmentKey, NoEnrolment: in.NoEnrolmentKey,
	})
	return changed(c, out, err)
}

func (a *API) describe(ctx context.Context, c *call.Call) (any, error) {
	name := c.HTTP.PathValue("name")
	c.Event.RequestParameters = map[string]string{"name": name}
	out, err := a.Clusters.Inspect(ctx, c.Caller, name)
	if err != nil {
		return nil, err
	}
	return newCluster(out), nil
}

// explainInput is the body of Explain. A token, when given, beats the members
// that describe a pod.
type explainInput struct {
	Namespace      string         `json:"namespace"`
	ServiceAccount string         `json:"serviceAccount"`
	PodName        string         `json:"podName,omitempty"`
	PodUID         string         `json:"podUid,omitempty"`
	NodeName       string         `json:"nodeName,omitempty"`
	Token          string         `json:"token,omitempty"`
	Actions        []questionJSON `json:"actions,omitempty"`
}

type questionJSON struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// maxQuestions bounds the actions that one explanation answers.
const maxQuestions = 100

func (a *API) explain(ctx context.Context, c *call.Call) (any, error) {
	var in explainInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	q := exchange.ExplainRequest{
		ClusterName: c.HTTP.PathValue("name"), Namespace: in.Namespace, ServiceAccount: in.ServiceAccount,
		Pod: in.PodName, PodUID: in.PodUID, Node: in.NodeName, Token: in.Token,
	}
	if in.Token != "" {
		in.Token = audit.Hidden
	}
	c.Event.RequestParameters = struct {
		Name string `json:"name"`
		explainInput
	}{q.ClusterName, in}
	if q.Token == "" && (q.Namespace == "" || q.ServiceAccount == "") {
		return nil, fault.New(fault.MissingParameter, "Give namespace and serviceAccount, or a token.").WithReason("subject-missing")
	}
	if len(in.Actions) > maxQuestions {
		return nil, fault.New(fault.InvalidParameter, "At most %d actions can be asked at once, not %d.", maxQuestions, len(in.Actions)).WithReason("action-count")
	}
	for _, x := range in.Actions {
		q.Actions = append(q.Actions, exchange.ActionQuestion(x))
	}
	out, err := a.Exchange.Explain(ctx, c.Caller, q)
	if err != nil {
		return nil, err
	}
	return out, nil
}
