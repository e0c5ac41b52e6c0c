// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package homecluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/cli/clients"
	"podid/internal/cli/enrolment"
	"podid/internal/cli/kubeclient"
	"podid/internal/cli/setup"
	"podid/internal/controlplane/controlplanetest"
	"podid/internal/homecluster"
	"podid/internal/secret"
	"podid/internal/serverconfig"
)

// apiServer is a cluster's API server.
type apiServer struct {
	id   kubeclient.OpenID
	away error
	maps map[string]map[string]string

	secrets map[string]map[string][]byte
}

func (a *apiServer) OpenID(context.Context) (*kubeclient.OpenID, error) {
	id := a.id
	return &id, a.away
}
func (a *apiServer) Version(context.Context) (string, error) { return "1.34", a.away }
func (a *apiServer) CA() []byte                              { return nil }
func (a *apiServer) EnsureConfigMap(_ context.Context, namespace, name string, data map[string]string) (bool, error) {
	key := namespace + "/" + name
	if a.away != nil || maps.Equal(a.maps[key], data) {
		return false, a.away
	}
	a.maps[key] = data
	return true, nil
}

func (a *apiServer) Secret(_ context.Context, namespace, name string) (map[string][]byte, error) {
	return a.secrets[namespace+"/"+name], a.away
}

func (a *apiServer) EnsureSecret(_ context.Context, namespace, name string, data map[string][]byte) (bool, error) {
	if a.away == nil {
		a.secrets[namespace+"/"+name] = data
	}
	return true, a.away
}

// server is a control plane as homecluster sees it.
type server struct {
	cp  *controlplanetest.ControlPlane
	key error
	ca  string
}

func (s server) Endpoint() string { return s.cp.Endpoint }
func (s server) CAFile() string   { return s.ca }
func (s server) AdminKey() (string, secret.String, error) {
	return s.cp.AdminID, secret.New(s.cp.Secret), s.key
}

type home struct {
	*homecluster.Config
	t      *testing.T
	server *server
	api    *apiServer
	admin  *clients.Clients
	step   func(context.Context) error
}

func newHome(t *testing.T) *home {
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	h := &home{
		t: t, server: &server{cp: cp, ca: cp.CAFile},
		api:   &apiServer{maps: map[string]map[string]string{}, secrets: map[string]map[string][]byte{}, id: kubeclient.OpenID{Issuer: "https://kubernetes.default.svc", JWKS: controlplanetest.JWKS(t, "first", controlplanetest.NewKey(t))}},
		admin: clients.New(aws.Config{Region: controlplanetest.Region, BaseEndpoint: &cp.Endpoint, Credentials: cp.Admin, HTTPClient: cp.HTTP}),
	}
	h.Config = &homecluster.Config{
		Settings:     serverconfig.Config{RegisterCluster: "home", PublishCAConfigMap: "podid-ca", Region: controlplanetest.Region, OperatorPassRoles: []string{"arn:aws:iam::111122223333:role/app/*"}},
		ControlPlane: h.server, Kubernetes: h.api, Namespace: "podid-system", Log: slog.New(slog.DiscardHandler),
	}
	h.step = h.Keeper()
	return h
}

func (h *home) want(err error, text string) {
	h.t.Helper()
	if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
		h.t.Fatalf("got %v, want %q", err, text)
	}
}

func (h *home) keys() string {
	h.t.Helper()
	c, err := h.admin.Podid.DescribeCluster(h.t.Context(), "home")
	if err != nil {
		h.t.Fatal(err)
	}
	out := strings.Join(c.KeyIDs, " ") + " |"
	for _, k := range c.RetiredKeys {
		out += " " + k.KeyID
	}
	return out
}

func (h *home) role(name string) *setup.Role {
	h.t.Helper()
	r, err := setup.DescribeRole(h.t.Context(), h.admin, name)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// TestKeep: registered at the first step, mended at the first of the next
// process, and with the keys that the API server has.
func TestKeep(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	ctx := t.Context()
	h.api.away = errors.New("connection refused")
	h.want(h.step(ctx), "connection refused")
	h.api.away = nil
	h.server.key = errors.New("no active key")
	h.want(h.step(ctx), "no active key")
	h.server.key = nil
	h.want(h.step(ctx), "")
	if got := h.keys(); got != "first |" {
		t.Errorf("keys %q", got)
	}
	node, operator := h.role("podid-node-home"), h.role("podid-operator-home")
	if len(node.Inline) != 1 || len(node.Attached) != 1 || node.PermissionsBoundary == nil || len(operator.Inline) != 2 || !strings.Contains(operator.Trust, "system:serviceaccount:podid-system:podid-operator") {
		t.Errorf("node role %+v, operator role %+v", node, operator)
	}

	// The key is swapped: the old one is good for its tokens.
	h.api.id.JWKS = controlplanetest.JWKS(t, "second", controlplanetest.NewKey(t))
	h.want(h.step(ctx), "")
	h.want(h.step(ctx), "")
	if got := h.keys(); got != "second | first" {
		t.Errorf("keys after the swap %q", got)
	}

	// Another process, after somebody has taken things away, finds all again. What
	// the operator may pass stays where the settings do not say.
	if _, err := h.admin.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: operator.RoleName, PolicyName: aws.String("podid-operator")}); err != nil {
		t.Fatal(err)
	}
	if err := setup.DeleteRole(ctx, h.admin, node); err != nil {
		t.Fatal(err)
	}
	h.Settings.OperatorPassRoles = nil
	h.want(h.Keeper()(ctx), "")
	if got := h.role("podid-operator-home").Inline; fmt.Sprint(got) != "[podid-operator podid-operator-pass-role]" {
		t.Errorf("inline policies %v", got)
	}
	if got := h.role("podid-node-home"); len(got.Inline) != 1 || len(got.Attached) != 1 || got.PermissionsBoundary == nil {
		t.Errorf("node role %+v", got)
	}
	if got := h.keys(); got != "second | first" {
		t.Errorf("keys at the next start %q", got)
	}
}

// TestKeepAnew: a cluster that was deleted comes back as another one, whose
// roles trust it and not the one before.
func TestKeepAnew(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.want(h.step(t.Context()), "")
	before := h.role("podid-operator-home").Trust
	if _, err := h.admin.EKS.DeleteCluster(t.Context(), &eks.DeleteClusterInput{Name: aws.String("home")}); err != nil {
		t.Fatal(err)
	}
	h.api.id.JWKS = controlplanetest.JWKS(t, "second", controlplanetest.NewKey(t))
	h.want(h.step(t.Context()), "")
	c, err := h.admin.Podid.DescribeCluster(t.Context(), "home")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"podid-operator-home", "podid-node-home"} {
		if trust := h.role(name).Trust; trust == before || !strings.Contains(trust, c.UID) {
			t.Errorf("%s trusts %s", name, trust)
		}
	}
}

// TestEnrol: the Secret and the control plane end with the two halves of one
// key, whoever has changed either, and of the cluster that there is.
func TestEnrol(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	ctx := t.Context()
	h.Settings.EnrolmentSecret = enrolment.SecretName
	held := func() (keyID, uid string) {
		t.Helper()
		id, _, uid, err := enrolment.Read(h.api.secrets["podid-system/"+enrolment.SecretName][enrolment.SecretKey])
		if err != nil {
			t.Fatal(err)
		}
		return id, uid
	}
	agree := func(what string) string {
		t.Helper()
		for range 4 { // registers, enrols, finds it so
			h.want(h.step(ctx), "")
		}
		c, err := h.admin.Podid.DescribeCluster(ctx, "home")
		if err != nil {
			t.Fatal(err)
		}
		id, uid := held()
		if c.EnrolmentKeyID != id || c.UID != uid {
			t.Errorf("%s: the control plane has key %s of %s, the Secret %s of %s", what, c.EnrolmentKeyID, c.UID, id, uid)
		}
		return id
	}
	first := agree("at first")
	h.step = h.Keeper()
	if again := agree("at the next start"); again != first {
		t.Errorf("another start makes another key")
	}
	delete(h.api.secrets, "podid-system/"+enrolment.SecretName)
	h.step = h.Keeper()
	if again := agree("after the Secret was lost"); again == first {
		t.Errorf("a key that was lost is still the control plane's")
	}
	if _, err := h.admin.Podid.UpdateCluster(ctx, "home", clients.UpdateInput{NoEnrolmentKey: true}); err != nil {
		t.Fatal(err)
	}
	h.step = h.Keeper()
	agree("after the control plane's half was taken away")
	if _, err := h.admin.EKS.DeleteCluster(ctx, &eks.DeleteClusterInput{Name: aws.String("home")}); err != nil {
		t.Fatal(err)
	}
	h.api.id.JWKS = controlplanetest.JWKS(t, "third", controlplanetest.NewKey(t))
	agree("of a cluster made anew")
}

// TestKeepRefuses: what is another's is left alone.
func TestKeepRefuses(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.server.cp.Register("home", nil) // of another issuer
	h.want(h.step(t.Context()), "is registered with the issuer")
	h.Settings.RegisterCluster = "second"
	h.server.cp.Role("podid-operator-second", map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": map[string]string{"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole",
	}}})
	h.want(h.step(t.Context()), "role podid-operator-second was not made for cluster second")
}

func TestPublish(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	want, err := os.ReadFile(h.server.cp.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	published := func() string { return h.api.maps["podid-system/podid-ca"]["ca.crt"] }
	h.want(h.Publish(t.Context()), "")
	if published() != string(want) {
		t.Errorf("published %q", published())
	}
	delete(h.api.maps, "podid-system/podid-ca")
	h.want(h.Publish(t.Context()), "")
	if published() != string(want) {
		t.Error("not published again")
	}
	// A certificate from elsewhere: its CA lies beside it.
	dir := t.TempDir()
	h.server.ca, h.Settings.TLSCert = "", filepath.Join(dir, "tls.crt")
	h.want(h.Publish(t.Context()), "read the CA")
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.want(h.Publish(t.Context()), "")
	if published() != "other" {
		t.Errorf("published %q", published())
	}
}
