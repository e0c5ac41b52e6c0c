// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"sync"

	"podid/internal/account"
	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/api/podidapi"
	"podid/internal/api/restjson"
	"podid/internal/arn"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/satoken"
	"podid/internal/store"
)

// desks serve the accounts of a control plane, each with services of its own.
// All accounts have the same operations; which account's verbs run one follows
// from who calls, and from nothing that the request says. So a name or an id
// is looked up in the caller's account only, in every operation there is and
// will be. The one exception is a call without a caller: web identity runs in
// the account of the role that it asks for.
type desks struct {
	store   store.Store
	account string // the first one
	first   *services
	// nowhere serves an account that there is not: its answers are those of an
	// account that holds nothing.
	nowhere *desk
	make    func(*account.Account) (*services, error)
	reviews *podidapi.TokenReview // nil: off
	joins   *podidapi.Activation
	keys    *podidapi.Keys

	mu   sync.RWMutex
	made map[string]*desk
}

// desk is what serves one account: handlers in the order of the tables.
type desk struct {
	record *account.Account
	rest   []call.Handler
	query  [][]awsquery.Handler
}

// noAccount is the number of the account that there is not.
const noAccount = "000000000000"

func (cp *ControlPlane) newDesks(common *shared) (*desks, error) {
	d := &desks{store: cp.db, account: cp.account.ID, made: map[string]*desk{}}
	d.make = func(a *account.Account) (*services, error) { return cp.servicesOf(common, a) }
	var err error
	if d.first, err = d.make(cp.account); err != nil {
		return nil, err
	}
	empty, err := cp.newAccount(noAccount)
	if err != nil {
		return nil, err
	}
	d.reviews = cp.tokenReview(common)
	d.joins = podidapi.NewActivation(common.gate, cluster.NewActivator(cp.db, cp.cfg.Now, cp.account.Region))
	s := cp.cfg.Settings
	d.keys = podidapi.NewKeys(common.gate, cluster.NewKeyKeeper(cp.db, cp.cfg.Now, cp.account.Region, s.ClockSkew, s.TokenMaxLife+satoken.DefaultLeeway))
	d.nowhere, err = d.open(empty)
	return d, err
}

func (d *desks) open(a *account.Account) (*desk, error) {
	v, err := d.make(a)
	if err != nil {
		return nil, err
	}
	out := &desk{record: a}
	for _, r := range v.routes() {
		out.rest = append(out.rest, r.Handler)
	}
	for _, s := range v.queries() {
		handlers := make([]awsquery.Handler, len(s.Operations))
		for i, op := range s.Operations {
			handlers[i] = op.Handle
		}
		out.query = append(out.query, handlers)
	}
	return out, nil
}

// of returns the desk of an account, or an error if there is none. A record
// that was changed makes a new desk.
func (d *desks) of(r store.Reader, id string) (*desk, error) {
	a, ok := account.Open(r, id)
	if !ok {
		return nil, fault.New(fault.UnknownAccessKey, "The security token included in the request is invalid.").WithReason("account-deleted")
	}
	d.mu.RLock()
	known, ok := d.made[id]
	d.mu.RUnlock()
	if ok && known.record == a {
		return known, nil
	}
	made, err := d.open(a)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made[id] = made
	return made, nil
}

// routes are the first account's, taken to the caller's.
func (d *desks) routes() []restjson.Route {
	out := d.first.routes()
	for i := range out {
		own := out[i].Handler
		out[i].Handler = func(ctx context.Context, c *call.Call) (any, error) {
			x, err := d.ofCaller(c)
			switch {
			case err != nil:
				return nil, err
			case x == nil:
				return own(ctx, c)
			}
			return x.rest[i](ctx, c)
		}
	}
	return out
}

// queries are the first account's, taken to the caller's.
func (d *desks) queries() []awsquery.Service {
	out := d.first.queries()
	for i := range out {
		for j := range out[i].Operations {
			op := &out[i].Operations[j]
			own, anonymous := op.Handle, op.Anonymous
			op.Handle = func(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
				var x *desk
				var err error
				if anonymous {
					x, err = d.ofRole(ctx, c, f.String("RoleArn"))
				} else {
					x, err = d.ofCaller(c)
				}
				switch {
				case err != nil:
					return nil, err
				case x == nil:
					return own(ctx, c, f)
				}
				return x.query[i][j](ctx, c, f)
			}
		}
	}
	return out
}

// ofCaller returns the desk of the caller's account, nil for the first.
func (d *desks) ofCaller(c *call.Call) (*desk, error) {
	id := c.Caller.Account
	if id == "" || id == d.account {
		return nil, nil
	}
	c.Event.RecipientAccountID = id
	return d.of(d.store.View(), id)
}

// ofRole returns the desk of the account that a role belongs to, nil for the
// first and for what is no role. Strangers call this: they do not learn which
// accounts there are.
func (d *desks) ofRole(ctx context.Context, c *call.Call, roleARN string) (*desk, error) {
	role, err := arn.ParseRole(roleARN)
	if err != nil || role.Account == d.account {
		return nil, nil
	}
	x, err := d.of(d.store.View(), role.Account)
	if err == nil {
		c.Event.RecipientAccountID = role.Account
		return x, nil
	}
	// Another replica may have made the account a moment ago.
	v, err := d.store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	if x, err = d.of(v, role.Account); err != nil {
		return d.nowhere, nil
	}
	c.Event.RecipientAccountID = role.Account
	return x, nil
}

// noTokens is what issues tokens for an account whose clusters' keys are
// elsewhere.
type noTokens struct{}

// Token implements TokenIssuer.
func (noTokens) Token(_ context.Context, r TokenRequest) (Token, error) {
	return Token{}, fault.New(fault.NotFound, "No local cluster has the name %s; podid dev stands for those given with --clusters.", r.Cluster).WithReason("cluster-not-local")
}
