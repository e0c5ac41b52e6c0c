// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"podid/internal/controlplane/controlplanetest"
)

// plainTrust is a trust policy as IRSA writes it: by the plain issuer.
func plainTrust(sa string) map[string]any {
	host := strings.TrimPrefix(controlplanetest.Issuer, "https://")
	return controlplanetest.Document(object{
		"Effect": "Allow", "Principal": object{"Federated": "arn:aws:iam::111122223333:oidc-provider/" + host}, "Action": "sts:AssumeRoleWithWebIdentity",
		"Condition": object{"StringEquals": object{host + ":sub": "system:serviceaccount:s3-app-ns:" + sa, host + ":aud": "sts.amazonaws.com"}},
	})
}

// providerTrust is the same by the provider that stands for one cluster.
func providerTrust(cl *controlplanetest.Cluster, sa string) map[string]any {
	return controlplanetest.Document(object{
		"Effect": "Allow", "Principal": object{"Federated": cl.ProviderARN}, "Action": "sts:AssumeRoleWithWebIdentity",
		"Condition": object{"StringEquals": object{cl.ProviderHost + ":sub": "system:serviceaccount:s3-app-ns:" + sa, cl.ProviderHost + ":aud": "sts.amazonaws.com"}},
	})
}

// webIdentity exchanges a token by AssumeRoleWithWebIdentity.
func webIdentity(cp *controlplanetest.ControlPlane, role, token string) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	return cp.STS().AssumeRoleWithWebIdentity(context.Background(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: &role, RoleSessionName: aws.String("app"), WebIdentityToken: &token,
	})
}

// wantAPIError fails the test unless err is that exception with that text in
// its message.
func wantAPIError(t *testing.T, err error, code, message string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("got %v, want %s with %q", err, code, message)
	}
}

// TestTwoClusters: two clusters, one issuer, other keys; no token and no
// session of one is good for the other.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	a, b := w.cl, w.Register("other", nil)
	if a.UID == b.UID || a.ProviderARN == b.ProviderARN || a.Issuer != b.Issuer {
		t.Fatalf("clusters %+v and %+v", a, b)
	}
	roleB := w.Role("of-b", b.PodTrust())
	b.Associate("s3-app-sa", roleB, nil)
	nodeB := b.Node(b.NodeRole(), "node-1")

	a.Exchange(w.node, a.Token(pod{})).Credentials(t)
	b.Exchange(nodeB, b.Token(pod{})).Credentials(t)
	t.Run("token of A at B", func(t *testing.T) {
		b.Exchange(nodeB, a.Token(pod{})).Want(t, 400, "InvalidTokenException", "")
	})
	t.Run("token of A at B under B's key id", func(t *testing.T) {
		forged := *a
		forged.Kid = b.Kid
		b.Exchange(nodeB, forged.Token(pod{})).Want(t, 400, "InvalidTokenException", "Signature of the token is not valid")
	})
	t.Run("node of A at B", func(t *testing.T) {
		b.Exchange(w.node, b.Token(pod{})).Want(t, 400, "AccessDeniedException", "The caller's node belongs to another cluster than the pod.")
		if got := w.LastReason("AssumeRoleForPodIdentity"); got != "node-other-cluster" {
			t.Errorf("reason %q", got)
		}
	})
	t.Run("role of B associated in A", func(t *testing.T) {
		ns, sa := "s3-app-ns", "wrong-cluster"
		_, err := w.EKS().CreatePodIdentityAssociation(context.Background(), &eks.CreatePodIdentityAssociationInput{ClusterName: &a.Name, Namespace: &ns, ServiceAccount: &sa, RoleArn: &roleB})
		wantAPIError(t, err, "InvalidParameterException", "Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue.")
	})
	t.Run("node role", func(t *testing.T) {
		token := b.Token(pod{Namespace: "podid-system", ServiceAccount: "podid-agent", Audience: controlplanetest.NodeAudience})
		_, err := webIdentity(w.ControlPlane, w.nodeRole, token)
		wantAPIError(t, err, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	})
	// Last: it deletes B.
	t.Run("web identity", func(t *testing.T) { testWebIdentityClusters(t, w, a, b) })
}

func testWebIdentityClusters(t *testing.T, w *world, a, b *controlplanetest.Cluster) {
	own := w.Role("web-a", providerTrust(a, "web"))
	plain := w.Role("web-plain", plainTrust("web"))
	irsa := pod{ServiceAccount: "web", Audience: "sts.amazonaws.com"}
	if _, err := webIdentity(w.ControlPlane, own, a.Token(irsa)); err != nil {
		t.Errorf("own provider: %v", err)
	}
	_, err := webIdentity(w.ControlPlane, own, b.Token(irsa))
	wantAPIError(t, err, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	for name, cl := range map[string]*controlplanetest.Cluster{"A": a, "B": b} {
		_, err := webIdentity(w.ControlPlane, plain, cl.Token(irsa))
		wantAPIError(t, err, "AccessDenied", "several clusters of the account share the issuer "+controlplanetest.Issuer)
		if err != nil && !strings.Contains(err.Error(), cl.ProviderARN) {
			t.Errorf("%s: the refusal does not name the provider to use: %v", name, err)
		}
		if got := w.LastReason("AssumeRoleWithWebIdentity"); got != "issuer-shared" {
			t.Errorf("%s: reason %q", name, got)
		}
	}
	// Alone again, the plain issuer is A.
	if _, err := w.EKS().DeleteCluster(context.Background(), &eks.DeleteClusterInput{Name: &b.Name}); err != nil {
		t.Fatal(err)
	}
	if _, err := webIdentity(w.ControlPlane, plain, a.Token(irsa)); err != nil {
		t.Errorf("plain issuer of one cluster: %v", err)
	}
	_, err = webIdentity(w.ControlPlane, plain, b.Token(irsa))
	wantAPIError(t, err, "InvalidIdentityToken", "")
}

// TestReregistered: a cluster of a deleted one's name inherits nothing.
func TestReregistered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	ctx, old, oldToken := context.Background(), w.cl, w.cl.Token(pod{})
	old.Exchange(w.node, oldToken).Credentials(t)
	id := listAssociations(t, w.EKS(), old.Name)[0]
	if _, err := w.EKS().DeleteCluster(ctx, &eks.DeleteClusterInput{Name: &old.Name}); err != nil {
		t.Fatal(err)
	}
	old.Exchange(w.node, oldToken).Want(t, 404, "ResourceNotFoundException", "No cluster found for name: my-cluster.")
	neu := w.Register("my-cluster", nil)
	if neu.UID == old.UID {
		t.Fatal("the unique id came back")
	}
	if got := listAssociations(t, w.EKS(), neu.Name); len(got) != 0 {
		t.Errorf("associations %v came along", got)
	}
	_, err := w.EKS().DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: &neu.Name, AssociationId: &id})
	wantAPIError(t, err, "ResourceNotFoundException", "")
	neu.Associate("s3-app-sa", w.role, nil)
	neu.Exchange(w.node, oldToken).Want(t, 400, "InvalidTokenException", "")
	neu.Exchange(w.node, neu.Token(pod{})).Want(t, 400, "AccessDeniedException", "The caller's node belongs to another cluster than the pod.")
	_, err = webIdentity(w.ControlPlane, w.nodeRole, neu.Token(pod{Namespace: "podid-system", ServiceAccount: "podid-agent", Audience: controlplanetest.NodeAudience}))
	wantAPIError(t, err, "AccessDenied", "") // the old node role trusts the old provider

	t.Run("keys rotate by update", func(t *testing.T) { testKeyRotation(t, w, neu) })
}

func testKeyRotation(t *testing.T, w *world, cl *controlplanetest.Cluster) {
	key := controlplanetest.NewKey(t)
	next := *cl
	next.Key, next.Kid = key, "next"
	cl.Exchange(w.Admin, next.Token(pod{NoNode: true})).Want(t, 400, "InvalidTokenException", "")
	merge := func(sets ...json.RawMessage) object {
		var keys []any
		for _, s := range sets {
			var set struct{ Keys []any }
			if err := json.Unmarshal(s, &set); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, set.Keys...)
		}
		return object{"keys": keys}
	}
	oldSet, newSet := controlplanetest.JWKS(t, cl.Kid, cl.Key), controlplanetest.JWKS(t, "next", key)
	patch := func(jwks any) {
		t.Helper()
		if a := rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPatch, "/podid/v1/clusters/"+cl.Name, object{"jwks": jwks}); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Raw)
		}
	}
	patch(merge(oldSet, newSet))
	cl.Exchange(w.Admin, next.Token(pod{NoNode: true})).Credentials(t)
	cl.Exchange(w.Admin, cl.Token(pod{NoNode: true})).Credentials(t)
	patch(newSet)
	cl.Exchange(w.Admin, next.Token(pod{NoNode: true})).Credentials(t)
	cl.Exchange(w.Admin, cl.Token(pod{NoNode: true})).Want(t, 400, "InvalidTokenException", "")
}

func listAssociations(t *testing.T, c *eks.Client, cluster string) []string {
	t.Helper()
	out, err := c.ListPodIdentityAssociations(context.Background(), &eks.ListPodIdentityAssociationsInput{ClusterName: &cluster})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, a := range out.Associations {
		ids = append(ids, *a.AssociationId)
	}
	return ids
}
