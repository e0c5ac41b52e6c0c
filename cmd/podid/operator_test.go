// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
	"podid/internal/controlplane/controlplanetest"
)

// house is a control plane with two clusters that were registered as the CLI
// does, and the clients of their admin.
type house struct {
	*controlplanetest.ControlPlane
	admin    *clients.Clients
	clusters map[string]*controlplanetest.Cluster
	made     map[string]*setup.Registered
}

func newHouse(t *testing.T, passRoles ...string) *house {
	t.Helper()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	h := &house{ControlPlane: cp, clusters: map[string]*controlplanetest.Cluster{}, made: map[string]*setup.Registered{}}
	h.admin = clients.New(aws.Config{Region: controlplanetest.Region, BaseEndpoint: &cp.Endpoint, Credentials: cp.Admin, HTTPClient: cp.HTTP})
	for _, name := range []string{"one", "two"} {
		cl := cp.Issuer(name)
		made, err := setup.RegisterCluster(t.Context(), h.admin, setup.ClusterInput{Name: name, Issuer: cl.Issuer, JWKS: controlplanetest.JWKS(t, cl.Kid, cl.Key), PassRoles: passRoles})
		if err != nil {
			t.Fatal(err)
		}
		cl.Named(made.Cluster.UID, made.Cluster.ProviderArn)
		h.clusters[name], h.made[name] = cl, made
	}
	return h
}

// session is that of a service account of podid-system in a role, or an error.
func (h *house) session(cluster, serviceAccount, roleARN string) (aws.CredentialsProvider, error) {
	token := h.clusters[cluster].Token(controlplanetest.Pod{Namespace: "podid-system", ServiceAccount: serviceAccount, Audience: controlplanetest.NodeAudience})
	out, err := h.STS().AssumeRoleWithWebIdentity(context.Background(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: &roleARN, RoleSessionName: &serviceAccount, WebIdentityToken: &token})
	if err != nil {
		return nil, err
	}
	k := out.Credentials
	return credentials.NewStaticCredentialsProvider(*k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken), nil
}

// TestOperatorApart: agents exchange and change nothing; operators change the
// associations of their own cluster, with the roles that were named, and
// exchange nothing.
func TestOperatorApart(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "arn:aws:iam::111122223333:role/app-*")
	one, two := h.clusters["one"], h.clusters["two"]
	app, other := h.Role("app-a", one.PodTrust()), h.Role("other", one.PodTrust())
	one.Associate("s3-app-sa", app, nil)

	for name, c := range map[string]struct{ cluster, account, role string }{
		"agent as operator":             {"one", "podid-agent", h.made["one"].OperatorRoleARN},
		"operator as agent":             {"one", "podid-operator", h.made["one"].NodeRoleARN},
		"another's operator":            {"two", "podid-operator", h.made["one"].OperatorRoleARN},
		"other service account":         {"one", "podid", h.made["one"].OperatorRoleARN},
		"another's agent":               {"two", "podid-agent", h.made["one"].NodeRoleARN},
		"begins like it, but is longer": {"one", "podid-operator2", h.made["one"].OperatorRoleARN},
	} {
		if _, err := h.session(c.cluster, c.account, c.role); clients.Code(err) != "AccessDenied" {
			t.Errorf("%s: %v", name, err)
		}
	}
	operator, err := h.session("one", "podid-operator", h.made["one"].OperatorRoleARN)
	if err != nil {
		t.Fatal(err)
	}
	agent, err := h.session("one", "podid-agent", h.made["one"].NodeRoleARN)
	if err != nil {
		t.Fatal(err)
	}

	create := func(p aws.CredentialsProvider, cluster, account, role string) error {
		c := clients.New(aws.Config{Region: controlplanetest.Region, BaseEndpoint: &h.Endpoint, Credentials: p, HTTPClient: h.HTTP})
		_, err := c.EKS.CreatePodIdentityAssociation(t.Context(), &eks.CreatePodIdentityAssociationInput{
			ClusterName: &cluster, Namespace: aws.String("n"), ServiceAccount: &account, RoleArn: &role, Tags: map[string]string{"a": "b"},
		})
		return err
	}
	for _, c := range []struct {
		name          string
		who           aws.CredentialsProvider
		cluster, role string
		may           bool
	}{
		{"operator, role named", operator, "one", app, true},
		{"operator, role not named", operator, "one", other, false},
		{"operator, the operator's own role", operator, "one", h.made["one"].OperatorRoleARN, false},
		{"operator, another cluster", operator, "two", app, false},
		{"agent", agent, "one", app, false},
	} {
		if err := create(c.who, c.cluster, "sa", c.role); c.may != (err == nil) || !c.may && clients.Code(err) != "AccessDeniedException" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if a := one.Exchange(agent, one.Token(controlplanetest.Pod{})); a.Status != http.StatusOK {
		t.Errorf("the agent's exchange: %d %s", a.Status, a.Raw)
	}
	one.Exchange(operator, one.Token(controlplanetest.Pod{})).Want(t, http.StatusBadRequest, "AccessDeniedException", "")

	own := "/podid/v1/clusters/" + one.Name
	for _, c := range []struct {
		who          aws.CredentialsProvider
		method, path string
		status       int
	}{
		{operator, http.MethodGet, own + "/associations", http.StatusOK},
		{agent, http.MethodGet, own + "/associations", http.StatusOK},
		{operator, http.MethodGet, own, http.StatusOK},
		{operator, http.MethodPatch, own, http.StatusForbidden},
		{agent, http.MethodPatch, own, http.StatusForbidden},
		{operator, http.MethodGet, "/podid/v1/clusters/" + two.Name + "/associations", http.StatusForbidden},
		{agent, http.MethodGet, "/podid/v1/clusters/" + two.Name + "/associations", http.StatusForbidden},
	} {
		var body any
		if c.method == http.MethodPatch {
			body = map[string]any{"jwks": controlplanetest.JWKS(t, "mine", one.Key)}
		}
		if a, err := h.Call(t.Context(), c.who, "podid", c.method, c.path, body); err != nil || a.Status != c.status {
			t.Errorf("%s %s: %v %d %s, want %d", c.method, c.path, err, a.Status, a.Raw, c.status)
		}
	}

	// What was named can be looked at, and nothing else of IAM.
	reads := clients.New(aws.Config{Region: controlplanetest.Region, BaseEndpoint: &h.Endpoint, Credentials: operator, HTTPClient: h.HTTP})
	for role, may := range map[string]bool{"app-a": true, "other": false, setup.OperatorRoleName("one"): false} {
		if _, err := reads.IAM.GetRole(t.Context(), &iam.GetRoleInput{RoleName: &role}); may != (err == nil) {
			t.Errorf("GetRole %s: %v", role, err)
		}
	}
	if _, err := reads.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: aws.String(setup.OperatorRoleName("one")), PolicyName: aws.String("p"), PolicyDocument: aws.String("{}")}); err == nil || !strings.Contains(fmt.Sprint(err), "AccessDenied") {
		t.Errorf("the operator changes its own role: %v", err)
	}
}
