// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"net/http"
	"net/url"
)

// Account is an account of the control plane.
type Account struct {
	AccountID string  `json:"accountId"`
	Name      string  `json:"name"`
	Partition string  `json:"partition"`
	Region    string  `json:"region"`
	First     bool    `json:"first"`
	CreatedAt float64 `json:"createdAt"` // epoch seconds
}

// NewAccount is an account and the key of its first user.
type NewAccount struct {
	Account Account `json:"account"`
	Admin   struct {
		UserName        string       `json:"userName"`
		UserARN         string       `json:"userArn"`
		AccessKeyID     string       `json:"accessKeyId"`
		SecretAccessKey SecretString `json:"secretAccessKey"`
	} `json:"admin"`
}

// CreateAccount calls podid:CreateAccount.
func (p *Podid) CreateAccount(ctx context.Context, id, name string) (*NewAccount, error) {
	in := struct {
		AccountID string `json:"accountId"`
		Name      string `json:"name,omitempty"`
	}{id, name}
	out := &NewAccount{}
	return out, p.call(ctx, http.MethodPost, "/podid/v1/accounts", in, out)
}

// ListAccounts calls podid:ListAccounts.
func (p *Podid) ListAccounts(ctx context.Context) ([]Account, error) {
	var out struct{ Accounts []Account }
	return out.Accounts, p.call(ctx, http.MethodGet, "/podid/v1/accounts", nil, &out)
}

// DescribeAccount calls podid:DescribeAccount.
func (p *Podid) DescribeAccount(ctx context.Context, id string) (*Account, error) {
	var out struct{ Account Account }
	return &out.Account, p.call(ctx, http.MethodGet, accountPath(id), nil, &out)
}

// DeleteAccount calls podid:DeleteAccount.
func (p *Podid) DeleteAccount(ctx context.Context, id string) error {
	return p.call(ctx, http.MethodDelete, accountPath(id), nil, &struct{}{})
}

func accountPath(id string) string { return "/podid/v1/accounts/" + url.PathEscape(id) }
