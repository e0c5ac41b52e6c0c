// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi

import (
	"context"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/association"
	"podid/internal/audit"
)

// createInput is CreatePodIdentityAssociationRequest; Name is in the path.
type createInput struct {
	Name               string            `json:"name"`
	Namespace          string            `json:"namespace"`
	ServiceAccount     string            `json:"serviceAccount"`
	RoleArn            string            `json:"roleArn"`
	ClientRequestToken string            `json:"clientRequestToken,omitempty"`
	Tags               map[string]string `json:"tags,omitempty"`
	DisableSessionTags bool              `json:"disableSessionTags,omitempty"`
	TargetRoleArn      string            `json:"targetRoleArn,omitempty"`
	Policy             string            `json:"policy,omitempty"`
}

// updateInput is UpdatePodIdentityAssociationRequest. An absent member leaves
// a value as it is; an empty string unsets it.
type updateInput struct {
	Name               string  `json:"name"`
	AssociationID      string  `json:"associationId"`
	RoleArn            *string `json:"roleArn,omitempty"`
	ClientRequestToken string  `json:"clientRequestToken,omitempty"`
	DisableSessionTags *bool   `json:"disableSessionTags,omitempty"`
	TargetRoleArn      *string `json:"targetRoleArn,omitempty"`
	Policy             *string `json:"policy,omitempty"`
}

// associationJSON is PodIdentityAssociation.
type associationJSON struct {
	ClusterName        string            `json:"clusterName"`
	Namespace          string            `json:"namespace"`
	ServiceAccount     string            `json:"serviceAccount"`
	RoleArn            string            `json:"roleArn"`
	AssociationArn     string            `json:"associationArn"`
	AssociationID      string            `json:"associationId"`
	Tags               map[string]string `json:"tags"` // {} when there are none
	CreatedAt          restjson.Time     `json:"createdAt"`
	ModifiedAt         restjson.Time     `json:"modifiedAt"`
	OwnerArn           string            `json:"ownerArn,omitempty"`
	DisableSessionTags bool              `json:"disableSessionTags"` // always: Terraform reads false
	TargetRoleArn      string            `json:"targetRoleArn,omitempty"`
	ExternalID         string            `json:"externalId,omitempty"`
	Policy             string            `json:"policy,omitempty"`
}

// summaryJSON is PodIdentityAssociationSummary.
type summaryJSON struct {
	ClusterName    string `json:"clusterName"`
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	AssociationArn string `json:"associationArn"`
	AssociationID  string `json:"associationId"`
	OwnerArn       string `json:"ownerArn,omitempty"`
}

type associationOutput struct {
	Association associationJSON `json:"association"`
}

type listAssociationsOutput struct {
	Associations []summaryJSON `json:"associations"`
	NextToken    string        `json:"nextToken,omitempty"`
}

// nameInput is what a call on a cluster or association brings in its path.
type nameInput struct {
	Name          string `json:"name"`
	AssociationID string `json:"associationId,omitempty"`
}

type listInput struct {
	Name           string `json:"name,omitempty"`
	Namespace      string `json:"namespace,omitempty"`
	ServiceAccount string `json:"serviceAccount,omitempty"`
	MaxResults     int    `json:"maxResults,omitempty"`
	NextToken      string `json:"nextToken,omitempty"`
}

func newAssociation(a *association.Association) associationJSON {
	return associationJSON{
		ClusterName: a.ClusterName, Namespace: a.Namespace, ServiceAccount: a.ServiceAccount, RoleArn: a.RoleARN,
		AssociationArn: a.ARN, AssociationID: a.ID, Tags: tagsOrEmpty(a.Tags),
		CreatedAt: restjson.Time(a.Created), ModifiedAt: restjson.Time(a.Modified), OwnerArn: a.OwnerARN,
		DisableSessionTags: a.DisableSessionTags, TargetRoleArn: a.TargetRoleARN, ExternalID: a.ExternalID, Policy: a.Policy,
	}
}

func tagsOrEmpty(t map[string]string) map[string]string {
	if t == nil {
		return map[string]string{}
	}
	return t
}

// changed is the answer of a call that changed an association; audit keeps it.
func changed(c *call.Call, a *association.Association, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := associationOutput{newAssociation(a)}
	c.Event.ResponseElements = out
	x := c.Extra()
	x.AssociationID, x.ClusterUID, x.Namespace, x.ServiceAccount, x.RoleARN = a.ID, a.ClusterUID, a.Namespace, a.ServiceAccount, a.RoleARN
	c.Event.Resources = []audit.Resource{{AccountID: c.Event.RecipientAccountID, Type: "AWS::EKS::PodIdentityAssociation", ARN: a.ARN}}
	return out, nil
}

func (a *API) createAssociation(ctx context.Context, c *call.Call) (any, error) {
	var in createInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.Name = c.HTTP.PathValue("name")
	c.Event.RequestParameters = in
	out, err := a.Associations.Create(ctx, c.Caller, association.CreateInput{
		Cluster: in.Name, Namespace: in.Namespace, ServiceAccount: in.ServiceAccount, RoleARN: in.RoleArn, TargetRoleARN: in.TargetRoleArn,
		Policy: in.Policy, DisableSessionTags: in.DisableSessionTags, Tags: in.Tags, Token: in.ClientRequestToken,
	})
	return changed(c, out, err)
}

func (a *API) updateAssociation(ctx context.Context, c *call.Call) (any, error) {
	var in updateInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.Name, in.AssociationID = c.HTTP.PathValue("name"), c.HTTP.PathValue("associationId")
	c.Event.RequestParameters = in
	out, err := a.Associations.Update(ctx, c.Caller, association.UpdateInput{
		Cluster: in.Name, ID: in.AssociationID, RoleARN: in.RoleArn, TargetRoleARN: in.TargetRoleArn, Policy: in.Policy,
		DisableSessionTags: in.DisableSessionTags, Token: in.ClientRequestToken,
	})
	return changed(c, out, err)
}

func (a *API) deleteAssociation(ctx context.Context, c *call.Call) (any, error) {
	in := nameInput{c.HTTP.PathValue("name"), c.HTTP.PathValue("associationId")}
	c.Event.RequestParameters = in
	out, err := a.Associations.Delete(ctx, c.Caller, in.Name, in.AssociationID)
	return changed(c, out, err)
}

func (a *API) describeAssociation(ctx context.Context, c *call.Call) (any, error) {
	in := nameInput{c.HTTP.PathValue("name"), c.HTTP.PathValue("associationId")}
	c.Event.RequestParameters = in
	out, err := a.Associations.Describe(ctx, c.Caller, in.Name, in.AssociationID)
	if err != nil {
		return nil, err
	}
	return associationOutput{newAssociation(out)}, nil
}

func (a *API) listAssociations(ctx context.Context, c *call.Call) (any, error) {
	q, err := restjson.Query(c.HTTP.URL)
	if err != nil {
		return nil, err
	}
	in := listInput{
		Name: c.HTTP.PathValue("name"), Namespace: q.Get("namespace"), ServiceAccount: q.Get("serviceAccount"), NextToken: q.Get("nextToken"),
	}
	if in.MaxResults, err = restjson.MaxResults(q); err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	list := []string{"ListPodIdentityAssociations", a.Account, a.Region, in.Name, in.Namespace, in.ServiceAccount}
	after, err := a.Pages.After(in.NextToken, list...)
	if err != nil {
		return nil, err
	}
	page, next, err := a.Associations.List(ctx, c.Caller, association.ListInput{
		Cluster: in.Name, Namespace: in.Namespace, ServiceAccount: in.ServiceAccount, After: after, Max: in.MaxResults,
	})
	if err != nil {
		return nil, err
	}
	out := listAssociationsOutput{Associations: make([]summaryJSON, len(page)), NextToken: a.Pages.Token(next, list...)}
	for i, p := range page {
		out.Associations[i] = summaryJSON{p.ClusterName, p.Namespace, p.ServiceAccount, p.ARN, p.ID, p.OwnerARN}
	}
	return out, nil
}
