// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi

import (
	"context"
	"strings"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/arn"
	"podid/internal/fault"
)

type tagInput struct {
	ResourceArn string            `json:"resourceArn"`
	Tags        map[string]string `json:"tags"`
}

type untagInput struct {
	ResourceArn string   `json:"resourceArn"`
	TagKeys     []string `json:"tagKeys"`
}

type tagsOutput struct {
	Tags map[string]string `json:"tags"`
}

// tagged is the resource that a call on tags names.
type tagged struct {
	cluster     string
	association string // "" for the cluster itself
	addon       string // name, when it is an add-on
}

// resource reads the ARN in the path. Only what this control plane owns can
// be meant.
func (a *API) resource(s string) (tagged, error) {
	p, err := arn.Parse(s)
	if err != nil || p.Service != "eks" {
		return tagged{}, fault.New(fault.InvalidParameter, "The resource %.200q is not the ARN of an EKS resource.", s).WithReason("resource-arn").Because(err)
	}
	if p.Partition != a.Partition || p.Account != a.Account || p.Region != a.Region {
		return tagged{}, fault.New(fault.InvalidParameter, "The resource %.200q is not of the account %s in %s.", s, a.Account, a.Region).WithReason("resource-arn")
	}
	kind, rest, _ := strings.Cut(p.Resource, "/")
	name, id, two := strings.Cut(rest, "/")
	switch {
	case kind == "cluster" && !two && name != "":
		return tagged{cluster: name}, nil
	case kind == "podidentityassociation" && two && name != "" && id != "" && !strings.Contains(id, "/"):
		return tagged{cluster: name, association: id}, nil
	case kind == "addon" && two && name != "":
		addonName, uuid, whole := strings.Cut(id, "/")
		if whole && addonName != "" && uuid != "" && !strings.Contains(uuid, "/") {
			return tagged{cluster: name, addon: addonName}, nil
		}
	}
	return tagged{}, fault.New(fault.InvalidParameter, "The resource %.200q is neither a cluster nor a pod identity association nor an add-on.", s).WithReason("resource-arn")
}

func (a *API) tagResource(ctx context.Context, c *call.Call) (any, error) {
	var in tagInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.ResourceArn = c.HTTP.PathValue("resourceArn")
	c.Event.RequestParameters = in
	r, err := a.resource(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	if r.addon != "" {
		return nil, a.Addons.Tag(ctx, c.Caller, r.cluster, r.addon, in.Tags)
	}
	if r.association == "" {
		return nil, a.Clusters.Tag(ctx, c.Caller, r.cluster, in.Tags)
	}
	return nil, a.Associations.Tag(ctx, c.Caller, r.cluster, r.association, in.Tags)
}

func (a *API) untagResource(ctx context.Context, c *call.Call) (any, error) {
	q, err := restjson.Query(c.HTTP.URL, "tagKeys")
	if err != nil {
		return nil, err
	}
	in := untagInput{c.HTTP.PathValue("resourceArn"), q["tagKeys"]}
	c.Event.RequestParameters = in
	r, err := a.resource(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	if r.addon != "" {
		return nil, a.Addons.Untag(ctx, c.Caller, r.cluster, r.addon, in.TagKeys)
	}
	if r.association == "" {
		return nil, a.Clusters.Untag(ctx, c.Caller, r.cluster, in.TagKeys)
	}
	return nil, a.Associations.Untag(ctx, c.Caller, r.cluster, r.association, in.TagKeys)
}

func (a *API) listTags(ctx context.Context, c *call.Call) (any, error) {
	in := tagInput{ResourceArn: c.HTTP.PathValue("resourceArn")}
	c.Event.RequestParameters = struct {
		ResourceArn string `json:"resourceArn"`
	}{in.ResourceArn}
	r, err := a.resource(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	var tags map[string]string
	if r.addon != "" {
		tags, err = a.Addons.Tags(ctx, c.Caller, r.cluster, r.addon)
	} else if r.association == "" {
		tags, err = a.Clusters.Tags(ctx, c.Caller, r.cluster)
	} else {
		tags, err = a.Associations.Tags(ctx, c.Caller, r.cluster, r.association)
	}
	if err != nil {
		return nil, err
	}
	return tagsOutput{tagsOrEmpty(tags)}, nil
}
