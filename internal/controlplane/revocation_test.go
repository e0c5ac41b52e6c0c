// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/controlplane/controlplanetest"
)

// revoke asks podid:RevokeSessions as the admin.
func revoke(t *testing.T, cp *controlplanetest.ControlPlane, in object) object {
	t.Helper()
	a := rest(t, cp, cp.Admin, "podid", http.MethodPost, "/podid/v1/revocations", in)
	if a.Status != 200 {
		t.Fatalf("revoke: %d %s", a.Status, a.Raw)
	}
	out, _ := a.Body["revocation"].(map[string]any)
	return out
}

// TestRevocation: an epoch that one replica takes refuses sessions on every
// replica within a second, what was chained from them too, and nothing else.
func TestRevocation(t *testing.T) {
	t.Parallel()
	set := map[string]string{"PODID_ETCD_ENDPOINTS": etcdAt(t), "PODID_ROOT_KEY_FILE": filepath.Join(t.TempDir(), "root.key")}
	w := newWorld(t, controlplanetest.Options{Settings: set})
	b := controlplanetest.Start(t, controlplanetest.Options{Settings: set, Peer: w.ControlPlane})
	w.Role("next", root(nil))
	w.RolePolicy(controlplanetest.Name(w.role), controlplanetest.Document(controlplanetest.Statement("Allow", []string{"sts:*"}, "*", nil)))
	association := w.cl.Associate("other-sa", w.role, nil)
	const uid = "aaaaaaaa-0000-4000-8000-1234567890ab"
	first, second := pod{Name: "p1", UID: uid}, pod{Name: "p2", UID: "bbbbbbbb-0000-4000-8000-1234567890ab"}
	third := pod{ServiceAccount: "other-sa", Name: "p3", UID: uid}
	for _, tc := range []struct {
		name    string
		in      object
		revoked []pod // these, and the others not
	}{
		{"role", object{"role": controlplanetest.Name(w.role)}, []pod{first, second, third}},
		{"association", object{"associationId": *association.AssociationId}, []pod{third}},
		{"pod by name", object{"pod": "s3-app-ns/p2", "clusterName": w.cl.Name}, []pod{second}},
		{"pod by UID", object{"pod": uid, "clusterName": w.cl.Name}, []pod{first, third}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sessions := map[pod]aws.CredentialsProvider{}
			chained := map[pod]aws.CredentialsProvider{}
			for _, p := range []pod{first, second, third} {
				sessions[p] = w.cl.Exchange(w.node, w.cl.Token(p)).Credentials(t)
				chained[p] = stsCredentials(t, b.STSQuery(sessions[p], assume("next", nil)))
			}
			start := time.Now()
			revoke(t, w.ControlPlane, tc.in)
			for p, session := range sessions {
				if !contains(tc.revoked, p) {
					continue
				}
				for name, cp := range map[string]*controlplanetest.ControlPlane{"the replica that was told": w.ControlPlane, "the other": b} {
					waitFor(t, name+" to refuse", func() bool { return whoami(cp, session).Status != 200 })
					whoami(cp, session).Want(t, 403, "ExpiredToken", "The security token included in the request is expired")
					whoami(cp, chained[p]).Want(t, 403, "ExpiredToken", "")
					rest(t, cp, session, "eks", http.MethodGet, "/clusters", nil).Want(t, 403, "ExpiredTokenException", "")
				}
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %s until all were refused", took)
			}
			if got := w.LastReason("GetCallerIdentity"); got != "session-revoked" {
				t.Errorf("reason %q", got)
			}
			for p := range sessions {
				if contains(tc.revoked, p) {
					// New ones count at once.
					sessions[p] = w.cl.Exchange(w.node, w.cl.Token(p)).Credentials(t)
				}
				for _, cp := range []*controlplanetest.ControlPlane{w.ControlPlane, b} {
					if a := whoami(cp, sessions[p]); a.Status != 200 {
						t.Errorf("%+v: %d %s", p, a.Status, a.Raw)
					}
				}
			}
		})
	}
	t.Run("back in time", func(t *testing.T) { testRevokedAt(t, w) })
	t.Run("the agent", func(t *testing.T) { testAgentRevoked(t, w) })
	t.Run("list", func(t *testing.T) { testRevocationsListed(t, w, b) })
}

func contains(list []pod, p pod) bool {
	for _, x := range list {
		if x == p {
			return true
		}
	}
	return false
}

// testRevokedAt: a time in the past spares what was issued since.
func testRevokedAt(t *testing.T, w *world) {
	w.Role("at", podTrust(nil))
	w.cl.Associate("at", roleARN+"at", nil)
	p := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "at"})).Credentials(t)
	revoke(t, w.ControlPlane, object{"role": "at", "notBefore": time.Now().Add(-time.Minute).Format(time.RFC3339)})
	if a := whoami(w.ControlPlane, p); a.Status != 200 {
		t.Errorf("issued since: %d %s", a.Status, a.Raw)
	}
	revoke(t, w.ControlPlane, object{"role": roleARN + "at"})
	whoami(w.ControlPlane, p).Want(t, 403, "ExpiredToken", "")
	for _, in := range []object{{"role": "at", "notBefore": "yesterday"}, {"role": "at", "notBefore": "2001-01-01T00:00:00Z"}, {}, {"role": "at", "user": "x"}} {
		rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPost, "/podid/v1/revocations", in).Want(t, 400, "InvalidParameterException", "")
	}
	rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPost, "/podid/v1/revocations", object{"role": "nothing"}).Want(t, 404, "ResourceNotFoundException", "The role nothing cannot be found.")
}

// testAgentRevoked: a node's session that is revoked exchanges nothing more; the
// agent's token, which the API server gives it, gets it a new one.
func testAgentRevoked(t *testing.T, w *world) {
	node := w.cl.Node(w.nodeRole, "node-7")
	here := pod{Name: "p7", Node: "node-7"}
	w.cl.Exchange(node, w.cl.Token(here)).Credentials(t)
	revoke(t, w.ControlPlane, object{"pod": "podid-system/podid-agent-x", "clusterName": w.cl.Name})
	if a := w.cl.Exchange(node, w.cl.Token(here)); a.Status == 200 || a.Code != "ExpiredTokenException" {
		t.Errorf("%d %s %s", a.Status, a.Code, a.Raw)
	}
	w.cl.Exchange(w.cl.Node(w.nodeRole, "node-7"), w.cl.Token(here)).Credentials(t)
}

func testRevocationsListed(t *testing.T, w *world, b *controlplanetest.ControlPlane) {
	a := rest(t, b, w.Admin, "podid", http.MethodGet, "/podid/v1/revocations", nil)
	list, _ := a.Body["revocations"].([]any)
	if a.Status != 200 || len(list) != 6 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	first, _ := list[0].(map[string]any)
	if first["kind"] != "association" || first["createdBy"] != "arn:aws:iam::111122223333:user/podid-admin" || first["endsAt"].(float64)-first["createdAt"].(float64) < 36*3600 {
		t.Errorf("%v", first)
	}
	e := w.LastAudit("RevokeSessions")
	if e.UserIdentity.UserName != "podid-admin" || e.ReadOnly {
		t.Errorf("audit %+v", e)
	}
}

// TestTokenIssueTime: AWS' own way, a policy that denies what was issued before
// a time, for agents' and users' sessions as for those of pods.
func TestTokenIssueTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	deny := func(before time.Time) map[string]any {
		return controlplanetest.Statement("Deny", []string{"*"}, "*", object{"Condition": object{"DateLessThan": object{"aws:TokenIssueTime": before.UTC().Format(time.RFC3339)}}})
	}
	later, earlier := time.Now().Add(2*time.Second), time.Now().Add(-time.Hour)
	t.Run("agent", func(t *testing.T) {
		name := controlplanetest.Name(w.nodeRole)
		w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
		w.RolePolicy(name, controlplanetest.Document(deny(later)))
		if a := w.cl.Exchange(w.node, w.cl.Token(pod{})); a.Status == 200 || a.Code != "AccessDeniedException" {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
		w.RolePolicy(name, controlplanetest.Document(deny(earlier)))
		w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	})
	t.Run("user", func(t *testing.T) {
		allow := controlplanetest.Statement("Allow", []string{"eks:*", "sts:*"}, "*", nil)
		jane := w.User("jane", controlplanetest.Document(allow))
		own, err := stsAs(w.ControlPlane, jane).GetSessionToken(context.Background(), &sts.GetSessionTokenInput{})
		if err != nil {
			t.Fatal(err)
		}
		list := func(p aws.CredentialsProvider) error {
			_, err := eks.NewFromConfig(w.Config(p)).ListClusters(context.Background(), &eks.ListClustersInput{})
			return err
		}
		w.UserPolicy("jane", controlplanetest.Document(allow, deny(later)))
		wantAPIError(t, list(static(own.Credentials)), "AccessDeniedException", "explicit deny")
		if err := list(jane); err != nil {
			t.Errorf("a key of his own has no issue time: %v", err)
		}
		w.UserPolicy("jane", controlplanetest.Document(allow, deny(earlier)))
		if err := list(static(own.Credentials)); err != nil {
			t.Error(err)
		}
		revoke(t, w.ControlPlane, object{"user": "jane"})
		wantAPIError(t, list(static(own.Credentials)), "ExpiredTokenException", "")
	})
	t.Run("assumed role", func(t *testing.T) {
		w.Role("any", root(nil))
		p := stsCredentials(t, w.STSQuery(w.Admin, assume("any", nil)))
		allow := controlplanetest.Statement("Allow", []string{"iam:ListRoles"}, "*", nil)
		list := func() controlplanetest.QueryAnswer {
			return w.Query(p, "iam", "2010-05-08", url.Values{"Action": {"ListRoles"}})
		}
		w.RolePolicy("any", controlplanetest.Document(allow, deny(later)))
		list().Want(t, 403, "AccessDenied", "")
		w.RolePolicy("any", controlplanetest.Document(allow, deny(earlier)))
		if a := list(); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	})
}
