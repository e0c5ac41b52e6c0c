// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
)

// TestAddonTags: tags of an add-on by its ARN, as Terraform sets them.
func TestAddonTags(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c := newClient(t, f)
	made, err := c.CreateAddon(t.Context(), ebsInput(roleARN))
	if err != nil {
		t.Fatal(err)
	}
	arn := made.Addon.AddonArn
	if _, err := c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UntagResource(t.Context(), &eks.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"team"}}); err != nil {
		t.Fatal(err)
	}
	out, err := c.ListTagsForResource(t.Context(), &eks.ListTagsForResourceInput{ResourceArn: arn})
	if err != nil || len(out.Tags) != 1 || out.Tags["a"] != "b" {
		t.Errorf("%v %v", out, err)
	}
	_, err = c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: aws.String("arn:aws:eks:us-west-2:123456789012:addon/my-cluster/coredns/x"), Tags: map[string]string{"a": "b"}})
	wantAPIError(t, err, "NotFoundException", "No addon: coredns found in cluster: my-cluster")
	_, err = c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: aws.String("arn:aws:eks:us-west-2:123456789012:addon/my-cluster/coredns"), Tags: map[string]string{"a": "b"}})
	wantAPIError(t, err, "BadRequestException", "neither")
}
