// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi

import (
	"context"
	"net/http"

	"podid/internal/account"
	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/audit"
	"podid/internal/iam"
)

// Accounts are the verbs on accounts.
type Accounts interface {
	Create(ctx context.Context, caller iam.Caller, in account.CreateInput) (*account.Created, error)
	Get(ctx context.Context, caller iam.Caller, id string) (*account.Account, error)
	List(ctx context.Context, caller iam.Caller) ([]*account.Account, error)
	Delete(ctx context.Context, caller iam.Caller, id string) error
}

const onAccount = "arn:${Partition}:podid::${Account}:account/${AccountId}"

func (a *API) accountRoutes() []restjson.Route {
	const all, one = "/podid/v1/accounts", "/podid/v1/accounts/{accountId}"
	return []restjson.Route{
		Route(http.MethodPost, all, "CreateAccount", onAccount, false, a.createAccount),
		Route(http.MethodGet, all, "ListAccounts", "arn:${Partition}:podid::${Account}:account/*", true, a.listAccounts),
		Route(http.MethodGet, one, "DescribeAccount", onAccount, true, a.describeAccount),
		Route(http.MethodDelete, one, "DeleteAccount", onAccount, false, a.deleteAccount),
	}
}

type createAccountInput struct {
	AccountID string `json:"accountId"`
	Name      string `json:"name"`
}

type wireAccount struct {
	AccountID string        `json:"accountId"`
	Name      string        `json:"name,omitempty"`
	Partition string        `json:"partition"`
	Region    string        `json:"region"`
	First     bool          `json:"first"` // the one that may create accounts
	CreatedAt restjson.Time `json:"createdAt"`
}

func newAccount(a *account.Account) wireAccount {
	return wireAccount{a.ID, a.Name, a.Partition, a.Region, a.By == "", restjson.Time(a.Created)}
}

type wireKey struct {
	UserName        string `json:"userName"`
	UserARN         string `json:"userArn"`
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey,omitempty"`
}

type createAccountOutput struct {
	Account wireAccount `json:"account"`
	Admin   wireKey     `json:"admin"`
}

func (a *API) createAccount(ctx context.Context, c *call.Call) (any, error) {
	var in createAccountInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	made, err := a.Accounts.Create(ctx, c.Caller, account.CreateInput{ID: in.AccountID, Name: in.Name})
	if err != nil {
		return nil, err
	}
	out := createAccountOutput{newAccount(made.Account), wireKey{made.Key.User.Name, made.Key.User.ARN(), made.Key.Key.ID, audit.Hidden}}
	c.Event.ResponseElements = out
	out.Admin.SecretAccessKey = made.Key.Secret.Reveal()
	return out, nil
}

func (a *API) listAccounts(ctx context.Context, c *call.Call) (any, error) {
	list, err := a.Accounts.List(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	out := make([]wireAccount, len(list))
	for i, x := range list {
		out[i] = newAccount(x)
	}
	return struct {
		Accounts []wireAccount `json:"accounts"`
	}{out}, nil
}

type accountOutput struct {
	Account wireAccount `json:"account"`
}

func accountID(c *call.Call) string {
	id := c.HTTP.PathValue("accountId")
	c.Event.RequestParameters = map[string]string{"accountId": id}
	return id
}

func (a *API) describeAccount(ctx context.Context, c *call.Call) (any, error) {
	out, err := a.Accounts.Get(ctx, c.Caller, accountID(c))
	if err != nil {
		return nil, err
	}
	return accountOutput{newAccount(out)}, nil
}

func (a *API) deleteAccount(ctx context.Context, c *call.Call) (any, error) {
	if err := a.Accounts.Delete(ctx, c.Caller, accountID(c)); err != nil {
		return nil, err
	}
	return struct{}{}, nil
}
