// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"errors"
	"strings"
	"testing"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/controlplane/controlplanetest/roomstest"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

func question(c *roomstest.Cluster) exchange.ExplainRequest {
	return exchange.ExplainRequest{ClusterName: c.Name, Namespace: "s3-app-ns", ServiceAccount: "s3-app-sa"}
}

// verdicts is the explanation in short: "step=verdict/reason …".
func verdicts(x *exchange.Explanation) string {
	var out []string
	for _, s := range x.Steps {
		v := s.Step + "=" + string(s.Verdict)
		if s.Reason != "" {
			v += "/" + s.Reason
		}
		out = append(out, v)
	}
	return strings.Join(out, ", ")
}

func TestExplain(t *testing.T) {
	const (
		roleSteps = "trust policy of the role: sts:AssumeRole=pass, trust policy of the role: sts:TagSession=pass"
		open      = "token=open, node=open, association=pass, "
	)
	admin := func(w *roomstest.World) iam.Caller { return w.User("admin", roomstest.AllowAll) }
	for _, tc := range []struct {
		name    string
		prepare func(w *roomstest.World, c *roomstest.Cluster, role *iam.Role, q *exchange.ExplainRequest)
		issue   bool
		want    string
	}{
		{
			"textbook", func(_ *roomstest.World, c *roomstest.Cluster, _ *iam.Role, _ *exchange.ExplainRequest) { c.NodeRole() }, true,
			"caller=pass, cluster=pass, " + open + roleSteps,
		},
		{
			"no node role", func(*roomstest.World, *roomstest.Cluster, *iam.Role, *exchange.ExplainRequest) {}, true,
			"caller=open, cluster=pass, " + open + roleSteps,
		},
		{"node role without its policy", func(w *roomstest.World, _ *roomstest.Cluster, _ *iam.Role, _ *exchange.ExplainRequest) {
			w.Role("podid-node-my-cluster", roomstest.PodTrust, "", nil)
		}, false, "caller=fail/not-authorized, cluster=not reached, token=not reached, node=not reached, association=not reached, issuer=not reached"},
		{"with the pod's node", func(_ *roomstest.World, c *roomstest.Cluster, _ *iam.Role, q *exchange.ExplainRequest) {
			c.NodeRole()
			q.Pod, q.PodUID, q.Node = "p", "u", "node-9"
		}, true, "caller=pass, cluster=pass, token=open, node=pass, association=pass, " + roleSteps},
		{"with a token", func(_ *roomstest.World, c *roomstest.Cluster, _ *iam.Role, q *exchange.ExplainRequest) {
			c.NodeRole()
			*q = exchange.ExplainRequest{ClusterName: c.Name, Token: c.Token(), Namespace: "ignored"}
		}, true, "caller=pass, cluster=pass, token=pass, node=pass, association=pass, " + roleSteps},
		{"with another cluster's token", func(w *roomstest.World, c *roomstest.Cluster, _ *iam.Role, q *exchange.ExplainRequest) {
			c.NodeRole()
			q.Token = w.Cluster("other", nil).Token()
		}, false, "caller=pass, cluster=pass, token=fail/token-signature, node=not reached, association=not reached, issuer=not reached"},
		{"with a token that names no node where one is required", func(w *roomstest.World, c *roomstest.Cluster, _ *iam.Role, q *exchange.ExplainRequest) {
			c.NodeRole()
			w.Update(func(tx *store.Tx) {
				n := *c.Cluster
				n.NodeBinding = cluster.NodeBindingRequired
				cluster.Clusters.Put(tx, c.Scope(), c.Name, &n)
			})
			claims := c.Claims(exchange.Audience)
			delete(claims["kubernetes.io"].(map[string]any), "node")
			q.Token = c.Sign(claims)
		}, false, "caller=pass, cluster=pass, token=pass, node=fail/token-node-missing, association=not reached, issuer=not reached"},
		{
			"no cluster", func(_ *roomstest.World, _ *roomstest.Cluster, _ *iam.Role, q *exchange.ExplainRequest) {
				q.ClusterName = "absent"
			}, false,
			"caller=open, cluster=fail/cluster-not-found, token=not reached, node=not reached, association=not reached, issuer=not reached",
		},
		{"no association", func(_ *roomstest.World, c *roomstest.Cluster, _ *iam.Role, q *exchange.ExplainRequest) {
			c.NodeRole()
			q.Namespace = "default"
		}, false, "caller=pass, cluster=pass, token=open, node=open, association=fail/association-not-found, issuer=not reached"},
		{"no role", func(w *roomstest.World, c *roomstest.Cluster, role *iam.Role, _ *exchange.ExplainRequest) {
			c.NodeRole()
			w.DeleteRole(role.Name)
		}, false, "caller=pass, cluster=pass, " + open + "issuer=fail/role-not-found"},
		{"trust of another account", func(w *roomstest.World, c *roomstest.Cluster, role *iam.Role, _ *exchange.ExplainRequest) {
			c.NodeRole()
			w.Role(role.Name, strings.TrimSuffix(roomstest.PodTrust, "}}")+`,"Condition":{"StringEquals":{"aws:SourceAccount":"444455556666"}}}}`, "", nil)
		}, false, "caller=pass, cluster=pass, " + open + "trust policy of the role: sts:AssumeRole=fail/trust-policy-denied, trust policy of the role: sts:TagSession=fail/trust-policy-denied"},
		{"trust for one pod only", func(w *roomstest.World, c *roomstest.Cluster, role *iam.Role, _ *exchange.ExplainRequest) {
			c.NodeRole()
			w.Role(role.Name, strings.TrimSuffix(roomstest.PodTrust, "}}")+`,"Condition":{"StringEquals":{"aws:RequestTag/kubernetes-pod-name":"p"}}}}`, "", nil)
		}, true, "caller=pass, cluster=pass, " + open + "trust policy of the role: sts:AssumeRole=open, trust policy of the role: sts:TagSession=open"},
		{"trust for another pod than the one asked about", func(w *roomstest.World, c *roomstest.Cluster, role *iam.Role, q *exchange.ExplainRequest) {
			c.NodeRole()
			q.Pod = "q"
			w.Role(role.Name, strings.TrimSuffix(roomstest.PodTrust, "}}")+`,"Condition":{"StringEquals":{"aws:RequestTag/kubernetes-pod-name":"p"}}}}`, "", nil)
		}, false, "caller=pass, cluster=pass, " + open + "trust policy of the role: sts:AssumeRole=fail/trust-policy-denied, trust policy of the role: sts:TagSession=fail/trust-policy-denied"},
		{"trust that cannot be read", func(w *roomstest.World, c *roomstest.Cluster, role *iam.Role, _ *exchange.ExplainRequest) {
			c.NodeRole()
			w.Role(role.Name, "{", "", nil)
		}, false, "caller=pass, cluster=pass, " + open + "issuer=fail/trust-policy-unreadable"},
		{"target role", func(w *roomstest.World, c *roomstest.Cluster, role *iam.Role, _ *exchange.ExplainRequest) {
			c.NodeRole()
			target := w.Role("target", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"`+role.ARN()+`"},"Action":"sts:AssumeRole"}}`, "", nil)
			c.Associate(role.ARN(), func(a *association.Association) { a.TargetRoleARN = target.ARN() })
		}, false, "caller=pass, cluster=pass, " + open + roleSteps + ", target role: sts:AssumeRole=pass, target role: sts:TagSession=fail/trust-policy-denied"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, c, role := textbook(t)
			q := question(c)
			tc.prepare(w, c, role, &q)
			x, err := w.Exchange.Explain(bg, admin(w), q)
			if err != nil {
				t.Fatal(err)
			}
			if got := verdicts(x); got != tc.want || x.WouldIssue != tc.issue {
				t.Errorf("would issue: %v\n got %s\nwant %s", x.WouldIssue, got, tc.want)
			}
			for _, s := range x.Steps {
				if s.Verdict == exchange.Fail && s.Message == "" {
					t.Errorf("%s fails without a word", s.Step)
				}
				if q.Token != "" && (strings.Contains(s.Message, q.Token) || strings.Contains(s.Note, q.Token)) {
					t.Errorf("%s shows the token", s.Step)
				}
			}
		})
	}
}

// Explain says what the exchange does: for the same token, the same verdict
// and the same reason.
func TestExplainAgreesWithExchange(t *testing.T) {
	for name, prepare := range map[string]func(w *roomstest.World, c *roomstest.Cluster, role *iam.Role){
		"good":         func(*roomstest.World, *roomstest.Cluster, *iam.Role) {},
		"no role":      func(w *roomstest.World, _ *roomstest.Cluster, role *iam.Role) { w.DeleteRole(role.Name) },
		"trust broken": func(w *roomstest.World, _ *roomstest.Cluster, role *iam.Role) { w.Role(role.Name, "{", "", nil) },
		"trust for another": func(w *roomstest.World, _ *roomstest.Cluster, role *iam.Role) {
			w.Role(role.Name, strings.ReplaceAll(roomstest.PodTrust, "pods.eks", "ec2"), "", nil)
		},
		"no association": func(w *roomstest.World, c *roomstest.Cluster, _ *iam.Role) {
			w.Update(func(tx *store.Tx) {
				association.Associations.Delete(tx, c.Scope(), association.Key(c.UID, "s3-app-ns", "s3-app-sa"))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, c, role := textbook(t)
			agent := c.Agent("node-1")
			prepare(w, c, role)
			token := c.Token()
			_, err := w.Exchange.AssumeRoleForPodIdentity(bg, agent, exchange.Request{ClusterName: c.Name, Token: token})
			x, xerr := w.Exchange.Explain(bg, w.User("admin", roomstest.AllowAll), exchange.ExplainRequest{ClusterName: c.Name, Token: token})
			if xerr != nil {
				t.Fatal(xerr)
			}
			if x.WouldIssue != (err == nil) {
				t.Errorf("exchange: %v; explain: %s", err, verdicts(x))
			}
			if err != nil && !strings.Contains(verdicts(x), "fail/"+fault.As(err).Reason) {
				t.Errorf("exchange: %q; explain: %s", fault.As(err).Reason, verdicts(x))
			}
		})
	}
}

func TestExplainActions(t *testing.T) {
	w, c, _ := textbook(t)
	q := question(c)
	q.Actions = []exchange.ActionQuestion{{"s3:GetObject", "arn:aws:s3:::b/k"}, {"s3:PutObject", "arn:aws:s3:::b/k"}}
	x, err := w.Exchange.Explain(bg, w.User("admin", roomstest.AllowAll), q)
	if err != nil || len(x.Actions) != 2 {
		t.Fatalf("%+v, %v", x, err)
	}
	if a := x.Actions[0]; !a.Allowed || a.Policy != "inline" || a.Action != "s3:GetObject" {
		t.Errorf("%+v", a)
	}
	if a := x.Actions[1]; a.Allowed || a.Detail.Kind() != "identity policy" {
		t.Errorf("%+v", a)
	}
	q.Namespace = "default"
	if x, err = w.Exchange.Explain(bg, w.User("admin", roomstest.AllowAll), q); err != nil || x.WouldIssue || len(x.Actions) != 0 {
		t.Errorf("without a session: %+v, %v", x, err)
	}
}

func TestExplainRefuses(t *testing.T) {
	w, c, _ := textbook(t)
	if _, err := w.Exchange.Explain(bg, c.Agent("node-1"), question(c)); !fault.Is(err, fault.AccessDenied) {
		t.Errorf("without podid:Explain: %v", err)
	}
	admin := w.User("admin", roomstest.AllowAll)
	if _, err := w.Exchange.Explain(bg, admin, exchange.ExplainRequest{ClusterName: c.Name}); !fault.Is(err, fault.InvalidParameter) {
		t.Errorf("about nobody: %v", err)
	}
	w.DB.Fail(store.ErrUnavailable)
	if _, err := w.Exchange.Explain(bg, admin, question(c)); !fault.Is(err, fault.Unavailable) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without the store: %v", err)
	}
}

// The note of the caller step names the role whose policies were looked at.
func TestExplainNamesTheNodeRole(t *testing.T) {
	w, c, _ := textbook(t)
	admin := w.User("admin", roomstest.AllowAll)
	x, err := w.Exchange.Explain(bg, admin, question(c))
	if err != nil || !strings.Contains(x.Steps[0].Note, "there is no role podid-node-my-cluster") {
		t.Errorf("%+v, %v", x, err)
	}
	c.NodeRole()
	x, err = w.Exchange.Explain(bg, admin, question(c))
	if err != nil || !strings.Contains(x.Steps[0].Note, "podid-node-my-cluster") {
		t.Errorf("%+v, %v", x, err)
	}
}

// The CLI, which makes the role, has the same rule on its side of the wire.
func TestNodeRoleName(t *testing.T) {
	for cluster, want := range map[string]string{
		"my-cluster":            "podid-node-my-cluster",
		strings.Repeat("c", 53): "podid-node-" + strings.Repeat("c", 53),
		strings.Repeat("c", 54): "podid-node-" + strings.Repeat("c", 44) + "-701251fd",
	} {
		if got := exchange.NodeRoleName(cluster); got != want || len(got) > 64 {
			t.Errorf("NodeRoleName(%q) = %q, want %q", cluster, got, want)
		}
	}
}
