// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi

import (
	"context"
	"slices"
	"strings"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/iam"
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

// EntryTags are the verbs on the tags of access entries, each meant by its ARN.
type EntryTags interface {
	Tag(ctx context.Context, caller iam.Caller, clusterName, entryARN string, tags map[string]string) error
	Untag(ctx context.Context, caller iam.Caller, clusterName, entryARN string, keys []string) error
	Tags(ctx context.Context, caller iam.Caller, clusterName, entryARN string) (map[string]string, error)
}

// tagged is the resource that a call on tags names.
type tagged struct {
	cluster string
	part    string    // of the cluster, as verbs name it; "" for the cluster itself
	verbs   EntryTags // those of the part's kind: all kinds' have this form
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
	words := strings.Split(rest, "/")
	named := !slices.Contains(words, "")
	switch {
	case kind == "cluster" && len(words) == 1 && named:
		return tagged{cluster: words[0]}, nil
	case kind == "podidentityassociation" && len(words) == 2 && named:
		return tagged{words[0], words[1], a.Associations}, nil
	case kind == "addon" && len(words) == 3 && named:
		return tagged{words[0], words[1], a.Addons}, nil
	case kind == "access-entry" && len(words) == 5 && named && (words[1] == "role" || words[1] == "user") && arn.IsAccount(words[2]):
		return tagged{words[0], s, a.Entries}, nil
	}
	return tagged{}, fault.New(fault.InvalidParameter, "The resource %.200q is neither a cluster nor a pod identity association nor an add-on nor an access entry.", s).
		WithReason("resource-arn")
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
	if r.part == "" {
		return nil, a.Clusters.Tag(ctx, c.Caller, r.cluster, in.Tags)
	}
	return nil, r.verbs.Tag(ctx, c.Caller, r.cluster, r.part, in.Tags)
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
	if r.part == "" {
		return nil, a.Clusters.Untag(ctx, c.Caller, r.cluster, in.TagKeys)
	}
	return nil, r.verbs.Untag(ctx, c.Caller, r.cluster, r.part, in.TagKeys)
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
	if r.part == "" {
		tags, err = a.Clusters.Tags(ctx, c.Caller, r.cluster)
	} else {
		tags, err = r.verbs.Tags(ctx, c.Caller, r.cluster, r.part)
	}
	if err != nil {
		return nil, err
	}
	return tagsOutput{tagsOrEmpty(tags)}, nil
}
