// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"net/http"
	"time"

	"podid/internal/api/call"
	"podid/internal/api/podidapi"
	"podid/internal/api/restjson"
	"podid/internal/arn"
	"podid/internal/audit"
	"podid/internal/authz"
	"podid/internal/fault"
	"podid/internal/iam"
)

// TokenRequest asks for a service account token of a cluster whose issuer key
// this process holds.
type TokenRequest struct {
	Cluster, Namespace, ServiceAccount, Pod, Audience string
}

// Token is a service account token, as TokenRequest of a Kubernetes API server
// would give it, and where the cluster's agent answers.
type Token struct {
	Token         string
	Expires       time.Time
	Pod, PodUID   string
	Node          string
	AgentEndpoint string
}

// TokenIssuer stands for the API servers of local clusters. An unknown cluster
// is a fault of kind NotFound.
type TokenIssuer interface {
	Token(ctx context.Context, r TokenRequest) (Token, error)
}

// tokenRoute is the operation behind `podid exec` in podid dev. It exists only
// where this process is the clusters' issuer.
type tokenRoute struct {
	issuer   TokenIssuer
	authz    *authz.Authorizer
	settings routeSettings
}

func (t *tokenRoute) route() restjson.Route {
	return podidapi.Route(http.MethodPost, "/podid/v1/clusters/{name}/token", "CreateToken",
		"arn:${Partition}:eks:${Region}:${Account}:cluster/${ClusterName}", true, t.create)
}

type tokenInput struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	PodName        string `json:"podName"`
	Audience       string `json:"audience"`
}

type tokenOutput struct {
	Token         string        `json:"token"`
	Expiration    restjson.Time `json:"expiration"`
	PodName       string        `json:"podName"`
	PodUID        string        `json:"podUid"`
	NodeName      string        `json:"nodeName"`
	AgentEndpoint string        `json:"agentEndpoint"`
}

func (t *tokenRoute) create(ctx context.Context, c *call.Call) (any, error) {
	var in tokenInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	name := c.HTTP.PathValue("name")
	c.Event.RequestParameters = map[string]string{"name": name, "namespace": in.Namespace, "serviceAccount": in.ServiceAccount, "podName": in.PodName}
	resource := arn.Cluster(t.settings.partition, t.settings.region, t.settings.account, name)
	c.Event.Resources = []audit.Resource{{AccountID: t.settings.account, Type: "AWS::EKS::Cluster", ARN: resource}}
	if err := t.authz.Authorize(ctx, c.Caller, iam.Query{Action: "podid:CreateToken", Resource: resource}); err != nil {
		return nil, err
	}
	if in.Namespace == "" || in.ServiceAccount == "" {
		return nil, fault.New(fault.InvalidParameter, "namespace and serviceAccount are required").WithReason("missing-parameter")
	}
	out, err := t.issuer.Token(ctx, TokenRequest{name, in.Namespace, in.ServiceAccount, in.PodName, in.Audience})
	if err != nil {
		return nil, err
	}
	return &tokenOutput{out.Token, restjson.Time(out.Expires), out.Pod, out.PodUID, out.Node, out.AgentEndpoint}, nil
}
