// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi

import (
	"context"
	"slices"
	"strings"

	"podid/internal/addon"
	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/fault"
)

// updateJSON is Update. Its status is Successful: an update is done when
// UpdateAddon answers.
type updateJSON struct {
	ID        string        `json:"id"`
	Status    string        `json:"status"`
	Type      string        `json:"type"`
	Params    []paramJSON   `json:"params"`
	CreatedAt restjson.Time `json:"createdAt"`
	Errors    []struct{}    `json:"errors"`
}

type paramJSON struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type updateOutput struct {
	Update updateJSON `json:"update"`
}

type listUpdatesOutput struct {
	UpdateIDs []string `json:"updateIds"`
	NextToken string   `json:"nextToken,omitempty"`
}

// updatesInput is what calls on updates bring in path and query.
type updatesInput struct {
	Name       string `json:"name"`
	UpdateID   string `json:"updateId,omitempty"`
	AddonName  string `json:"addonName,omitempty"`
	MaxResults int    `json:"maxResults,omitempty"`
	NextToken  string `json:"nextToken,omitempty"`
}

func newUpdate(u *addon.Update) updateOutput {
	out := updateJSON{ID: u.ID, Status: "Successful", Type: "AddonUpdate", Params: []paramJSON{}, CreatedAt: restjson.Time(u.Created), Errors: []struct{}{}}
	for _, p := range u.Params {
		out.Params = append(out.Params, paramJSON(p))
	}
	return updateOutput{out}
}

func (a *API) updateAddon(ctx context.Context, c *call.Call) (any, error) {
	var in updateAddonInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.ClusterName, in.AddonName = c.HTTP.PathValue("name"), c.HTTP.PathValue("addonName")
	c.Event.RequestParameters = in
	want := addon.UpdateInput{
		Cluster: in.ClusterName, Name: in.AddonName, Version: in.AddonVersion, ServiceAccountRoleARN: in.ServiceAccountRoleArn,
		ConfigurationValues: in.ConfigurationValues, ResolveConflicts: in.ResolveConflicts, Token: in.ClientRequestToken,
	}
	if in.PodIdentityAssociations != nil {
		roles := ownedRoles(*in.PodIdentityAssociations)
		want.Roles = &roles
	}
	u, err := a.Addons.Update(ctx, c.Caller, want)
	if err != nil {
		return nil, err
	}
	out := newUpdate(u)
	c.Event.ResponseElements = out
	return out, nil
}

func (a *API) readUpdates(c *call.Call) (in updatesInput, err error) {
	q, err := restjson.Query(c.HTTP.URL)
	if err != nil {
		return in, err
	}
	in = updatesInput{Name: c.HTTP.PathValue("name"), UpdateID: c.HTTP.PathValue("updateId"), AddonName: q.Get("addonName"), NextToken: q.Get("nextToken")}
	if q.Get("nodegroupName") != "" || q.Get("capabilityName") != "" {
		return in, fault.New(fault.InvalidParameter, "Node groups and capabilities have no updates here; give addonName, or none.").WithReason("updates-of")
	}
	in.MaxResults, err = restjson.MaxResults(q)
	return in, err
}

func (a *API) describeUpdate(ctx context.Context, c *call.Call) (any, error) {
	in, err := a.readUpdates(c)
	if err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	u, err := a.Addons.DescribeUpdate(ctx, c.Caller, in.Name, in.AddonName, in.UpdateID)
	if err != nil {
		return nil, err
	}
	return newUpdate(u), nil
}

func (a *API) listUpdates(ctx context.Context, c *call.Call) (any, error) {
	in, err := a.readUpdates(c)
	if err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	list := []string{"ListUpdates", a.Account, a.Region, in.Name, in.AddonName}
	after, err := a.Pages.After(in.NextToken, list...)
	if err != nil {
		return nil, err
	}
	ids, err := a.Addons.ListUpdates(ctx, c.Caller, in.Name, in.AddonName)
	if err != nil {
		return nil, err
	}
	if i := slices.Index(ids, after); i >= 0 {
		ids = ids[i+1:]
	}
	out := listUpdatesOutput{UpdateIDs: ids}
	if len(ids) > in.MaxResults {
		out.UpdateIDs = ids[:in.MaxResults]
		out.NextToken = a.Pages.Token(out.UpdateIDs[in.MaxResults-1], list...)
	}
	return out, nil
}

// addonInfoJSON is AddonInfo.
type addonInfoJSON struct {
	AddonName        string             `json:"addonName"`
	Type             string             `json:"type"`
	AddonVersions    []addonVersionJSON `json:"addonVersions"`
	Publisher        string             `json:"publisher"`
	Owner            string             `json:"owner"`
	DefaultNamespace string             `json:"defaultNamespace"`
}

type addonVersionJSON struct {
	AddonVersion           string              `json:"addonVersion"`
	Architecture           []string            `json:"architecture"`
	ComputeTypes           []string            `json:"computeTypes"`
	Compatibilities        []compatibilityJSON `json:"compatibilities"`
	RequiresConfiguration  bool                `json:"requiresConfiguration"`
	RequiresIamPermissions bool                `json:"requiresIamPermissions"`
}

type compatibilityJSON struct {
	ClusterVersion   string   `json:"clusterVersion"`
	PlatformVersions []string `json:"platformVersions"`
	DefaultVersion   bool     `json:"defaultVersion"`
}

type addonVersionsOutput struct {
	Addons    []addonInfoJSON `json:"addons"`
	NextToken string          `json:"nextToken,omitempty"`
}

// addonVersionsInput is DescribeAddonVersionsRequest.
type addonVersionsInput struct {
	KubernetesVersion string   `json:"kubernetesVersion,omitempty"`
	AddonName         string   `json:"addonName,omitempty"`
	Types             []string `json:"types,omitempty"`
	Publishers        []string `json:"publishers,omitempty"`
	Owners            []string `json:"owners,omitempty"`
	MaxResults        int      `json:"maxResults,omitempty"`
	NextToken         string   `json:"nextToken,omitempty"`
}

func (in *addonVersionsInput) wants(k addon.Known) bool {
	in1 := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return (in.AddonName == "" || in.AddonName == k.Name) && in1(in.Types, k.Type) && in1(in.Publishers, "eks") && in1(in.Owners, "aws")
}

// newAddonInfo says of every version of the catalog that it suits: podid
// installs nothing that could not.
func newAddonInfo(k addon.Known, versions []string) addonInfoJSON {
	out := addonInfoJSON{k.Name, k.Type, []addonVersionJSON{}, "eks", "aws", k.Namespace}
	for i, v := range k.Versions {
		av := addonVersionJSON{
			AddonVersion: v, Architecture: []string{"amd64", "arm64"}, ComputeTypes: []string{"ec2", "hybrid"},
			RequiresIamPermissions: slices.ContainsFunc(k.Accounts, func(p addon.PodIdentity) bool { return len(p.Policies) > 0 }),
		}
		for _, kube := range versions {
			av.Compatibilities = append(av.Compatibilities, compatibilityJSON{kube, []string{"*"}, i == 0})
		}
		out.AddonVersions = append(out.AddonVersions, av)
	}
	return out
}

func (a *API) describeAddonVersions(ctx context.Context, c *call.Call) (any, error) {
	q, err := restjson.Query(c.HTTP.URL, "types", "publishers", "owners")
	if err != nil {
		return nil, err
	}
	in := addonVersionsInput{
		KubernetesVersion: q.Get("kubernetesVersion"), AddonName: q.Get("addonName"), Types: q["types"], Publishers: q["publishers"],
		Owners: q["owners"], NextToken: q.Get("nextToken"),
	}
	if in.MaxResults, err = restjson.MaxResults(q); err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	list := []string{
		"DescribeAddonVersions", a.Account, a.Region, in.KubernetesVersion, in.AddonName,
		strings.Join(in.Types, ","), strings.Join(in.Publishers, ","), strings.Join(in.Owners, ","),
	}
	after, err := a.Pages.After(in.NextToken, list...)
	if err != nil {
		return nil, err
	}
	all, err := a.Addons.Known(ctx, c.Caller, after)
	if err != nil {
		return nil, err
	}
	versions := addon.KubernetesVersions()
	if in.KubernetesVersion != "" {
		versions = []string{in.KubernetesVersion}
	}
	out := addonVersionsOutput{Addons: []addonInfoJSON{}}
	for _, k := range all {
		if !in.wants(k) {
			continue
		}
		if n := len(out.Addons); n == in.MaxResults {
			out.NextToken = a.Pages.Token(out.Addons[n-1].AddonName, list...)
			break
		}
		out.Addons = append(out.Addons, newAddonInfo(k, versions))
	}
	return out, nil
}

// configurationOutput is DescribeAddonConfigurationResponse.
type configurationOutput struct {
	AddonName                string            `json:"addonName"`
	AddonVersion             string            `json:"addonVersion"`
	ConfigurationSchema      string            `json:"configurationSchema"`
	PodIdentityConfiguration []podIdentityJSON `json:"podIdentityConfiguration"`
}

type podIdentityJSON struct {
	ServiceAccount             string   `json:"serviceAccount"`
	RecommendedManagedPolicies []string `json:"recommendedManagedPolicies"`
}

// anySchema takes every configuration: podid remembers it and does no more.
const anySchema = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`

func (a *API) describeAddonConfiguration(ctx context.Context, c *call.Call) (any, error) {
	q, err := restjson.Query(c.HTTP.URL)
	if err != nil {
		return nil, err
	}
	in := struct {
		AddonName    string `json:"addonName"`
		AddonVersion string `json:"addonVersion"`
	}{q.Get("addonName"), q.Get("addonVersion")}
	c.Event.RequestParameters = in
	k, err := a.Addons.Configuration(ctx, c.Caller, in.AddonName, in.AddonVersion)
	if err != nil {
		return nil, err
	}
	out := configurationOutput{k.Name, in.AddonVersion, anySchema, []podIdentityJSON{}}
	for _, p := range k.Accounts {
		out.PodIdentityConfiguration = append(out.PodIdentityConfiguration, podIdentityJSON{p.ServiceAccount, p.PolicyARNs(a.Partition)})
	}
	return out, nil
}
