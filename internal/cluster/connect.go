// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"maps"
	"slices"
	"time"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/secret"
	"podid/internal/store"
)

// providers are those of EKS' ConnectorConfigProvider. podid treats all alike.
var providers = []string{"EKS_ANYWHERE", "ANTHOS", "GKE", "AKS", "OPENSHIFT", "TANZU", "RANCHER", "EC2", "OTHER"}

// connectorService is what the role of a connected cluster is passed to.
// Source: EKS User Guide, "Amazon EKS Connector IAM role".
const connectorService = "ssm.amazonaws.com"

// ConnectInput is what a cluster is made of that brings issuer and keys by
// itself, with an activation code.
type ConnectInput struct {
	Name        string      // 1..100, [0-9A-Za-z][A-Za-z0-9_-]*
	Issuer      string      // the only one that the cluster may name; "" is any
	NodeBinding NodeBinding // "" is NodeBindingDefault
	Tags        map[string]string
	External    *External // not nil: in the form of EKS
	// Token makes the call idempotent while the cluster is PENDING. Codes are
	// not kept, so each repeat answers with a new one that ends the one before.
	Token string
}

// External is what EKS' RegisterCluster wants besides. Both are remembered
// while the cluster is PENDING, and nothing else.
type External struct {
	Provider string // of the API's enumeration
	RoleARN  string // a role of the account
}

// Connected is a PENDING cluster and its activation code, which nothing can
// show again.
type Connected struct {
	Cluster *Cluster
	Code    secret.String
}

// Connect registers a PENDING cluster. Action: podid:RegisterCluster; in the
// form of EKS eks:RegisterCluster, and iam:PassRole on the role.
func (m *Manager) Connect(ctx context.Context, caller iam.Caller, in ConnectInput) (*Connected, error) {
	action := "podid:RegisterCluster"
	if in.External != nil {
		action = "eks:RegisterCluster"
	}
	judged, err := m.authorize(ctx, caller, action, in.Name, RequestTags(in.Tags)...)
	if err != nil {
		return nil, err
	}
	if in.NodeBinding == "" {
		in.NodeBinding = NodeBindingDefault
	}
	if err := in.validate(); err != nil {
		return nil, err
	}
	if in.External != nil {
		if err := m.passConnectorRole(ctx, caller, &in); err != nil {
			return nil, err
		}
	}
	made, code, err := m.pending(&in)
	if err != nil {
		return nil, err
	}
	token := in.Token
	in.Token = ""
	made.Activation.Request = NewRequest(caller.Account, token, in)
	var out *Cluster
	err = Commit(ctx, m.Store, "register cluster", func(tx *store.Tx) error {
		out, err = m.admit(tx, judged, made, &in)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Connected{Cluster: out, Code: code}, nil
}

func (in *ConnectInput) validate() error {
	if !ValidName(in.Name) {
		return badName(in.Name)
	}
	if in.Issuer != "" {
		if err := checkURL("issuer", in.Issuer); err != nil {
			return err
		}
	}
	if x := in.External; x != nil {
		switch {
		case x.Provider == "" || x.RoleARN == "":
			return fault.New(fault.MissingParameter, "connectorConfig with roleArn and provider is required.").WithReason("connector-config")
		case !slices.Contains(providers, x.Provider):
			return invalid("connector-provider", "The provider %.40q is none of those of the API; OTHER is for every Kubernetes cluster.", x.Provider)
		}
	}
	if err := CheckToken(in.Token); err != nil {
		return err
	}
	if err := checkSettings(&in.NodeBinding, nil, nil, nil); err != nil {
		return err
	}
	return CheckTags(in.Tags)
}

// passConnectorRole refuses roles of other accounts and asks for iam:PassRole.
func (m *Manager) passConnectorRole(ctx context.Context, caller iam.Caller, in *ConnectInput) error {
	role, err := arn.ParseRole(in.External.RoleARN)
	if err != nil {
		return invalid("role-arn", "The roleArn %.200q is not that of a role.", in.External.RoleARN).Because(err)
	}
	if role.Account != m.Account {
		return fault.New(fault.AccessDenied, "Cross-account pass role is not allowed.").WithReason("cross-account-role")
	}
	return m.Authz.Authorize(ctx, caller, iam.Query{Action: "iam:PassRole", Resource: role.String(), Keys: []iam.ConditionKey{
		{Name: "iam:PassedToService", Values: []string{connectorService}},
		{Name: "iam:AssociatedResourceArn", Values: []string{arn.Cluster(m.Partition, m.Region, m.Account, in.Name)}},
	}})
}

// pending makes the record of a cluster that waits.
func (m *Manager) pending(in *ConnectInput) (*Cluster, secret.String, error) {
	uid, err := newUID(m.Rand)
	if err != nil {
		return nil, secret.String{}, err
	}
	now := m.Now().UTC().Truncate(time.Millisecond)
	a, code, err := newActivation(m.Rand, m.Account, now)
	if err != nil {
		return nil, secret.String{}, err
	}
	a.Issuer = in.Issuer
	if in.External != nil {
		a.Provider, a.RoleARN = in.External.Provider, in.External.RoleARN
	}
	return &Cluster{
		UID: uid, Partition: m.Partition, Account: m.Account, Region: m.Region, Name: in.Name, NodeBinding: in.NodeBinding,
		Tags: maps.Clone(in.Tags), Created: now, Modified: now, Activation: a,
	}, code, nil
}

// admit puts the new cluster, or gives the one that the same call has made
// before the new code.
func (m *Manager) admit(tx *store.Tx, judged, made *Cluster, in *ConnectInput) (*Cluster, error) {
	old, ok := Clusters.Get(tx, m.Scope(), in.Name)
	switch {
	case !ok && judged != nil:
		return nil, ChangedMeanwhile("cluster")
	case !ok:
		if x := in.External; x != nil {
			if _, ok := iam.RoleByARN(tx, x.RoleARN); !ok {
				return nil, invalid("role-not-found", "Role provided in the request does not exist.")
			}
		}
		Clusters.Put(tx, m.Scope(), in.Name, made)
		return made, nil
	}
	again, err := made.Activation.Request.Repeats(old.request())
	switch {
	case err != nil:
		return nil, err
	case !again || !m.Now().Before(old.Activation.Expires):
		return nil, fault.New(fault.AlreadyExists, "Cluster already exists with name: %s", in.Name).WithReason("cluster-exists")
	}
	if err := AsJudged(judged, old); err != nil {
		return nil, err
	}
	n, a := *old, *old.Activation
	a.Hash = made.Activation.Hash
	n.Activation, n.Modified = &a, made.Modified
	Clusters.Put(tx, m.Scope(), in.Name, &n)
	return &n, nil
}

// request is what a PENDING cluster was registered with.
func (c *Cluster) request() Request {
	if !c.Pending() {
		return Request{}
	}
	return c.Activation.Request
}

// Deregister is Delete by the name that EKS has for connected clusters.
// Action: eks:DeregisterCluster.
func (m *Manager) Deregister(ctx context.Context, caller iam.Caller, name string) (*Cluster, error) {
	return m.remove(ctx, caller, "eks:DeregisterCluster", name)
}
