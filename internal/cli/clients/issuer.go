// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"net/http"
)

// IssuerInput is the body of SetAccountIssuer. It replaces the whole choice.
type IssuerInput struct {
	Issuer               string `json:"issuer"`
	STSEndpoint          string `json:"stsEndpoint,omitempty"`
	IAMEndpoint          string `json:"iamEndpoint,omitempty"`
	Region               string `json:"region,omitempty"`
	Profile              string `json:"profile,omitempty"`
	ExternalID           string `json:"externalId,omitempty"`
	CertificateAuthority string `json:"certificateAuthority,omitempty"` // PEM
	RequestsPerSecond    int    `json:"requestsPerSecond,omitempty"`
	Audience             string `json:"audience,omitempty"`
}

// Issuer is who issues an account's credentials.
type Issuer struct {
	AccountID string `json:"accountId"`
	IssuerInput
	BaseARN    string  `json:"baseArn"`
	Problem    string  `json:"problem"`
	ModifiedAt float64 `json:"modifiedAt"` // epoch seconds; 0 when nothing was chosen
}

// DescribeIssuer calls podid:DescribeAccountIssuer.
func (p *Podid) DescribeIssuer(ctx context.Context, account string) (*Issuer, error) {
	var out struct{ Issuer Issuer }
	return &out.Issuer, p.call(ctx, http.MethodGet, accountPath(account)+"/issuer", nil, &out)
}

// SetIssuer calls podid:SetAccountIssuer.
func (p *Podid) SetIssuer(ctx context.Context, account string, in IssuerInput) (*Issuer, error) {
	var out struct{ Issuer Issuer }
	return &out.Issuer, p.call(ctx, http.MethodPut, accountPath(account)+"/issuer", in, &out)
}
