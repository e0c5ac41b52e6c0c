// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/iam"
)

const onProvider = "arn:{partition}:iam::{account}:oidc-provider{path}{name}"

// providerARN is the parameter that names a provider.
const providerARN = "OpenIDConnectProviderArn"

func (a api) oidcProviders() []awsquery.Operation {
	return []awsquery.Operation{
		write("CreateOpenIDConnectProvider", onProvider, a.createOIDCProvider, "Url"),
		read("GetOpenIDConnectProvider", onProvider, a.getOIDCProvider, providerARN),
		read("ListOpenIDConnectProviders", onAll, a.listOIDCProviders),
		write("DeleteOpenIDConnectProvider", onProvider, a.deleteOIDCProvider, providerARN),
		write("UpdateOpenIDConnectProviderThumbprint", onProvider, a.updateThumbprints, providerARN),
		write("AddClientIDToOpenIDConnectProvider", onProvider, a.addClientID, providerARN, "ClientID"),
		write("RemoveClientIDFromOpenIDConnectProvider", onProvider, a.removeClientID, providerARN, "ClientID"),
		write("TagOpenIDConnectProvider", onProvider, a.tagOIDCProvider, providerARN),
		write("UntagOpenIDConnectProvider", onProvider, a.untagOIDCProvider, providerARN),
		read("ListOpenIDConnectProviderTags", onProvider, a.listOIDCProviderTags, providerARN),
	}
}

func (a api) createOIDCProvider(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	in := iam.CreateProviderInput{URL: f.String("Url"), ClientIDs: f.Strings("ClientIDList"), Thumbprints: f.Strings("ThumbprintList")}
	var err error
	if in.Tags, err = tags(f); err != nil {
		return nil, err
	}
	p, err := a.iam.CreateOIDCProvider(ctx, c.Caller, in)
	if err != nil {
		return nil, err
	}
	c.Event.ResponseElements = map[string]any{"openIDConnectProviderArn": p.ARN()}
	return struct {
		ARN  string `xml:"OpenIDConnectProviderArn"`
		Tags *awsquery.List[wireTag]
	}{p.ARN(), optionalTags(p.Tags)}, nil
}

func (a api) getOIDCProvider(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := a.iam.GetOIDCProvider(ctx, c.Caller, f.String(providerARN))
	if err != nil {
		return nil, err
	}
	return struct {
		URL            string `xml:"Url"`
		ClientIDList   awsquery.List[string]
		ThumbprintList awsquery.List[string]
		CreateDate     awsquery.Timestamp
		Tags           *awsquery.List[wireTag]
	}{p.URL, listOf(p.ClientIDs, same), listOf(p.Thumbprints, same), awsquery.Timestamp(p.Created), optionalTags(p.Tags)}, nil
}

func (a api) listOIDCProviders(ctx context.Context, c *call.Call, _ *awsquery.Form) (any, error) {
	arns, err := a.iam.ListOIDCProviders(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	type entry struct {
		ARN string `xml:"Arn"`
	}
	return struct {
		OpenIDConnectProviderList awsquery.List[entry]
	}{listOf(arns, func(s string) entry { return entry{s} })}, nil
}

func (a api) deleteOIDCProvider(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteOIDCProvider(ctx, c.Caller, f.String(providerARN))
}

func (a api) updateThumbprints(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	list := f.Strings("ThumbprintList")
	if err := f.Err(); err != nil {
		return nil, err
	}
	return nil, a.iam.UpdateOIDCThumbprints(ctx, c.Caller, f.String(providerARN), list)
}

func (a api) addClientID(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.AddClientID(ctx, c.Caller, f.String(providerARN), f.String("ClientID"))
}

func (a api) removeClientID(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.RemoveClientID(ctx, c.Caller, f.String(providerARN), f.String("ClientID"))
}

func (a api) tagOIDCProvider(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	t, err := tags(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.TagOIDCProvider(ctx, c.Caller, f.String(providerARN), t)
}

func (a api) untagOIDCProvider(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	keys, err := tagKeys(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.UntagOIDCProvider(ctx, c.Caller, f.String(providerARN), keys)
}

func (a api) listOIDCProviderTags(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListOIDCProviderTags(ctx, c.Caller, f.String(providerARN), p)
	if err != nil {
		return nil, err
	}
	return toTags(l), nil
}
