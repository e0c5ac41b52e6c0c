// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/audit"
	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
)

// buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestNoSecretLeaks: no secret, token or key that was issued or sent is in
// the audit log, in the log, or unsealed in any file but the admin's own.
func TestNoSecretLeaks(t *testing.T) {
	t.Parallel()
	var log buffer
	w := newWorld(t, controlplanetest.Options{Log: &log})
	secrets := map[string]string{"the admin's secret": w.Secret}
	keep := func(name string, p aws.CredentialsProvider) {
		c, err := p.Retrieve(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		secrets[name+"'s secret"] = c.SecretAccessKey
		if c.SessionToken != "" {
			secrets[name+"'s session token"] = c.SessionToken
		}
	}
	token := w.cl.Token(pod{})
	keep("pod", w.cl.Exchange(w.node, token).Credentials(t))
	keep("node", w.node)
	keep("user", w.User("somebody", nil))
	w.Role("any", root(nil))
	keep("role", stsCredentials(t, w.STSQuery(w.Admin, assume("any", nil))))
	secrets["the pod's token"] = token
	refusedToken := w.cl.Token(pod{ServiceAccount: "nobody"})
	w.cl.Exchange(w.node, refusedToken).Want(t, 404, "ResourceNotFoundException", "")
	secrets["a refused token"] = refusedToken
	explained(t, w, object{"token": refusedToken})
	// A private key that is registered by mistake is refused, and kept nowhere.
	private := object{"kty": "RSA", "kid": "k", "n": "AQAB", "e": "AQAB", "d": "cHJpdmF0ZS1wYXJ0LW9mLXRoZS1rZXktdGhhdC1tdXN0LW5vdC1sZWFr"}
	rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPost, "/podid/v1/clusters", object{"name": "leaky", "issuer": "https://x", "jwks": object{"keys": []object{private}}}).
		Want(t, 400, "InvalidParameterException", "")
	secrets["a private key"], _ = private["d"].(string)
	_, err := webIdentity(w.ControlPlane, w.nodeRole, w.cl.Token(pod{Audience: controlplanetest.NodeAudience}))
	wantAPIError(t, err, "AccessDenied", "")
	rootKey, err := os.ReadFile(filepath.Join(w.Dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	secrets["the root key"] = strings.TrimSpace(string(rootKey))
	w.Stop()

	// A token is told by its signature: the parts before it are no secret.
	for name, s := range secrets {
		if i := strings.LastIndexByte(s, '.'); i > 0 && i < len(s)-1 {
			secrets[name] = s[i+1:]
		}
	}
	search := func(place, text string) {
		for name, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s is in %s", name, place)
			}
		}
	}
	search("the log", log.String())
	err = filepath.WalkDir(w.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == controlplane.AdminFile(w.Dir) || d.Name() == "root.key" {
			return err
		}
		text, err := os.ReadFile(path)
		search(path, string(text))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestAuditLines: every call has one line; management calls in CloudTrail's
// words, and refusals with their reason.
func TestAuditLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	nobody := w.User("nobody", nil)
	if _, err := w.IAM().GetRole(context.Background(), &iam.GetRoleInput{RoleName: aws.String("nothing")}); err == nil {
		t.Fatal("a role out of nothing")
	}
	rest(t, w.ControlPlane, nobody, "eks", http.MethodGet, "/clusters", nil).Want(t, 403, "AccessDeniedException", "")
	count := len(w.Audit())
	a := rest(t, w.ControlPlane, w.Admin, "eks", http.MethodGet, "/clusters/my-cluster", nil)
	if got := len(w.Audit()); got != count+1 {
		t.Errorf("one call made %d lines", got-count)
	}
	if e := w.LastAudit("DescribeCluster"); e.RequestID == "" || a.Status != 200 {
		t.Errorf("%d, %+v", a.Status, e)
	}
	for name, want := range map[string]struct {
		source, code, kind string
		readOnly           bool
	}{
		"RegisterCluster":              {"podid.dev", "", "IAMUser", false},
		"CreateRole":                   {"iam.amazonaws.com", "", "IAMUser", false},
		"CreatePodIdentityAssociation": {"eks.amazonaws.com", "", "IAMUser", false},
		"AssumeRoleWithWebIdentity":    {"sts.amazonaws.com", "", "WebIdentityUser", false},
		"GetRole":                      {"iam.amazonaws.com", "NoSuchEntity", "IAMUser", true},
		"ListClusters":                 {"eks.amazonaws.com", "AccessDeniedException", "IAMUser", true},
	} {
		e := w.LastAudit(name)
		if e.EventSource != want.source || e.ErrorCode != want.code || e.UserIdentity.Type != want.kind || e.ReadOnly != want.readOnly {
			t.Errorf("%s: source %s, code %q, identity %s, readOnly %v", name, e.EventSource, e.ErrorCode, e.UserIdentity.Type, e.ReadOnly)
		}
		if e.EventVersion == "" || e.EventID == "" || e.AWSRegion != controlplanetest.Region || e.SourceIPAddress != "127.0.0.1" || e.EventTime.IsZero() {
			t.Errorf("%s: %+v", name, e)
		}
		if (want.code != "") != (e.Podid != nil && e.Podid.Reason != "") {
			t.Errorf("%s: reason in %+v", name, e.Podid)
		}
	}
	if e := w.LastAudit("CreatePodIdentityAssociation"); !strings.Contains(controlplanetest.JSON(t, e.ResponseElements), "a-") || e.Podid.AssociationID == "" {
		t.Errorf("an association's creation: %+v", e)
	}
	if e := w.LastAudit("AssumeRoleWithWebIdentity"); !strings.Contains(controlplanetest.JSON(t, e.RequestParameters), audit.Hidden) {
		t.Errorf("web identity: %v", e.RequestParameters)
	}
}

// breakable is a sink that can be broken.
type breakable struct{ broken atomic.Bool }

func (b *breakable) Write(p []byte) (int, error) {
	if b.broken.Load() {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

// TestAuditUnwritable: changes are refused, exchanges go on and are counted,
// and all is well again when the sink is.
func TestAuditUnwritable(t *testing.T) {
	t.Parallel()
	metrics := freeAddress(t)
	clk, sink := &clock{}, &breakable{}
	w := newWorld(t, controlplanetest.Options{Now: clk.now, Stdout: sink, Settings: map[string]string{"PODID_AUDIT_LOG": "stdout", "PODID_METRICS_ADDRESS": metrics}})
	dropped := func() string {
		return metric(t, metrics, `podid_audit_events_dropped_total{event_source="eks-auth.amazonaws.com"}`)
	}
	change := func() controlplanetest.Answer {
		return rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPatch, "/podid/v1/clusters/my-cluster", object{"version": "1.34"})
	}
	if a := change(); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	sink.broken.Store(true)
	for range 3 {
		w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	}
	if got := dropped(); got != "3" {
		t.Errorf("%s exchanges are counted as lost, want 3", got)
	}
	for range 2 {
		change().Want(t, 503, "ServiceUnavailableException", "The audit log cannot be written, so changes are refused.")
	}
	w.STSQuery(w.Admin, assume("any", nil)).Want(t, 503, "ServiceUnavailable", "")
	sink.broken.Store(false)
	clk.advance(2 * time.Second)
	if a := change(); a.Status != 200 {
		t.Errorf("after recovery: %d %s", a.Status, a.Raw)
	}
}
