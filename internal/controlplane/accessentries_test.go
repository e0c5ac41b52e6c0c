// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/smithy-go"

	"podid/internal/controlplane/controlplanetest"
)

func accountTrust() map[string]any {
	return controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"AWS": controlplanetest.Account}, "Action": "sts:AssumeRole"})
}

// TestAccessEntries drives every operation on access entries with AWS' client.
func TestAccessEntries(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	cp.Register("my-cluster", nil)
	role := cp.Role("dev", accountTrust())
	cp.User("ann", nil)
	user := "arn:aws:iam::" + controlplanetest.Account + ":user/ann"
	c, ctx, name := cp.EKS(), t.Context(), aws.String("my-cluster")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := &eks.CreateAccessEntryInput{ClusterName: name, PrincipalArn: &role, KubernetesGroups: []string{"devs"}, Tags: map[string]string{"team": "a"}, ClientRequestToken: aws.String("t")}
	made, err := c.CreateAccessEntry(ctx, in)
	must(err)
	e := made.AccessEntry
	if *e.Username != "arn:aws:sts::111122223333:assumed-role/dev/{{SessionName}}" || *e.Type != "STANDARD" || !slices.Equal(e.KubernetesGroups, []string{"devs"}) ||
		e.Tags["team"] != "a" || e.CreatedAt == nil || !strings.HasPrefix(*e.AccessEntryArn, "arn:aws:eks:us-west-2:111122223333:access-entry/my-cluster/role/111122223333/dev/") {
		t.Errorf("made %+v", e)
	}
	again, err := c.CreateAccessEntry(ctx, in)
	must(err)
	if *again.AccessEntry.AccessEntryArn != *e.AccessEntryArn {
		t.Errorf("a repeat made %s", *again.AccessEntry.AccessEntryArn)
	}
	_, err = c.CreateAccessEntry(ctx, &eks.CreateAccessEntryInput{ClusterName: name, PrincipalArn: &user, Username: aws.String("ann")})
	must(err)
	changed, err := c.UpdateAccessEntry(ctx, &eks.UpdateAccessEntryInput{ClusterName: name, PrincipalArn: &role, Username: aws.String("dev:{{SessionName}}"), KubernetesGroups: []string{}})
	must(err)
	if e := changed.AccessEntry; *e.Username != "dev:{{SessionName}}" || len(e.KubernetesGroups) != 0 {
		t.Errorf("changed %+v", e)
	}
	given, err := c.AssociateAccessPolicy(ctx, &eks.AssociateAccessPolicyInput{
		ClusterName: name, PrincipalArn: &role, PolicyArn: aws.String(viewPolicy), AccessScope: &types.AccessScope{Type: types.AccessScopeTypeNamespace, Namespaces: []string{"s3-app-ns"}},
	})
	must(err)
	if p := given.AssociatedAccessPolicy; *p.PolicyArn != viewPolicy || p.AccessScope.Type != "namespace" || !slices.Equal(p.AccessScope.Namespaces, []string{"s3-app-ns"}) || p.AssociatedAt == nil {
		t.Errorf("associated %+v", p)
	}
	have, err := c.ListAssociatedAccessPolicies(ctx, &eks.ListAssociatedAccessPoliciesInput{ClusterName: name, PrincipalArn: &role})
	must(err)
	if len(have.AssociatedAccessPolicies) != 1 || *have.PrincipalArn != role {
		t.Errorf("%+v", have)
	}
	for filter, want := range map[string][]string{"": {role, user}, viewPolicy: {role}} {
		var got []string
		p := eks.NewListAccessEntriesPaginator(c, &eks.ListAccessEntriesInput{ClusterName: name, MaxResults: aws.Int32(1), AssociatedPolicyArn: aws.String(filter)})
		for p.HasMorePages() {
			page, err := p.NextPage(ctx)
			must(err)
			got = append(got, page.AccessEntries...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("filter %q lists %v", filter, got)
		}
	}
	_, err = c.DisassociateAccessPolicy(ctx, &eks.DisassociateAccessPolicyInput{ClusterName: name, PrincipalArn: &role, PolicyArn: aws.String(viewPolicy)})
	must(err)
	all, err := c.ListAccessPolicies(ctx, &eks.ListAccessPoliciesInput{})
	must(err)
	if len(all.AccessPolicies) != 5 || *all.AccessPolicies[2].Name != "AmazonEKSClusterAdminPolicy" {
		t.Errorf("%+v", all.AccessPolicies)
	}
	_, err = c.DeleteAccessEntry(ctx, &eks.DeleteAccessEntryInput{ClusterName: name, PrincipalArn: &role})
	must(err)
	_, err = c.DescribeAccessEntry(ctx, &eks.DescribeAccessEntryInput{ClusterName: name, PrincipalArn: &role})
	if e := (*types.ResourceNotFoundException)(nil); !errors.As(err, &e) || !strings.Contains(*e.Message, "The specified principalArn could not be found") {
		t.Errorf("%v", err)
	}
	// What is left goes with the cluster.
	_, err = c.DeleteCluster(ctx, &eks.DeleteClusterInput{Name: name})
	must(err)
	cp.Register("my-cluster", nil)
	left, err := c.ListAccessEntries(ctx, &eks.ListAccessEntriesInput{ClusterName: name})
	must(err)
	if len(left.AccessEntries) != 0 {
		t.Errorf("the new cluster inherits %v", left.AccessEntries)
	}
}

// TestAccessEntryTags: tags of an entry by its ARN, as Terraform sets them.
func TestAccessEntryTags(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	cp.Register("my-cluster", nil)
	cp.Register("other", nil)
	role, c, ctx := cp.Role("dev", accountTrust()), cp.EKS(), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	create := func() *types.AccessEntry {
		out, err := c.CreateAccessEntry(ctx, &eks.CreateAccessEntryInput{ClusterName: aws.String("my-cluster"), PrincipalArn: &role, Tags: map[string]string{"team": "a", "old": "x"}})
		must(err)
		return out.AccessEntry
	}
	gone := create()
	_, err := c.DeleteAccessEntry(ctx, &eks.DeleteAccessEntryInput{ClusterName: gone.ClusterName, PrincipalArn: &role})
	must(err)
	made := create()
	_, err = c.TagResource(ctx, &eks.TagResourceInput{ResourceArn: made.AccessEntryArn, Tags: map[string]string{"team": "b", "env": "prod"}})
	must(err)
	_, err = c.UntagResource(ctx, &eks.UntagResourceInput{ResourceArn: made.AccessEntryArn, TagKeys: []string{"old"}})
	must(err)
	want := map[string]string{"team": "b", "env": "prod"}
	kept := func() {
		t.Helper()
		tags, err := c.ListTagsForResource(ctx, &eks.ListTagsForResourceInput{ResourceArn: made.AccessEntryArn})
		must(err)
		got, err := c.DescribeAccessEntry(ctx, &eks.DescribeAccessEntryInput{ClusterName: made.ClusterName, PrincipalArn: &role})
		must(err)
		if !maps.Equal(tags.Tags, want) || !maps.Equal(got.AccessEntry.Tags, want) || !got.AccessEntry.CreatedAt.Equal(*made.CreatedAt) || got.AccessEntry.ModifiedAt.Before(*made.ModifiedAt) {
			t.Errorf("%v %+v", tags.Tags, got.AccessEntry)
		}
	}
	kept()
	for name, tc := range map[string]struct{ arn, code, message string }{
		"deleted":         {*gone.AccessEntryArn, "NotFoundException", "could not be found"},
		"another uuid":    {strings.TrimRight(*made.AccessEntryArn, "0123456789abcdef-") + "00000000-0000-4000-8000-000000000000", "NotFoundException", "could not be found"},
		"another cluster": {strings.Replace(*made.AccessEntryArn, "/my-cluster/", "/other/", 1), "NotFoundException", "could not be found"},
		"no cluster":      {strings.Replace(*made.AccessEntryArn, "/my-cluster/", "/nope/", 1), "NotFoundException", "No cluster found for name: nope."},
		"another account": {strings.Replace(*made.AccessEntryArn, ":111122223333:", ":222233334444:", 1), "BadRequestException", "not of the account"},
		"uuid left out":   {(*made.AccessEntryArn)[:strings.LastIndexByte(*made.AccessEntryArn, '/')], "BadRequestException", "nor an access entry"},
	} {
		t.Run(name, func(t *testing.T) {
			_, tag := c.TagResource(ctx, &eks.TagResourceInput{ResourceArn: &tc.arn, Tags: map[string]string{"team": "c"}})
			_, untag := c.UntagResource(ctx, &eks.UntagResourceInput{ResourceArn: &tc.arn, TagKeys: []string{"team"}})
			_, list := c.ListTagsForResource(ctx, &eks.ListTagsForResourceInput{ResourceArn: &tc.arn})
			for _, err := range []error{tag, untag, list} {
				if e := smithy.APIError(nil); !errors.As(err, &e) || e.ErrorCode() != tc.code || !strings.Contains(e.ErrorMessage(), tc.message) {
					t.Errorf("%v, want %s %q", err, tc.code, tc.message)
				}
			}
		})
	}
	kept()
	// A right to tag may hang on the tags that are and on those to come.
	bound := eks.NewFromConfig(cp.Config(cp.User("bound", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"eks:TagResource"}, *made.AccessEntryArn, object{
		"Condition": object{"StringEquals": object{"aws:ResourceTag/team": "b", "aws:RequestTag/env": "test"}},
	})))))
	_, err = bound.TagResource(ctx, &eks.TagResourceInput{ResourceArn: made.AccessEntryArn, Tags: map[string]string{"env": "dev"}})
	if e := smithy.APIError(nil); !errors.As(err, &e) || e.ErrorCode() != "AccessDeniedException" {
		t.Errorf("%v", err)
	}
	kept()
	_, err = bound.TagResource(ctx, &eks.TagResourceInput{ResourceArn: made.AccessEntryArn, Tags: map[string]string{"env": "test"}})
	must(err)
	want["env"] = "test"
	kept()
}

// TestAccessEntryErrors: each rule has its answer.
func TestAccessEntryErrors(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	cp.Register("my-cluster", nil)
	role, user := cp.Role("dev", accountTrust()), "arn:aws:iam::111122223333:user/podid-admin"
	if _, err := cp.EKS().CreateAccessEntry(t.Context(), &eks.CreateAccessEntryInput{ClusterName: aws.String("my-cluster"), PrincipalArn: &role, ClientRequestToken: aws.String("t")}); err != nil {
		t.Fatal(err)
	}
	create := func(more object) object {
		out := object{"principalArn": user}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	const entries, one = "/clusters/my-cluster/access-entries", "/clusters/my-cluster/access-entries/arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fdev"
	scope := func(kind string, ns ...string) object {
		return object{"policyArn": viewPolicy, "accessScope": object{"type": kind, "namespaces": ns}}
	}
	for _, tc := range []struct {
		name, method, path string
		body               object
		status             int
		code, message      string
	}{
		{"no cluster", "POST", "/clusters/nope/access-entries", create(nil), 404, "ResourceNotFoundException", "No cluster found for name: nope."},
		{"no principal", "POST", entries, object{}, 400, "InvalidParameterException", "principalArn is required"},
		{"no such role", "POST", entries, create(object{"principalArn": "arn:aws:iam::111122223333:role/none"}), 400, "InvalidParameterException", "The specified principalArn is invalid: invalid principal."},
		{"path left out", "POST", entries, create(object{"principalArn": "arn:aws:iam::111122223333:role/x/dev"}), 400, "InvalidParameterException", "invalid principal"},
		{"session", "POST", entries, create(object{"principalArn": "arn:aws:sts::111122223333:assumed-role/dev/me"}), 400, "InvalidParameterException", "invalid principal"},
		{"root", "POST", entries, create(object{"principalArn": "arn:aws:iam::111122223333:root"}), 400, "InvalidParameterException", "invalid principal"},
		{"another account", "POST", entries, create(object{"principalArn": "arn:aws:iam::222233334444:role/dev"}), 400, "InvalidParameterException", "invalid principal"},
		{"there already", "POST", entries, object{"principalArn": role}, 409, "ResourceInUseException", "already in use on this cluster"},
		{"token of other input", "POST", entries, object{"principalArn": role, "clientRequestToken": "t", "username": "x"}, 400, "InvalidParameterException", "used before"},
		{"type", "POST", entries, create(object{"type": "ROOT"}), 400, "InvalidParameterException", "The type"},
		{"node type of a user", "POST", entries, create(object{"type": "EC2_LINUX"}), 400, "InvalidParameterException", "needs a role"},
		{"node type with groups", "POST", entries, create(object{"type": "EC2_LINUX", "kubernetesGroups": []string{"g"}}), 400, "InvalidParameterException", "STANDARD only"},
		{"masters", "POST", entries, create(object{"kubernetesGroups": []string{"system:masters"}}), 400, "InvalidParameterException", "cannot start with system:"},
		{"group of a policy", "POST", entries, create(object{"kubernetesGroups": []string{"podid.dev:cluster:AmazonEKSClusterAdminPolicy"}}), 400, "InvalidParameterException", "cannot start with podid.dev:"},
		{"group twice", "POST", entries, create(object{"kubernetesGroups": []string{"a", "a"}}), 400, "InvalidParameterException", "twice"},
		{"empty group", "POST", entries, create(object{"kubernetesGroups": []string{""}}), 400, "InvalidParameterException", "group name"},
		{"system user", "POST", entries, create(object{"username": "system:admin"}), 400, "InvalidParameterException", "cannot start with system:"},
		{"unknown template", "POST", entries, create(object{"username": "x:{{EC2PrivateDNSName}}"}), 400, "InvalidParameterException", "{{EC2PrivateDNSName}}"},
		{"half a template", "POST", entries, create(object{"username": "x:{{SessionName"}), 400, "InvalidParameterException", "half"},
		{"session name alone", "POST", entries, create(object{"username": "{{SessionName}}"}), 400, "InvalidParameterException", "colon"},
		{"control character", "POST", entries, create(object{"username": "a\nb"}), 400, "InvalidParameterException", "control"},
		{"reserved tag", "POST", entries, create(object{"tags": object{"aws:a": "b"}}), 400, "InvalidParameterException", "reserved"},
		{"unknown policy", "POST", one + "/access-policies", object{"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "accessScope": object{"type": "cluster"}}, 400, "InvalidParameterException", "no access policy"},
		{"scope missing", "POST", one + "/access-policies", object{"policyArn": viewPolicy}, 400, "InvalidParameterException", "accessScope"},
		{"cluster with namespaces", "POST", one + "/access-policies", scope("cluster", "a"), 400, "InvalidParameterException", "no namespaces"},
		{"no namespaces", "POST", one + "/access-policies", scope("namespace"), 400, "InvalidParameterException", "namespaces"},
		{"pattern", "POST", one + "/access-policies", scope("namespace", "dev-*"), 400, "InvalidParameterException", "full name"},
		{"not associated", "DELETE", one + "/access-policies/arn%3Aaws%3Aeks%3A%3Aaws%3Acluster-access-policy%2FAmazonEKSViewPolicy", nil, 404, "ResourceNotFoundException", "not associated"},
		{"no entry", "DELETE", entries + "/arn%3Aaws%3Aiam%3A%3A111122223333%3Auser%2Fpodid-admin", nil, 404, "ResourceNotFoundException", "could not be found"},
		{"reserved by update", "POST", one, object{"kubernetesGroups": []string{"eks:x"}}, 400, "InvalidParameterException", "cannot start with eks:"},
		{"filter", "GET", entries + "?associatedPolicyArn=x", nil, 400, "InvalidParameterException", "policyArn"},
		{"page token of a list of one page", "GET", "/access-policies?nextToken=x", nil, 400, "InvalidParameterException", "nextToken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var body any
			if tc.body != nil {
				body = tc.body
			}
			a := rest(t, cp, cp.Admin, "eks", tc.method, tc.path, body)
			a.Want(t, tc.status, tc.code, "")
			if !strings.Contains(a.Message(), tc.message) {
				t.Errorf("message %q, want one with %q", a.Message(), tc.message)
			}
		})
	}
}

// TestAccessEntryRights: a condition on the policy or on the groups holds.
func TestAccessEntryRights(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	cp.Register("my-cluster", nil)
	role := cp.Role("dev", accountTrust())
	bound := cp.User("bound", controlplanetest.Document(
		controlplanetest.Statement("Allow", []string{"eks:*"}, "*", nil),
		controlplanetest.Statement("Deny", []string{"eks:AssociateAccessPolicy"}, "*", object{"Condition": object{"StringNotEquals": object{"eks:policyArn": viewPolicy}}}),
		controlplanetest.Statement("Deny", []string{"eks:CreateAccessEntry", "eks:UpdateAccessEntry"}, "*", object{"Condition": object{"ForAnyValue:StringEquals": object{"eks:kubernetesGroups": "admins"}}}),
	))
	c, name := eks.NewFromConfig(cp.Config(bound)), aws.String("my-cluster")
	denied := func(err error) {
		t.Helper()
		if e := smithy.APIError(nil); !errors.As(err, &e) || e.ErrorCode() != "AccessDeniedException" {
			t.Errorf("%v", err)
		}
	}
	_, err := c.CreateAccessEntry(t.Context(), &eks.CreateAccessEntryInput{ClusterName: name, PrincipalArn: &role, KubernetesGroups: []string{"a", "admins"}})
	denied(err)
	if _, err = c.CreateAccessEntry(t.Context(), &eks.CreateAccessEntryInput{ClusterName: name, PrincipalArn: &role}); err != nil {
		t.Error(err)
	}
	_, err = c.UpdateAccessEntry(t.Context(), &eks.UpdateAccessEntryInput{ClusterName: name, PrincipalArn: &role, KubernetesGroups: []string{"admins"}})
	denied(err)
	scope := &types.AccessScope{Type: types.AccessScopeTypeCluster}
	_, err = c.AssociateAccessPolicy(t.Context(), &eks.AssociateAccessPolicyInput{
		ClusterName: name, PrincipalArn: &role, AccessScope: scope, PolicyArn: aws.String("arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"),
	})
	denied(err)
	if _, err = c.AssociateAccessPolicy(t.Context(), &eks.AssociateAccessPolicyInput{ClusterName: name, PrincipalArn: &role, AccessScope: scope, PolicyArn: aws.String(viewPolicy)}); err != nil {
		t.Error(err)
	}
	if got := cp.LastAudit("AssociateAccessPolicy"); got.ResponseElements == nil || got.ErrorCode != "" {
		t.Errorf("audit %+v", got)
	}
}
