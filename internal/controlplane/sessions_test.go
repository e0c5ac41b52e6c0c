// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/controlplane/controlplanetest"
)

// clock is a clock that the test moves. It begins now, since AWS' clients
// know no other.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time           { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(by time.Duration) { c.ahead.Add(int64(by)) }

// whoami asks GetCallerIdentity, by the control plane's clock.
func whoami(cp *controlplanetest.ControlPlane, p aws.CredentialsProvider) controlplanetest.QueryAnswer {
	return cp.STSQuery(p, url.Values{"Action": {"GetCallerIdentity"}})
}

const badToken = "The security token included in the request is invalid."

func TestSessions(t *testing.T) {
	t.Parallel()
	clk := &clock{}
	w := newWorld(t, controlplanetest.Options{Now: clk.now})
	t.Run("token sizes", func(t *testing.T) { testTokenSizes(t, w) })
	t.Run("role deleted", func(t *testing.T) { testRoleDeleted(t, w) })
	t.Run("revoked", func(t *testing.T) { testRevoked(t, w) })
	t.Run("forged", func(t *testing.T) { testForgedSession(t, w) })
	// Last: it moves the clock.
	t.Run("expired", func(t *testing.T) {
		p := w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
		clk.advance(6*time.Hour - time.Minute)
		if a := whoami(w.ControlPlane, p); a.Status != 200 {
			t.Fatalf("a minute before its end: %d %s", a.Status, a.Raw)
		}
		clk.advance(2 * time.Minute)
		whoami(w.ControlPlane, p).Want(t, 403, "ExpiredToken", "The security token included in the request is expired")
		a := rest(t, w.ControlPlane, p, "eks", http.MethodGet, "/clusters", nil)
		a.Want(t, 403, "ExpiredTokenException", "")
	})
}

// sessionToken is the token in an exchange's answer.
func sessionToken(a controlplanetest.Answer) string {
	c, _ := a.Body["credentials"].(map[string]any)
	s, _ := c["sessionToken"].(string)
	return s
}

func testTokenSizes(t *testing.T, w *world) {
	a := w.cl.Exchange(w.node, w.cl.Token(pod{}))
	if n := len(sessionToken(a)); n == 0 || n > 900 {
		t.Errorf("the textbook's token has %d bytes, want at most 900", n)
	}
	sub := func(n int) string { return strings.Repeat("a", 60) + strings.Repeat(".b", (n-60)/2) }
	longest := w.Register(strings.Repeat("c", 100), nil)
	ns, sa := strings.Repeat("n", 63), sub(253)[:252]+"z"
	name, path := strings.Repeat("r", 64), "/"+strings.Repeat("p", 510)+"/"
	out, err := w.IAM().CreateRole(context.Background(), &iam.CreateRoleInput{RoleName: &name, Path: &path, AssumeRolePolicyDocument: aws.String(controlplanetest.JSON(t, podTrust(nil)))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.EKS().CreatePodIdentityAssociation(context.Background(), &eks.CreatePodIdentityAssociationInput{
		ClusterName: &longest.Name, Namespace: &ns, ServiceAccount: &sa, RoleArn: out.Role.Arn,
	}); err != nil {
		t.Fatal(err)
	}
	a = longest.Exchange(w.Admin, longest.Token(pod{Namespace: ns, ServiceAccount: sa, Name: sa, Node: sa, NodeUID: "node-uid"}))
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	t.Logf("textbook and longest names: %d", len(sessionToken(a)))
	if n := len(sessionToken(a)); n > 2600 {
		t.Errorf("the longest names' token has %d bytes, want at most 2600", n)
	}
	w.Role("sized", root(nil))
	for n := 1; n <= 50; n += 7 {
		var pairs []string
		for i := range n {
			pairs = append(pairs, fmt.Sprintf("%03d%s", i, strings.Repeat("k", 125)), strings.Repeat("v", 256))
		}
		q := w.STSQuery(w.Admin, assume("sized", tags(pairs...)))
		if q.Status == 200 {
			if got := len(stsAnswer(t, q).Result.Credentials.SessionToken); got > 4096 {
				t.Errorf("%d tags make a token of %d bytes", n, got)
			}
			continue
		}
		q.Want(t, 400, "PackedPolicyTooLarge", "")
	}
}

// testRoleDeleted: a session is bound to its role's unique id, not its name.
func testRoleDeleted(t *testing.T, w *world) {
	w.Role("short-lived", podTrust(nil))
	w.cl.Associate("short-lived", roleARN+"short-lived", nil)
	token := w.cl.Token(pod{ServiceAccount: "short-lived"})
	p := w.cl.Exchange(w.node, token).Credentials(t)
	if a := whoami(w.ControlPlane, p); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	if _, err := w.IAM().DeleteRole(context.Background(), &iam.DeleteRoleInput{RoleName: aws.String("short-lived")}); err != nil {
		t.Fatal(err)
	}
	whoami(w.ControlPlane, p).Want(t, 403, "InvalidClientTokenId", badToken)
	w.Role("short-lived", podTrust(nil), "arn:aws:iam::aws:policy/AdministratorAccess")
	whoami(w.ControlPlane, p).Want(t, 403, "InvalidClientTokenId", badToken)
	if got := w.LastReason("GetCallerIdentity"); got != "session-role-deleted" {
		t.Errorf("reason %q", got)
	}
	// The association names the role by its ARN, as AWS' does: a new session is
	// the new role's.
	w.cl.Exchange(w.node, token).Credentials(t)
}

// testRevoked: AWS' own way to revoke sessions, the policy that the console's
// "Revoke active sessions" puts on a role.
func testRevoked(t *testing.T, w *world) {
	w.Role("revoked", podTrust(nil), "arn:aws:iam::aws:policy/ReadOnlyAccess")
	w.cl.Associate("revoked", roleARN+"revoked", nil)
	p := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "revoked"})).Credentials(t)
	list := func() controlplanetest.QueryAnswer {
		return w.Query(p, "iam", "2010-05-08", url.Values{"Action": {"ListRoles"}})
	}
	if a := list(); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	revoke := func(before time.Time) {
		w.RolePolicy("revoked", controlplanetest.Document(object{
			"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": object{"DateLessThan": object{"aws:TokenIssueTime": before.UTC().Format(time.RFC3339)}},
		}))
	}
	revoke(time.Now().Add(2 * time.Second))
	if a := list(); a.Status != 403 || a.Code != "AccessDenied" || !strings.HasSuffix(a.Message, "with an explicit deny in an identity-based policy") {
		t.Errorf("revoked: %d %s %s", a.Status, a.Code, a.Message)
	}
	revoke(time.Now().Add(-time.Hour))
	if a := list(); a.Status != 200 {
		t.Errorf("a session issued after the revocation: %d %s", a.Status, a.Raw)
	}
}

func testForgedSession(t *testing.T, w *world) {
	cred, err := w.node.Retrieve(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(cred.SessionToken)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int) string {
		b := append([]byte(nil), raw...)
		b[at] ^= 1
		return base64.StdEncoding.EncodeToString(b)
	}
	other := w.cl.Exchange(w.node, w.cl.Token(pod{}))
	for name, tc := range map[string]struct{ token, reason string }{
		"payload changed":   {changed(len(raw) / 2), "session-token-forged"},
		"tag changed":       {changed(len(raw) - 1), "session-token-forged"},
		"unknown key":       {changed(2), "session-token-key-unknown"},
		"cut":               {base64.StdEncoding.EncodeToString(raw[:len(raw)-9]), "session-token-forged"},
		"garbage":           {"garbage", "session-token-malformed"},
		"a beginning":       {"AQAAAA==", "session-token-malformed"},
		"another session's": {sessionToken(other), "session-token-forged"},
		"too long":          {strings.Repeat("A", 5000), "session-token-malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: cred.AccessKeyID, SecretAccessKey: cred.SecretAccessKey, SessionToken: tc.token}, nil
			})
			whoami(w.ControlPlane, p).Want(t, 403, "InvalidClientTokenId", badToken)
			if got := w.LastReason("GetCallerIdentity"); got != tc.reason {
				t.Errorf("reason %q, want %q", got, tc.reason)
			}
		})
	}
}

// TestSessionKeys: sessions outlive restarts and rotations of the key.
func TestSessionKeys(t *testing.T) {
	t.Parallel()
	clk := &clock{}
	o := controlplanetest.Options{Now: clk.now, Dir: t.TempDir(), Settings: map[string]string{"PODID_SESSION_KEY_ROTATION": "1h"}}
	w := newWorld(t, o)
	keyOf := func(token string) string {
		raw, err := base64.StdEncoding.DecodeString(token)
		if err != nil || len(raw) < 5 {
			t.Fatalf("token %q: %v", token, err)
		}
		return string(raw[1:5])
	}
	first := w.cl.Exchange(w.node, w.cl.Token(pod{}))
	w.Stop()
	clk.advance(2 * time.Hour)
	again := controlplanetest.Start(t, o) // it rotates at once, which is overdue
	if a := whoami(again, first.Credentials(t)); a.Status != 200 {
		t.Fatalf("a session from before the restart: %d %s", a.Status, a.Raw)
	}
	exchange := func() controlplanetest.Answer {
		return rest(t, again, w.Admin, "eks-auth", http.MethodPost, "/clusters/my-cluster/assume-role-for-pod-identity", object{"token": w.cl.Token(pod{})})
	}
	// Until every replica can have read the new key, the old one seals.
	if keyOf(sessionToken(exchange())) != keyOf(sessionToken(first)) {
		t.Error("the new key seals at once")
	}
	clk.advance(6 * time.Minute)
	var next controlplanetest.Answer
	waitFor(t, "the new key to seal", func() bool {
		next = exchange()
		return keyOf(sessionToken(next)) != keyOf(sessionToken(first))
	})
	for name, a := range map[string]controlplanetest.Answer{"old key": first, "new key": next} {
		if a := whoami(again, a.Credentials(t)); a.Status != 200 {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
	}
}

// waitFor waits on a condition, with a limit that only a failure reaches.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited for %s", what)
		}
	}
}

// TestForeignData: data of another account, root key, region or format is
// refused, with words that help.
func TestForeignData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	controlplanetest.Start(t, controlplanetest.Options{Dir: dir}).Stop()
	key := filepath.Join(dir, "root.key")
	saved, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	otherKey := "podid-root-key-v1:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))) + "\n"
	for name, tc := range map[string]struct {
		settings map[string]string
		key      string // "" = none, "same"
		want     string
	}{
		"other account":   {map[string]string{"PODID_ACCOUNT_ID": "444455556666"}, "same", "the data belongs to account 111122223333, but account 444455556666 was asked for"},
		"other region":    {map[string]string{"PODID_REGION": "eu-west-1"}, "same", "the data belongs to region us-west-2, but eu-west-1 was asked for"},
		"other partition": {map[string]string{"PODID_PARTITION": "aws-cn"}, "same", "the data belongs to partition aws, but aws-cn was asked for"},
		"other root key":  {nil, otherKey, "the data is sealed under root key"},
		"no root key":     {nil, "", "the root key that this installation was made with is not at " + key},
		"damaged key":     {nil, "hello\n", "load root key"},
	} {
		t.Run(name, func(t *testing.T) {
			text := tc.key
			if text == "same" {
				text = string(saved)
			}
			if err := os.Remove(key); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if text != "" {
				if err := os.WriteFile(key, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := controlplanetest.Refused(t, controlplanetest.Options{Dir: dir, Settings: tc.settings})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			if _, err := os.Stat(key); text == "" && err == nil {
				t.Error("a root key was made for data that has another")
			}
		})
	}
	if err := os.WriteFile(key, saved, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("other format", func(t *testing.T) { testOtherFormat(t, dir) })
}
