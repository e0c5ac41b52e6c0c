// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"podid/internal/cluster"
	"podid/internal/controlplane/controlplanetest/roomstest"
	"podid/internal/fault"
	"podid/internal/reqctx"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/sts"
)

const agentSubject = "system:serviceaccount:s3-app-ns:s3-app-sa"

// federated is a trust policy for a provider's tokens of the agent.
func federated(provider, host, aud string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":"sts:AssumeRoleWithWebIdentity",` +
		`"Condition":{"StringEquals":{"` + host + `:sub":"` + agentSubject + `","` + host + `:aud":"` + aud + `"}}}}`
}

func ofCluster(c *roomstest.Cluster) string {
	return federated(c.ProviderARN(), c.ProviderHost(), sts.AudienceControlPlane)
}

func ofIssuer(aud string) string {
	host := strings.TrimPrefix(roomstest.Issuer, "https://")
	return federated("arn:aws:iam::"+roomstest.Account+":oidc-provider/"+host, host, aud)
}

func web(roleARN, token string) sts.WebIdentityInput {
	return sts.WebIdentityInput{RoleARN: roleARN, SessionName: "node-1", Token: token}
}

func TestWebIdentity(t *testing.T) {
	w := roomstest.New(t)
	c := w.Cluster("my-cluster", nil)
	own := w.Role("own", ofCluster(c), "", nil)
	plain := w.Role("plain", ofIssuer(sts.AudienceSTS), "", nil)
	good := c.Claims(sts.AudienceControlPlane)
	token := c.Sign(good)
	with := func(audiences []string, change func(claims map[string]any)) string {
		claims := c.Claims(audiences...)
		if change != nil {
			change(claims)
		}
		return c.Sign(claims)
	}
	agent := []string{sts.AudienceControlPlane}
	for _, tc := range []struct {
		name   string
		in     sts.WebIdentityInput
		kind   fault.Kind
		reason string // "" = allowed
	}{
		{"the agent by the cluster's own provider", web(own.ARN(), token), 0, ""},
		{"IRSA by the plain issuer", web(plain.ARN(), with([]string{sts.AudienceSTS}, nil)), 0, ""},
		{"the agent where IRSA is trusted", web(plain.ARN(), token), fault.AccessDenied, "trust-policy-denied"},
		{"IRSA where the agent is trusted", web(own.ARN(), with([]string{sts.AudienceSTS}, nil)), fault.AccessDenied, "trust-policy-denied"},
		{"a pod's token for EKS Auth", web(own.ARN(), with([]string{"pods.eks.amazonaws.com"}, nil)), fault.InvalidToken, "token-audience"},
		{"for EKS Auth and the control plane", web(own.ARN(), with([]string{"pods.eks.amazonaws.com", sts.AudienceControlPlane}, nil)), fault.InvalidToken, "token-audience"},
		{"for the control plane and EKS Auth", web(own.ARN(), with([]string{sts.AudienceControlPlane, "pods.eks.amazonaws.com"}, nil)), fault.InvalidToken, "token-audience"},
		{"for the API server", web(own.ARN(), with([]string{"https://kubernetes.default.svc"}, nil)), fault.InvalidToken, "token-audience"},
		{"another subject", web(own.ARN(), with(agent, func(m map[string]any) {
			m["sub"] = "system:serviceaccount:s3-app-ns:other"
			m["kubernetes.io"].(map[string]any)["serviceaccount"] = map[string]any{"name": "other", "uid": "x"}
		})), fault.AccessDenied, "trust-policy-denied"},
		{"subject against its claims", web(own.ARN(), with(agent, func(m map[string]any) { m["sub"] = "system:serviceaccount:s3-app-ns:other" })), fault.InvalidToken, "token-subject"},
		{"expired", web(own.ARN(), with(agent, func(m map[string]any) {
			m["iat"], m["nbf"], m["exp"] = w.Now().Add(-2*time.Hour).Unix(), w.Now().Add(-2*time.Hour).Unix(), w.Now().Add(-61*time.Second).Unix()
		})), fault.ExpiredToken, "token-expired"},
		{"unknown issuer", web(own.ARN(), with(agent, func(m map[string]any) { m["iss"] = "https://elsewhere" })), fault.InvalidToken, "token-issuer"},
		{"no issuer", web(own.ARN(), with(agent, func(m map[string]any) { delete(m, "iss") })), fault.InvalidToken, "token-malformed"},
		{"no token", web(own.ARN(), "abcd"), fault.InvalidToken, "token-malformed"},
		{"token of 3", web(own.ARN(), "abc"), fault.InvalidParameter, "invalid-parameter"},
		{"token of 20001", web(own.ARN(), strings.Repeat("a", 20001)), fault.InvalidParameter, "invalid-parameter"},
		{"token of 20000", web(own.ARN(), strings.Repeat("a", 20000)), fault.InvalidToken, "token-malformed"},
		{"tampered", web(own.ARN(), token[:len(token)-10]+"AAAAAAAAAA"), fault.InvalidToken, "token-signature"},
		{"no such role", web(own.ARN()+"x", token), fault.AccessDenied, "role-not-found"},
		{"role of another path", web(strings.Replace(own.ARN(), "role/", "role/a/", 1), token), fault.AccessDenied, "role-not-found"},
		{"no role ARN", web("arn:aws:iam::111122223333:user/own", token), fault.InvalidParameter, "invalid-parameter"},
		{"bad session name", sts.WebIdentityInput{RoleARN: own.ARN(), SessionName: "a/b", Token: token}, fault.InvalidParameter, "invalid-parameter"},
		{"duration below", sts.WebIdentityInput{RoleARN: own.ARN(), SessionName: "ab", Token: token, Duration: 899}, fault.InvalidParameter, "invalid-parameter"},
		{"duration above the role's", sts.WebIdentityInput{RoleARN: own.ARN(), SessionName: "ab", Token: token, Duration: 3601}, fault.InvalidParameter, "invalid-parameter"},
		{"session policy broken", sts.WebIdentityInput{RoleARN: own.ARN(), SessionName: "ab", Token: token, Policy: "{"}, fault.MalformedPolicy, "malformed-policy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := w.STS.AssumeRoleWithWebIdentity(bg, tc.in)
			if tc.reason == "" {
				if err != nil {
					t.Fatalf("%v: %+v", err, fault.As(err).Detail)
				}
				if want := (session.Node{ClusterUID: c.UID, Name: "node-1", UID: "node-1-uid"}); out.Session.Node != want {
					t.Errorf("node %+v, want %+v", out.Session.Node, want)
				}
				if out.Subject != agentSubject || out.Session.FederatedProvider != out.Provider || out.Session.Chained || out.Audience == "" || len(out.Session.Tags) != 0 {
					t.Errorf("%+v", out)
				}
				return
			}
			f := fault.As(err)
			if f.Kind != tc.kind || f.Reason != tc.reason {
				t.Errorf("%d %q (%v), want %d %q", f.Kind, f.Reason, err, tc.kind, tc.reason)
			}
			if strings.Contains(f.Error(), token) {
				t.Error("the refusal holds the token")
			}
		})
	}
}

// An issuer URL identifies no cluster: with two of one issuer every cross use
// is refused.
func TestTwoClustersOneIssuer(t *testing.T) {
	w := roomstest.New(t)
	a, b := w.Cluster("a", nil), w.Cluster("b", nil)
	roleA, roleB := w.Role("role-a", ofCluster(a), "", nil), w.Role("role-b", ofCluster(b), "", nil)
	plain := w.Role("plain", ofIssuer(sts.AudienceControlPlane), "", nil)
	tokenA, tokenB := a.Sign(a.Claims(sts.AudienceControlPlane)), b.Sign(b.Claims(sts.AudienceControlPlane))
	for _, c := range []struct {
		name, role, token, uid, reason string
	}{
		{"a in a", roleA.ARN(), tokenA, a.UID, ""},
		{"b in b", roleB.ARN(), tokenB, b.UID, ""},
		{"a in b", roleB.ARN(), tokenA, "", "trust-policy-denied"},
		{"b in a", roleA.ARN(), tokenB, "", "trust-policy-denied"},
		{"a by the shared issuer", plain.ARN(), tokenA, "", "issuer-shared"},
		{"b by the shared issuer", plain.ARN(), tokenB, "", "issuer-shared"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := w.STS.AssumeRoleWithWebIdentity(bg, web(c.role, c.token))
			if c.reason == "" {
				if err != nil || out.Session.Node.ClusterUID != c.uid {
					t.Errorf("%+v, %v", out, err)
				}
				return
			}
			f := fault.As(err)
			if f.Kind != fault.AccessDenied || f.Reason != c.reason {
				t.Errorf("%d %q (%v)", f.Kind, f.Reason, err)
			}
			if c.reason == "issuer-shared" && (!strings.Contains(f.Message, roomstest.Issuer) || !strings.Contains(f.Message, ":oidc-provider/clusters.podid.dev/")) {
				t.Errorf("the refusal does not say why: %s", f.Message)
			}
		})
	}
	// When the other cluster is gone, the issuer names one again.
	w.Update(func(tx *store.Tx) { cluster.Clusters.Delete(tx, b.Scope(), "b") })
	if _, err := w.STS.AssumeRoleWithWebIdentity(bg, web(plain.ARN(), tokenA)); err != nil {
		t.Errorf("alone: %v", err)
	}
	_, err := w.STS.AssumeRoleWithWebIdentity(bg, web(roleB.ARN(), tokenB))
	if f := fault.As(err); f.Kind != fault.InvalidToken || f.Reason != "token-signature" {
		t.Errorf("the token of a cluster that is gone: %d %q", f.Kind, f.Reason)
	}
}

func TestSameIssuerSameKeys(t *testing.T) {
	w := roomstest.New(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := w.ClusterWithKey("a", key, nil)
	w.ClusterWithKey("b", key, nil)
	_, err = w.STS.AssumeRoleWithWebIdentity(bg, web(w.Role("r", ofCluster(a), "", nil).ARN(), a.Sign(a.Claims(sts.AudienceControlPlane))))
	if f := fault.As(err); f.Kind != fault.IdPRejected || f.Reason != "token-cluster-ambiguous" || !strings.Contains(f.Message, "same keys") {
		t.Errorf("%d %q %s", f.Kind, f.Reason, f.Message)
	}
}

// A cluster that is deleted and registered again is another cluster: its
// provider has another name.
func TestClusterRegisteredAgain(t *testing.T) {
	w := roomstest.New(t)
	old := w.Cluster("my-cluster", nil)
	role := w.Role("r", ofCluster(old), "", nil)
	again := w.ClusterWithKey("my-cluster", old.Key, func(c *cluster.Cluster) { c.UID = strings.Repeat("f", 32) })
	_, err := w.STS.AssumeRoleWithWebIdentity(bg, web(role.ARN(), again.Sign(again.Claims(sts.AudienceControlPlane))))
	if f := fault.As(err); f.Kind != fault.AccessDenied || f.Reason != "trust-policy-denied" {
		t.Errorf("%d %q", f.Kind, f.Reason)
	}
}

// The node of an agent's session stays through chaining, and one without a
// node claim still names its cluster.
func TestNodeFields(t *testing.T) {
	w := roomstest.New(t)
	c := w.Cluster("my-cluster", nil)
	role := w.Role("first", ofCluster(c), roomstest.AllowAll, nil)
	claims := c.Claims(sts.AudienceControlPlane)
	out, err := w.STS.AssumeRoleWithWebIdentity(bg, web(role.ARN(), c.Sign(claims)))
	if err != nil {
		t.Fatal(err)
	}
	caller := w.Session(role, func(s *session.Session) { *s = *out.Session })
	next, err := w.STS.AssumeRole(bg, caller, input(w.Role("second", trustAccount, "", nil)))
	if err != nil || next.Session.Node != out.Session.Node || next.Session.Node.IsZero() {
		t.Errorf("after a chain: %+v, %v", next, err)
	}
	delete(claims["kubernetes.io"].(map[string]any), "node")
	out, err = w.STS.AssumeRoleWithWebIdentity(bg, web(role.ARN(), c.Sign(claims)))
	if err != nil || out.Session.Node != (session.Node{ClusterUID: c.UID}) {
		t.Errorf("without a node claim: %+v, %v", out, err)
	}
}

func TestWebIdentityAlwaysAsksTheStore(t *testing.T) {
	w := roomstest.New(t)
	before := w.DB.View()
	c := w.Cluster("my-cluster", nil)
	role := w.Role("r", ofCluster(c), "", nil)
	token := c.Sign(c.Claims(sts.AudienceControlPlane))
	w.DB.Lag(before)
	if _, err := w.STS.AssumeRoleWithWebIdentity(bg, web(role.ARN(), token)); err != nil {
		t.Error(err)
	}
	w.DB.Fail(store.ErrUnavailable)
	if _, err := w.STS.AssumeRoleWithWebIdentity(bg, web(role.ARN(), token)); !fault.Is(err, fault.Unavailable) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without the store: %v", err)
	}
}

// Nobody without a good token learns which policies there are, or makes the
// store work with what is no token at all.
func TestStrangersCannotProbePolicies(t *testing.T) {
	w := roomstest.New(t)
	c := w.Cluster("my-cluster", nil)
	role := w.Role("r", ofCluster(c), "", nil)
	forged := c.Sign(c.Claims(sts.AudienceControlPlane))
	forged = forged[:len(forged)-8] + "AAAAAAAA"
	answer := func(token, policyARN, inline string) string {
		in := web(role.ARN(), token)
		in.PolicyARNs, in.Policy = []string{policyARN}, inline
		_, err := w.STS.AssumeRoleWithWebIdentity(bg, in)
		return fault.As(err).Message
	}
	const there, missing = "arn:aws:iam::aws:policy/AdministratorAccess", "arn:aws:iam::111122223333:policy/missing"
	for name, token := range map[string]string{"forged": forged, "none": "a.b.c"} {
		want := answer(token, there, "")
		if got := answer(token, missing, ""); got != want {
			t.Errorf("%s token: a missing policy is told by %q, an existing one by %q", name, got, want)
		}
		if got := answer(token, there, "no policy"); got != want {
			t.Errorf("%s token: %q for a malformed policy, want %q", name, got, want)
		}
	}
	good := c.Sign(c.Claims(sts.AudienceControlPlane))
	if got := answer(good, missing, ""); !strings.Contains(got, "does not exist") {
		t.Errorf("good token: %q", got)
	}
	w.DB.Fail(store.ErrUnavailable)
	if _, err := w.STS.AssumeRoleWithWebIdentity(bg, web(role.ARN(), "a.b.c")); !fault.Is(err, fault.InvalidToken) {
		t.Errorf("what is no token reached the store: %v", err)
	}
}

// Trust policies may look at the connection, whoever asks.
func TestTrustSeesTheConnection(t *testing.T) {
	w := roomstest.New(t)
	c := w.Cluster("my-cluster", nil)
	from := func(ip string, tls bool) context.Context {
		return reqctx.With(bg, reqctx.Info{SourceIP: netip.MustParseAddr(ip), TLS: tls, UserAgent: "agent/1"})
	}
	deny := func(condition string) string {
		allow := strings.TrimSuffix(strings.Replace(ofCluster(c), `"Statement":{`, `"Statement":[{`, 1), "}")
		return allow + `,{"Effect":"Deny","Principal":"*","Action":"*","Condition":` + condition + "}]}"
	}
	token := c.Sign(c.Claims(sts.AudienceControlPlane))
	for i, tc := range []struct {
		condition string
		ctx       context.Context
		allowed   bool
	}{
		{`{"Bool":{"aws:SecureTransport":"false"}}`, from("192.0.2.1", true), true},
		{`{"Bool":{"aws:SecureTransport":"false"}}`, from("192.0.2.1", false), false},
		{`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, from("192.0.2.1", true), false},
		{`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, from("::ffff:192.0.2.1", true), false},
		{`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, from("198.51.100.1", true), true},
		{`{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, from("192.0.2.1", true), true},
		{`{"StringLike":{"aws:UserAgent":"agent/*"}}`, from("192.0.2.1", true), false},
	} {
		role := w.Role(fmt.Sprintf("r%d", i), deny(tc.condition), "", nil)
		if _, err := w.STS.AssumeRoleWithWebIdentity(tc.ctx, web(role.ARN(), token)); (err == nil) != tc.allowed {
			t.Errorf("%s: %v, want allowed %v", tc.condition, err, tc.allowed)
		}
	}
	w.Role("plain", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"},`+
		`{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`, "", nil)
	user := w.User("u", roomstest.AllowAll)
	for tls, want := range map[bool]bool{true: true, false: false} {
		_, err := w.STS.AssumeRole(from("192.0.2.1", tls), user, sts.AssumeRoleInput{RoleARN: "arn:aws:iam::111122223333:role/plain", SessionName: "me"})
		if (err == nil) != want {
			t.Errorf("AssumeRole with TLS %v: %v", tls, err)
		}
	}
}
