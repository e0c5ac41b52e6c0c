// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// DefaultLimit is how many accounts an installation may have, deleted ones
// among them.
const DefaultLimit = 1000

// maxListed bounds how many things a refusal to delete names.
const maxListed = 20

// nameRE is what an account may be called.
var nameRE = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} _.,@+=()/-]{0,63}$`)

// Authorizer decides whether a caller may. Nil means yes; a refusal is a
// fault of kind AccessDenied.
type Authorizer interface {
	Authorize(ctx context.Context, c iam.Caller, q iam.Query) error
}

// Holding says what the records of a table are to an account that is to be
// deleted: something that has to be deleted first, under the noun, or
// something that goes with the account.
type Holding struct {
	Noun string
	Goes bool
	// Name is how a record is called; nil takes its id.
	Name func(record any) string
}

// Manager holds the verbs on accounts, for callers of one account. All fields
// are required but Limit.
type Manager struct {
	Store     store.Store
	Authz     Authorizer
	Account   string // of the callers
	First     string // the only one that may make and delete accounts
	Partition string
	Now       func() time.Time
	// New makes the record of an account, with what is sealed in it.
	New func(id string) (*Account, error)
	// Admin makes the first user of an account.
	Admin func(tx *store.Tx, id string) (iam.NewKey, error)
	// Holds is what each table's records are to an account. A table that is
	// not in it keeps accounts from being deleted.
	Holds map[string]Holding
	Limit int // accounts of the installation; 0 is DefaultLimit
}

func (m *Manager) arn(id string) string {
	return "arn:" + m.Partition + ":podid::" + m.Account + ":account/" + id
}

func notFound(id string) error {
	return fault.New(fault.NotFound, "No account found with the number %.64s.", id).WithReason("account-not-found")
}

// authorize asks for an action on an account, and checks the number's form
// after that.
func (m *Manager) authorize(ctx context.Context, caller iam.Caller, action, id string) error {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: action, Resource: m.arn(id)}); err != nil {
		return err
	}
	if !arn.IsAccount(id) {
		return fault.New(fault.InvalidParameter, "The accountId must be 12 digits, not %.64q.", id).WithReason("account-id")
	}
	return nil
}

// onlyFirst refuses callers of other accounts, whatever their policies say.
func (m *Manager) onlyFirst(caller iam.Caller, action, id string) error {
	if caller.Account == m.First && m.Account == m.First {
		return nil
	}
	return fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s on resource: %s because only the first account of the installation may", caller.ARN, action, m.arn(id)).
		WithReason("not-first-account")
}

// Created is a new account and the key of its first user: the only time that
// the secret is seen.
type Created struct {
	Account *Account
	Key     iam.NewKey
}

// CreateInput describes an account to be made.
type CreateInput struct {
	ID   string // 12 digits
	Name string // optional
}

// Create makes an account and its first user, who has AdministratorAccess and
// one key. Action: podid:CreateAccount on the account's ARN; the caller has to
// be of the first account. The number must never have been used here: policies
// of other accounts may still name it.
func (m *Manager) Create(ctx context.Context, caller iam.Caller, in CreateInput) (*Created, error) {
	const action = "podid:CreateAccount"
	if err := m.authorize(ctx, caller, action, in.ID); err != nil {
		return nil, err
	}
	if err := m.onlyFirst(caller, action, in.ID); err != nil {
		return nil, err
	}
	if in.ID == strings.Repeat("0", len(in.ID)) {
		return nil, fault.New(fault.InvalidParameter, "The account %s stands for no account: choose another number.", in.ID).WithReason("account-id")
	}
	if in.Name != "" && !nameRE.MatchString(in.Name) {
		return nil, fault.New(fault.InvalidParameter, "The name %.100q of an account must be 1 to 64 letters, digits, spaces or _.,@+=()/-, and begin with a letter or digit.", in.Name).WithReason("account-name")
	}
	var out *Created
	err := cluster.Commit(ctx, m.Store, "create account", func(tx *store.Tx) error {
		a, err := m.admit(tx, in)
		if err != nil {
			return err
		}
		key, err := m.Admin(tx, in.ID)
		if err != nil {
			return err
		}
		a.AdminID = key.User.ID
		Accounts.Put(tx, Scope, in.ID, a)
		out = &Created{a, key}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// admit checks what only the store knows, and makes the record.
func (m *Manager) admit(tx *store.Tx, in CreateInput) (*Account, error) {
	n, limit := 0, m.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	for id, old := range Accounts.List(tx, Scope, "", "") {
		n++
		switch {
		case id != in.ID:
		case old.Closed.IsZero():
			return nil, fault.New(fault.AlreadyExists, "Account %s already exists.", id).WithReason("account-exists")
		default:
			return nil, fault.New(fault.AlreadyExists, "Account %s was deleted on %s; its number is not used again, since policies of other accounts may still name it.", id, old.Closed.UTC().Format(time.DateOnly)).
				WithReason("account-number-used")
		}
	}
	if n >= limit {
		return nil, fault.New(fault.LimitExceeded, "The installation has reached the limit of %d accounts.", limit).WithReason("account-limit")
	}
	a, err := m.New(in.ID)
	if err != nil {
		return nil, err
	}
	a.By, a.Name = m.First, in.Name
	return a, nil
}

// visible says whether callers of this account see another. Those of the first
// account see all, others their own.
func (m *Manager) visible(id string) bool { return m.Account == m.First || m.Account == id }

// Get returns an account. Action: podid:DescribeAccount on the account's ARN.
// Who may not see it is told what is told of a number that is not in use.
func (m *Manager) Get(ctx context.Context, caller iam.Caller, id string) (*Account, error) {
	if err := m.authorize(ctx, caller, "podid:DescribeAccount", id); err != nil {
		return nil, err
	}
	if !m.visible(id) {
		return nil, notFound(id)
	}
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	a, ok := Open(v, id)
	if !ok {
		return nil, notFound(id)
	}
	return a, nil
}

// List returns the accounts that the caller may see, in the order of their
// numbers. Action: podid:ListAccounts.
func (m *Manager) List(ctx context.Context, caller iam.Caller) ([]*Account, error) {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "podid:ListAccounts", Resource: m.arn("*")}); err != nil {
		return nil, err
	}
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	var out []*Account
	for id, a := range Accounts.List(v, Scope, "", "") {
		if m.visible(id) && a.Closed.IsZero() {
			out = append(out, a)
		}
	}
	return out, nil
}

// Delete removes an account that holds nothing but the user that it was made
// with, and keeps its number from being used again. Action:
// podid:DeleteAccount on the account's ARN; the caller has to be of the first
// account, which itself cannot be deleted.
func (m *Manager) Delete(ctx context.Context, caller iam.Caller, id string) error {
	const action = "podid:DeleteAccount"
	if err := m.authorize(ctx, caller, action, id); err != nil {
		return err
	}
	if err := m.onlyFirst(caller, action, id); err != nil {
		return err
	}
	if id == m.First {
		return fault.New(fault.InvalidParameter, "Account %s is the first account of the installation: it cannot be deleted.", id).WithReason("account-first")
	}
	return cluster.Commit(ctx, m.Store, "delete account", func(tx *store.Tx) error {
		a, ok := Open(tx, id)
		if !ok {
			return notFound(id)
		}
		var all []store.Record
		var held []string
		for r := range store.Records(tx, id) {
			all = append(all, r)
			if text := m.held(a, r); text != "" {
				held = append(held, text)
			}
		}
		if len(held) > 0 {
			return inUse(id, held)
		}
		for _, r := range all {
			r.Remove(tx)
		}
		n := *a
		n.Closed, n.PageKey = m.Now().UTC().Truncate(time.Second), nil
		Accounts.Put(tx, Scope, id, &n)
		return nil
	})
}

// held names a record that keeps the account, or returns "".
func (m *Manager) held(a *Account, r store.Record) string {
	h, known := m.Holds[r.Table]
	if !known {
		return r.Table + " " + r.ID
	}
	if u, ok := r.Value.(*iam.User); h.Goes || ok && u.ID == a.AdminID {
		return ""
	}
	if h.Name != nil {
		return h.Noun + " " + h.Name(r.Value)
	}
	return h.Noun + " " + r.ID
}

func inUse(id string, held []string) error {
	slices.Sort(held)
	more := ""
	if n := len(held) - maxListed; n > 0 {
		held, more = held[:maxListed], fmt.Sprintf(" and %d more", n)
	}
	return fault.New(fault.DeleteConflict, "Account %s cannot be deleted while it holds: %s%s.", id, strings.Join(held, ", "), more).WithReason("account-not-empty")
}
