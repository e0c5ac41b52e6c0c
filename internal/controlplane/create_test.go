// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"podid/internal/controlplane/controlplanetest"
)

// TestTrustAtCreate: what is known is checked when an association is made or
// changed; a condition on what only a pod or the time decides passes then, and
// is held when the pod comes.
func TestTrustAtCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{Settings: map[string]string{"PODID_ORG_ID": "o-abcde12345"}})
	w.Role("trust", podTrust(nil))
	eq := func(key string, value any) object { return object{"StringEquals": object{key: value}} }
	past := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for name, tc := range map[string]struct {
		condition      object
		untagged       bool // disableSessionTags
		create, issued bool
	}{
		"none":                            {nil, false, true, true},
		"namespace":                       {eq("aws:RequestTag/kubernetes-namespace", "s3-app-ns"), false, true, true},
		"other namespace":                 {eq("aws:RequestTag/kubernetes-namespace", "prod"), false, false, false},
		"other service account":           {eq("aws:RequestTag/kubernetes-service-account", "x"), false, false, false},
		"other cluster":                   {eq("aws:RequestTag/eks-cluster-name", "x"), false, false, false},
		"pod name is not known yet":       {eq("aws:RequestTag/kubernetes-pod-name", "app1-v1-56b9f94b4-dvd5c"), false, true, true},
		"pod name of another":             {eq("aws:RequestTag/kubernetes-pod-name", "other"), false, true, false},
		"pod uid of another":              {eq("aws:RequestTag/kubernetes-pod-uid", "other"), false, true, false},
		"session name of another":         {object{"StringNotLike": object{"sts:RoleSessionName": "eks-*"}}, false, true, false},
		"time is over":                    {object{"DateLessThan": object{"aws:CurrentTime": past}}, false, true, false},
		"tags needed but disabled":        {eq("aws:RequestTag/kubernetes-namespace", "s3-app-ns"), true, false, false},
		"no tags needed":                  {eq("aws:SourceAccount", controlplanetest.Account), true, true, true},
		"other account":                   {eq("aws:SourceAccount", "444455556666"), false, false, false},
		"organization":                    {eq("aws:SourceOrgID", "o-abcde12345"), false, true, true},
		"organization of the role":        {eq("aws:SourceOrgID", "${aws:ResourceOrgID}"), false, true, true},
		"other organization":              {eq("aws:SourceOrgID", "o-other12345"), false, false, false},
		"two clusters in one policy":      {object{"ArnEquals": object{"aws:SourceArn": []string{w.cl.ARN() + "2", w.cl.ARN()}}}, false, true, true},
		"service principals have no tags": {eq("aws:PrincipalTag/team", "x"), false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w.Trust("trust", podTrust(tc.condition))
			id, err := createIn(w, "s3-app-ns", "trust", "", func(in *eks.CreatePodIdentityAssociationInput) {
				in.RoleArn, in.DisableSessionTags = aws.String(roleARN+"trust"), &tc.untagged
			})
			if !tc.create {
				wantAPIError(t, err, "InvalidParameterException", "Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue.")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "trust"})); (a.Status == 200) != tc.issued {
				t.Errorf("exchange: %d %s", a.Status, a.Raw)
			}
			if _, err := w.EKS().DeletePodIdentityAssociation(context.Background(), &eks.DeletePodIdentityAssociationInput{ClusterName: &w.cl.Name, AssociationId: &id}); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("fields", func(t *testing.T) { testUpdateFields(t, w) })
	t.Run("described as a native cluster", func(t *testing.T) { testDescribedCluster(t, w) })
	t.Run("IAM", func(t *testing.T) { testIAMBinds(t, w) })
}

// testUpdateFields: absent leaves, empty unsets, and what is not set is not
// in the answer.
func testUpdateFields(t *testing.T, w *world) {
	path := "/clusters/my-cluster/pod-identity-associations"
	a := rest(t, w.ControlPlane, w.Admin, "eks", http.MethodPost, path, object{"namespace": "fields", "serviceAccount": "sa", "roleArn": w.role})
	get := func(a controlplanetest.Answer) map[string]any {
		t.Helper()
		m, ok := a.Body["association"].(map[string]any)
		if a.Status != 200 || !ok {
			t.Fatalf("%d %s", a.Status, a.Raw)
		}
		return m
	}
	first := get(a)
	for _, absent := range []string{"targetRoleArn", "externalId", "policy", "ownerArn"} {
		if v, ok := first[absent]; ok {
			t.Errorf("%s is %v, want it absent", absent, v)
		}
	}
	if tags, ok := first["tags"].(map[string]any); !ok || len(tags) != 0 || first["disableSessionTags"] != false {
		t.Errorf("association %s", a.Raw)
	}
	id, _ := first["associationId"].(string)
	update := func(in object) controlplanetest.Answer {
		return rest(t, w.ControlPlane, w.Admin, "eks", http.MethodPost, path+"/"+id, in)
	}
	second := get(update(object{"targetRoleArn": roleARN + "t"}))
	if second["targetRoleArn"] != roleARN+"t" || second["externalId"] != "us-west-2/111122223333/my-cluster/fields/sa" || second["roleArn"] != w.role {
		t.Errorf("%v", second)
	}
	update(object{"policy": "{}"}).Want(t, 400, "InvalidParameterException", "")
	third := get(update(object{"disableSessionTags": true, "policy": controlplanetest.JSON(t, controlplanetest.Document(allow("s3:*", "*", nil)))}))
	if third["policy"] == nil || third["targetRoleArn"] != roleARN+"t" {
		t.Errorf("%v", third)
	}
	fourth := get(update(object{"targetRoleArn": "", "policy": ""}))
	for _, absent := range []string{"targetRoleArn", "externalId", "policy"} {
		if v, ok := fourth[absent]; ok {
			t.Errorf("%s is %v after it was unset", absent, v)
		}
	}
	update(object{}).Want(t, 400, "InvalidParameterException", "")
}

func testDescribedCluster(t *testing.T, w *world) {
	out, err := w.EKS().DescribeCluster(context.Background(), &eks.DescribeClusterInput{Name: &w.cl.Name})
	if err != nil {
		t.Fatal(err)
	}
	c := out.Cluster
	if c.ConnectorConfig != nil || c.Status != "ACTIVE" || *c.Arn != w.cl.ARN() || *c.Identity.Oidc.Issuer != controlplanetest.Issuer || c.CertificateAuthority == nil || c.Endpoint == nil {
		t.Errorf("%+v", c)
	}
}

// testIAMBinds: keys, boundaries and role tags count at once.
func testIAMBinds(t *testing.T, w *world) {
	ctx := context.Background()
	p := w.User("keyholder", controlplanetest.Document(allow("eks:*", "*", nil)))
	cred, err := p.Retrieve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	status := func(s types.StatusType) {
		t.Helper()
		if _, err := w.IAM().UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: aws.String("keyholder"), AccessKeyId: &cred.AccessKeyID, Status: s}); err != nil {
			t.Fatal(err)
		}
	}
	status(types.StatusTypeInactive)
	whoami(w.ControlPlane, p).Want(t, 403, "InvalidClientTokenId", badToken)
	status(types.StatusTypeActive)
	if a := whoami(w.ControlPlane, p); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
	if _, err := w.IAM().PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: aws.String("keyholder"), PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AmazonS3FullAccess")}); err != nil {
		t.Fatal(err)
	}
	rest(t, w.ControlPlane, p, "eks", http.MethodGet, "/clusters", nil).Want(t, 403, "AccessDeniedException",
		"User: arn:aws:iam::111122223333:user/keyholder is not authorized to perform: eks:ListClusters on resource: * because no permissions boundary allows the eks:ListClusters action")
	if _, err := w.IAM().DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: aws.String("keyholder"), AccessKeyId: &cred.AccessKeyID}); err != nil {
		t.Fatal(err)
	}
	whoami(w.ControlPlane, p).Want(t, 403, "InvalidClientTokenId", badToken)

	// A session tag goes before a tag of the role.
	if _, err := w.IAM().TagRole(ctx, &iam.TagRoleInput{RoleName: aws.String("trust"), Tags: []types.Tag{
		{Key: aws.String("kubernetes-namespace"), Value: aws.String("prod")}, {Key: aws.String("stage"), Value: aws.String("dev")},
	}}); err != nil {
		t.Fatal(err)
	}
	w.Trust("trust", podTrust(object{"StringEquals": object{"aws:ResourceTag/stage": "dev", "iam:ResourceTag/stage": "dev"}}))
	w.RolePolicy("trust", controlplanetest.Document(
		allow("eks:ListClusters", "*", object{"StringEquals": object{"aws:PrincipalTag/kubernetes-namespace": "s3-app-ns", "aws:PrincipalTag/stage": "dev"}})))
	w.cl.Associate("trust", roleARN+"trust", nil)
	pods := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "trust"})).Credentials(t)
	if a := rest(t, w.ControlPlane, pods, "eks", http.MethodGet, "/clusters", nil); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
	if _, err := w.IAM().PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String("trust"), PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AmazonS3FullAccess")}); err != nil {
		t.Fatal(err)
	}
	rest(t, w.ControlPlane, pods, "eks", http.MethodGet, "/clusters", nil).Want(t, 403, "AccessDeniedException", "")
}
