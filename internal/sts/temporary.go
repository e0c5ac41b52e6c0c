// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sts

import (
	"context"
	"slices"
	"time"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/seal"
	"podid/internal/session"
)

// Durations of the sessions that users get for themselves and for federated
// users, by AWS' documentation of GetSessionToken and GetFederationToken.
const (
	DefaultUserDuration = 12 * time.Hour
	MaxUserDuration     = 36 * time.Hour
)

// Operations that temporary credentials may call, by whose they are (STS API
// Reference, "Permissions" of GetSessionToken and GetFederationToken). Those of
// roles may call all but the two operations themselves.
var (
	ofUsers     = []string{"AssumeRole", "GetCallerIdentity"}
	ofFederated = []string{"GetCallerIdentity"}
)

// MayCall refuses operations of STS that are not for the caller's kind of
// credentials, whatever policies say.
func MayCall(c iam.Caller, operation string) error {
	if c.Session == nil {
		return nil
	}
	may := operation != "GetSessionToken" && operation != "GetFederationToken"
	switch c.Session.Kind {
	case session.OfUser:
		may = slices.Contains(ofUsers, operation)
	case session.Federated:
		may = slices.Contains(ofFederated, operation)
	}
	if may {
		return nil
	}
	return fault.New(fault.AccessDenied, "Cannot call %s with session credentials", operation).WithReason("session-credentials")
}

// longLived wants a user with an access key of his own.
func longLived(c iam.Caller, operation string) error {
	if err := MayCall(c, operation); err != nil {
		return err
	}
	if c.Kind != iam.CallerUser || c.User == nil {
		return fault.New(fault.AccessDenied, "%s must be called with the long-term credentials of an IAM user.", operation).WithReason("caller-not-user")
	}
	return nil
}

// userDuration is that of a session whose seconds are good in form.
func userDuration(seconds int) time.Duration {
	if seconds == 0 {
		return DefaultUserDuration
	}
	return time.Duration(seconds) * time.Second
}

// userSession is what both kinds have in common.
func (s *Service) userSession(kind session.Kind, u *iam.User, life time.Duration) *session.Session {
	now := s.Now().UTC().Truncate(time.Millisecond)
	return &session.Session{
		Kind: kind, UserID: u.ID, Partition: u.Partition, Account: u.Account, Issued: now, Expires: now.Truncate(time.Second).Add(life),
	}
}

// SessionTokenInput is what a caller of GetSessionToken says.
type SessionTokenInput struct {
	Duration     int    // seconds; 0 = 43200
	MinTokenSize int    // bytes; the token is padded to it; 0 = not at all
	SerialNumber string // of an MFA device, which podid has not: refused
	TokenCode    string // likewise
}

// GetSessionToken gives a user a session of himself. It needs no permission:
// policies do not control who may prove who he is (IAM User Guide, "Permissions
// for GetSessionToken").
func (s *Service) GetSessionToken(_ context.Context, caller iam.Caller, in SessionTokenInput) (*Assumed, error) {
	var c constraints
	c.seconds(in.Duration, MaxUserDuration)
	c.tokenSize(in.MinTokenSize)
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := longLived(caller, "GetSessionToken"); err != nil {
		return nil, err
	}
	if err := withoutMFA(in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	sess := s.userSession(session.OfUser, caller.User, userDuration(in.Duration))
	sess.MinTokenSize = in.MinTokenSize
	return s.Mint(sess)
}

// FederationTokenInput is what a caller of GetFederationToken says.
type FederationTokenInput struct {
	Name         string // 2..32 characters
	Duration     int    // seconds; 0 = 43200
	Policy       string
	PolicyARNs   []string
	Tags         []session.Tag
	MinTokenSize int // bytes; the token is padded to it; 0 = not at all
}

func (in *FederationTokenInput) check() error {
	var c constraints
	c.name(in.Name, "name", 32)
	c.seconds(in.Duration, MaxUserDuration)
	c.policies(in.Policy, in.PolicyARNs)
	c.tags(in.Tags, nil)
	c.tokenSize(in.MinTokenSize)
	return c.err()
}

// GetFederationToken gives a user the session of somebody he vouches for. The
// session may do what the user's policies and the session's policies both
// allow: without session policies nothing (sts:GetFederationToken, and
// sts:TagSession for tags).
func (s *Service) GetFederationToken(ctx context.Context, caller iam.Caller, in FederationTokenInput) (*Assumed, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := longLived(caller, "GetFederationToken"); err != nil {
		return nil, err
	}
	tags, err := sessionTags(in.Tags, nil, nil)
	if err != nil {
		return nil, err
	}
	sess := s.userSession(session.Federated, caller.User, userDuration(in.Duration))
	sess.Name, sess.Policy, sess.PolicyARNs, sess.Tags, sess.MinTokenSize = in.Name, in.Policy, in.PolicyARNs, tags, in.MinTokenSize
	q := iam.Query{Action: "sts:GetFederationToken", Resource: arn.FederatedUser(s.Partition, caller.Account, in.Name), Keys: requestTags(tags)}
	if err := s.Callers.Authorize(ctx, caller, q); err != nil {
		return nil, err
	}
	if len(tags) > 0 {
		q.Action = "sts:TagSession"
		if err := s.Callers.Authorize(ctx, caller, q); err != nil {
			return nil, err
		}
	}
	v := s.Store.View()
	if err := s.checkSessionPolicies(v, caller.Account, in.Policy, in.PolicyARNs); err != nil {
		return nil, err
	}
	out, err := s.Mint(sess)
	if err != nil {
		return nil, err
	}
	out.PackedSize = session.PackedPolicySize(tags, in.Policy, in.PolicyARNs)
	return out, nil
}

func requestTags(tags []session.Tag) []iam.ConditionKey {
	if len(tags) == 0 {
		return nil
	}
	keys := make([]string, len(tags))
	out := make([]iam.ConditionKey, 0, len(tags)+1)
	for i, t := range tags {
		keys[i] = t.Key
		out = append(out, iam.ConditionKey{Name: "aws:RequestTag/" + t.Key, Values: []string{t.Value}})
	}
	return append(out, iam.ConditionKey{Name: "aws:TagKeys", Values: keys, Multi: true})
}

// GetAccessKeyInfo tells whose account an access key id belongs to, from the
// id alone: nothing is looked up, and nothing is said of whether there is such
// a key (sts:GetAccessKeyInfo).
func (s *Service) GetAccessKeyInfo(ctx context.Context, caller iam.Caller, accessKeyID string) (string, error) {
	var c constraints
	c.form(accessKeyID, "accessKeyId", keyIDPattern)
	c.length(accessKeyID, "accessKeyId", 16, 128)
	if err := c.err(); err != nil {
		return "", err
	}
	if err := MayCall(caller, "GetAccessKeyInfo"); err != nil {
		return "", err
	}
	if err := s.Callers.Authorize(ctx, caller, iam.Query{Action: "sts:GetAccessKeyInfo", Resource: "*"}); err != nil {
		return "", err
	}
	account, ok := seal.AccessKeyAccount(accessKeyID)
	if !ok {
		return "", invalid("The access key id %s is not one that podid issues: it names no account.", accessKeyID)
	}
	return account, nil
}
