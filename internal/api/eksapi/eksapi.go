// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package eksapi owns the EKS management API on the wire: pod identity
// associations, clusters and their tags, in AWS' names and shapes. It reads
// paths, queries and bodies into the inputs of verbs, and writes what they
// return; rules and authorisation are the verbs'. It refuses what cannot be
// read as the operation's input, ARNs of resources that are not this control
// plane's, and page tokens of other lists.
// Source: API model eks 2017-11-01.
package eksapi

import (
	"context"
	"net/http"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
)

// Clusters are the verbs on clusters.
type Clusters interface {
	Describe(ctx context.Context, caller iam.Caller, name string) (*cluster.Cluster, error)
	List(ctx context.Context, caller iam.Caller, in cluster.ListInput) (names []string, next string, err error)
	Delete(ctx context.Context, caller iam.Caller, name string) (*cluster.Cluster, error)
	Registrations
	ClusterTags
}

// ClusterTags are the verbs on the tags of clusters.
type ClusterTags interface {
	Tag(ctx context.Context, caller iam.Caller, name string, tags map[string]string) error
	Untag(ctx context.Context, caller iam.Caller, name string, keys []string) error
	Tags(ctx context.Context, caller iam.Caller, name string) (map[string]string, error)
}

// Associations are the verbs on pod identity associations.
type Associations interface {
	Create(ctx context.Context, caller iam.Caller, in association.CreateInput) (*association.Association, error)
	Describe(ctx context.Context, caller iam.Caller, clusterName, id string) (*association.Association, error)
	List(ctx context.Context, caller iam.Caller, in association.ListInput) (page []*association.Association, next string, err error)
	Update(ctx context.Context, caller iam.Caller, in association.UpdateInput) (*association.Association, error)
	Delete(ctx context.Context, caller iam.Caller, clusterName, id string) (*association.Association, error)
	AssociationTags
}

// AssociationTags are the verbs on the tags of associations.
type AssociationTags interface {
	Tag(ctx context.Context, caller iam.Caller, clusterName, id string, tags map[string]string) error
	Untag(ctx context.Context, caller iam.Caller, clusterName, id string, keys []string) error
	Tags(ctx context.Context, caller iam.Caller, clusterName, id string) (map[string]string, error)
}

// API is the EKS API of one control plane. All fields are required.
type API struct {
	Clusters     Clusters
	Associations Associations
	Addons       Addons
	Entries      EntryTags
	Versions     Versions
	Pages        restjson.Pages
	Partition    string
	Account      string
	Region       string
}

// Forms of the ARNs that actions are checked on, for the documentation.
const (
	onCluster     = "arn:${Partition}:eks:${Region}:${Account}:cluster/${ClusterName}"
	onAssociation = "arn:${Partition}:eks:${Region}:${Account}:podidentityassociation/${ClusterName}/${AssociationId}"
	onTagged      = onCluster + " or " + onAssociation + " or " + onAddon + " or " + onEntry
)

// Routes lists the operations.
func (a *API) Routes() []restjson.Route {
	const (
		associations = "/clusters/{name}/pod-identity-associations"
		one          = associations + "/{associationId}"
		tags         = "/tags/{resourceArn}"
	)
	tagErrors := restjson.Errors{
		fault.NotFound:         {Name: "NotFoundException", Status: http.StatusNotFound},
		fault.InvalidParameter: {Name: "BadRequestException", Status: http.StatusBadRequest},
		fault.MissingParameter: {Name: "BadRequestException", Status: http.StatusBadRequest},
		fault.InvalidRequest:   {Name: "BadRequestException", Status: http.StatusBadRequest},
	}
	own := append(a.addonRoutes(), a.registrationRoutes()...)
	return append([]restjson.Route{
		route(http.MethodPost, associations, "CreatePodIdentityAssociation", onCluster, a.createAssociation, nil),
		route(http.MethodGet, associations, "ListPodIdentityAssociations", onCluster, a.listAssociations, nil),
		route(http.MethodGet, one, "DescribePodIdentityAssociation", onAssociation, a.describeAssociation, nil),
		route(http.MethodPost, one, "UpdatePodIdentityAssociation", onAssociation, a.updateAssociation, nil),
		route(http.MethodDelete, one, "DeletePodIdentityAssociation", onAssociation, a.deleteAssociation, nil),
		route(http.MethodGet, "/clusters", "ListClusters", "*", a.listClusters, nil),
		route(http.MethodGet, "/clusters/{name}", "DescribeCluster", onCluster, a.describeCluster, nil),
		route(http.MethodDelete, "/clusters/{name}", "DeleteCluster", onCluster, a.deleteCluster, nil),
		route(http.MethodPost, tags, "TagResource", onTagged, a.tagResource, tagErrors),
		route(http.MethodDelete, tags, "UntagResource", onTagged, a.untagResource, tagErrors),
		route(http.MethodGet, tags, "ListTagsForResource", onTagged, a.listTags, tagErrors),
		route(http.MethodGet, "/cluster-versions", "DescribeClusterVersions", "*", a.describeVersions, nil),
	}, own...)
}

// route makes a Route of the service eks: the action has the operation's name,
// and what is got changes nothing.
func route(method, pattern, name, resource string, h call.Handler, errs restjson.Errors) restjson.Route {
	return restjson.Route{Method: method, Pattern: pattern, Handler: h, Errors: errs, Operation: call.Operation{
		Service: "eks", Source: "eks.amazonaws.com", Name: name, Action: "eks:" + name, Resource: resource, ReadOnly: method == http.MethodGet,
	}}
}
