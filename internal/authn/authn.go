// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package authn proves who signed a request: a user by a long-lived access
// key, or a role session by a sealed token. It owns the rules around the
// signature that sigv4 does not know: which service and region the scope must
// name, which keys are active, that a session's role still is the role it was
// issued for. It refuses presigned requests but for those an operation
// admits. It stands between the listener and the verbs and decides nothing
// about what the caller may do.
package authn

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/secret"
	"podid/internal/session"
	"podid/internal/sigv4"
	"podid/internal/store"
)

// Sessions opens session tokens.
type Sessions interface {
	Open(ctx context.Context, accessKeyID, token string) (*session.Session, secret.String, error)
}

// Sealer opens the secrets of long-lived keys.
type Sealer interface {
	Open(sealed, aad []byte) ([]byte, error)
}

// sessionKeyPrefix begins the access key ids of sessions, which mean nothing
// without their token.
const sessionKeyPrefix = "ASIA"

// Authenticator proves callers. Fields are set once, before use.
type Authenticator struct {
	Store    store.Store
	Sessions Sessions
	Sealer   Sealer
	Keys     *sigv4.KeyCache
	Now      func() time.Time
	Skew     time.Duration // 5 min by default
	Account  string
	Region   string
}

// Authenticate implements the wire's need: the signature of r over a body
// with that hash, for that service. Presigned requests are refused.
func (a *Authenticator) Authenticate(ctx context.Context, r *http.Request, bodySHA256, service string) (iam.Caller, error) {
	s, err := sigv4.Parse(r)
	if err != nil {
		return iam.Caller{}, signatureFault(err)
	}
	if s.Presigned && !presignable(service, r, bodySHA256) {
		return iam.Caller{}, fault.New(fault.IncompleteSignature, "Presigned requests are accepted for GetCallerIdentity only.").WithReason("presigned-refused")
	}
	if err := s.RequireScope(service, a.regions(service)...); err != nil {
		return iam.Caller{}, signatureFault(err)
	}
	caller, key, err := a.find(ctx, s)
	if err != nil {
		return iam.Caller{}, err
	}
	if err := s.Verify(r, bodySHA256, a.Keys.Key(s, key.Reveal()), a.Now(), a.Skew); err != nil {
		return iam.Caller{}, signatureFault(err)
	}
	return caller, nil
}

// emptySHA256 is the hash of no body at all.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// presignable says whether a presigned request may be one of those that AWS'
// tools send: sts:GetCallerIdentity, the proof inside EKS tokens. All of it
// must be in the URL: a body could name another action.
func presignable(service string, r *http.Request, bodySHA256 string) bool {
	if service != "sts" || bodySHA256 != emptySHA256 {
		return false
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	return err == nil && len(q["Action"]) == 1 && q["Action"][0] == "GetCallerIdentity"
}

// regions are those that a scope may name. IAM is global: AWS signs it for
// us-east-1, other clients for their own region.
func (a *Authenticator) regions(service string) []string {
	if service == "iam" && a.Region != "us-east-1" {
		return []string{a.Region, "us-east-1"}
	}
	return []string{a.Region}
}

func (a *Authenticator) find(ctx context.Context, s *sigv4.Signed) (iam.Caller, secret.String, error) {
	if s.SecurityToken != "" {
		return a.findSession(ctx, s)
	}
	if strings.HasPrefix(s.AccessKeyID, sessionKeyPrefix) {
		return iam.Caller{}, secret.String{}, unknownKey("session-token-missing")
	}
	return a.findUser(ctx, s)
}

func (a *Authenticator) findSession(ctx context.Context, s *sigv4.Signed) (iam.Caller, secret.String, error) {
	sess, key, err := a.Sessions.Open(ctx, s.AccessKeyID, s.SecurityToken)
	if err != nil {
		return iam.Caller{}, key, err
	}
	role, err := a.roleOf(ctx, sess)
	if err != nil {
		return iam.Caller{}, key, err
	}
	return iam.Caller{
		Kind: iam.CallerSession, Partition: sess.Partition, Account: sess.Account, ARN: sess.ARN(), UserID: sess.AssumedRoleID(),
		AccessKeyID: s.AccessKeyID, Role: role, Session: sess,
	}, key, nil
}

// roleOf finds the role behind a session by its unique id: a role of the same
// name made later is another role.
func (a *Authenticator) roleOf(ctx context.Context, sess *session.Session) (*iam.Role, error) {
	if role, ok := iam.RoleByID(a.Store.View(), sess.Account, sess.RoleID); ok {
		return role, nil
	}
	v, err := a.Store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	if role, ok := iam.RoleByID(v, sess.Account, sess.RoleID); ok {
		return role, nil
	}
	return nil, fault.New(fault.UnknownAccessKey, "The security token included in the request is invalid.").WithReason("session-role-deleted")
}

func (a *Authenticator) findUser(ctx context.Context, s *sigv4.Signed) (iam.Caller, secret.String, error) {
	caller, key, err := a.userOf(a.Store.View(), s.AccessKeyID)
	if !fault.Is(err, fault.UnknownAccessKey) {
		return caller, key, err
	}
	// The key may have been made, or made active, by another replica.
	v, ferr := a.Store.Fence(ctx)
	if ferr != nil {
		return iam.Caller{}, secret.String{}, fault.StoreUnread(ferr)
	}
	return a.userOf(v, s.AccessKeyID)
}

func (a *Authenticator) userOf(r store.Reader, accessKeyID string) (iam.Caller, secret.String, error) {
	scope := store.Scope{Account: a.Account, Region: store.Global}
	id, user, ok := iam.Users.FindIndex(r, scope, accessKeyID)
	if !ok {
		return iam.Caller{}, secret.String{}, unknownKey("access-key-unknown")
	}
	for _, k := range user.Keys {
		if k.ID != accessKeyID {
			continue
		}
		if !k.Active {
			return iam.Caller{}, secret.String{}, unknownKey("access-key-inactive")
		}
		raw, err := a.Sealer.Open(k.Sealed, iam.KeyAAD(scope, id, k.ID))
		if err != nil {
			return iam.Caller{}, secret.String{}, &fault.Error{Kind: fault.Internal, Reason: "access-key-unreadable", Err: err}
		}
		return iam.Caller{
			Kind: iam.CallerUser, Partition: user.Partition, Account: user.Account, ARN: user.ARN(), UserID: user.ID,
			AccessKeyID: k.ID, User: user,
		}, secret.New(string(raw)), nil
	}
	return iam.Caller{}, secret.String{}, unknownKey("access-key-unknown")
}

func unknownKey(reason string) error {
	return fault.New(fault.UnknownAccessKey, "The security token included in the request is invalid.").WithReason(reason)
}

// signatureFault puts sigv4's refusal into the domain's words.
func signatureFault(err error) error {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return fault.New(fault.IncompleteSignature, "The request signature could not be read.").WithReason("signature-malformed").Because(err)
	}
	kind := fault.SignatureMismatch
	switch e.Code {
	case sigv4.CodeIncompleteSignature:
		kind = fault.IncompleteSignature
	case sigv4.CodeMissingAuthentication:
		kind = fault.MissingAuthentication
	}
	return fault.New(kind, "%s", e.Message).WithReason(e.Reason)
}
