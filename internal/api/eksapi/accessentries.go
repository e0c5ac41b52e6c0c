// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi

import (
	"context"
	"net/http"

	"podid/internal/accessentry"
	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
)

// AccessEntries are the verbs on access entries.
type AccessEntries interface {
	Create(ctx context.Context, caller iam.Caller, in accessentry.CreateInput) (*accessentry.Entry, error)
	Describe(ctx context.Context, caller iam.Caller, clusterName, principalARN string) (*accessentry.Entry, error)
	List(ctx context.Context, caller iam.Caller, in accessentry.ListInput) (page []string, next string, err error)
	Update(ctx context.Context, caller iam.Caller, in accessentry.UpdateInput) (*accessentry.Entry, error)
	Delete(ctx context.Context, caller iam.Caller, clusterName, principalARN string) error
	AccessPolicies
}

// AccessPolicies are the verbs on the access policies of entries.
type AccessPolicies interface {
	Associate(ctx context.Context, caller iam.Caller, in accessentry.AssociateInput) (accessentry.Associated, error)
	Disassociate(ctx context.Context, caller iam.Caller, clusterName, principalARN, policyARN string) error
	ListAssociated(ctx context.Context, caller iam.Caller, clusterName, principalARN string) ([]accessentry.Associated, error)
	ListPolicies(ctx context.Context, caller iam.Caller) ([]accessentry.Policy, error)
}

// Access is the part of the EKS API that says who may use a cluster's
// Kubernetes API. All fields are required.
type Access struct {
	Entries AccessEntries
	Pages   restjson.Pages
	Account string
	Region  string
}

const onEntry = "arn:${Partition}:eks:${Region}:${Account}:access-entry/${ClusterName}/${IamIdentityType}/${IamIdentityAccountID}/${IamIdentityName}/${UUID}"

// Routes lists the operations.
func (a *Access) Routes() []restjson.Route {
	const (
		entries  = "/clusters/{name}/access-entries"
		one      = entries + "/{principalArn}"
		policies = one + "/access-policies"
	)
	return []restjson.Route{
		route(http.MethodPost, entries, "CreateAccessEntry", onCluster, a.create, nil),
		route(http.MethodGet, entries, "ListAccessEntries", onCluster, a.list, nil),
		route(http.MethodGet, one, "DescribeAccessEntry", onEntry, a.describe, nil),
		route(http.MethodPost, one, "UpdateAccessEntry", onEntry, a.update, nil),
		route(http.MethodDelete, one, "DeleteAccessEntry", onEntry, a.remove, nil),
		route(http.MethodPost, policies, "AssociateAccessPolicy", onEntry, a.associate, nil),
		route(http.MethodGet, policies, "ListAssociatedAccessPolicies", onEntry, a.listAssociated, nil),
		route(http.MethodDelete, policies+"/{policyArn}", "DisassociateAccessPolicy", onEntry, a.disassociate, nil),
		route(http.MethodGet, "/access-policies", "ListAccessPolicies", "*", a.listPolicies, nil),
	}
}

type createEntryInput struct {
	Name               string            `json:"name"`
	PrincipalArn       string            `json:"principalArn"`
	KubernetesGroups   []string          `json:"kubernetesGroups,omitempty"`
	Username           string            `json:"username,omitempty"`
	Type               string            `json:"type,omitempty"`
	Tags               map[string]string `json:"tags,omitempty"`
	ClientRequestToken string            `json:"clientRequestToken,omitempty"`
}

type updateEntryInput struct {
	Name               string    `json:"name"`
	PrincipalArn       string    `json:"principalArn"`
	KubernetesGroups   *[]string `json:"kubernetesGroups,omitempty"`
	Username           *string   `json:"username,omitempty"`
	ClientRequestToken string    `json:"clientRequestToken,omitempty"`
}

type entryName struct {
	Name         string `json:"name"`
	PrincipalArn string `json:"principalArn"`
	PolicyArn    string `json:"policyArn,omitempty"`
}

type listEntriesInput struct {
	Name                string `json:"name"`
	AssociatedPolicyArn string `json:"associatedPolicyArn,omitempty"`
	MaxResults          int    `json:"maxResults,omitempty"`
	NextToken           string `json:"nextToken,omitempty"`
}

type accessScopeJSON struct {
	Type       string   `json:"type"`
	Namespaces []string `json:"namespaces"`
}

type associateInput struct {
	Name         string           `json:"name"`
	PrincipalArn string           `json:"principalArn"`
	PolicyArn    string           `json:"policyArn"`
	AccessScope  *accessScopeJSON `json:"accessScope"`
}

// entryJSON is AccessEntry.
type entryJSON struct {
	ClusterName      string            `json:"clusterName"`
	PrincipalArn     string            `json:"principalArn"`
	KubernetesGroups []string          `json:"kubernetesGroups"`
	AccessEntryArn   string            `json:"accessEntryArn"`
	CreatedAt        restjson.Time     `json:"createdAt"`
	ModifiedAt       restjson.Time     `json:"modifiedAt"`
	Tags             map[string]string `json:"tags"`
	Username         string            `json:"username,omitempty"`
	Type             string            `json:"type"`
}

type entryOutput struct {
	AccessEntry entryJSON `json:"accessEntry"`
}

type listEntriesOutput struct {
	AccessEntries []string `json:"accessEntries"`
	NextToken     string   `json:"nextToken,omitempty"`
}

type associatedJSON struct {
	PolicyArn    string          `json:"policyArn"`
	AccessScope  accessScopeJSON `json:"accessScope"`
	AssociatedAt restjson.Time   `json:"associatedAt"`
	ModifiedAt   restjson.Time   `json:"modifiedAt"`
}

type associateOutput struct {
	ClusterName            string         `json:"clusterName"`
	PrincipalArn           string         `json:"principalArn"`
	AssociatedAccessPolicy associatedJSON `json:"associatedAccessPolicy"`
}

type listAssociatedOutput struct {
	ClusterName              string           `json:"clusterName"`
	PrincipalArn             string           `json:"principalArn"`
	AssociatedAccessPolicies []associatedJSON `json:"associatedAccessPolicies"`
}

type policyJSON struct {
	Name string `json:"name"`
	Arn  string `json:"arn"`
}

type listPoliciesOutput struct {
	AccessPolicies []policyJSON `json:"accessPolicies"`
}

func newEntry(e *accessentry.Entry) entryOutput {
	groups := e.Groups
	if groups == nil {
		groups = []string{}
	}
	return entryOutput{entryJSON{
		ClusterName: e.ClusterName, PrincipalArn: e.PrincipalARN, KubernetesGroups: groups, AccessEntryArn: e.ARN,
		CreatedAt: restjson.Time(e.Created), ModifiedAt: restjson.Time(e.Modified), Tags: tagsOrEmpty(e.Tags), Username: e.Username, Type: e.Type,
	}}
}

func newAssociated(p accessentry.Associated) associatedJSON {
	scope := accessScopeJSON{"namespace", p.Namespaces}
	if len(p.Namespaces) == 0 {
		scope = accessScopeJSON{"cluster", []string{}}
	}
	return associatedJSON{p.PolicyARN, scope, restjson.Time(p.Created), restjson.Time(p.Modified)}
}

func (a *Access) changed(c *call.Call, e *accessentry.Entry, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := newEntry(e)
	c.Event.ResponseElements = out
	c.Extra().ClusterUID = e.ClusterUID
	c.Event.Resources = []audit.Resource{{AccountID: a.Account, Type: "AWS::EKS::AccessEntry", ARN: e.ARN}}
	return out, nil
}

func nameOf(c *call.Call) entryName {
	in := entryName{c.HTTP.PathValue("name"), c.HTTP.PathValue("principalArn"), c.HTTP.PathValue("policyArn")}
	c.Event.RequestParameters = in
	return in
}

func (a *Access) create(ctx context.Context, c *call.Call) (any, error) {
	var in createEntryInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.Name = c.HTTP.PathValue("name")
	c.Event.RequestParameters = in
	out, err := a.Entries.Create(ctx, c.Caller, accessentry.CreateInput{
		Cluster: in.Name, PrincipalARN: in.PrincipalArn, Type: in.Type, Username: in.Username, Groups: in.KubernetesGroups, Tags: in.Tags, Token: in.ClientRequestToken,
	})
	return a.changed(c, out, err)
}

func (a *Access) update(ctx context.Context, c *call.Call) (any, error) {
	var in updateEntryInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.Name, in.PrincipalArn = c.HTTP.PathValue("name"), c.HTTP.PathValue("principalArn")
	c.Event.RequestParameters = in
	out, err := a.Entries.Update(ctx, c.Caller, accessentry.UpdateInput{Cluster: in.Name, PrincipalARN: in.PrincipalArn, Username: in.Username, Groups: in.KubernetesGroups})
	return a.changed(c, out, err)
}

func (a *Access) describe(ctx context.Context, c *call.Call) (any, error) {
	in := nameOf(c)
	out, err := a.Entries.Describe(ctx, c.Caller, in.Name, in.PrincipalArn)
	if err != nil {
		return nil, err
	}
	return newEntry(out), nil
}

func (a *Access) remove(ctx context.Context, c *call.Call) (any, error) {
	in := nameOf(c)
	return nil, a.Entries.Delete(ctx, c.Caller, in.Name, in.PrincipalArn)
}

func (a *Access) list(ctx context.Context, c *call.Call) (any, error) {
	q, err := restjson.Query(c.HTTP.URL)
	if err != nil {
		return nil, err
	}
	in := listEntriesInput{Name: c.HTTP.PathValue("name"), AssociatedPolicyArn: q.Get("associatedPolicyArn"), NextToken: q.Get("nextToken")}
	if in.MaxResults, err = restjson.MaxResults(q); err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	list := []string{"ListAccessEntries", a.Account, a.Region, in.Name, in.AssociatedPolicyArn}
	after, err := a.Pages.After(in.NextToken, list...)
	if err != nil {
		return nil, err
	}
	page, next, err := a.Entries.List(ctx, c.Caller, accessentry.ListInput{Cluster: in.Name, PolicyARN: in.AssociatedPolicyArn, After: after, Max: in.MaxResults})
	if err != nil {
		return nil, err
	}
	return listEntriesOutput{page, a.Pages.Token(next, list...)}, nil
}

func (a *Access) associate(ctx context.Context, c *call.Call) (any, error) {
	var in associateInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.Name, in.PrincipalArn = c.HTTP.PathValue("name"), c.HTTP.PathValue("principalArn")
	c.Event.RequestParameters = in
	scope := accessScopeJSON{}
	if in.AccessScope != nil {
		scope = *in.AccessScope
	}
	p, err := a.Entries.Associate(ctx, c.Caller, accessentry.AssociateInput{
		Cluster: in.Name, PrincipalARN: in.PrincipalArn, PolicyARN: in.PolicyArn, Scope: scope.Type, Namespaces: scope.Namespaces,
	})
	if err != nil {
		return nil, err
	}
	out := associateOutput{in.Name, in.PrincipalArn, newAssociated(p)}
	c.Event.ResponseElements = out
	return out, nil
}

func (a *Access) disassociate(ctx context.Context, c *call.Call) (any, error) {
	in := nameOf(c)
	return nil, a.Entries.Disassociate(ctx, c.Caller, in.Name, in.PrincipalArn, in.PolicyArn)
}

// onePage reads the paging of a list whose every answer is its last page.
func onePage(c *call.Call) error {
	q, err := restjson.Query(c.HTTP.URL)
	if err != nil {
		return err
	}
	if _, err = restjson.MaxResults(q); err != nil {
		return err
	}
	if q.Get("nextToken") != "" {
		return fault.New(fault.InvalidParameter, "The nextToken is not one of this list.").WithReason("next-token")
	}
	return nil
}

func (a *Access) listAssociated(ctx context.Context, c *call.Call) (any, error) {
	if err := onePage(c); err != nil {
		return nil, err
	}
	in := nameOf(c)
	list, err := a.Entries.ListAssociated(ctx, c.Caller, in.Name, in.PrincipalArn)
	if err != nil {
		return nil, err
	}
	out := listAssociatedOutput{in.Name, in.PrincipalArn, make([]associatedJSON, len(list))}
	for i, p := range list {
		out.AssociatedAccessPolicies[i] = newAssociated(p)
	}
	return out, nil
}

func (a *Access) listPolicies(ctx context.Context, c *call.Call) (any, error) {
	if err := onePage(c); err != nil {
		return nil, err
	}
	list, err := a.Entries.ListPolicies(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	out := listPoliciesOutput{make([]policyJSON, len(list))}
	for i, p := range list {
		out.AccessPolicies[i] = policyJSON{p.Name, p.ARN}
	}
	return out, nil
}
