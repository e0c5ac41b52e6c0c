// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplanetest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/go-jose/go-jose/v4"

	"podid/internal/jwt/jwttest"
)

// Issuer is kubeadm's default, which every cluster has unless it was changed.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// Audiences of tokens.
const (
	PodAudience  = "pods.eks.amazonaws.com"
	NodeAudience = "podid.dev/control-plane"
)

// Cluster is a registered cluster whose issuer key the test holds.
type Cluster struct {
	Name, UID, ProviderARN, ProviderHost string

	Issuer string
	Key    *rsa.PrivateKey
	Kid    string
	cp     *ControlPlane
}

// NewKey makes an issuer key.
func NewKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// JWKS is the key set of a key.
func JWKS(tb testing.TB, kid string, key *rsa.PrivateKey) json.RawMessage {
	tb.Helper()
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: kid, Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Register registers a cluster with a key of its own under the common issuer.
// settings are further members of the request (nodeBinding …).
func (c *ControlPlane) Register(name string, settings map[string]any) *Cluster {
	c.tb.Helper()
	out := c.Issuer(name)
	in := map[string]any{"name": name, "issuer": Issuer, "jwks": JWKS(c.tb, out.Kid, out.Key)}
	for k, v := range settings {
		in[k] = v
	}
	a, err := c.Call(context.Background(), c.Admin, "podid", http.MethodPost, "/podid/v1/clusters", in)
	if err != nil || a.Status != http.StatusOK {
		c.tb.Fatalf("register cluster: %v, %d %s", err, a.Status, a.Raw)
	}
	cl, ok := a.Body["cluster"].(map[string]any)
	if !ok {
		c.tb.Fatalf("register cluster: answer %s has no cluster", a.Raw)
	}
	uid, _ := cl["uid"].(string)
	provider, _ := cl["providerArn"].(string)
	out.Named(uid, provider)
	return out
}

// Issuer is a cluster of the common issuer that is yet to be registered, by
// another way than Register: Named tells what came of it.
func (c *ControlPlane) Issuer(name string) *Cluster {
	c.tb.Helper()
	return &Cluster{Name: name, Issuer: Issuer, Key: NewKey(c.tb), Kid: name + "-key", cp: c}
}

// Named says what the control plane calls the cluster.
func (cl *Cluster) Named(uid, providerARN string) {
	cl.UID, cl.ProviderARN = uid, providerARN
	_, cl.ProviderHost, _ = strings.Cut(providerARN, ":oidc-provider/")
}

// Pod says whose token to mint. Zero fields have defaults of a good token.
type Pod struct {
	Namespace, ServiceAccount, Name, UID, Node, NodeUID string
	Audience, Issuer                                    string
	Issued                                              time.Time
	Life                                                time.Duration
	NoNode                                              bool
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Claims are the claims of the pod's token.
func (cl *Cluster) Claims(p Pod) map[string]any {
	if p.Issued.IsZero() {
		p.Issued = cl.cp.now()
	}
	if p.Life == 0 {
		p.Life = 24 * time.Hour
	}
	ns, sa, pod := or(p.Namespace, "s3-app-ns"), or(p.ServiceAccount, "s3-app-sa"), or(p.Name, "app1-v1-56b9f94b4-dvd5c")
	k8s := map[string]any{
		"namespace":      ns,
		"pod":            map[string]string{"name": pod, "uid": or(p.UID, "0b1c2d3e-0000-4000-8000-1234567890ab")},
		"serviceaccount": map[string]string{"name": sa, "uid": "5a5a5a5a-0000-4000-8000-1234567890ab"},
	}
	if !p.NoNode {
		k8s["node"] = map[string]string{"name": or(p.Node, "node-1"), "uid": or(p.NodeUID, or(p.Node, "node-1")+"-uid")}
	}
	return map[string]any{
		"aud": []string{or(p.Audience, PodAudience)}, "iss": or(p.Issuer, cl.Issuer), "sub": "system:serviceaccount:" + ns + ":" + sa,
		"iat": p.Issued.Unix(), "nbf": p.Issued.Unix(), "exp": p.Issued.Add(p.Life).Unix(), "jti": rand.Text(), "kubernetes.io": k8s,
	}
}

// Token mints the pod's token.
func (cl *Cluster) Token(p Pod) string { return cl.Sign(cl.Claims(p)) }

// Sign signs claims with the cluster's key.
func (cl *Cluster) Sign(claims map[string]any) string {
	cl.cp.tb.Helper()
	return jwttest.Sign(cl.cp.tb, jose.RS256, jose.JSONWebKey{Key: cl.Key, KeyID: cl.Kid}, nil, []byte(JSON(cl.cp.tb, claims)))
}

// NodeRole makes the cluster's node role, as `podid register cluster` does,
// and returns its ARN.
func (cl *Cluster) NodeRole() string {
	cl.cp.tb.Helper()
	trust := map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": map[string]string{"Federated": cl.ProviderARN}, "Action": "sts:AssumeRoleWithWebIdentity",
		"Condition": map[string]any{"StringEquals": map[string]string{
			cl.ProviderHost + ":sub": "system:serviceaccount:podid-system:podid-agent", cl.ProviderHost + ":aud": NodeAudience,
		}},
	}}}
	return cl.cp.Role("podid-node-"+cl.Name, trust, "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")
}

// Role makes a role with a trust policy and attached policies.
func (c *ControlPlane) Role(name string, trust any, policies ...string) string {
	c.tb.Helper()
	text, err := json.Marshal(trust)
	if err != nil {
		c.tb.Fatal(err)
	}
	ctx := context.Background()
	out, err := c.IAM().CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(string(text))})
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, p := range policies {
		if _, err := c.IAM().AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: aws.String(p)}); err != nil {
			c.tb.Fatal(err)
		}
	}
	return *out.Role.Arn
}

// PodTrust is the textbook trust policy for pods of a cluster.
func (cl *Cluster) PodTrust() map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Principal": map[string]string{"Service": PodAudience}, "Action": []string{"sts:AssumeRole", "sts:TagSession"},
		"Condition": map[string]any{
			"StringEquals": map[string]string{"aws:SourceAccount": cl.cp.AccountID},
			"ArnEquals":    map[string]string{"aws:SourceArn": cl.ARN()},
		},
	}}}
}

// ARN is the cluster's ARN.
func (cl *Cluster) ARN() string {
	return "arn:aws:eks:" + Region + ":" + cl.cp.AccountID + ":cluster/" + cl.Name
}

// Node returns the credentials of the agent on a node: a session of the node
// role, got with the agent's own token.
func (cl *Cluster) Node(roleARN, nodeName string) aws.CredentialsProvider {
	cl.cp.tb.Helper()
	token := cl.Token(Pod{Namespace: "podid-system", ServiceAccount: "podid-agent", Name: "podid-agent-x", Node: nodeName, Audience: NodeAudience})
	out, err := cl.cp.STS().AssumeRoleWithWebIdentity(context.Background(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: &roleARN, RoleSessionName: &nodeName, WebIdentityToken: &token,
	})
	if err != nil {
		cl.cp.tb.Fatal(err)
	}
	k := out.Credentials
	return credentials.NewStaticCredentialsProvider(*k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken)
}

// Exchange calls AssumeRoleForPodIdentity.
func (cl *Cluster) Exchange(p aws.CredentialsProvider, token string) Answer {
	cl.cp.tb.Helper()
	a, err := cl.cp.Call(context.Background(), p, "eks-auth", http.MethodPost, "/clusters/"+cl.Name+"/assume-role-for-pod-identity", map[string]string{"token": token})
	if err != nil {
		cl.cp.tb.Fatal(err)
	}
	return a
}
