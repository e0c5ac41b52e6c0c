// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi

import (
	"context"
	"net/http"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/iam"
)

// Registrations are the verbs on clusters that connect by themselves.
type Registrations interface {
	Connect(ctx context.Context, caller iam.Caller, in cluster.ConnectInput) (*cluster.Connected, error)
	Deregister(ctx context.Context, caller iam.Caller, name string) (*cluster.Cluster, error)
}

// registrationRoutes lists the operations on connected clusters.
func (a *API) registrationRoutes() []restjson.Route {
	return []restjson.Route{
		route(http.MethodPost, "/cluster-registrations", "RegisterCluster", onCluster, a.registerCluster, nil),
		route(http.MethodDelete, "/cluster-registrations/{name}", "DeregisterCluster", onCluster, a.deregisterCluster, nil),
	}
}

// registerInput is RegisterClusterRequest.
type registerInput struct {
	Name               string                `json:"name"`
	ConnectorConfig    *connectorRequestJSON `json:"connectorConfig,omitempty"`
	Tags               map[string]string     `json:"tags,omitempty"`
	ClientRequestToken string                `json:"clientRequestToken,omitempty"`
}

// connectorRequestJSON is ConnectorConfigRequest.
type connectorRequestJSON struct {
	RoleArn  string `json:"roleArn"`
	Provider string `json:"provider"`
}

// connectorJSON is ConnectorConfigResponse. The code is in RegisterCluster's
// answer only: of others nothing is known but its hash.
type connectorJSON struct {
	ActivationID     string        `json:"activationId"`
	ActivationCode   string        `json:"activationCode,omitempty"`
	ActivationExpiry restjson.Time `json:"activationExpiry"`
	Provider         string        `json:"provider"`
	RoleArn          string        `json:"roleArn,omitempty"`
}

// pendingJSON is Cluster as EKS describes one that is not its own. Clients of
// native clusters refuse what has a connectorConfig, so only a cluster that is
// PENDING does.
type pendingJSON struct {
	Name            string            `json:"name"`
	Arn             string            `json:"arn"`
	CreatedAt       restjson.Time     `json:"createdAt"`
	Status          string            `json:"status"`
	ConnectorConfig connectorJSON     `json:"connectorConfig"`
	Tags            map[string]string `json:"tags"`
}

type pendingOutput struct {
	Cluster pendingJSON `json:"cluster"`
}

// otherProvider is what a cluster runs on that was registered without a word
// of it.
const otherProvider = "OTHER"

func newPending(c *cluster.Cluster, status string) pendingOutput {
	a := c.Activation
	provider := a.Provider
	if provider == "" {
		provider = otherProvider
	}
	return pendingOutput{pendingJSON{
		Name: c.Name, Arn: c.ARN(), CreatedAt: restjson.Time(c.Created), Status: status, Tags: tagsOrEmpty(c.Tags),
		ConnectorConfig: connectorJSON{ActivationID: a.ID, ActivationExpiry: restjson.Time(a.Expires), Provider: provider, RoleArn: a.RoleARN},
	}}
}

// described is a cluster as it is: native, with the status, or PENDING.
func described(c *cluster.Cluster, status string) any {
	if !c.Pending() {
		return newCluster(c, status)
	}
	if status == statusActive {
		status = statusPending
	}
	return newPending(c, status)
}

func (a *API) registerCluster(ctx context.Context, c *call.Call) (any, error) {
	var in registerInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	want := cluster.ConnectInput{Name: in.Name, Tags: in.Tags, Token: in.ClientRequestToken, External: &cluster.External{}}
	if in.ConnectorConfig != nil {
		want.External = &cluster.External{Provider: in.ConnectorConfig.Provider, RoleARN: in.ConnectorConfig.RoleArn}
	}
	made, err := a.Clusters.Connect(ctx, c.Caller, want)
	if err != nil {
		return nil, err
	}
	out := newPending(made.Cluster, statusPending)
	told := out
	told.Cluster.ConnectorConfig.ActivationCode = audit.Hidden
	a.changedCluster(c, made.Cluster, told)
	out.Cluster.ConnectorConfig.ActivationCode = made.Code.Reveal()
	return out, nil
}

func (a *API) deregisterCluster(ctx context.Context, c *call.Call) (any, error) {
	in := nameInput{Name: c.HTTP.PathValue("name")}
	c.Event.RequestParameters = in
	was, err := a.Clusters.Deregister(ctx, c.Caller, in.Name)
	if err != nil {
		return nil, err
	}
	return a.changedCluster(c, was, described(was, statusDeleting)), nil
}

// changedCluster keeps the answer of a call that changed a cluster for audit.
func (a *API) changedCluster(c *call.Call, changed *cluster.Cluster, out any) any {
	c.Event.ResponseElements = out
	c.Extra().ClusterUID = changed.UID
	c.Event.Resources = []audit.Resource{{AccountID: a.Account, Type: "AWS::EKS::Cluster", ARN: changed.ARN()}}
	return out
}
