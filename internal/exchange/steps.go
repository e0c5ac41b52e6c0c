// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"errors"

	"podid/internal/arn"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/jwt"
	"podid/internal/satoken"
	"podid/internal/session"
	"podid/internal/uuid"
)

func (e *exchange) clusterARN() string {
	return arn.Cluster(e.s.Partition, e.s.Scope.Region, e.s.Scope.Account, e.in.ClusterName)
}

// query asks for an action on the path's cluster, with the cluster's tags.
func (e *exchange) query(action string) iam.Query {
	q := iam.Query{Action: action, Resource: e.clusterARN()}
	if c, ok := cluster.Clusters.Get(e.view, e.s.Scope, e.in.ClusterName); ok {
		for k, v := range c.Tags {
			q.Keys = append(q.Keys, iam.ConditionKey{Name: "aws:ResourceTag/" + k, Values: []string{v}})
		}
	}
	return q
}

func checkCaller(ctx context.Context, e *exchange) error {
	if e.agent {
		e.trace.note("a session of the cluster's node role %s", e.caller.Role.Name)
	}
	return e.s.Authz.Authorize(ctx, e.caller, e.query(ActionAssume))
}

func findCluster(_ context.Context, e *exchange) error {
	c, ok := cluster.Clusters.Get(e.view, e.s.Scope, e.in.ClusterName)
	if !ok {
		return fault.New(fault.NotFound, "No cluster found for name: %s.", e.in.ClusterName).WithReason("cluster-not-found")
	}
	e.cluster = c // a refusal from here on may be due to an old record of it
	if err := c.CheckActive(); err != nil {
		return err
	}
	if e.trace != nil {
		e.trace.note("unique id %s, issuer %s", c.UID, c.Issuer)
	}
	return nil
}

// checkToken verifies the token with the keys of the path's cluster and no
// others: an issuer does not identify a cluster.
func checkToken(ctx context.Context, e *exchange) error {
	err := e.s.Keys.Verify(ctx, e.cluster, func(keys *jwt.KeySet) error {
		var err error
		e.claims, err = satoken.Verify(e.in.Token, satoken.Params{
			Keys: keys, Issuer: e.cluster.Issuer, Audience: Audience, Leeway: e.s.Leeway, MaxLife: e.s.MaxLife, RequirePod: true, Now: e.s.Now,
		})
		return err
	})
	if err == nil {
		if e.trace != nil {
			e.trace.note("pod %s/%s of service account %s", e.claims.Namespace, e.claims.PodName, e.claims.ServiceAccount)
		}
		return nil
	}
	var t *satoken.Error
	if !errors.As(err, &t) {
		return &fault.Error{Kind: fault.Internal, Reason: "cluster-keys-unreadable", Err: err}
	}
	kind := fault.InvalidToken
	if t.Reason == satoken.ReasonExpired {
		kind = fault.ExpiredToken
	}
	return fault.New(kind, "%s", t.Message).WithReason(t.Reason).Because(t.Err)
}

// checkNode binds the pod's node to the agent's. The agent's node is a field
// of its sealed session that only the server sets.
func checkNode(ctx context.Context, e *exchange) error {
	reason, message := nodeMismatch(e.cluster, e.callerNode(), e.claims)
	if reason == "" {
		if e.trace != nil {
			e.noteNode()
		}
		return nil
	}
	anyNode, err := e.s.Authz.Allowed(ctx, e.caller, e.query(ActionAnyNode))
	if err != nil {
		return err
	}
	if anyNode {
		e.anyNode = true
		e.trace.note("%s, but the caller may %s", reason, ActionAnyNode)
		return nil
	}
	return fault.New(fault.AccessDenied, "%s", message).WithReason(reason)
}

// callerNode is the node that the caller has proven. An explained exchange is
// that of an agent on the pod's own node.
func (e *exchange) callerNode() session.Node {
	switch {
	case e.agent && e.cluster != nil:
		return session.Node{ClusterUID: e.cluster.UID, Name: e.claims.NodeName, UID: e.claims.NodeUID}
	case e.caller.Session == nil:
		return session.Node{}
	}
	return e.caller.Session.Node
}

func (e *exchange) noteNode() {
	switch {
	case e.cluster.NodeBinding == cluster.NodeBindingOff:
		e.trace.note("the cluster does not bind tokens to nodes")
	case e.agent && e.claims.NodeName != "":
		e.trace.note("asked by the agent of node %s; by that of another node it is refused", e.claims.NodeName)
	case e.claims.NodeName == "":
		e.trace.note("the token names no node, and the cluster does not require one")
	default:
		e.trace.note("node %s", e.claims.NodeName)
	}
}

// nodeMismatch returns why the caller may not ask for a pod of that node, or
// "".
func nodeMismatch(c *cluster.Cluster, caller session.Node, claims satoken.Claims) (reason, message string) {
	binding := c.NodeBinding
	if binding == cluster.NodeBindingOff {
		return "", ""
	}
	// By default the binding is required of tokens that can be bound.
	required := binding == cluster.NodeBindingRequired || binding == cluster.NodeBindingDefault && claims.NodeName != ""
	switch {
	case caller.ClusterUID != "" && caller.ClusterUID != c.UID:
		return "node-other-cluster", "The caller's node belongs to another cluster than the pod."
	case claims.NodeName == "" && required:
		return "token-node-missing", "The pod's token does not name its node, and the cluster requires it (nodeBinding)."
	case caller.Name == "" && required:
		return "node-identity-missing", "The caller has no node identity, and the cluster requires one (nodeBinding)."
	case caller.Name == "" || claims.NodeName == "":
		return "", ""
	case caller.Name != claims.NodeName || caller.UID != claims.NodeUID:
		return "node-other-node", "The pod runs on another node than the caller."
	}
	return "", ""
}

func findAssociation(_ context.Context, e *exchange) error {
	a, ok := association.Find(e.view, e.s.Scope, e.cluster.UID, e.claims.Namespace, e.claims.ServiceAccount)
	if !ok {
		return fault.New(fault.NotFound, "No association found for service account %s/%s in cluster %s.",
			e.claims.Namespace, e.claims.ServiceAccount, e.cluster.Name).WithReason("association-not-found")
	}
	e.association = a
	if e.trace != nil {
		e.trace.note("%s → %s", a.ID, a.RoleARN)
	}
	return nil
}

func issue(ctx context.Context, e *exchange) error {
	name, err := e.s.sessionName(e.cluster.Name, e.claims.PodName)
	if err != nil {
		return err
	}
	e.issued, err = e.s.Issuer.Issue(ctx, e.view, &Order{
		Cluster: e.cluster, Association: e.association, Caller: e.callerNode(), SessionName: name, DryRun: e.trace != nil,
		Pod: Pod{
			Namespace: e.claims.Namespace, ServiceAccount: e.claims.ServiceAccount, Name: e.claims.PodName, UID: e.claims.PodUID,
			Node: e.claims.NodeName, NodeUID: e.claims.NodeUID,
		},
	}, e.trace)
	return err
}

// sessionName is "eks-<cluster:10>-<pod:10>-<uuid4>", as CloudTrail shows it;
// at most 62 characters.
func (s *Service) sessionName(clusterName, pod string) (string, error) {
	id, err := uuid.New(s.Rand)
	if err != nil {
		return "", err
	}
	return "eks-" + first(clusterName, 10) + "-" + first(pod, 10) + "-" + id, nil
}

func first(s string, n int) string { return s[:min(len(s), n)] }
