// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stsapi

import (
	"context"
	"time"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/audit"
	"podid/internal/sts"
)

type sessionToken struct {
	Credentials credentials
	tokenSizes
}

type federatedUser struct {
	FederatedUserID string `xml:"FederatedUserId"`
	Arn             string
}

type federationToken struct {
	Credentials   credentials
	FederatedUser federatedUser
	tokenSizes
}

// recordTemporary puts into the audit event what CloudTrail shows of a user's
// session: neither secret nor token.
func recordTemporary(c *call.Call, a *sts.Assumed, more map[string]any) {
	elements := map[string]any{"credentials": map[string]string{
		"accessKeyId": a.Credentials.AccessKeyID, "sessionToken": audit.Hidden, "expiration": a.Credentials.Expires.UTC().Format(time.RFC3339),
	}}
	for k, v := range more {
		elements[k] = v
	}
	c.Event.ResponseElements = elements
	c.Extra().AccessKeyIDIssued = a.Credentials.AccessKeyID
}

func (a api) getSessionToken(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	in := sts.SessionTokenInput{
		Duration: seconds(f), MinTokenSize: minTokenSize(f), SerialNumber: f.String("SerialNumber"), TokenCode: f.String("TokenCode"),
	}
	c.Event.RequestParameters = f.Parameters(audit.Hidden, "TokenCode")
	if err := check(f); err != nil {
		return nil, err
	}
	out, err := a.verbs.GetSessionToken(ctx, c.Caller, in)
	if err != nil {
		return nil, err
	}
	recordTemporary(c, out, nil)
	return &sessionToken{encodeCredentials(out.Credentials), sizes(out)}, nil
}

func (a api) getFederationToken(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	in := sts.FederationTokenInput{
		Name: f.String("Name"), Duration: seconds(f), Policy: f.String("Policy"), PolicyARNs: policyARNs(f), Tags: sessionTags(f), MinTokenSize: minTokenSize(f),
	}
	c.Event.RequestParameters = f.Parameters(audit.Hidden)
	if err := check(f, "Name"); err != nil {
		return nil, err
	}
	out, err := a.verbs.GetFederationToken(ctx, c.Caller, in)
	if err != nil {
		return nil, err
	}
	user := federatedUser{out.Session.FederatedUserID(), out.Session.ARN()}
	recordTemporary(c, out, map[string]any{
		"federatedUser": map[string]string{"federatedUserId": user.FederatedUserID, "arn": user.Arn}, "packedPolicySize": out.PackedSize,
	})
	c.Event.Resources = []audit.Resource{{AccountID: out.Session.Account, Type: "AWS::STS::FederatedUser", ARN: user.Arn}}
	return &federationToken{encodeCredentials(out.Credentials), user, sizes(out)}, nil
}

type accessKeyInfo struct{ Account string }

func (a api) getAccessKeyInfo(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	c.Event.RequestParameters = f.Parameters(audit.Hidden)
	if err := check(f, "AccessKeyId"); err != nil {
		return nil, err
	}
	account, err := a.verbs.GetAccessKeyInfo(ctx, c.Caller, f.String("AccessKeyId"))
	if err != nil {
		return nil, err
	}
	return &accessKeyInfo{account}, nil
}
