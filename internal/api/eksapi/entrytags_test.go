// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"

	"podid/internal/accessentry"
	"podid/internal/iam"
	"podid/internal/store"
)

// TestEntryTags: tags of an access entry by its ARN, and which ARNs are one's.
func TestEntryTags(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c := newClient(t, f)
	err := f.store.Update(t.Context(), func(tx *store.Tx) error {
		iam.Users.Put(tx, store.Scope{Account: account, Region: store.Global}, "ann", &iam.User{ID: "AIDAANN", Partition: "aws", Account: account, Path: "/", Name: "ann"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := f.entries.Create(t.Context(), iam.Caller{Account: account}, accessentry.CreateInput{
		Cluster: "my-cluster", PrincipalARN: "arn:aws:iam::" + account + ":user/ann", Tags: map[string]string{"team": "a"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: &e.ARN, Tags: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UntagResource(t.Context(), &eks.UntagResourceInput{ResourceArn: &e.ARN, TagKeys: []string{"team"}}); err != nil {
		t.Fatal(err)
	}
	kept := func() {
		t.Helper()
		out, err := c.ListTagsForResource(t.Context(), &eks.ListTagsForResourceInput{ResourceArn: &e.ARN})
		if err != nil || len(out.Tags) != 1 || out.Tags["a"] != "b" {
			t.Errorf("%v %v", out, err)
		}
	}
	kept()
	for from, to := range map[string]string{
		"/user/": "/group/", "/" + account + "/": "/1/", "/ann/": "/", "/my-cluster/": "//", "access-entry/": "access-entries/", "user/": "user/team/", "/ann": "",
	} {
		_, err := c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: aws.String(strings.Replace(e.ARN, from, to, 1)), Tags: map[string]string{"a": "c"}})
		wantAPIError(t, err, "BadRequestException", "nor an access entry")
	}
	_, err = c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: aws.String(e.ARN + "/more"), Tags: map[string]string{"a": "c"}})
	wantAPIError(t, err, "BadRequestException", "nor an access entry")
	_, err = c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: aws.String(e.ARN + "0"), Tags: map[string]string{"a": "c"}})
	wantAPIError(t, err, "NotFoundException", "could not be found")
	f.rights.deny = "eks:TagResource"
	_, err = c.TagResource(t.Context(), &eks.TagResourceInput{ResourceArn: &e.ARN, Tags: map[string]string{"a": "c"}})
	wantAPIError(t, err, "AccessDeniedException", "eks:TagResource")
	kept()
	// The cluster has tags of its own.
	out, err := c.ListTagsForResource(t.Context(), &eks.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:eks:" + region + ":" + account + ":cluster/my-cluster")})
	if err != nil || len(out.Tags) != 0 {
		t.Errorf("the cluster's: %v %v", out, err)
	}
}
