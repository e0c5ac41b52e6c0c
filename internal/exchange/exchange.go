// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package exchange owns AssumeRoleForPodIdentity: a pod's token in,
// credentials of the associated role out. It holds one list of named steps;
// Explain runs the same list in trace mode, so what it says is what happens.
// Order: the caller's right first (nothing of the token is read before), then
// cluster, token, node, association, and last the account's Issuer, which owns
// the role's trust. It refuses by default, and no refusal is final before the
// view has caught up with the store: what was acknowledged anywhere counts.
package exchange

import (
	"context"
	"errors"
	"io"
	"time"

	"podid/internal/association"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/jwt"
	"podid/internal/satoken"
	"podid/internal/session"
	"podid/internal/store"
)

// Audience is the audience of a pod's token for EKS Pod Identity.
const Audience = "pods.eks.amazonaws.com"

// IAM actions of this room.
const (
	ActionAssume  = "eks-auth:AssumeRoleForPodIdentity"
	ActionAnyNode = "podid:ExchangeForAnyNode"
	ActionExplain = "podid:Explain"
)

// Authorizer answers whether a caller may.
type Authorizer interface {
	Authorize(ctx context.Context, c iam.Caller, q iam.Query) error
	Allowed(ctx context.Context, c iam.Caller, q iam.Query) (bool, error)
}

// ClusterKeys verifies tokens with the keys of a registered cluster.
type ClusterKeys interface {
	Verify(ctx context.Context, c *cluster.Cluster, check func(*jwt.KeySet) error) error
}

// Issuer owns the roles of an account: it decides whether a role's trust holds
// for a pod and issues the credentials. Refusals are faults of kind
// AccessDenied. With t not nil it reports each of its own steps; with DryRun it
// issues nothing.
type Issuer interface {
	Issue(ctx context.Context, r store.Reader, o *Order, t *Trace) (*Issued, error)
}

// Order is what an Issuer is asked for.
type Order struct {
	Cluster     *cluster.Cluster
	Association *association.Association
	Pod         Pod
	Caller      session.Node // node of the agent that asks
	SessionName string
	DryRun      bool // explain: evaluate, issue nothing
}

// Pod is the pod that the credentials are for. An empty name is unknown
// (explain without a pod).
type Pod struct{ Namespace, ServiceAccount, Name, UID, Node, NodeUID string }

// Issued is what an Issuer gives. Session and Role are nil when they are not
// podid's own; Tags are then the session's, as far as the Issuer knows them.
type Issued struct {
	RoleARN, AssumedRoleARN, AssumedRoleID string
	Credentials                            session.Credentials
	Session                                *session.Session
	Role                                   *iam.Role
	Tags                                   []session.Tag
}

// Request is what an agent sends.
type Request struct{ ClusterName, Token string }

// Result is what it gets.
type Result struct {
	Namespace, ServiceAccount, Audience string
	AssociationARN, AssociationID       string
	AssumedRoleARN, AssumedRoleID       string
	Credentials                         session.Credentials
	Extra                               audit.Extra
}

// Service exchanges tokens for one account and region. Fields are set once,
// before use.
type Service struct {
	Store     store.Store
	Authz     Authorizer
	Keys      ClusterKeys
	Issuer    Issuer
	Checker   ActionChecker // for Explain; may be nil
	Now       func() time.Time
	Rand      io.Reader
	MaxLife   time.Duration // longest life of a token; 24 h by default
	Leeway    time.Duration // 60 s
	Scope     store.Scope
	Partition string
}

// exchange is one run through the steps.
type exchange struct {
	s     *Service
	view  *store.View
	in    Request
	trace *Trace // nil on the hot path
	given *ExplainRequest

	caller      iam.Caller
	agent       bool // explain: caller stands for an agent on the pod's node
	cluster     *cluster.Cluster
	claims      satoken.Claims
	association *association.Association
	issued      *Issued
	anyNode     bool
}

// step is one named step. skip says why a trace cannot run it, or "".
type step struct {
	name string
	skip func(e *exchange) string
	run  func(ctx context.Context, e *exchange) error
}

// steps is the exchange: the whole of it, in order.
var steps = []step{
	{"caller", skipCaller, checkCaller},
	{"cluster", nil, findCluster},
	{"token", skipToken, checkToken},
	{"node", skipNode, checkNode},
	{"association", nil, findAssociation},
	{"issuer", nil, issue},
}

// AssumeRoleForPodIdentity is the exchange. Faults: AccessDenied, NotFound
// (cluster, association), InvalidToken, ExpiredToken, Unavailable; their
// detail names the failing step for audit.
func (s *Service) AssumeRoleForPodIdentity(ctx context.Context, caller iam.Caller, in Request) (*Result, error) {
	e := &exchange{s: s, view: s.Store.View(), in: in, caller: caller}
	err := e.run(ctx)
	if retry, fresh, ferr := e.stale(ctx, err); ferr != nil {
		return nil, ferr
	} else if retry {
		e = &exchange{s: s, view: fresh, in: in, caller: caller}
		err = e.run(ctx)
	}
	if err != nil {
		return nil, e.refused(err)
	}
	return e.result(), nil
}

// run goes through the steps until one refuses.
func (e *exchange) run(ctx context.Context) error {
	for i := range steps {
		if err := steps[i].run(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// stale reports whether a refusal may be due to an old view, and returns the
// newer one. A refusal that records of the store had no part in is final.
func (e *exchange) stale(ctx context.Context, err error) (bool, *store.View, error) {
	if err == nil || e.cluster == nil && !fault.Is(err, fault.NotFound) || final(err) {
		return false, nil, nil
	}
	fresh, ferr := e.s.Store.Fence(ctx)
	if ferr != nil {
		return false, nil, fault.New(fault.Unavailable, "The store cannot be read, so the refusal cannot be confirmed.").WithReason("store-unavailable").Because(errors.Join(ferr, err))
	}
	return fresh.Revision() != e.view.Revision(), fresh, nil
}

// final tells refusals that no newer record can change. Of a token's faults
// only those of key and issuer depend on the cluster's record; so nobody can
// make the store work by sending tokens that are merely wrong.
func final(err error) bool {
	f := fault.As(err)
	switch f.Kind {
	case fault.Internal, fault.Unavailable, fault.Throttled, fault.ExpiredToken:
		return true
	case fault.InvalidToken:
		switch f.Reason {
		case satoken.ReasonSignature, satoken.ReasonUnknownKey, satoken.ReasonAlgorithm, satoken.ReasonIssuer:
			return false
		}
		return true
	}
	return false
}

// refused adds what is known of pod and association to a refusal, for audit.
func (e *exchange) refused(err error) error {
	f := *fault.As(err)
	f.Detail = Refusal{Extra: e.extra(), Cause: f.Detail}
	return &f
}

// Refusal is the detail of a refused exchange.
type Refusal struct {
	Extra audit.Extra `json:"-"`
	Cause any         `json:"cause,omitempty"` // the failing statement
}

func (e *exchange) extra() audit.Extra {
	x := audit.Extra{
		Namespace: e.claims.Namespace, ServiceAccount: e.claims.ServiceAccount, Pod: e.claims.PodName, PodUID: e.claims.PodUID,
		Node: e.claims.NodeName, AnyNode: e.anyNode,
	}
	if e.caller.Session != nil {
		x.CallerNode = e.caller.Session.Node.Name
	}
	if e.cluster != nil {
		x.ClusterUID = e.cluster.UID
	}
	if e.association != nil {
		x.AssociationID, x.RoleARN = e.association.ID, e.association.RoleARN
	}
	if e.issued != nil {
		x.SessionARN, x.AccessKeyIDIssued = e.issued.AssumedRoleARN, e.issued.Credentials.AccessKeyID
		tags := e.issued.Tags
		if s := e.issued.Session; s != nil {
			tags = s.Tags
		}
		x.SessionTags = make([]audit.Tag, len(tags))
		for i, t := range tags {
			x.SessionTags[i] = audit.Tag{Key: t.Key, Value: t.Value}
		}
	}
	return x
}

func (e *exchange) result() *Result {
	return &Result{
		Namespace: e.claims.Namespace, ServiceAccount: e.claims.ServiceAccount, Audience: Audience,
		AssociationARN: e.association.ARN, AssociationID: e.association.ID,
		AssumedRoleARN: e.issued.AssumedRoleARN, AssumedRoleID: e.issued.AssumedRoleID,
		Credentials: e.issued.Credentials, Extra: e.extra(),
	}
}
