// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stsapi owns the wire form of the Security Token Service: forms in,
// XML out. It parses at the door and hands typed input to sts, which decides.
// Operations of STS that are not in its table (AssumeRoot, AssumeRoleWithSAML,
// GetDelegatedAccessToken, GetWebIdentityToken) are answered with InvalidAction.
// Source: AWS STS API Reference, version 2011-06-15.
package stsapi

import (
	"context"
	"strings"
	"time"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/session"
	"podid/internal/sts"
)

// Verbs are what this package needs of sts.
type Verbs interface {
	AssumeRole(ctx context.Context, caller iam.Caller, in sts.AssumeRoleInput) (*sts.Assumed, error)
	AssumeRoleWithWebIdentity(ctx context.Context, in sts.WebIdentityInput) (*sts.WebIdentityResult, error)
	GetCallerIdentity(c iam.Caller) sts.Identity
	GetSessionToken(ctx context.Context, caller iam.Caller, in sts.SessionTokenInput) (*sts.Assumed, error)
	GetFederationToken(ctx context.Context, caller iam.Caller, in sts.FederationTokenInput) (*sts.Assumed, error)
	GetAccessKeyInfo(ctx context.Context, caller iam.Caller, accessKeyID string) (string, error)
	DecodeAuthorizationMessage(ctx context.Context, caller iam.Caller, text string) (string, error)
}

type api struct{ verbs Verbs }

// Service is the table of operations, for awsquery.New.
func Service(v Verbs) awsquery.Service {
	a := api{v}
	op := func(name, action, resource string, anonymous, readOnly bool, h awsquery.Handler) awsquery.Operation {
		if !anonymous {
			h = suited(name, h)
		}
		return awsquery.Operation{Handle: h, Operation: call.Operation{
			Service: "sts", Source: "sts.amazonaws.com", Name: name, Action: action, Resource: resource, Anonymous: anonymous, ReadOnly: readOnly,
			// A token for credentials is an exchange: agents that could not renew
			// their own while audit is away could not exchange for pods either.
			Exchange: anonymous,
		}}
	}
	return awsquery.Service{
		Name: "sts", Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Refine: refine,
		Operations: []awsquery.Operation{
			op("AssumeRole", "sts:AssumeRole", "role ARN", false, false, a.assumeRole),
			op("AssumeRoleWithWebIdentity", "sts:AssumeRoleWithWebIdentity", "role ARN", true, false, a.assumeRoleWithWebIdentity),
			op("GetCallerIdentity", "none", "*", false, true, a.getCallerIdentity),
			op("GetSessionToken", "none", "*", false, false, a.getSessionToken),
			op("GetFederationToken", "sts:GetFederationToken", "arn:{partition}:sts::{account}:federated-user/${Name}", false, false, a.getFederationToken),
			op("GetAccessKeyInfo", "sts:GetAccessKeyInfo", "*", false, true, a.getAccessKeyInfo),
			op("DecodeAuthorizationMessage", "sts:DecodeAuthorizationMessage", "*", false, true, a.decodeAuthorizationMessage),
		},
	}
}

type credentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      awsquery.Timestamp
}

type assumedRoleUser struct {
	AssumedRoleID string `xml:"AssumedRoleId"`
	Arn           string
}

// suited lets a call through that is for the caller's kind of credentials.
func suited(operation string, h awsquery.Handler) awsquery.Handler {
	return func(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
		if err := sts.MayCall(c.Caller, operation); err != nil {
			c.Event.RequestParameters = f.Parameters(audit.Hidden)
			return nil, err
		}
		return h(ctx, c, f)
	}
}

// tokenSizes tell how much of the largest session token was used, since
// September 2026; PackedPolicySize is what they took the place of. Clients of
// either time find theirs.
type tokenSizes struct {
	PackedPolicySize        int `xml:",omitempty"` // nothing was passed: as with AWS, not there
	SessionTokenSize        int
	SessionTokenUtilization int
}

func sizes(a *sts.Assumed) tokenSizes {
	return tokenSizes{a.PackedSize, len(a.Credentials.SessionToken.Reveal()), session.Utilization(a.Credentials)}
}

func encodeCredentials(c session.Credentials) credentials {
	return credentials{c.AccessKeyID, c.SecretAccessKey.Reveal(), c.SessionToken.Reveal(), awsquery.Timestamp(c.Expires)}
}

// assumed is what both assumptions answer.
type assumed struct {
	SubjectFromWebIdentityToken string `xml:",omitempty"`
	Audience                    string `xml:",omitempty"`
	AssumedRoleUser             assumedRoleUser
	Credentials                 credentials
	Provider                    string `xml:",omitempty"`
	SourceIdentity              string `xml:",omitempty"`
	tokenSizes
}

// AppendXML writes what encoding/xml makes of the members above.
func (a *assumed) AppendXML(x *awsquery.XML) {
	x.Optional("SubjectFromWebIdentityToken", a.SubjectFromWebIdentityToken)
	x.Optional("Audience", a.Audience)
	x.Structure("AssumedRoleUser", func() {
		x.String("AssumedRoleId", a.AssumedRoleUser.AssumedRoleID)
		x.String("Arn", a.AssumedRoleUser.Arn)
	})
	x.Structure("Credentials", func() {
		x.String("AccessKeyId", a.Credentials.AccessKeyID)
		x.String("SecretAccessKey", a.Credentials.SecretAccessKey)
		x.String("SessionToken", a.Credentials.SessionToken)
		x.Time("Expiration", time.Time(a.Credentials.Expiration))
	})
	x.Optional("Provider", a.Provider)
	x.Optional("SourceIdentity", a.SourceIdentity)
	if a.PackedPolicySize != 0 {
		x.Int("PackedPolicySize", a.PackedPolicySize)
	}
	x.Int("SessionTokenSize", a.SessionTokenSize)
	x.Int("SessionTokenUtilization", a.SessionTokenUtilization)
}

// answered is the answer to an assumption. It puts into the audit event what
// CloudTrail shows of it: neither secret nor token.
func answered(c *call.Call, a *sts.Assumed) *assumed {
	user, roleARN := assumedRoleUser{a.Session.AssumedRoleID(), a.Session.ARN()}, a.Session.RoleARN()
	c.Event.ResponseElements = audit.Assumption{
		AssumedRoleUser: audit.AssumedRoleUser{ARN: user.Arn, AssumedRoleID: user.AssumedRoleID},
		Credentials: audit.IssuedCredentials{
			AccessKeyID: a.Credentials.AccessKeyID, Expiration: a.Credentials.Expires.UTC().Truncate(time.Second), SessionToken: audit.Hidden,
		},
		PackedPolicySize: a.PackedSize,
	}
	c.Event.Resources = []audit.Resource{{AccountID: a.Session.Account, Type: "AWS::IAM::Role", ARN: roleARN}}
	x := c.Extra()
	x.AccessKeyIDIssued, x.RoleARN, x.SessionARN, x.CallerNode = a.Credentials.AccessKeyID, roleARN, user.Arn, a.Session.Node.Name
	return &assumed{
		AssumedRoleUser: user, Credentials: encodeCredentials(a.Credentials),
		SourceIdentity: a.Session.SourceIdentity, tokenSizes: sizes(a),
	}
}

func (a api) assumeRole(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	in := sts.AssumeRoleInput{
		RoleARN: f.String("RoleArn"), SessionName: f.String("RoleSessionName"), Duration: seconds(f), Policy: f.String("Policy"),
		PolicyARNs: policyARNs(f), TransitiveKeys: f.Strings("TransitiveTagKeys"), ExternalID: f.String("ExternalId"), SourceIdentity: f.String("SourceIdentity"),
		MinTokenSize: minTokenSize(f), SerialNumber: f.String("SerialNumber"), TokenCode: f.String("TokenCode"),
	}
	in.Tags = sessionTags(f)
	c.Event.RequestParameters = f.Parameters(audit.Hidden, "TokenCode")
	if err := check(f, "RoleArn", "RoleSessionName"); err != nil {
		return nil, err
	}
	if len(f.List("ProvidedContexts")) > 0 {
		return nil, fault.New(fault.InvalidParameter, "podid knows no context providers: leave ProvidedContexts out.").WithReason("contexts-unsupported")
	}
	out, err := a.verbs.AssumeRole(ctx, c.Caller, in)
	if err != nil {
		return nil, err
	}
	return answered(c, out), nil
}

func (a api) assumeRoleWithWebIdentity(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	in := sts.WebIdentityInput{
		RoleARN: f.String("RoleArn"), SessionName: f.String("RoleSessionName"), Token: f.String("WebIdentityToken"),
		Duration: seconds(f), Policy: f.String("Policy"), PolicyARNs: policyARNs(f), MinTokenSize: minTokenSize(f),
	}
	c.Event.RequestParameters = anonymousParameters(f)
	if err := check(f, "RoleArn", "RoleSessionName", "WebIdentityToken"); err != nil {
		return nil, err
	}
	if _, ok := f.Lookup("ProviderId"); ok {
		return nil, fault.New(fault.InvalidParameter, "ProviderId is for OAuth 2.0 access tokens, which are not taken here: leave it out, and pass an OpenID Connect ID token.").WithReason("provider-id")
	}
	out, err := a.verbs.AssumeRoleWithWebIdentity(ctx, in)
	if err != nil {
		return nil, err
	}
	c.Event.UserIdentity = audit.UserIdentity{Type: "WebIdentityUser", PrincipalID: out.Provider + ":" + out.Audience + ":" + out.Subject, UserName: out.Subject}
	x := answered(c, &out.Assumed)
	x.SubjectFromWebIdentityToken, x.Audience, x.Provider = out.Subject, out.Audience, out.Provider
	return x, nil
}

// maxAnonymous bounds each value that a stranger can put into the audit log, in
// bytes: it is that of the longest legal value, an inline policy. Names are
// those of the operation: all else would let anybody turn old records out.
const (
	maxAnonymous      = 2048
	maxAnonymousName  = 64
	maxAnonymousCount = 16 // ten policies and the scalars
)

func anonymousParameters(f *awsquery.Form) map[string]string {
	out := map[string]string{}
	for k, v := range f.Parameters(audit.Hidden, "WebIdentityToken") {
		if len(k) > maxAnonymousName {
			continue
		}
		switch name, rest, _ := strings.Cut(k, "."); name {
		case "roleArn", "roleSessionName", "webIdentityToken", "durationSeconds", "policy", "providerId", "minimumSessionTokenSize":
			if rest != "" {
				continue
			}
		case "policyArns":
			if len(out) >= maxAnonymousCount {
				continue
			}
		default:
			continue
		}
		if len(v) > maxAnonymous {
			v = strings.ToValidUTF8(v[:maxAnonymous], "")
		}
		out[k] = v
	}
	return out
}

type callerIdentity struct {
	Arn     string
	UserID  string `xml:"UserId"`
	Account string
}

// AppendXML writes what encoding/xml makes of the members above.
func (c *callerIdentity) AppendXML(x *awsquery.XML) {
	x.String("Arn", c.Arn)
	x.String("UserId", c.UserID)
	x.String("Account", c.Account)
}

func (a api) getCallerIdentity(_ context.Context, c *call.Call, _ *awsquery.Form) (any, error) {
	id := a.verbs.GetCallerIdentity(c.Caller)
	return &callerIdentity{id.ARN, id.UserID, id.Account}, nil
}

func seconds(f *awsquery.Form) int {
	if n := f.Int32("DurationSeconds"); n != nil {
		return int(*n)
	}
	return 0
}

func minTokenSize(f *awsquery.Form) int {
	if n := f.Int32("MinimumSessionTokenSize"); n != nil {
		return int(*n)
	}
	return 0
}

func sessionTags(f *awsquery.Form) []session.Tag {
	var out []session.Tag
	for _, t := range f.List("Tags") {
		out = append(out, session.Tag{Key: t.String("Key"), Value: t.String("Value")})
	}
	return out
}

func policyARNs(f *awsquery.Form) []string {
	var out []string
	for _, p := range f.List("PolicyArns") {
		out = append(out, p.String("arn"))
	}
	return out
}

// check returns the form's own fault, or the first required member that is
// not there, or a duration of 0, which sts would take for none.
func check(f *awsquery.Form, required ...string) error {
	if err := f.Err(); err != nil {
		return err
	}
	for _, name := range required {
		if f.String(name) == "" {
			return fault.New(fault.InvalidParameter, "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", memberName(name)).WithReason("missing-parameter")
		}
	}
	if n := f.Int32("DurationSeconds"); n != nil && *n == 0 {
		return fault.New(fault.InvalidParameter, "1 validation error detected: Value '0' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900").WithReason("invalid-parameter")
	}
	return nil
}

func memberName(s string) string { return string(s[0]|0x20) + s[1:] }
