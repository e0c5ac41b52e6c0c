// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package authn proves who signed a request: a user by a long-lived access
// key, or a session by a sealed token. It owns the rules around the
// signature that sigv4 does not know: which service and region the scope must
// name, which keys are active, that a session's role or user still is the one
// it was issued for, that nobody revoked it, and that the sessions of users
// are not for IAM. It refuses presigned requests but for those an operation
// admits. It stands between the listener and the verbs and decides nothing
// else about what the caller may do.
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
	"podid/internal/seal"
	"podid/internal/secret"
	"podid/internal/session"
	"podid/internal/sigv4"
	"podid/internal/store"
)

// Sessions opens session tokens.
type Sessions interface {
	Open(ctx context.Context, accessKeyID, token string) (*session.Session, secret.String, error)
}

// Revocations knows which sessions were revoked. Check is asked at every
// request of a session and must not wait; its error is a fault.
type Revocations interface {
	Check(s *session.Session) error
}

// Uses notes the use of long-lived keys. It must not wait.
type Uses interface {
	Used(account, keyID, service, region string)
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
	Revoked  Revocations
	Sealer   Sealer
	Uses     Uses // nil: nobody wants to know
	Keys     *sigv4.KeyCache
	Now      func() time.Time
	Skew     time.Duration // 5 min by default
	Account  string        // the installation's first; of keys that do not name theirs
	Region   string

	opened openedKeys
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
	if a.Uses != nil && s.SecurityToken == "" {
		a.Uses.Used(caller.Account, caller.AccessKeyID, s.Service, s.Region)
	}
	if service == "iam" && caller.Session != nil && caller.Session.Kind != session.OfRole {
		// Without MFA, which podid has not, AWS' IAM knows no such credentials
		// (STS API Reference, GetSessionToken and GetFederationToken).
		return iam.Caller{}, unknownKey("session-not-for-iam")
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
	if err := a.Revoked.Check(sess); err != nil {
		return iam.Caller{}, key, err
	}
	if sess.Kind != session.OfRole {
		caller, err := a.vouched(ctx, sess)
		caller.AccessKeyID = s.AccessKeyID
		return caller, key, err
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

// vouched is the caller of a session that a user got for himself, or for
// somebody whom he vouches for. The user is found by his unique id: he may have
// another name by now, but must be there.
func (a *Authenticator) vouched(ctx context.Context, sess *session.Session) (iam.Caller, error) {
	user, ok := iam.UserByID(a.Store.View(), sess.Account, sess.UserID)
	if !ok {
		v, err := a.Store.Fence(ctx)
		if err != nil {
			return iam.Caller{}, fault.StoreUnread(err)
		}
		if user, ok = iam.UserByID(v, sess.Account, sess.UserID); !ok {
			return iam.Caller{}, unknownKey("session-user-deleted")
		}
	}
	c := iam.Caller{Kind: iam.CallerUser, Partition: sess.Partition, Account: sess.Account, ARN: user.ARN(), UserID: user.ID, User: user, Session: sess}
	if sess.Kind == session.Federated {
		c.Kind, c.ARN, c.UserID = iam.CallerFederated, sess.ARN(), sess.FederatedUserID()
	}
	return c, nil
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
	owner, _ := seal.AccessKeyAccount(accessKeyID)
	scope := store.Scope{Account: owner, Region: store.Global}
	id, user, ok := iam.Users.FindIndex(r, scope, accessKeyID)
	if !ok && scope.Account != a.Account {
		// A key that does not carry its account is the first account's.
		scope.Account = a.Account
		id, user, ok = iam.Users.FindIndex(r, scope, accessKeyID)
	}
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
		secretKey, err := a.opened.open(a.Sealer, k.ID, k.Sealed, iam.KeyAAD(scope, id, k.ID))
		if err != nil {
			return iam.Caller{}, secret.String{}, &fault.Error{Kind: fault.Internal, Reason: "access-key-unreadable", Err: err}
		}
		return iam.Caller{
			Kind: iam.CallerUser, Partition: user.Partition, Account: user.Account, ARN: user.ARN(), UserID: user.ID,
			AccessKeyID: k.ID, User: user,
		}, secretKey, nil
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
