// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi

import (
	"context"
	"fmt"
	"net/http"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/iam"
	"podid/internal/issuer"
)

// Issuers are the verbs on who issues an account's credentials.
type Issuers interface {
	Set(ctx context.Context, caller iam.Caller, account string, c issuer.Choice) (*issuer.Status, error)
	Describe(ctx context.Context, caller iam.Caller, account string) (*issuer.Status, error)
}

func (a *API) issuerRoutes() []restjson.Route {
	const one = "/podid/v1/accounts/{accountId}/issuer"
	return []restjson.Route{
		Route(http.MethodGet, one, "DescribeAccountIssuer", onAccount, true, a.describeIssuer),
		Route(http.MethodPut, one, "SetAccountIssuer", onAccount, false, a.setIssuer),
	}
}

// issuerInput is the body of SetAccountIssuer. It replaces the whole choice:
// what is absent is at its default.
type issuerInput struct {
	AccountID            string `json:"accountId"`
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

// audited is what audit keeps: certificates are long, and nobody reads them there.
func (in issuerInput) audited() issuerInput {
	if in.CertificateAuthority != "" {
		in.CertificateAuthority = fmt.Sprintf("%d bytes", len(in.CertificateAuthority))
	}
	return in
}

// issuerJSON is a choice and the principal that roles have to trust.
type issuerJSON struct {
	issuerInput
	BaseARN    string        `json:"baseArn,omitempty"`
	Problem    string        `json:"problem,omitempty"`
	ModifiedAt restjson.Time `json:"modifiedAt,omitzero"`
}

type issuerOutput struct {
	Issuer issuerJSON `json:"issuer"`
}

func newIssuer(s *issuer.Status) issuerOutput {
	a := s.Choice.AWS
	return issuerOutput{issuerJSON{
		issuerInput: issuerInput{
			AccountID: s.Account, Issuer: string(s.Choice.Kind), STSEndpoint: a.STSEndpoint, IAMEndpoint: a.IAMEndpoint, Region: a.Region, Profile: a.Profile,
			ExternalID: a.ExternalID, CertificateAuthority: a.CA, RequestsPerSecond: a.Rate, Audience: a.Audience,
		},
		BaseARN: s.BaseARN, Problem: s.Problem, ModifiedAt: restjson.Time(s.Choice.Modified),
	}}
}

func (a *API) describeIssuer(ctx context.Context, c *call.Call) (any, error) {
	out, err := a.Issuers.Describe(ctx, c.Caller, accountID(c))
	if err != nil {
		return nil, err
	}
	return newIssuer(out), nil
}

func (a *API) setIssuer(ctx context.Context, c *call.Call) (any, error) {
	var in issuerInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	in.AccountID = c.HTTP.PathValue("accountId")
	c.Event.RequestParameters = in.audited()
	out, err := a.Issuers.Set(ctx, c.Caller, in.AccountID, issuer.Choice{Kind: issuer.Kind(in.Issuer), AWS: issuer.AWS{
		STSEndpoint: in.STSEndpoint, IAMEndpoint: in.IAMEndpoint, Region: in.Region, Profile: in.Profile, ExternalID: in.ExternalID,
		CA: in.CertificateAuthority, Rate: in.RequestsPerSecond, Audience: in.Audience,
	}})
	if err != nil {
		return nil, err
	}
	body := newIssuer(out)
	told := body
	told.Issuer.issuerInput = told.Issuer.audited()
	c.Event.ResponseElements = told
	return body, nil
}
