// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/smithy-go"

	"podid/internal/store"
)

const (
	ebs   = "aws-ebs-csi-driver"
	ebsSA = "ebs-csi-controller-sa"
)

func ebsInput(role string) *eks.CreateAddonInput {
	return &eks.CreateAddonInput{
		ClusterName: aws.String("my-cluster"), AddonName: aws.String(ebs), Tags: map[string]string{"team": "data"},
		PodIdentityAssociations: []types.AddonPodIdentityAssociations{{ServiceAccount: aws.String(ebsSA), RoleArn: aws.String(role)}},
	}
}

func wantAPIError(t *testing.T, err error, code, part string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), part) {
		t.Errorf("%v, want %s with %q", err, code, part)
	}
}

// TestAddonLifecycle drives an add-on with an association of its own through
// AWS' client, the waiters included.
func TestAddonLifecycle(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c, ctx, cluster := newClient(t, f), t.Context(), aws.String("my-cluster")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := ebsInput(roleARN)
	in.ClientRequestToken = aws.String("once")
	made, err := c.CreateAddon(ctx, in)
	must(err)
	again, err := c.CreateAddon(ctx, in)
	must(err)
	if *again.Addon.AddonArn != *made.Addon.AddonArn {
		t.Error("a repeat made another add-on")
	}
	read, err := c.DescribeAddon(ctx, &eks.DescribeAddonInput{ClusterName: cluster, AddonName: aws.String(ebs)})
	must(err)
	a := read.Addon
	if a.Status != types.AddonStatusActive || len(a.PodIdentityAssociations) != 1 || a.Tags["team"] != "data" || *a.NamespaceConfig.Namespace != "kube-system" || a.CreatedAt == nil {
		t.Errorf("%+v", a)
	}
	listed, err := c.ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{ClusterName: cluster})
	must(err)
	owned := listed.Associations[0]
	if *owned.OwnerArn != *a.AddonArn || *owned.AssociationArn != a.PodIdentityAssociations[0] || *owned.Namespace != "kube-system" {
		t.Errorf("%+v", owned)
	}
	_, err = c.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: cluster, AssociationId: owned.AssociationId})
	wantAPIError(t, err, "InvalidRequestException", "is owned by the add-on "+*a.AddonArn)
	_, err = c.UpdatePodIdentityAssociation(ctx, &eks.UpdatePodIdentityAssociationInput{ClusterName: cluster, AssociationId: owned.AssociationId, RoleArn: aws.String(roleARN)})
	wantAPIError(t, err, "InvalidRequestException", "is owned by")

	up, err := c.UpdateAddon(ctx, &eks.UpdateAddonInput{ClusterName: cluster, AddonName: aws.String(ebs), PodIdentityAssociations: []types.AddonPodIdentityAssociations{
		{ServiceAccount: aws.String(ebsSA), RoleArn: aws.String("arn:aws:iam::123456789012:role/other")},
	}})
	must(err)
	done, err := c.DescribeUpdate(ctx, &eks.DescribeUpdateInput{Name: cluster, AddonName: aws.String(ebs), UpdateId: up.Update.Id})
	must(err)
	if done.Update.Status != types.UpdateStatusSuccessful || done.Update.Type != types.UpdateTypeAddonUpdate || len(done.Update.Params) != 1 {
		t.Errorf("%+v", done.Update)
	}
	ids, err := c.ListUpdates(ctx, &eks.ListUpdatesInput{Name: cluster, AddonName: aws.String(ebs)})
	must(err)
	if !slices.Equal(ids.UpdateIds, []string{*up.Update.Id}) {
		t.Errorf("%v", ids.UpdateIds)
	}
	one, err := c.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: cluster, AssociationId: owned.AssociationId})
	must(err)
	if *one.Association.RoleArn != "arn:aws:iam::123456789012:role/other" {
		t.Errorf("%+v", one.Association)
	}
	gone, err := c.DeleteAddon(ctx, &eks.DeleteAddonInput{ClusterName: cluster, AddonName: aws.String(ebs)})
	must(err)
	if gone.Addon.Status != types.AddonStatusDeleting || len(gone.Addon.PodIdentityAssociations) != 1 {
		t.Errorf("%+v", gone.Addon)
	}
	if listed, err = c.ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{ClusterName: cluster}); err != nil || len(listed.Associations) != 0 {
		t.Errorf("left: %v %v", listed, err)
	}
	_, err = c.DescribeAddon(ctx, &eks.DescribeAddonInput{ClusterName: cluster, AddonName: aws.String(ebs)})
	wantAPIError(t, err, "ResourceNotFoundException", "No addon: "+ebs+" found in cluster: my-cluster")
}

// TestAddonPreserve: what the add-on owned is nobody's then, and stays.
func TestAddonPreserve(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c, cluster := newClient(t, f), aws.String("my-cluster")
	if _, err := c.CreateAddon(t.Context(), ebsInput(roleARN)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteAddon(t.Context(), &eks.DeleteAddonInput{ClusterName: cluster, AddonName: aws.String(ebs), Preserve: true}); err != nil {
		t.Fatal(err)
	}
	l, err := c.ListPodIdentityAssociations(t.Context(), &eks.ListPodIdentityAssociationsInput{ClusterName: cluster})
	if err != nil || len(l.Associations) != 1 || l.Associations[0].OwnerArn != nil {
		t.Fatalf("%v %v", l, err)
	}
	if _, err := c.DeletePodIdentityAssociation(t.Context(), &eks.DeletePodIdentityAssociationInput{ClusterName: cluster, AssociationId: l.Associations[0].AssociationId}); err != nil {
		t.Error(err)
	}
}

// TestAddonRefusals: each leaves neither add-on nor association.
func TestAddonRefusals(t *testing.T) {
	type edit = func(*eks.CreateAddonInput)
	for _, tc := range []struct {
		name       string
		deny       string
		edit       edit
		code, text string
	}{
		{"may not create", "eks:CreateAddon", nil, "AccessDeniedException", "eks:CreateAddon"},
		{"may not associate", "eks:CreatePodIdentityAssociation", nil, "AccessDeniedException", "eks:CreatePodIdentityAssociation"},
		{"may not pass", "iam:PassRole", nil, "AccessDeniedException", "iam:PassRole"},
		{"no such role", "", func(in *eks.CreateAddonInput) {
			in.PodIdentityAssociations[0].RoleArn = aws.String("arn:aws:iam::123456789012:role/none")
		}, "InvalidParameterException", "Role provided in the request does not exist."},
		{"role of another account", "", func(in *eks.CreateAddonInput) {
			in.PodIdentityAssociations[0].RoleArn = aws.String("arn:aws:iam::222233334444:role/r")
		}, "AccessDeniedException", "Cross-account"},
		{"no such add-on", "", func(in *eks.CreateAddonInput) { in.AddonName = aws.String("nope") }, "InvalidParameterException", "not supported"},
		{"no such version", "", func(in *eks.CreateAddonInput) { in.AddonVersion = aws.String("v9") }, "InvalidParameterException", "Addon version specified is not supported"},
		{"service account of no add-on", "", func(in *eks.CreateAddonInput) { in.PodIdentityAssociations[0].ServiceAccount = aws.String("x") }, "InvalidParameterException", "Service account x in pod identity configuration is not supported for addon " + ebs},
		{"add-on without roles", "", func(in *eks.CreateAddonInput) { in.AddonName = aws.String("coredns") }, "InvalidParameterException", "Pod Identity feature is not supported for addon version"},
		{"twice", "", func(in *eks.CreateAddonInput) {
			in.PodIdentityAssociations = append(in.PodIdentityAssociations, in.PodIdentityAssociations[0])
		}, "InvalidParameterException", "twice"},
		{"conflicts", "", func(in *eks.CreateAddonInput) { in.ResolveConflicts = "MAYBE" }, "InvalidParameterException", "resolveConflicts"},
		{"no such cluster", "", func(in *eks.CreateAddonInput) { in.ClusterName = aws.String("nope") }, "ResourceNotFoundException", "No cluster found for name: nope."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, "my-cluster")
			c := newClient(t, f)
			in := ebsInput(roleARN)
			if tc.edit != nil {
				tc.edit(in)
			}
			f.rights.deny = tc.deny
			_, err := c.CreateAddon(t.Context(), in)
			wantAPIError(t, err, tc.code, tc.text)
			f.rights.deny = ""
			l, err := c.ListPodIdentityAssociations(t.Context(), &eks.ListPodIdentityAssociationsInput{ClusterName: aws.String("my-cluster")})
			if err != nil || len(l.Associations) != 0 {
				t.Errorf("left: %v %v", l, err)
			}
			ads, err := c.ListAddons(t.Context(), &eks.ListAddonsInput{ClusterName: aws.String("my-cluster")})
			if err != nil || len(ads.Addons) != 0 {
				t.Errorf("left: %v %v", ads, err)
			}
		})
	}
}

// TestAddonTakenAccount: the service account has an association already; the
// add-on is not made, and the association stays whose it is.
func TestAddonTakenAccount(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c := newClient(t, f)
	in := createInput(ebsSA)
	in.Namespace = aws.String("kube-system")
	if _, err := c.CreatePodIdentityAssociation(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	_, err := c.CreateAddon(t.Context(), ebsInput(roleARN))
	wantAPIError(t, err, "ResourceInUseException", "Association already exists: a-")
	if l, err := c.ListAddons(t.Context(), &eks.ListAddonsInput{ClusterName: aws.String("my-cluster")}); err != nil || len(l.Addons) != 0 {
		t.Errorf("%v %v", l, err)
	}
}

// TestAddonChangesAreAsked: whoever may change add-ons alone changes no
// association.
func TestAddonChangesAreAsked(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c, cluster := newClient(t, f), aws.String("my-cluster")
	if _, err := c.CreateAddon(t.Context(), ebsInput(roleARN)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		deny  string
		roles []types.AddonPodIdentityAssociations
	}{
		{"eks:DeletePodIdentityAssociation", []types.AddonPodIdentityAssociations{}},
		{"eks:UpdatePodIdentityAssociation", []types.AddonPodIdentityAssociations{{ServiceAccount: aws.String(ebsSA), RoleArn: aws.String("arn:aws:iam::123456789012:role/other")}}},
		{"iam:PassRole", []types.AddonPodIdentityAssociations{{ServiceAccount: aws.String(ebsSA), RoleArn: aws.String("arn:aws:iam::123456789012:role/other")}}},
	} {
		f.rights.deny = tc.deny
		_, err := c.UpdateAddon(t.Context(), &eks.UpdateAddonInput{ClusterName: cluster, AddonName: aws.String(ebs), PodIdentityAssociations: tc.roles})
		wantAPIError(t, err, "AccessDeniedException", tc.deny)
	}
	f.rights.deny = "eks:DeletePodIdentityAssociation"
	_, err := c.DeleteAddon(t.Context(), &eks.DeleteAddonInput{ClusterName: cluster, AddonName: aws.String(ebs)})
	wantAPIError(t, err, "AccessDeniedException", "eks:DeletePodIdentityAssociation")
	f.rights.deny = ""
	if _, err := c.UpdateAddon(t.Context(), &eks.UpdateAddonInput{ClusterName: cluster, AddonName: aws.String(ebs), PodIdentityAssociations: []types.AddonPodIdentityAssociations{}}); err != nil {
		t.Fatal(err)
	}
	read, err := c.DescribeAddon(t.Context(), &eks.DescribeAddonInput{ClusterName: cluster, AddonName: aws.String(ebs)})
	if err != nil || len(read.Addon.PodIdentityAssociations) != 0 {
		t.Errorf("%v %v", read, err)
	}
}

// TestAgentAddon: the add-on of podid's agent is what was seen of it.
func TestAgentAddon(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c, cluster, name := newClient(t, f), aws.String("my-cluster"), aws.String("eks-pod-identity-agent")
	_, err := c.DescribeAddon(t.Context(), &eks.DescribeAddonInput{ClusterName: cluster, AddonName: name})
	wantAPIError(t, err, "ResourceNotFoundException", "No addon: eks-pod-identity-agent found in cluster: my-cluster")
	uid := f.uid(t, "my-cluster")
	f.seen.Good(store.Scope{Account: account, Region: region}, uid, roleARN)
	read, err := c.DescribeAddon(t.Context(), &eks.DescribeAddonInput{ClusterName: cluster, AddonName: name})
	if err != nil || read.Addon.Status != types.AddonStatusActive || len(read.Addon.Health.Issues) != 0 {
		t.Fatalf("%v %v", read, err)
	}
	l, err := c.ListAddons(t.Context(), &eks.ListAddonsInput{ClusterName: cluster})
	if err != nil || !slices.Equal(l.Addons, []string{*name}) {
		t.Errorf("%v %v", l, err)
	}
	_, err = c.DeleteAddon(t.Context(), &eks.DeleteAddonInput{ClusterName: cluster, AddonName: name})
	wantAPIError(t, err, "InvalidRequestException", "was not made by CreateAddon")
	f.seen.Refused(store.Scope{Account: account, Region: region}, uid, roleARN, "not authorized")
	read, err = c.DescribeAddon(t.Context(), &eks.DescribeAddonInput{ClusterName: cluster, AddonName: name})
	if err != nil || read.Addon.Status != types.AddonStatusDegraded || len(read.Addon.Health.Issues) != 1 || read.Addon.Health.Issues[0].Code != types.AddonIssueCodeAccessDenied {
		t.Errorf("%v %v", read, err)
	}
}

// TestCatalog: what eksctl and Terraform ask before they create.
func TestCatalog(t *testing.T) {
	f := newFixture(t, "my-cluster")
	c := newClient(t, f)
	v, err := c.DescribeClusterVersions(t.Context(), &eks.DescribeClusterVersionsInput{})
	if err != nil || len(v.ClusterVersions) == 0 {
		t.Fatalf("%v %v", v, err)
	}
	defaults := 0
	for _, x := range v.ClusterVersions {
		if x.DefaultVersion {
			defaults++
		}
		if x.ClusterVersion == nil || x.VersionStatus != types.VersionStatusStandardSupport || x.Status != types.ClusterVersionStatusStandardSupport {
			t.Errorf("%+v", x)
		}
	}
	if defaults != 1 {
		t.Errorf("%d default versions", defaults)
	}
	pages := eks.NewDescribeClusterVersionsPaginator(c, &eks.DescribeClusterVersionsInput{MaxResults: aws.Int32(2)})
	n := 0
	for pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(p.ClusterVersions)
	}
	if n != len(v.ClusterVersions) {
		t.Errorf("%d versions in pages, %d at once", n, len(v.ClusterVersions))
	}
	one, err := c.DescribeAddonVersions(t.Context(), &eks.DescribeAddonVersionsInput{AddonName: aws.String("vpc-cni"), KubernetesVersion: aws.String("1.34")})
	if err != nil || len(one.Addons) != 1 || one.Addons[0].AddonVersions[0].Compatibilities[0].DefaultVersion != true {
		t.Fatalf("%v %v", one, err)
	}
	conf, err := c.DescribeAddonConfiguration(t.Context(), &eks.DescribeAddonConfigurationInput{AddonName: aws.String("vpc-cni"), AddonVersion: one.Addons[0].AddonVersions[0].AddonVersion})
	if err != nil || *conf.PodIdentityConfiguration[0].ServiceAccount != "aws-node" || conf.PodIdentityConfiguration[0].RecommendedManagedPolicies[0] != "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy" {
		t.Errorf("%v %v", conf, err)
	}
	all := eks.NewDescribeAddonVersionsPaginator(c, &eks.DescribeAddonVersionsInput{MaxResults: aws.Int32(5)})
	var names []string
	for all.HasMorePages() {
		p, err := all.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range p.Addons {
			names = append(names, *a.AddonName)
		}
	}
	if !slices.IsSorted(names) || len(slices.Compact(names)) < 10 {
		t.Errorf("%v", names)
	}
	_, err = c.DescribeAddonConfiguration(t.Context(), &eks.DescribeAddonConfigurationInput{AddonName: aws.String("nope"), AddonVersion: aws.String("v1")})
	wantAPIError(t, err, "ResourceNotFoundException", "nope")
}
