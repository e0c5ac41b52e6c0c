// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"time"

	"podid/internal/account"
	"podid/internal/arn"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// IAM actions of this room, on the account.
const (
	ActionSet      = "podid:SetAccountIssuer"
	ActionDescribe = "podid:DescribeAccountIssuer"
)

// Authorizer answers whether a caller may.
type Authorizer interface {
	Authorize(ctx context.Context, c iam.Caller, q iam.Query) error
}

// Prober tells whom roles have to trust: who the base credentials are, by the
// STS, or the provider that signs tokens.
type Prober interface {
	Probe(ctx context.Context, account string, c Choice) (principalARN string, err error)
}

// Manager holds the verbs on the choice, for callers of one account. All
// fields are required.
type Manager struct {
	Store     store.Store
	Authz     Authorizer
	Probe     Prober
	Now       func() time.Time
	Partition string
	Region    string // of the STS where none is given
	Account   string // of the callers
	First     string // the only one whose callers may choose
}

// Status is an account's choice and the principal that roles have to trust: the
// base credentials, by what the STS says, or the provider of podid's tokens. Or
// why it is not known.
type Status struct {
	Account string
	Choice  Choice
	BaseARN string
	Problem string
}

func (m *Manager) arn(id string) string {
	return "arn:" + m.Partition + ":podid::" + m.Account + ":account/" + id
}

// Set replaces the account's choice. Only callers of the first account may,
// whatever their policies say, since the base credentials are the server's. An
// STS that does not answer is no error: the status says so, the choice stands.
func (m *Manager) Set(ctx context.Context, caller iam.Caller, id string, c Choice) (*Status, error) {
	if err := m.authorize(ctx, caller, ActionSet, id); err != nil {
		return nil, err
	}
	if m.Account != m.First || caller.Account != m.First {
		return nil, fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s on resource: %s because only the first account of the installation may",
			caller.ARN, ActionSet, m.arn(id)).WithReason("not-first-account")
	}
	if c.Kind != Embedded && c.Kind != "" && c.AWS.Region == "" {
		c.AWS.Region = m.Region
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Modified = m.Now().UTC().Truncate(time.Millisecond)
	err := cluster.Commit(ctx, m.Store, "set account issuer", func(tx *store.Tx) error {
		if _, ok := account.Open(tx, id); !ok {
			return notFound(id)
		}
		Choices.Put(tx, scope(id), choiceID, &c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.status(ctx, id, c), nil
}

// Describe shows an account's choice to its own callers and to the first
// account's.
func (m *Manager) Describe(ctx context.Context, caller iam.Caller, id string) (*Status, error) {
	if err := m.authorize(ctx, caller, ActionDescribe, id); err != nil {
		return nil, err
	}
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	if _, ok := account.Open(v, id); !ok || m.Account != m.First && m.Account != id {
		return nil, notFound(id)
	}
	return m.status(ctx, id, Find(v, id)), nil
}

func (m *Manager) authorize(ctx context.Context, caller iam.Caller, action, id string) error {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: action, Resource: m.arn(id)}); err != nil {
		return err
	}
	if !arn.IsAccount(id) {
		return fault.New(fault.InvalidParameter, "The accountId must be 12 digits, not %.64q.", id).WithReason("account-id")
	}
	return nil
}

func notFound(id string) error {
	return fault.New(fault.NotFound, "No account found with the number %.64s.", id).WithReason("account-not-found")
}

func (m *Manager) status(ctx context.Context, id string, c Choice) *Status {
	out := &Status{Account: id, Choice: c}
	if c.Kind == Embedded {
		return out
	}
	var err error
	if out.BaseARN, err = m.Probe.Probe(ctx, id, c); err != nil {
		out.Problem = fault.As(err).Message
	}
	return out
}
