// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
)

func newClient(t *testing.T, f *fixture) *eks.Client {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return eks.New(eks.Options{
		Region: region, BaseEndpoint: aws.String(s.URL), HTTPClient: s.Client(), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret"}, nil
		}),
	})
}

func createInput(sa string) *eks.CreatePodIdentityAssociationInput {
	return &eks.CreatePodIdentityAssociationInput{
		ClusterName: aws.String("my-cluster"), Namespace: aws.String("s3-app-ns"), ServiceAccount: aws.String(sa), RoleArn: aws.String(roleARN),
		Tags: map[string]string{"team": "data"},
	}
}

// TestSDKLifecycle drives every operation with AWS' client.
func TestSDKLifecycle(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c := newClient(t, f)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	made, err := c.CreatePodIdentityAssociation(t.Context(), createInput("s3-app-sa"))
	must(err)
	a := made.Association
	if a.CreatedAt == nil || time.Since(*a.CreatedAt).Abs() > time.Minute || a.DisableSessionTags == nil || *a.DisableSessionTags || a.TargetRoleArn != nil || a.Tags["team"] != "data" {
		t.Errorf("%+v", a)
	}
	read, err := c.DescribePodIdentityAssociation(t.Context(), &eks.DescribePodIdentityAssociationInput{ClusterName: a.ClusterName, AssociationId: a.AssociationId})
	must(err)
	if !read.Association.CreatedAt.Equal(*a.CreatedAt) || *read.Association.AssociationArn != *a.AssociationArn {
		t.Errorf("%v, made as %v", read.Association.CreatedAt, a.CreatedAt)
	}
	changed, err := c.UpdatePodIdentityAssociation(t.Context(), &eks.UpdatePodIdentityAssociationInput{
		ClusterName: a.ClusterName, AssociationId: a.AssociationId, TargetRoleArn: aws.String("arn:aws:iam::222233334444:role/t"), DisableSessionTags: aws.Bool(true),
	})
	must(err)
	if aws.ToString(changed.Association.ExternalId) != "us-west-2/123456789012/my-cluster/s3-app-ns/s3-app-sa" {
		t.Errorf("external id %v", changed.Association.ExternalId)
	}
	_, err = c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: a.AssociationArn, Tags: map[string]string{"owner": "me"}})
	must(err)
	_, err = c.UntagResource(t.Context(), &eks.UntagResourceInput{ResourceArn: a.AssociationArn, TagKeys: []string{"team", "x"}})
	must(err)
	tags, err := c.ListTagsForResource(t.Context(), &eks.ListTagsForResourceInput{ResourceArn: a.AssociationArn})
	must(err)
	if len(tags.Tags) != 1 || tags.Tags["owner"] != "me" {
		t.Errorf("tags %v", tags.Tags)
	}
	described, err := c.DescribeCluster(t.Context(), &eks.DescribeClusterInput{Name: a.ClusterName})
	must(err)
	if k := described.Cluster; k.Status != types.ClusterStatusActive || k.ConnectorConfig != nil || k.CertificateAuthority.Data == nil || *k.Identity.Oidc.Issuer != "https://issuer.example" {
		t.Errorf("%+v", k)
	}
	_, err = c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: described.Cluster.Arn, Tags: map[string]string{"a": "b"}})
	must(err)
	clusters, err := c.ListClusters(t.Context(), &eks.ListClustersInput{})
	must(err)
	if len(clusters.Clusters) != 1 || clusters.NextToken != nil {
		t.Errorf("%+v", clusters)
	}
	gone, err := c.DeletePodIdentityAssociation(t.Context(), &eks.DeletePodIdentityAssociationInput{ClusterName: a.ClusterName, AssociationId: a.AssociationId})
	must(err)
	if *gone.Association.AssociationId != *a.AssociationId {
		t.Errorf("%+v", gone.Association)
	}
	_, err = c.DeleteCluster(t.Context(), &eks.DeleteClusterInput{Name: a.ClusterName})
	must(err)
}

// TestSDKErrors: AWS' client gives its own types for refusals.
func TestSDKErrors(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c := newClient(t, f)
	made, err := c.CreatePodIdentityAssociation(t.Context(), createInput("sa"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreatePodIdentityAssociation(t.Context(), createInput("sa"))
	if e := (*types.ResourceInUseException)(nil); !errors.As(err, &e) || *e.Message != "Association already exists: "+*made.Association.AssociationId {
		t.Errorf("%v", err)
	}
	in := createInput("sb")
	in.RoleArn = aws.String("arn:aws:iam::123456789012:role/none")
	_, err = c.CreatePodIdentityAssociation(t.Context(), in)
	if e := (*types.InvalidParameterException)(nil); !errors.As(err, &e) || *e.Message != "Role provided in the request does not exist." {
		t.Errorf("%v", err)
	}
	in.ClusterName = aws.String("nope")
	_, err = c.CreatePodIdentityAssociation(t.Context(), in)
	if e := (*types.ResourceNotFoundException)(nil); !errors.As(err, &e) {
		t.Errorf("%v", err)
	}
	_, err = c.ListTagsForResource(t.Context(), &eks.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:eks:us-west-2:123456789012:cluster/nope")})
	if e := (*types.NotFoundException)(nil); !errors.As(err, &e) {
		t.Errorf("%v", err)
	}
	_, err = c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: aws.String("rubbish"), Tags: map[string]string{"a": "b"}})
	if e := (*types.BadRequestException)(nil); !errors.As(err, &e) {
		t.Errorf("%v", err)
	}
	token := createInput("sc")
	token.ClientRequestToken = aws.String("t")
	first, err := c.CreatePodIdentityAssociation(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.CreatePodIdentityAssociation(t.Context(), token)
	if err != nil || *again.Association.AssociationId != *first.Association.AssociationId {
		t.Errorf("a repeat gave %v %v", again, err)
	}
}

func TestSDKPaginator(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c := newClient(t, f)
	for i := range 7 {
		if _, err := c.CreatePodIdentityAssociation(t.Context(), createInput(fmt.Sprint("sa", i))); err != nil {
			t.Fatal(err)
		}
	}
	p := eks.NewListPodIdentityAssociationsPaginator(c, &eks.ListPodIdentityAssociationsInput{ClusterName: aws.String("my-cluster"), MaxResults: aws.Int32(3)})
	var sizes []int
	for p.HasMorePages() {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(page.Associations))
	}
	if fmt.Sprint(sizes) != "[3 3 1]" {
		t.Errorf("pages of %v", sizes)
	}
}
