// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/store"
)

// Authorizer decides whether a caller may do something. A nil error allows;
// a refusal is a fault of kind AccessDenied.
type Authorizer interface {
	Authorize(ctx context.Context, c Caller, q Query) error
}

// Sealer keeps secrets at rest under the root key, bound to aad.
type Sealer interface {
	Seal(plaintext, aad []byte) ([]byte, error)
	Open(sealed, aad []byte) ([]byte, error)
}

// Manager holds the verbs. Fields are set once, before use; all are required
// but Accounts, Quotas, LastUsed, Clusters and First.
type Manager struct {
	Store     store.Store
	Authz     Authorizer
	Sealer    Sealer
	Now       func() time.Time
	Rand      io.Reader
	Partition string
	Account   string
	// Accounts are the numbers of all accounts of the installation, whose roles
	// and users trust policies may name; nil when there is but this one.
	Accounts func(r store.Reader) iter.Seq[string]
	Quotas   Quotas           // instead of AWS' defaults
	LastUsed *LastUsed        // what this process knows of the use of keys
	Clusters ClusterProviders // nil for none
	First    string           // account of the installation that may import; "" for none
}

func (m *Manager) scope() store.Scope { return store.Scope{Account: m.Account, Region: store.Global} }

// now is the clock at the precision that records keep.
func (m *Manager) now() time.Time { return m.Now().UTC().Truncate(time.Second) }

func (m *Manager) arn(kind, path, name string) string {
	return arn.IAM(m.Partition, m.Account, kind, path, name)
}

// id is the key of a record by its name: IAM's names are unique without
// regard to case.
func id(name string) string { return strings.ToLower(name) }

// fenced looks in the newest view of this process, and before it gives up in
// one that holds every write acknowledged anywhere.
func fenced[T any](ctx context.Context, s store.Store, look func(store.Reader) (*T, bool)) (*T, error) {
	if v, ok := look(s.View()); ok {
		return v, nil
	}
	view, err := s.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	v, _ := look(view)
	return v, nil
}

// update runs a transaction and turns the engine's errors into faults.
func (m *Manager) update(ctx context.Context, fn func(tx *store.Tx) error) error {
	return storeFault(m.Store.Update(ctx, fn))
}

// role returns the role and asks whether the caller may do the action on it.
// The question comes first: who may not ask does not learn what exists.
func (m *Manager) role(ctx context.Context, caller Caller, action, name string, keys ...ConditionKey) (*Role, error) {
	if err := checkName("roleName", name, maxRoleName); err != nil {
		return nil, err
	}
	r, err := fenced(ctx, m.Store, func(v store.Reader) (*Role, bool) { return FindRole(v, m.Account, name) })
	if err != nil {
		return nil, err
	}
	q := Query{Action: action, Resource: m.arn("role", "/", name), Keys: keys}
	if r != nil {
		q.Resource, q.Keys = r.ARN(), append(resourceKeys(r.Tags), keys...)
		if r.Boundary != "" && !hasKey(keys, keyBoundary) {
			q.Keys = append(q.Keys, ConditionKey{Name: keyBoundary, Values: []string{r.Boundary}})
		}
	}
	if err := m.Authz.Authorize(ctx, caller, q); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, noRole(name)
	}
	return r, nil
}

// changeRole asks, then applies fn to a copy of the role in a transaction.
func (m *Manager) changeRole(ctx context.Context, caller Caller, action, name string, keys []ConditionKey, fn func(tx *store.Tx, r *Role) error) error {
	seen, err := m.role(ctx, caller, action, name, keys...)
	if err != nil {
		return err
	}
	return m.update(ctx, func(tx *store.Tx) error {
		r, ok := Roles.Get(tx, m.scope(), id(name))
		// A role made since under the same name is not the one that was asked about.
		if !ok || r.ID != seen.ID {
			return noRole(name)
		}
		n := r.clone()
		if err := fn(tx, n); err != nil {
			return err
		}
		Roles.Put(tx, m.scope(), id(name), n)
		return nil
	})
}

// user is role for users.
func (m *Manager) user(ctx context.Context, caller Caller, action, name string, keys ...ConditionKey) (*User, error) {
	if err := checkName("userName", name, maxUserName); err != nil {
		return nil, err
	}
	u, err := fenced(ctx, m.Store, func(v store.Reader) (*User, bool) { return Users.Get(v, m.scope(), id(name)) })
	if err != nil {
		return nil, err
	}
	q := Query{Action: action, Resource: m.arn("user", "/", name), Keys: keys}
	if u != nil {
		q.Resource, q.Keys = u.ARN(), append(resourceKeys(u.Tags), keys...)
		if u.Boundary != "" && !hasKey(keys, keyBoundary) {
			q.Keys = append(q.Keys, ConditionKey{Name: keyBoundary, Values: []string{u.Boundary}})
		}
	}
	if err := m.Authz.Authorize(ctx, caller, q); err != nil {
		return nil, err
	}
	if u == nil {
		return nil, noUser(name)
	}
	return u, nil
}

// changeUser is changeRole for users.
func (m *Manager) changeUser(ctx context.Context, caller Caller, action, name string, keys []ConditionKey, fn func(tx *store.Tx, u *User) error) error {
	seen, err := m.user(ctx, caller, action, name, keys...)
	if err != nil {
		return err
	}
	return m.update(ctx, func(tx *store.Tx) error {
		u, ok := Users.Get(tx, m.scope(), id(name))
		if !ok || u.ID != seen.ID {
			return noUser(name)
		}
		n := u.clone()
		if err := fn(tx, n); err != nil {
			return err
		}
		Users.Put(tx, m.scope(), id(name), n)
		return nil
	})
}
