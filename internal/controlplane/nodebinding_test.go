// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/controlplane/controlplanetest"
)

// mayExchange lets its holder exchange tokens, and no more.
func mayExchange() map[string]any {
	return controlplanetest.Document(controlplanetest.Statement("Allow", []string{"eks-auth:AssumeRoleForPodIdentity"}, "*", nil))
}

func TestNodeBinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	other := w.cl.Node(w.nodeRole, "node-2")
	stranger := w.User("stranger", mayExchange())
	bind := func(t *testing.T, setting string) {
		t.Helper()
		a := rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPatch, "/podid/v1/clusters/my-cluster", object{"nodeBinding": setting})
		if a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Raw)
		}
	}
	a := rest(t, w.ControlPlane, w.Admin, "podid", http.MethodGet, "/podid/v1/clusters/my-cluster", nil)
	if c, _ := a.Body["cluster"].(map[string]any); c["nodeBinding"] != "default" {
		t.Errorf("a new cluster has nodeBinding %v", c["nodeBinding"])
	}
	withNode, without := pod{}, pod{NoNode: true}
	reborn := pod{NodeUID: "another-uid"}
	callers := map[string]aws.CredentialsProvider{"own node": w.node, "other node": other, "no node": stranger}
	for _, tc := range []struct {
		binding, caller string
		pod             pod
		reason          string // "" = issued
	}{
		{"default", "own node", withNode, ""},
		{"default", "other node", withNode, "node-other-node"},
		{"default", "no node", withNode, "node-identity-missing"},
		{"default", "own node", without, ""},
		{"default", "no node", without, ""},
		{"default", "own node", reborn, "node-other-node"},
		{"required", "own node", withNode, ""},
		{"required", "other node", withNode, "node-other-node"},
		{"required", "no node", withNode, "node-identity-missing"},
		{"required", "own node", without, "token-node-missing"},
		{"required", "no node", without, "token-node-missing"},
		{"ifPresent", "own node", withNode, ""},
		{"ifPresent", "other node", withNode, "node-other-node"},
		{"ifPresent", "no node", withNode, ""},
		{"ifPresent", "own node", without, ""},
		{"off", "other node", withNode, ""},
		{"off", "no node", withNode, ""},
	} {
		kind := "token with node"
		if tc.pod.NoNode {
			kind = "token without node"
		} else if tc.pod.NodeUID != "" {
			kind = "token of a node made anew"
		}
		t.Run(tc.binding+"/"+tc.caller+"/"+kind, func(t *testing.T) {
			bind(t, tc.binding)
			a := w.cl.Exchange(callers[tc.caller], w.cl.Token(tc.pod))
			if tc.reason == "" {
				a.Credentials(t)
				return
			}
			a.Want(t, 400, "AccessDeniedException", "")
			if got := w.LastReason("AssumeRoleForPodIdentity"); got != tc.reason {
				t.Errorf("reason %q, want %q", got, tc.reason)
			}
		})
	}
	bind(t, "default")
	t.Run("unknown setting", func(t *testing.T) {
		a := rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPatch, "/podid/v1/clusters/my-cluster", object{"nodeBinding": "maybe"})
		a.Want(t, 400, "InvalidParameterException", "")
	})
	t.Run("any node", func(t *testing.T) { testAnyNode(t, w) })
	t.Run("chaining", func(t *testing.T) { testNodeChaining(t, w, other) })
}

// testAnyNode: podid:ExchangeForAnyNode lifts the binding, and audit says so.
func testAnyNode(t *testing.T, w *world) {
	for name, tc := range map[string]struct {
		resource string
		allowed  bool
	}{
		"this cluster":    {w.cl.ARN(), true},
		"another cluster": {w.cl.ARN() + "2", false},
	} {
		t.Run(name, func(t *testing.T) {
			user := "any-" + controlplanetest.Name(tc.resource)
			caller := w.User(user, controlplanetest.Document(
				controlplanetest.Statement("Allow", []string{"eks-auth:AssumeRoleForPodIdentity"}, "*", nil),
				controlplanetest.Statement("Allow", []string{"podid:ExchangeForAnyNode"}, tc.resource, nil)))
			a := w.cl.Exchange(caller, w.cl.Token(pod{}))
			if (a.Status == 200) != tc.allowed {
				t.Fatalf("%d %s", a.Status, a.Raw)
			}
			if x := w.LastAudit("AssumeRoleForPodIdentity").Podid; x.AnyNode != tc.allowed || x.Node != "node-1" || x.CallerNode != "" {
				t.Errorf("audit %+v", x)
			}
		})
	}
	w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	if w.LastAudit("AssumeRoleForPodIdentity").Podid.AnyNode {
		t.Error("an exchange from the own node is marked")
	}
}

// testNodeChaining: the node goes along into further sessions, and no caller
// can choose it.
func testNodeChaining(t *testing.T, w *world, other aws.CredentialsProvider) {
	w.Role("chained", controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"AWS": w.nodeRole}, "Action": []string{"sts:AssumeRole", "sts:TagSession"}}))
	w.RolePolicy("chained", mayExchange())
	chain := func(from aws.CredentialsProvider) aws.CredentialsProvider {
		t.Helper()
		in := &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/chained"), RoleSessionName: aws.String("node-1")}
		out, err := sts.NewFromConfig(w.Config(from)).AssumeRole(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		return credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	}
	w.cl.Exchange(chain(w.node), w.cl.Token(pod{})).Credentials(t)
	if x := w.LastAudit("AssumeRoleForPodIdentity").Podid; x.CallerNode != "node-1" {
		t.Errorf("node of the chained session is %q", x.CallerNode)
	}
	// The other node names its session after the first one: to no avail.
	w.cl.Exchange(chain(other), w.cl.Token(pod{})).Want(t, 400, "AccessDeniedException", "The pod runs on another node than the caller.")
	// A caller without a node, with tags that look like one.
	w.Role("pretender", controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"AWS": "arn:aws:iam::111122223333:root"}, "Action": []string{"sts:AssumeRole", "sts:TagSession"}}))
	w.RolePolicy("pretender", mayExchange())
	a := w.STSQuery(w.Admin, url.Values{
		"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::111122223333:role/pretender"}, "RoleSessionName": {"node-1"},
		"Tags.member.1.Key": {"kubernetes-node-name"}, "Tags.member.1.Value": {"node-1"}, "Node": {"node-1"}, "NodeName": {"node-1"},
	})
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	w.cl.Exchange(stsCredentials(t, a), w.cl.Token(pod{})).Want(t, 400, "AccessDeniedException", "The caller has no node identity, and the cluster requires one (nodeBinding).")
}
