// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi

import (
	"context"
	"net/http"

	"podid/internal/addon"
	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/association"
	"podid/internal/audit"
	"podid/internal/iam"
)

// Addons are the verbs on add-ons.
type Addons interface {
	Create(ctx context.Context, caller iam.Caller, in addon.CreateInput) (*addon.State, error)
	Describe(ctx context.Context, caller iam.Caller, clusterName, name string) (*addon.State, error)
	List(ctx context.Context, caller iam.Caller, in addon.ListInput) (names []string, next string, err error)
	Update(ctx context.Context, caller iam.Caller, in addon.UpdateInput) (*addon.Update, error)
	Delete(ctx context.Context, caller iam.Caller, clusterName, name string, preserve bool) (*addon.State, error)
	DescribeUpdate(ctx context.Context, caller iam.Caller, clusterName, name, id string) (*addon.Update, error)
	ListUpdates(ctx context.Context, caller iam.Caller, clusterName, name string) ([]string, error)
	Known(ctx context.Context, caller iam.Caller, after string) ([]addon.Known, error)
	Configuration(ctx context.Context, caller iam.Caller, name, version string) (addon.Known, error)
	AddonTags
}

// AddonTags are the verbs on the tags of add-ons.
type AddonTags interface {
	Tag(ctx context.Context, caller iam.Caller, clusterName, name string, tags map[string]string) error
	Untag(ctx context.Context, caller iam.Caller, clusterName, name string, keys []string) error
	Tags(ctx context.Context, caller iam.Caller, clusterName, name string) (map[string]string, error)
}

// Versions are the verbs on Kubernetes versions.
type Versions interface {
	Versions(ctx context.Context, caller iam.Caller) ([]string, error)
}

const (
	onAddon          = "arn:${Partition}:eks:${Region}:${Account}:addon/${ClusterName}/${AddonName}/${UUID}"
	onClusterOrAddon = onCluster + " or " + onAddon
)

// addonRoutes lists the operations on add-ons.
func (a *API) addonRoutes() []restjson.Route {
	const (
		addons  = "/clusters/{name}/addons"
		one     = addons + "/{addonName}"
		updates = "/clusters/{name}/updates"
	)
	return []restjson.Route{
		route(http.MethodPost, addons, "CreateAddon", onCluster, a.createAddon, nil),
		route(http.MethodGet, addons, "ListAddons", onCluster, a.listAddons, nil),
		route(http.MethodGet, one, "DescribeAddon", onAddon, a.describeAddon, nil),
		route(http.MethodPost, one+"/update", "UpdateAddon", onAddon, a.updateAddon, nil),
		route(http.MethodDelete, one, "DeleteAddon", onAddon, a.deleteAddon, nil),
		route(http.MethodGet, updates, "ListUpdates", onClusterOrAddon, a.listUpdates, nil),
		route(http.MethodGet, updates+"/{updateId}", "DescribeUpdate", onClusterOrAddon, a.describeUpdate, nil),
		route(http.MethodGet, "/addons/supported-versions", "DescribeAddonVersions", "*", a.describeAddonVersions, nil),
		route(http.MethodGet, "/addons/configuration-schemas", "DescribeAddonConfiguration", "*", a.describeAddonConfiguration, nil),
	}
}

// addonRoleJSON is AddonPodIdentityAssociations.
type addonRoleJSON struct {
	ServiceAccount string `json:"serviceAccount"`
	RoleArn        string `json:"roleArn"`
}

type addonNamespaceJSON struct {
	Namespace string `json:"namespace"`
}

// createAddonInput is CreateAddonRequest; ClusterName is in the path.
type createAddonInput struct {
	ClusterName             string              `json:"clusterName"`
	AddonName               string              `json:"addonName"`
	AddonVersion            string              `json:"addonVersion,omitempty"`
	ServiceAccountRoleArn   string              `json:"serviceAccountRoleArn,omitempty"`
	ResolveConflicts        string              `json:"resolveConflicts,omitempty"`
	ClientRequestToken      string              `json:"clientRequestToken,omitempty"`
	Tags                    map[string]string   `json:"tags,omitempty"`
	ConfigurationValues     string              `json:"configurationValues,omitempty"`
	PodIdentityAssociations []addonRoleJSON     `json:"podIdentityAssociations,omitempty"`
	NamespaceConfig         *addonNamespaceJSON `json:"namespaceConfig,omitempty"`
}

// updateAddonInput is UpdateAddonRequest. An absent member leaves a value as
// it is; an empty list takes all associations away.
type updateAddonInput struct {
	ClusterName             string           `json:"clusterName"`
	AddonName               string           `json:"addonName"`
	AddonVersion            string           `json:"addonVersion,omitempty"`
	ServiceAccountRoleArn   *string          `json:"serviceAccountRoleArn,omitempty"`
	ResolveConflicts        string           `json:"resolveConflicts,omitempty"`
	ClientRequestToken      string           `json:"clientRequestToken,omitempty"`
	ConfigurationValues     *string          `json:"configurationValues,omitempty"`
	PodIdentityAssociations *[]addonRoleJSON `json:"podIdentityAssociations,omitempty"`
}

// addonJSON is Addon.
type addonJSON struct {
	AddonName               string              `json:"addonName"`
	ClusterName             string              `json:"clusterName"`
	Status                  string              `json:"status"`
	AddonVersion            string              `json:"addonVersion"`
	Health                  healthJSON          `json:"health"`
	AddonArn                string              `json:"addonArn"`
	CreatedAt               restjson.Time       `json:"createdAt"`
	ModifiedAt              restjson.Time       `json:"modifiedAt"`
	ServiceAccountRoleArn   string              `json:"serviceAccountRoleArn,omitempty"`
	Tags                    map[string]string   `json:"tags"`
	Publisher               string              `json:"publisher"`
	Owner                   string              `json:"owner"`
	ConfigurationValues     string              `json:"configurationValues,omitempty"`
	PodIdentityAssociations []string            `json:"podIdentityAssociations"`
	NamespaceConfig         *addonNamespaceJSON `json:"namespaceConfig,omitempty"`
}

type healthJSON struct {
	Issues []issueJSON `json:"issues"`
}

type issueJSON struct {
	Code        string   `json:"code"`
	Message     string   `json:"message"`
	ResourceIDs []string `json:"resourceIds"`
}

type addonOutput struct {
	Addon addonJSON `json:"addon"`
}

type listAddonsOutput struct {
	Addons    []string `json:"addons"`
	NextToken string   `json:"nextToken,omitempty"`
}

// addonInput is what a call on an add-on brings in its path.
type addonInput struct {
	ClusterName string `json:"clusterName"`
	AddonName   string `json:"addonName"`
	Preserve    bool   `json:"preserve,omitempty"`
}

func newAddon(s *addon.State) addonOutput {
	issues := []issueJSON{}
	for _, i := range s.Issues {
		issues = append(issues, issueJSON(i))
	}
	return addonOutput{addonJSON{
		AddonName: s.Name, ClusterName: s.ClusterName, Status: string(s.Status), AddonVersion: s.Version, Health: healthJSON{issues},
		AddonArn: s.ARN, CreatedAt: restjson.Time(s.Created), ModifiedAt: restjson.Time(s.Modified), ServiceAccountRoleArn: s.ServiceAccountRoleARN,
		Tags: tagsOrEmpty(s.Tags), Publisher: "eks", Owner: "aws", ConfigurationValues: s.ConfigurationValues, PodIdentityAssociations: s.Associations,
		NamespaceConfig: &addonNamespaceJSON{s.Namespace},
	}}
}

func ownedRoles(in []addonRoleJSON) []association.OwnedRole {
	out := make([]association.OwnedRole, len(in))
	for i, r := range in {
		out[i] = association.OwnedRole{ServiceAccount: r.ServiceAccount, RoleARN: r.RoleArn}
	}
	return out
}

// changedAddon is the answer of a call that changed an add-on; audit keeps it.
func changedAddon(c *call.Call, s *addon.State, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := newAddon(s)
	c.Event.ResponseElements = out
	c.Extra().ClusterUID = s.ClusterUID
	c.Event.Resources = []audit.Resource{{AccountID: c.Event.RecipientAccountID, Type: "AWS::EKS::Addon", ARN: s.ARN}}
	return out, nil
}

func (a *API) createAddon(ctx context.Context, c *call.Call) (any, error) {
	var in createAddonInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.ClusterName = c.HTTP.PathValue("name")
	c.Event.RequestParameters = in
	want := addon.CreateInput{
		Cluster: in.ClusterName, Name: in.AddonName, Version: in.AddonVersion, ServiceAccountRoleARN: in.ServiceAccountRoleArn,
		ConfigurationValues: in.ConfigurationValues, ResolveConflicts: in.ResolveConflicts, Roles: ownedRoles(in.PodIdentityAssociations),
		Tags: in.Tags, Token: in.ClientRequestToken,
	}
	if in.NamespaceConfig != nil {
		want.Namespace = in.NamespaceConfig.Namespace
	}
	out, err := a.Addons.Create(ctx, c.Caller, want)
	return changedAddon(c, out, err)
}

func (a *API) describeAddon(ctx context.Context, c *call.Call) (any, error) {
	in := addonInput{ClusterName: c.HTTP.PathValue("name"), AddonName: c.HTTP.PathValue("addonName")}
	c.Event.RequestParameters = in
	out, err := a.Addons.Describe(ctx, c.Caller, in.ClusterName, in.AddonName)
	if err != nil {
		return nil, err
	}
	return newAddon(out), nil
}

func (a *API) listAddons(ctx context.Context, c *call.Call) (any, error) {
	q, err := restjson.Query(c.HTTP.URL)
	if err != nil {
		return nil, err
	}
	in := listInput{Name: c.HTTP.PathValue("name"), NextToken: q.Get("nextToken")}
	if in.MaxResults, err = restjson.MaxResults(q); err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	list := []string{"ListAddons", a.Account, a.Region, in.Name}
	after, err := a.Pages.After(in.NextToken, list...)
	if err != nil {
		return nil, err
	}
	names, next, err := a.Addons.List(ctx, c.Caller, addon.ListInput{Cluster: in.Name, After: after, Max: in.MaxResults})
	if err != nil {
		return nil, err
	}
	return listAddonsOutput{Addons: names, NextToken: a.Pages.Token(next, list...)}, nil
}

func (a *API) deleteAddon(ctx context.Context, c *call.Call) (any, error) {
	q, err := restjson.Query(c.HTTP.URL)
	if err != nil {
		return nil, err
	}
	in := addonInput{ClusterName: c.HTTP.PathValue("name"), AddonName: c.HTTP.PathValue("addonName")}
	if in.Preserve, err = queryBool(q, "preserve"); err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	out, err := a.Addons.Delete(ctx, c.Caller, in.ClusterName, in.AddonName, in.Preserve)
	return changedAddon(c, out, err)
}
