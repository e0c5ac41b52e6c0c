// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"context"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/controlplane/controlplanetest/roomstest"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/session"
	"podid/internal/store"
)

var bg = context.Background()

// textbook is a world with the walk-through's cluster, role and association.
func textbook(t testing.TB) (*roomstest.World, *roomstest.Cluster, *iam.Role) {
	t.Helper()
	w := roomstest.New(t)
	c := w.Cluster("my-cluster", nil)
	role := w.Role("s3-app-eks-pod-identity-role", roomstest.PodTrust, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}`, nil)
	c.Associate(role.ARN(), nil)
	return w, c, role
}

func TestExchange(t *testing.T) {
	w, c, role := textbook(t)
	agent := c.Agent("node-1")
	w.DB.Lag(nil)
	out, err := w.Exchange.AssumeRoleForPodIdentity(bg, agent, exchange.Request{ClusterName: c.Name, Token: c.Token()})
	if err != nil {
		t.Fatal(err)
	}
	if w.DB.Fences() != 0 {
		t.Errorf("a good exchange costs %d fences", w.DB.Fences())
	}
	name := regexp.MustCompile(`^arn:aws:sts::111122223333:assumed-role/s3-app-eks-pod-identity-role/eks-my-cluster-app1-v1-56-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	if !name.MatchString(out.AssumedRoleARN) || !strings.HasPrefix(out.AssumedRoleID, role.ID+":eks-my-cluster-") {
		t.Errorf("session %s, %s", out.AssumedRoleARN, out.AssumedRoleID)
	}
	if out.Namespace != "s3-app-ns" || out.ServiceAccount != "s3-app-sa" || out.Audience != "pods.eks.amazonaws.com" || out.AssociationID != "a-abcdefghijklmnop1" {
		t.Errorf("%+v", out)
	}
	x := out.Extra
	if x.Pod != "app1-v1-56b9f94b4-dvd5c" || x.Node != "node-1" || x.CallerNode != "node-1" || x.AccessKeyIDIssued != out.Credentials.AccessKeyID || x.RoleARN != role.ARN() || x.AnyNode {
		t.Errorf("for audit: %+v", x)
	}
	s, _, err := w.Minter.Open(bg, out.Credentials.AccessKeyID, out.Credentials.SessionToken.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	want := []session.Tag{
		{Key: "eks-cluster-arn", Value: c.ARN(), Transitive: true},
		{Key: "eks-cluster-name", Value: "my-cluster", Transitive: true},
		{Key: "kubernetes-namespace", Value: "s3-app-ns", Transitive: true},
		{Key: "kubernetes-service-account", Value: "s3-app-sa", Transitive: true},
		{Key: "kubernetes-pod-name", Value: "app1-v1-56b9f94b4-dvd5c", Transitive: true},
		{Key: "kubernetes-pod-uid", Value: "pod-uid", Transitive: true},
	}
	if !reflect.DeepEqual(s.Tags, want) {
		t.Errorf("tags %+v", s.Tags)
	}
	if s.Expires.Sub(s.Issued) != 6*time.Hour || s.Chained || !s.Node.IsZero() || s.Origin != (session.Origin{ClusterUID: c.UID, AssociationID: "a-abcdefghijklmnop1", PodUID: "pod-uid"}) {
		t.Errorf("%+v", s)
	}
}

// Every step's refusal, in the order of the steps, with the reason code that
// audit and metrics see, and whether the store was asked before it was final.
func TestRefusals(t *testing.T) {
	w, c, role := textbook(t)
	other := w.Cluster("other", nil)
	empty := w.Cluster("empty", nil)
	pending := w.Cluster("pending", func(c *cluster.Cluster) { c.Activation = &cluster.Activation{} })
	agent := c.Agent("node-1")
	powerless := w.Session(w.Role("powerless", roomstest.PodTrust, "", nil), nil)
	with := func(change func(m, k8s map[string]any)) string {
		m := c.Claims(exchange.Audience)
		change(m, m["kubernetes.io"].(map[string]any))
		return c.Sign(m)
	}
	for _, tc := range []struct {
		name, cluster, token string
		caller               iam.Caller
		kind                 fault.Kind
		reason               string
		fences               int
	}{
		{"caller may not", c.Name, "garbage", powerless, fault.AccessDenied, "not-authorized", 1},
		{"no such cluster", "absent", c.Token(), agent, fault.NotFound, "cluster-not-found", 1},
		{"a cluster that is not activated", pending.Name, pending.Token(), pending.Agent("node-1"), fault.InvalidRequest, "cluster-pending", 1},
		{"no token at all", c.Name, "a.b.c", agent, fault.InvalidToken, "token-malformed", 0},
		{"another cluster's token", c.Name, other.Token(), agent, fault.InvalidToken, "token-signature", 1},
		{"a token in another cluster's path", empty.Name, c.Token(), agent, fault.InvalidToken, "token-signature", 1},
		{"other audience", c.Name, c.Sign(c.Claims("podid.dev/control-plane")), agent, fault.InvalidToken, "token-audience", 0},
		{"other issuer", c.Name, with(func(m, _ map[string]any) { m["iss"] = "https://elsewhere" }), agent, fault.InvalidToken, "token-issuer", 1},
		{"expired", c.Name, with(func(m, _ map[string]any) {
			m["iat"], m["nbf"], m["exp"] = w.Now().Add(-time.Hour).Unix(), w.Now().Add(-time.Hour).Unix(), w.Now().Add(-2*time.Minute).Unix()
		}), agent, fault.ExpiredToken, "token-expired", 0},
		{"two days long", c.Name, with(func(m, _ map[string]any) { m["exp"] = w.Now().Add(48 * time.Hour).Unix() }), agent, fault.InvalidToken, "token-life-too-long", 0},
		{"not bound to a pod", c.Name, with(func(_, k map[string]any) { delete(k, "pod") }), agent, fault.InvalidToken, "token-not-pod-bound", 0},
		{"pod of another node", c.Name, with(func(_, k map[string]any) { k["node"] = map[string]any{"name": "node-2", "uid": "x"} }), agent, fault.AccessDenied, "node-other-node", 1},
		{"node made again", c.Name, with(func(_, k map[string]any) { k["node"] = map[string]any{"name": "node-1", "uid": "new"} }), agent, fault.AccessDenied, "node-other-node", 1},
		{"caller without node", c.Name, c.Token(), w.Session(c.NodeRole(), nil), fault.AccessDenied, "node-identity-missing", 1},
		{"a user is no node", c.Name, c.Token(), w.User("jane", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"eks-auth:*","Resource":"*"}}`), fault.AccessDenied, "node-identity-missing", 1},
		{"agent of another cluster", c.Name, c.Token(), other.Agent("node-1"), fault.AccessDenied, "node-other-cluster", 1},
		{"no association", other.Name, other.Token(), other.Agent("node-1"), fault.NotFound, "association-not-found", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.DB.Lag(nil)
			out, err := w.Exchange.AssumeRoleForPodIdentity(bg, tc.caller, exchange.Request{ClusterName: tc.cluster, Token: tc.token})
			f := fault.As(err)
			if out != nil || f.Kind != tc.kind || f.Reason != tc.reason {
				t.Errorf("%+v, %d %q (%v), want %d %q", out, f.Kind, f.Reason, err, tc.kind, tc.reason)
			}
			if got := w.DB.Fences(); got != tc.fences {
				t.Errorf("%d fences, want %d", got, tc.fences)
			}
			if _, ok := f.Detail.(exchange.Refusal); !ok {
				t.Errorf("detail %T says nothing to audit", f.Detail)
			}
			if strings.Contains(f.Error(), tc.token) && len(tc.token) > 20 {
				t.Error("the refusal holds the token")
			}
		})
	}
	t.Run("role gone", func(t *testing.T) {
		w.DeleteRole(role.Name)
		_, err := w.Exchange.AssumeRoleForPodIdentity(bg, agent, exchange.Request{ClusterName: c.Name, Token: c.Token()})
		f := fault.As(err)
		if f.Kind != fault.AccessDenied || f.Reason != "role-not-found" || f.Message != "Unauthorized Exception! EKS does not have permissions to assume the associated role." {
			t.Errorf("%d %q %s", f.Kind, f.Reason, f.Message)
		}
		if x := f.Detail.(exchange.Refusal).Extra; x.AssociationID == "" || x.Pod == "" {
			t.Errorf("for audit: %+v", x)
		}
	})
}

// The caller is judged before anything of the token or the cluster is read.
func TestCallerFirst(t *testing.T) {
	w, c, _ := textbook(t)
	_, err := w.Exchange.AssumeRoleForPodIdentity(bg, w.User("nobody", ""), exchange.Request{ClusterName: "absent", Token: "x"})
	f := fault.As(err)
	if f.Kind != fault.AccessDenied || !strings.Contains(f.Message, "User: arn:aws:iam::111122223333:user/nobody is not authorized to perform: eks-auth:AssumeRoleForPodIdentity on resource: arn:aws:eks:us-west-2:111122223333:cluster/absent") {
		t.Errorf("%d %s", f.Kind, f.Message)
	}
	// The cluster's tags are condition keys, of this action as of any other.
	w.Update(func(tx *store.Tx) {
		tagged := *c.Cluster
		tagged.Tags = map[string]string{"env": "prod"}
		cluster.Clusters.Put(tx, c.Scope(), c.Name, &tagged)
	})
	caller := w.Session(w.Role("by-tag", roomstest.PodTrust, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"eks-auth:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/env":"prod"}}}}`, nil),
		func(s *session.Session) {
			s.Node = session.Node{ClusterUID: c.UID, Name: "node-1", UID: "node-1-uid"}
		})
	if _, err := w.Exchange.AssumeRoleForPodIdentity(bg, caller, exchange.Request{ClusterName: c.Name, Token: c.Token()}); err != nil {
		t.Errorf("by the cluster's tag: %v", err)
	}
}

func TestNodeBinding(t *testing.T) {
	const none = "none"
	for _, tc := range []struct {
		name    string
		binding cluster.NodeBinding
		token   string // node of the token, or none
		caller  string // node of the agent, or none
		reason  string // "" = issued
	}{
		{"default, same node", cluster.NodeBindingDefault, "node-1", "node-1", ""},
		{"default, other node", cluster.NodeBindingDefault, "node-2", "node-1", "node-other-node"},
		{"default, old token", cluster.NodeBindingDefault, none, "node-1", ""},
		{"default, no node at all", cluster.NodeBindingDefault, none, none, ""},
		{"default, caller without node", cluster.NodeBindingDefault, "node-1", none, "node-identity-missing"},
		{"required, same node", cluster.NodeBindingRequired, "node-1", "node-1", ""},
		{"required, old token", cluster.NodeBindingRequired, none, "node-1", "token-node-missing"},
		{"required, nothing", cluster.NodeBindingRequired, none, none, "token-node-missing"},
		{"ifPresent, caller without node", cluster.NodeBindingIfPresent, "node-1", none, ""},
		{"ifPresent, old token", cluster.NodeBindingIfPresent, none, "node-1", ""},
		{"ifPresent, other node", cluster.NodeBindingIfPresent, "node-2", "node-1", "node-other-node"},
		{"off, other node", cluster.NodeBindingOff, "node-2", "node-1", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := roomstest.New(t)
			c := w.Cluster("my-cluster", func(c *cluster.Cluster) { c.NodeBinding = tc.binding })
			c.Associate(w.Role("app", roomstest.PodTrust, "", nil).ARN(), nil)
			claims := c.Claims(exchange.Audience)
			k8s := claims["kubernetes.io"].(map[string]any)
			if k8s["node"] = map[string]any{"name": tc.token, "uid": tc.token + "-uid"}; tc.token == none {
				delete(k8s, "node")
			}
			caller := c.Agent(tc.caller)
			if tc.caller == none {
				caller.Session.Node = session.Node{}
			}
			req := exchange.Request{ClusterName: c.Name, Token: c.Sign(claims)}
			_, err := w.Exchange.AssumeRoleForPodIdentity(bg, caller, req)
			if got := fault.As(err).Reason; err != nil && got != tc.reason || err == nil && tc.reason != "" {
				t.Fatalf("%v (%q), want %q", err, got, tc.reason)
			}
			if tc.reason == "" {
				return
			}
			// Who may exchange for any node does, and audit sees it.
			any := w.Session(w.Role("any", roomstest.PodTrust, roomstest.AllowAll, nil), func(s *session.Session) { s.Node = caller.Session.Node })
			out, err := w.Exchange.AssumeRoleForPodIdentity(bg, any, req)
			if err != nil || !out.Extra.AnyNode {
				t.Errorf("with podid:ExchangeForAnyNode: %+v, %v", out, err)
			}
		})
	}
}

// What any replica has acknowledged counts, without a fence where nothing is
// refused.
func TestStaleView(t *testing.T) {
	w := roomstest.New(t)
	c := w.Cluster("my-cluster", nil)
	agent := c.Agent("node-1")
	noRole := w.DB.View()
	role := w.Role("app", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`, "", nil)
	c.Associate(role.ARN(), nil)
	noTrust := w.DB.View()
	w.Role("app", roomstest.PodTrust, "", nil)
	waits := *c.Cluster
	waits.Activation = &cluster.Activation{}
	w.Update(func(tx *store.Tx) { cluster.Clusters.Put(tx, c.Scope(), c.Name, &waits) })
	notActive := w.DB.View()
	w.Update(func(tx *store.Tx) { cluster.Clusters.Put(tx, c.Scope(), c.Name, c.Cluster) })
	for name, v := range map[string]*store.View{"association and role made elsewhere": noRole, "trust mended elsewhere": noTrust, "activated elsewhere": notActive} {
		w.DB.Lag(v)
		if _, err := w.Exchange.AssumeRoleForPodIdentity(bg, agent, exchange.Request{ClusterName: c.Name, Token: c.Token()}); err != nil || w.DB.Fences() == 0 {
			t.Errorf("%s: %v, %d fences", name, err, w.DB.Fences())
		}
	}
	w.DB.Lag(noRole)
	w.DB.Fail(store.ErrUnavailable)
	_, err := w.Exchange.AssumeRoleForPodIdentity(bg, agent, exchange.Request{ClusterName: c.Name, Token: c.Token()})
	if !fault.Is(err, fault.Unavailable) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a refusal that cannot be confirmed: %v", err)
	}
	w.DB.Lag(nil)
	if _, err := w.Exchange.AssumeRoleForPodIdentity(bg, agent, exchange.Request{ClusterName: c.Name, Token: c.Token()}); err != nil {
		t.Errorf("without the store, what is known goes on: %v", err)
	}
}

// A cluster that was deleted and registered again under its name inherits no
// association.
func TestRegisteredAgain(t *testing.T) {
	w, old, _ := textbook(t)
	again := w.ClusterWithKey("my-cluster", old.Key, func(c *cluster.Cluster) { c.UID = strings.Repeat("f", 32) })
	_, err := w.Exchange.AssumeRoleForPodIdentity(bg, again.Agent("node-1"), exchange.Request{ClusterName: "my-cluster", Token: again.Token()})
	if got := fault.As(err).Reason; got != "association-not-found" {
		t.Errorf("%q, %v", got, err)
	}
	_, err = w.Exchange.AssumeRoleForPodIdentity(bg, old.Agent("node-1"), exchange.Request{ClusterName: "my-cluster", Token: again.Token()})
	if got := fault.As(err).Reason; got != "node-other-cluster" {
		t.Errorf("the old cluster's agent: %q, %v", got, err)
	}
}

func TestTargetRole(t *testing.T) {
	trustFirst := func(condition string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/first"},"Action":["sts:AssumeRole","sts:TagSession"],"Condition":` + condition + `}}`
	}
	const external = "us-west-2/111122223333/my-cluster/s3-app-ns/s3-app-sa"
	byTag := trustFirst(`{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"s3-app-ns","aws:PrincipalArn":"arn:aws:iam::111122223333:role/first"}}`)
	byExternal := trustFirst(`{"StringEquals":{"sts:ExternalId":"` + external + `"}}`)
	for _, tc := range []struct {
		name, target, identity string
		change                 func(a *association.Association)
		reason                 string // "" = issued
		tags                   int
	}{
		{"by inherited tags", byTag, roomstest.AllowAll, func(*association.Association) {}, "", 6},
		{"by external id, without tags", byExternal, roomstest.AllowAll, func(a *association.Association) { a.DisableSessionTags = true }, "", 0},
		{"external id is not sent with tags", byExternal, roomstest.AllowAll, func(*association.Association) {}, "trust-policy-denied", 0},
		{"tags are not there when disabled", byTag, roomstest.AllowAll, func(a *association.Association) { a.DisableSessionTags = true }, "trust-policy-denied", 0},
		{"first role may not", byTag, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"sts:*","Resource":"*"}}`, func(*association.Association) {}, "assume-role-denied", 0},
		{"target in another account", byTag, roomstest.AllowAll, func(a *association.Association) { a.TargetRoleARN = "arn:aws:iam::444455556666:role/target" }, "role-other-account", 0},
		{"target gone", byTag, roomstest.AllowAll, func(a *association.Association) { a.TargetRoleARN += "x" }, "role-not-found", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := roomstest.New(t)
			c := w.Cluster("my-cluster", nil)
			first, target := w.Role("first", roomstest.PodTrust, tc.identity, nil), w.Role("target", tc.target, "", nil)
			c.Associate(first.ARN(), func(a *association.Association) {
				a.TargetRoleARN, a.ExternalID = target.ARN(), external
				tc.change(a)
			})
			out, err := w.Exchange.AssumeRoleForPodIdentity(bg, c.Agent("node-1"), exchange.Request{ClusterName: c.Name, Token: c.Token()})
			if tc.reason != "" {
				if f := fault.As(err); f.Kind != fault.AccessDenied || f.Reason != tc.reason {
					t.Errorf("%d %q (%v), want %q", f.Kind, f.Reason, err, tc.reason)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %+v", err, fault.As(err).Detail)
			}
			s, _, err := w.Minter.Open(bg, out.Credentials.AccessKeyID, out.Credentials.SessionToken.Reveal())
			if err != nil || s.RoleName != "target" || !s.Chained || s.Expires.Sub(s.Issued) != 59*time.Minute || len(s.Tags) != tc.tags || s.Origin.PodUID != "pod-uid" {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// The association's policy bounds the last session of the chain.
func TestSessionPolicy(t *testing.T) {
	const readOnly = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`
	w := roomstest.New(t)
	c := w.Cluster("my-cluster", nil)
	role := w.Role("app", roomstest.PodTrust, roomstest.AllowAll, nil)
	c.Associate(role.ARN(), func(a *association.Association) { a.DisableSessionTags, a.Policy = true, readOnly })
	out, err := w.Exchange.AssumeRoleForPodIdentity(bg, c.Agent("node-1"), exchange.Request{ClusterName: c.Name, Token: c.Token()})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := w.Minter.Open(bg, out.Credentials.AccessKeyID, out.Credentials.SessionToken.Reveal())
	if err != nil || s.Policy != readOnly || len(s.Tags) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	caller := w.Session(role, func(n *session.Session) { *n = *s })
	for action, want := range map[string]bool{"s3:GetObject": true, "s3:PutObject": false} {
		if ok, err := w.Authz.Allowed(bg, caller, iam.Query{Action: action, Resource: "arn:aws:s3:::b/k"}); ok != want || err != nil {
			t.Errorf("%s: %v, %v", action, ok, err)
		}
	}
}

func TestWithoutRandomness(t *testing.T) {
	w, c, _ := textbook(t)
	w.Exchange.Rand = strings.NewReader("short")
	_, err := w.Exchange.AssumeRoleForPodIdentity(bg, c.Agent("node-1"), exchange.Request{ClusterName: c.Name, Token: c.Token()})
	if f := fault.As(err); f.Kind != fault.Internal || f.Message != "" {
		t.Errorf("%d %q", f.Kind, f.Message)
	}
}
