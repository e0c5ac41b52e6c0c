// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authn_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"podid/internal/authn"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/seal"
	"podid/internal/session"
	"podid/internal/sigv4"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const (
	account    = "111122223333"
	region     = "us-west-2"
	keyID      = "AKIAIOSFODNN7EXAMPLE"
	keySecret  = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	roleID     = "AROAZJQ4EXAMPLE123456"
	identityOp = "Action=GetCallerIdentity&Version=2011-06-15"
)

var (
	now    = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	scope  = store.Scope{Account: account, Region: store.Global}
	schema = store.NewSchema(iam.Users, iam.Roles)
)

// plainSealer binds a value to its aad and hides nothing.
type plainSealer struct{}

func sealed(secret string, aad []byte) []byte { return []byte(string(aad) + "|" + secret) }

func (plainSealer) Open(sealed, aad []byte) ([]byte, error) {
	s, ok := strings.CutPrefix(string(sealed), string(aad)+"|")
	if !ok {
		return nil, errors.New("sealed for another record")
	}
	return []byte(s), nil
}

// none has revoked nothing.
type none struct{}

func (none) Check(*session.Session) error { return nil }

type tokenKeys struct{ k seal.TokenKey }

func (t tokenKeys) Primary() (seal.TokenKey, error) { return t.k, nil }
func (t tokenKeys) Lookup(context.Context, uint32) (seal.TokenKey, bool, error) {
	return t.k, true, nil
}

// lagging is a store whose view may be older than what a fence shows.
type lagging struct {
	*storetest.Memory
	stale  *store.View
	fences int
}

func (l *lagging) View() *store.View {
	if l.stale != nil {
		return l.stale
	}
	return l.Memory.View()
}

func (l *lagging) Fence(ctx context.Context) (*store.View, error) {
	l.fences++
	return l.Memory.Fence(ctx)
}

type world struct {
	t      *testing.T
	db     *lagging
	minter *session.Minter
	a      *authn.Authenticator
}

func newWorld(t *testing.T) *world {
	t.Helper()
	k, err := seal.NewTokenKey(1, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return now }
	db := &lagging{Memory: storetest.NewMemory(schema)}
	m := &session.Minter{Keys: tokenKeys{k}, Rand: rand.Reader, Now: clock, Account: account, Partition: "aws"}
	w := &world{t: t, db: db, minter: m, a: &authn.Authenticator{
		Store: db, Sessions: m, Sealer: plainSealer{}, Keys: sigv4.NewKeyCache(8), Now: clock, Skew: 5 * time.Minute, Account: account, Region: region, Revoked: none{},
	}}
	w.putUser(true)
	w.putRole(roleID)
	return w
}

func (w *world) update(fn func(tx *store.Tx)) {
	w.t.Helper()
	if err := w.db.Update(context.Background(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) putUser(active bool) {
	w.update(func(tx *store.Tx) {
		iam.Users.Put(tx, scope, "podid-admin", &iam.User{
			ID: "AIDAZJQ4EXAMPLE123456", Partition: "aws", Account: account, Path: "/", Name: "podid-admin",
			Keys: []iam.AccessKey{{ID: keyID, Sealed: sealed(keySecret, iam.KeyAAD(scope, "podid-admin", keyID)), Active: active, Created: now}},
		})
	})
}

func (w *world) putRole(id string) {
	w.update(func(tx *store.Tx) {
		iam.Roles.Put(tx, scope, "app", &iam.Role{ID: id, Partition: "aws", Account: account, Path: "/", Name: "app"})
	})
}

func (w *world) session() aws.Credentials {
	w.t.Helper()
	c, err := w.minter.Mint(&session.Session{
		Partition: "aws", Account: account, RoleID: roleID, RolePath: "/", RoleName: "app", Name: "s1", Issued: now, Expires: now.Add(time.Hour),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey.Reveal(), SessionToken: c.SessionToken.Reveal()}
}

// call is a request to be signed.
type call struct {
	creds                      aws.Credentials
	method, query, body        string
	service, region            string // of the signature's scope
	route                      string // service that the request reaches; "" = service
	presign                    bool
	at                         time.Time
	sentBody                   string // what arrives instead of body
	dropToken                  bool
	edit                       func(*http.Request)
	wantKind                   fault.Kind
	wantReason                 string
	wantARN, wantMessagePrefix string
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (w *world) authenticate(c call) (iam.Caller, error) {
	w.t.Helper()
	if c.method == "" {
		c.method = http.MethodPost
	}
	if c.region == "" {
		c.region = region
	}
	if c.at.IsZero() {
		c.at = now
	}
	r, err := http.NewRequestWithContext(context.Background(), c.method, "https://podid.example:8443/?"+c.query, strings.NewReader(c.body))
	if err != nil {
		w.t.Fatal(err)
	}
	signer := v4.NewSigner()
	if c.presign {
		u, _, err := signer.PresignHTTP(context.Background(), c.creds, r, hash(c.body), c.service, c.region, c.at)
		if err != nil {
			w.t.Fatal(err)
		}
		if r, err = http.NewRequestWithContext(context.Background(), c.method, u, strings.NewReader(c.body)); err != nil {
			w.t.Fatal(err)
		}
	} else if c.creds.AccessKeyID != "" {
		if err := signer.SignHTTP(context.Background(), c.creds, r, hash(c.body), c.service, c.region, c.at); err != nil {
			w.t.Fatal(err)
		}
	}
	if c.dropToken {
		r.Header.Del("X-Amz-Security-Token")
	}
	if c.edit != nil {
		c.edit(r)
	}
	var wire strings.Builder
	if err := r.Write(&wire); err != nil {
		w.t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire.String())))
	if err != nil {
		w.t.Fatal(err)
	}
	body := c.body
	if c.sentBody != "" {
		body = c.sentBody
	}
	service := c.route
	if service == "" {
		service = c.service
	}
	return w.a.Authenticate(context.Background(), got, hash(body), service)
}

func TestAuthenticate(t *testing.T) {
	w := newWorld(t)
	user := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret}
	sess := w.session()
	other := user
	other.SecretAccessKey = "another"
	unknown := user
	unknown.AccessKeyID = "AKIAAAAAAAAAAAAAAAAA"
	userWithToken := user
	userWithToken.SessionToken = sess.SessionToken
	forged := sess
	forged.SessionToken = sess.SessionToken[:60] + "AAAA" + sess.SessionToken[64:]
	userID := user
	userID.AccessKeyID = "AIDAZJQ4EXAMPLE123456" // indexed like a key id, but none
	const userARN, sessARN = "arn:aws:iam::111122223333:user/podid-admin", "arn:aws:sts::111122223333:assumed-role/app/s1"
	for name, c := range map[string]call{
		"user":                            {creds: user, service: "eks", wantARN: userARN},
		"session":                         {creds: sess, service: "eks-auth", body: `{"token":"a.b.c"}`, wantARN: sessARN},
		"IAM is global":                   {creds: user, service: "iam", region: "us-east-1", wantARN: userARN},
		"IAM in the own region":           {creds: user, service: "iam", wantARN: userARN},
		"STS is regional":                 {creds: user, service: "sts", region: "us-east-1", wantKind: fault.SignatureMismatch, wantReason: "signature-scope"},
		"IAM in a third region":           {creds: user, service: "iam", region: "eu-west-1", wantKind: fault.SignatureMismatch, wantReason: "signature-scope"},
		"signed for another service":      {creds: user, service: "eks", route: "eks-auth", wantKind: fault.SignatureMismatch, wantReason: "signature-scope"},
		"unsigned":                        {service: "eks", wantKind: fault.MissingAuthentication, wantReason: "signature-missing", wantMessagePrefix: "Request is missing Authentication Token"},
		"wrong secret":                    {creds: other, service: "eks", wantKind: fault.SignatureMismatch, wantReason: "signature-mismatch"},
		"unknown key":                     {creds: unknown, service: "eks", wantKind: fault.UnknownAccessKey, wantReason: "access-key-unknown"},
		"user id as key id":               {creds: userID, service: "eks", wantKind: fault.UnknownAccessKey, wantReason: "access-key-unknown"},
		"session key without token":       {creds: sess, service: "eks", dropToken: true, wantKind: fault.UnknownAccessKey, wantReason: "session-token-missing"},
		"session key, token never given":  {creds: aws.Credentials{AccessKeyID: sess.AccessKeyID, SecretAccessKey: sess.SecretAccessKey}, service: "eks", wantKind: fault.UnknownAccessKey, wantReason: "session-token-missing"},
		"user key with a session's token": {creds: userWithToken, service: "eks", wantKind: fault.UnknownAccessKey, wantReason: "session-token-forged"},
		"forged token":                    {creds: forged, service: "eks", wantKind: fault.UnknownAccessKey, wantReason: "session-token-forged"},
		"body changed on the way":         {creds: user, service: "eks", body: "a", sentBody: "b", wantKind: fault.SignatureMismatch},
		"five minutes late":               {creds: user, service: "eks", at: now.Add(-5 * time.Minute), wantARN: userARN},
		"later":                           {creds: user, service: "eks", at: now.Add(-5*time.Minute - time.Second), wantKind: fault.SignatureMismatch, wantReason: "signature-expired"},
		"from the future":                 {creds: user, service: "eks", at: now.Add(5*time.Minute + time.Second), wantKind: fault.SignatureMismatch, wantReason: "signature-not-yet-current"},
		"garbage": {
			service: "eks", edit: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") },
			wantKind: fault.IncompleteSignature, wantReason: "signature-malformed",
		},

		"presigned identity":                {creds: user, service: "sts", method: http.MethodGet, query: identityOp, presign: true, wantARN: userARN},
		"presigned identity of a session":   {creds: sess, service: "sts", method: http.MethodGet, query: identityOp, presign: true, wantARN: sessARN},
		"presigned, another action":         {creds: user, service: "sts", method: http.MethodGet, query: "Action=AssumeRole", presign: true, wantKind: fault.IncompleteSignature, wantReason: "presigned-refused"},
		"presigned, another service":        {creds: user, service: "eks", method: http.MethodGet, query: identityOp, presign: true, wantKind: fault.IncompleteSignature, wantReason: "presigned-refused"},
		"presigned, two actions":            {creds: user, service: "sts", method: http.MethodGet, query: identityOp + "&Action=AssumeRole", presign: true, wantKind: fault.IncompleteSignature, wantReason: "presigned-refused"},
		"presigned, action in disguise":     {creds: user, service: "sts", method: http.MethodGet, query: identityOp + "&%41ction=AssumeRole", presign: true, wantKind: fault.IncompleteSignature, wantReason: "presigned-refused"},
		"presigned, a form beside the URL":  {creds: user, service: "sts", query: identityOp, body: "Action=AssumeRole", presign: true, wantKind: fault.IncompleteSignature, wantReason: "presigned-refused"},
		"presigned, another form parameter": {creds: user, service: "sts", query: identityOp, body: "RoleArn=x", presign: true, wantKind: fault.IncompleteSignature, wantReason: "presigned-refused"},
		"presigned, semicolons": {
			creds: user, service: "sts", method: http.MethodGet, query: identityOp, presign: true,
			edit: func(r *http.Request) { r.URL.RawQuery += "&a=b;Action=AssumeRole" }, wantKind: fault.IncompleteSignature, wantReason: "presigned-refused",
		},
		"presigned for another service": {creds: user, service: "eks", route: "sts", method: http.MethodGet, query: identityOp, presign: true, wantKind: fault.SignatureMismatch, wantReason: "signature-scope"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := w.authenticate(c)
			if c.wantKind == 0 {
				if err != nil || got.ARN != c.wantARN {
					t.Fatalf("Authenticate = %s, %v; want %s", got.ARN, err, c.wantARN)
				}
				return
			}
			f := fault.As(err)
			if f.Kind != c.wantKind || c.wantReason != "" && f.Reason != c.wantReason || !strings.HasPrefix(f.Message, c.wantMessagePrefix) {
				t.Fatalf("Authenticate = %v %q %q, want %v %q", f.Kind, f.Reason, f.Message, c.wantKind, c.wantReason)
			}
			if got.ARN != "" || got.Kind != 0 {
				t.Errorf("a refusal names a caller: %+v", got)
			}
			if c.creds.SecretAccessKey != "" && strings.Contains(f.Error(), c.creds.SecretAccessKey) {
				t.Error("the refusal holds the secret")
			}
		})
	}
}

func TestCallers(t *testing.T) {
	w := newWorld(t)
	u, err := w.authenticate(call{creds: aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret}, service: "eks"})
	if err != nil || u.Kind != iam.CallerUser || u.UserID != "AIDAZJQ4EXAMPLE123456" || u.User.Name != "podid-admin" || u.AccessKeyID != keyID || u.Account != account {
		t.Errorf("user: %+v, %v", u, err)
	}
	s, err := w.authenticate(call{creds: w.session(), service: "eks"})
	if err != nil || s.Kind != iam.CallerSession || s.UserID != roleID+":s1" || s.Role.ID != roleID || s.Session.Name != "s1" {
		t.Errorf("session: %+v, %v", s, err)
	}
}

func TestRoleDeletedAndMadeAgain(t *testing.T) {
	w := newWorld(t)
	creds := w.session()
	w.update(func(tx *store.Tx) { iam.Roles.Delete(tx, scope, "app") })
	refused := func(when string) {
		t.Helper()
		_, err := w.authenticate(call{creds: creds, service: "eks"})
		if f := fault.As(err); f.Kind != fault.UnknownAccessKey || f.Reason != "session-role-deleted" {
			t.Errorf("%s: %v %q", when, f.Kind, f.Reason)
		}
	}
	refused("role deleted")
	w.putRole("AROAZJQ4EXAMPLE999999")
	refused("another role of the same name")
	w.putRole(roleID)
	if _, err := w.authenticate(call{creds: creds, service: "eks"}); err != nil {
		t.Errorf("the role itself: %v", err)
	}
}

func TestSessionExpires(t *testing.T) {
	w := newWorld(t)
	creds := w.session()
	late := now.Add(time.Hour)
	w.a.Now, w.minter.Now = func() time.Time { return late }, func() time.Time { return late }
	_, err := w.authenticate(call{creds: creds, service: "eks", at: late})
	if f := fault.As(err); f.Kind != fault.ExpiredCredentials || f.Reason != "session-expired" {
		t.Errorf("%v %q", f.Kind, f.Reason)
	}
}

// What another replica has acknowledged counts before a refusal is final.
func TestStaleView(t *testing.T) {
	w := newWorld(t)
	w.update(func(tx *store.Tx) { iam.Roles.Delete(tx, scope, "app"); iam.Users.Delete(tx, scope, "podid-admin") })
	empty := w.db.View()
	w.putUser(false)
	inactive := w.db.View()
	w.putUser(true)
	w.putRole(roleID)
	user, sess := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret}, w.session()
	for name, c := range map[string]struct {
		view  *store.View
		creds aws.Credentials
	}{
		"role made elsewhere": {empty, sess}, "user made elsewhere": {empty, user}, "key activated elsewhere": {inactive, user},
	} {
		w.db.stale, w.db.fences = c.view, 0
		if _, err := w.authenticate(call{creds: c.creds, service: "eks"}); err != nil || w.db.fences != 1 {
			t.Errorf("%s: %v, %d fences", name, err, w.db.fences)
		}
	}
	w.db.Fail(store.ErrUnavailable)
	w.db.stale = empty
	for name, creds := range map[string]aws.Credentials{"user": user, "session": sess} {
		_, err := w.authenticate(call{creds: creds, service: "eks"})
		if f := fault.As(err); f.Kind != fault.Unavailable || f.Reason != "store-unavailable" {
			t.Errorf("%s without the store: %v %q", name, f.Kind, f.Reason)
		}
	}
}

func TestInactiveAndUnreadableKeys(t *testing.T) {
	w := newWorld(t)
	user := call{creds: aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret}, service: "eks"}
	w.putUser(false)
	_, err := w.authenticate(user)
	if f := fault.As(err); f.Kind != fault.UnknownAccessKey || f.Reason != "access-key-inactive" {
		t.Errorf("inactive key: %v %q", f.Kind, f.Reason)
	}
	// A sealed secret that was moved from another user's record does not open.
	w.update(func(tx *store.Tx) {
		iam.Users.Put(tx, scope, "podid-admin", &iam.User{ID: "AIDA1", Account: account, Name: "podid-admin", Keys: []iam.AccessKey{
			{ID: keyID, Sealed: sealed(keySecret, iam.KeyAAD(scope, "somebody-else", keyID)), Active: true},
		}})
	})
	_, err = w.authenticate(user)
	if f := fault.As(err); f.Kind != fault.Internal || f.Reason != "access-key-unreadable" || f.Message != "" {
		t.Errorf("unreadable key: %v %q %q", f.Kind, f.Reason, f.Message)
	}
}

// A user's key costs no fence, nor does a token that nobody sealed: strangers
// cannot make the store work.
func TestFencesOnlyWhenNeeded(t *testing.T) {
	w := newWorld(t)
	user, sess := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret}, w.session()
	bare := sess
	bare.SessionToken = ""
	for name, creds := range map[string]aws.Credentials{"user": user, "session": sess, "no token": bare} {
		w.db.fences = 0
		_, _ = w.authenticate(call{creds: creds, service: "eks"})
		if w.db.fences != 0 {
			t.Errorf("%s: %d fences", name, w.db.fences)
		}
	}
}
