// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/secret"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

const connectorRole = "arn:aws:iam::123456789012:role/connector"

var here = netip.MustParseAddr("192.0.2.1")

// joining is a fixture with an Activator beside the verbs.
type joining struct {
	*fixture
	*cluster.Activator
}

func newJoining(t *testing.T) *joining {
	t.Helper()
	f := newFixture(t)
	f.store = storetest.NewMemory(store.NewSchema(cluster.Clusters, iam.Roles))
	f.Store = f.store
	err := f.store.Update(ctx, func(tx *store.Tx) error {
		iam.Roles.Put(tx, store.Scope{Account: "123456789012", Region: store.Global}, "connector",
			&iam.Role{ID: "AROA1", Partition: "aws", Account: "123456789012", Path: "/", Name: "connector"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &joining{f, cluster.NewActivator(f.store, func() time.Time { return f.now }, "us-west-2")}
}

// external is what RegisterCluster of EKS is given.
func external(name string) cluster.ConnectInput {
	return cluster.ConnectInput{Name: name, External: &cluster.External{Provider: "OTHER", RoleARN: connectorRole}}
}

func (j *joining) connect(t *testing.T, in cluster.ConnectInput) *cluster.Connected {
	t.Helper()
	made, err := j.Connect(ctx, iam.Caller{Account: "123456789012"}, in)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// bring is a good activation.
func bring(t *testing.T, name string, code secret.String) cluster.ActivateInput {
	t.Helper()
	return cluster.ActivateInput{Name: name, Code: code, Issuer: "https://kubernetes.default.svc.cluster.local", JWKS: keySet(t, "k1")}
}

func reason(err error) string { return fault.As(err).Reason }

func TestConnectThenActivate(t *testing.T) {
	j := newJoining(t)
	in := external("c")
	in.Tags = map[string]string{"team": "data"}
	made := j.connect(t, in)
	c := made.Cluster
	if !c.Pending() || c.Issuer != "" || c.JWKS != nil || len(c.UID) != 32 || !c.Activation.Expires.Equal(j.now.Add(72*time.Hour)) || len(c.Activation.ID) != 36 || c.Activation.RoleARN != connectorRole {
		t.Errorf("%+v %+v", c, c.Activation)
	}
	code := made.Code.Reveal()
	if !strings.HasPrefix(code, "podid-activation.123456789012.") || len(code) != len("podid-activation.123456789012.")+43 {
		t.Errorf("the code is %d characters long", len(code))
	}
	if text := fmt.Sprintf("%v %+v", made, made.Cluster.Activation); strings.Contains(text, code) || bytes.Contains(c.Activation.Hash, []byte(code)) {
		t.Errorf("the code is shown: %s", text)
	}
	asked := j.gate.asked[len(j.gate.asked)-2:]
	if asked[0].Action != "eks:RegisterCluster" || asked[0].Resource != c.ARN() || asked[1].Action != "iam:PassRole" || asked[1].Resource != connectorRole {
		t.Errorf("asked for %+v", asked)
	}
	// Nothing can belong to it, and no token is looked up by its issuer.
	if _, err := cluster.Named(j.store.View(), j.Scope(), "c"); reason(err) != "cluster-pending" {
		t.Errorf("named: %v", err)
	}
	for range cluster.ByIssuer(j.store.View(), j.Scope(), "") {
		t.Error("a cluster without issuer is found by one")
	}
	if n := len((cluster.Providers{Region: "us-west-2"}).OIDCProviders(j.store.View(), "123456789012")); n != 0 {
		t.Errorf("%d providers", n)
	}
	j.now = j.now.Add(time.Hour)
	got, err := j.Activate(ctx, here, bring(t, "c", made.Code))
	if err != nil {
		t.Fatal(err)
	}
	if got.Pending() || got.UID != c.UID || got.Issuer == "" || len(got.KeyIDs()) != 1 || got.Tags["team"] != "data" || !got.Modified.Equal(j.now) || !got.Activation.Used.Equal(j.now) {
		t.Errorf("%+v", got)
	}
	stored, err := cluster.Named(j.store.View(), j.Scope(), "c")
	if err != nil || stored.Issuer != got.Issuer || !stored.Activation.Used.Equal(j.now) {
		t.Errorf("%+v %v", stored, err)
	}
	again, err := j.Activate(ctx, here, bring(t, "c", made.Code))
	if reason(err) != "activation-used" || again == nil || !fault.Is(err, fault.AlreadyExists) {
		t.Errorf("used code: %+v %v", again, err)
	}
}

// TestPendingUpdates: an administrator may set what is his to set, and the
// cluster's own words only fill or replace version, endpoint and authority.
func TestPendingUpdates(t *testing.T) {
	j := newJoining(t)
	made := j.connect(t, cluster.ConnectInput{Name: "c", NodeBinding: cluster.NodeBindingRequired})
	if last := j.gate.asked[len(j.gate.asked)-1]; last.Action != "podid:RegisterCluster" {
		t.Errorf("asked for %s", last.Action)
	}
	on, issuer, version, endpoint := true, "https://x", "1.33", "https://old"
	for _, in := range []cluster.UpdateInput{{JWKS: keySet(t, "k")}, {FetchKeys: true}, {Discover: &on}, {Issuer: &issuer}} {
		in.Name = "c"
		if _, err := j.Update(ctx, iam.Caller{}, in); reason(err) != "cluster-pending" {
			t.Errorf("%+v: %v", in, err)
		}
	}
	if _, err := j.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "c", Version: &version, Endpoint: &endpoint}); err != nil {
		t.Fatal(err)
	}
	in := bring(t, "c", made.Code)
	in.Version = "1.34"
	got, err := j.Activate(ctx, here, in)
	if err != nil || got.Version != "1.34" || got.Endpoint != endpoint || got.NodeBinding != cluster.NodeBindingRequired {
		t.Errorf("%+v %v", got, err)
	}
}

func TestConnectRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*cluster.ConnectInput)
		reason string
	}{
		{"name", func(in *cluster.ConnectInput) { in.Name = "a/b" }, "cluster-name"},
		{"no connector", func(in *cluster.ConnectInput) { in.External = &cluster.External{} }, "connector-config"},
		{"no role", func(in *cluster.ConnectInput) { in.External.RoleARN = "" }, "connector-config"},
		{"provider", func(in *cluster.ConnectInput) { in.External.Provider = "other" }, "connector-provider"},
		{"role's form", func(in *cluster.ConnectInput) { in.External.RoleARN = "connector" }, "role-arn"},
		{"role of another account", func(in *cluster.ConnectInput) { in.External.RoleARN = "arn:aws:iam::999999999999:role/connector" }, "cross-account-role"},
		{"no such role", func(in *cluster.ConnectInput) { in.External.RoleARN += "x" }, "role-not-found"},
		{"issuer", func(in *cluster.ConnectInput) { in.Issuer = "http://x" }, "issuer"},
		{"binding", func(in *cluster.ConnectInput) { in.NodeBinding = "maybe" }, "node-binding"},
		{"token", func(in *cluster.ConnectInput) { in.Token = strings.Repeat("t", 257) }, "client-request-token"},
		{"tags", func(in *cluster.ConnectInput) { in.Tags = map[string]string{"aws:x": ""} }, "tag-reserved"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := newJoining(t)
			in := external("c")
			tc.change(&in)
			if _, err := j.Connect(ctx, iam.Caller{}, in); reason(err) != tc.reason {
				t.Errorf("%v (%s), want %s", err, reason(err), tc.reason)
			}
			if n := j.store.View().Len(); n != 1 {
				t.Errorf("%d records", n)
			}
		})
	}
	for _, deny := range []string{"eks:RegisterCluster", "iam:PassRole"} {
		j := newJoining(t)
		j.gate.deny = deny
		in := external("c")
		in.External.Provider = map[string]string{"iam:PassRole": "OTHER"}[deny] // who may not, does not learn that it is wrong
		if _, err := j.Connect(ctx, iam.Caller{}, in); !fault.Is(err, fault.AccessDenied) {
			t.Errorf("without %s: %v", deny, err)
		}
	}
}

// TestConnectOnce: a repeat of the same call is the same registration with a
// new code; the code before ends.
func TestConnectOnce(t *testing.T) {
	j := newJoining(t)
	in := external("c")
	in.Token = "t"
	first := j.connect(t, in)
	second := j.connect(t, in)
	if first.Cluster.UID != second.Cluster.UID || first.Code.Equal(second.Code.Reveal()) || first.Cluster.Activation.ID != second.Cluster.Activation.ID {
		t.Errorf("%+v, then %+v", first.Cluster, second.Cluster)
	}
	if _, err := j.Activate(ctx, here, bring(t, "c", first.Code)); reason(err) != "activation-code" {
		t.Errorf("the first code: %v", err)
	}
	other := in
	other.Tags = map[string]string{"a": "b"}
	_, err := j.Connect(ctx, iam.Caller{Account: "123456789012"}, other)
	refused(t, err, fault.InvalidParameter, "used before with other parameters")
	for name, in := range map[string]cluster.ConnectInput{"no token": external("c"), "podid's own": {Name: "c"}} {
		if _, err := j.Connect(ctx, iam.Caller{Account: "123456789012"}, in); reason(err) != "cluster-exists" {
			t.Errorf("%s: %v", name, err)
		}
	}
	j.now = j.now.Add(cluster.ActivationLife)
	if _, err := j.Connect(ctx, iam.Caller{Account: "123456789012"}, in); reason(err) != "cluster-exists" {
		t.Errorf("after the code's end: %v", err)
	}
	j.now = j.now.Add(-time.Hour)
	if _, err := j.Activate(ctx, here, bring(t, "c", second.Code)); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Connect(ctx, iam.Caller{Account: "123456789012"}, in); reason(err) != "cluster-exists" {
		t.Errorf("after the activation: %v", err)
	}
}

func TestActivateRefuses(t *testing.T) {
	const generic = "The activation code is none of a cluster of this name."
	for _, tc := range []struct {
		name    string
		change  func(*joining, *cluster.ActivateInput)
		reason  string
		proven  bool
		message string
	}{
		{"no such cluster", func(_ *joining, in *cluster.ActivateInput) { in.Name = "nope" }, "activation-code", false, generic},
		{"another cluster's", func(_ *joining, in *cluster.ActivateInput) { in.Name = "d" }, "activation-code", false, generic},
		{"an active cluster", func(_ *joining, in *cluster.ActivateInput) { in.Name = "native" }, "activation-code", false, generic},
		{"a name that is none", func(_ *joining, in *cluster.ActivateInput) { in.Name = "c/d" }, "activation-code", false, generic},
		{"no code", func(_ *joining, in *cluster.ActivateInput) { in.Code = secret.New("") }, "activation-code", false, generic},
		{"made up", func(_ *joining, in *cluster.ActivateInput) {
			in.Code = secret.New("podid-activation.123456789012.AAAA")
		}, "activation-code", false, generic},
		{"of no account", func(_ *joining, in *cluster.ActivateInput) {
			in.Code = secret.New("podid-activation.999999999999.AAAA")
		}, "activation-code", false, generic},
		{"one character more", func(_ *joining, in *cluster.ActivateInput) { in.Code = secret.New(in.Code.Reveal() + "A") }, "activation-code", false, generic},
		{"long", func(_ *joining, in *cluster.ActivateInput) {
			in.Code = secret.New(in.Code.Reveal() + strings.Repeat("A", 200))
		}, "activation-code", false, generic},
		{"expired", func(j *joining, _ *cluster.ActivateInput) { j.now = j.now.Add(cluster.ActivationLife) }, "activation-expired", true, "ended at 2026-01-05T03:04:05Z"},
		{"issuer", func(_ *joining, in *cluster.ActivateInput) { in.Issuer = "http://x" }, "issuer", true, ""},
		{"another issuer", func(_ *joining, in *cluster.ActivateInput) { in.Issuer = "https://x" }, "issuer-other", true, "registered for the issuer https://kubernetes"},
		{"no keys", func(_ *joining, in *cluster.ActivateInput) { in.JWKS = nil }, "keys-missing", true, ""},
		{"keys", func(_ *joining, in *cluster.ActivateInput) { in.JWKS = []byte(`{"keys":[]}`) }, "jwks", true, ""},
		{"keys of another cluster", func(j *joining, in *cluster.ActivateInput) {
			c, _ := cluster.Clusters.Get(j.store.View(), j.Scope(), "native")
			in.JWKS = under(t, c.JWKS, "other-name")
		}, "keys-of-another", true, ""},
		{"version", func(_ *joining, in *cluster.ActivateInput) { in.Version = "v1" }, "version", true, ""},
		{"endpoint", func(_ *joining, in *cluster.ActivateInput) { in.Endpoint = "x" }, "endpoint", true, ""},
		{"authority", func(_ *joining, in *cluster.ActivateInput) { in.CA = "x" }, "certificate-authority", true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := newJoining(t)
			j.register(t, "native")
			made := j.connect(t, cluster.ConnectInput{Name: "c", Issuer: "https://kubernetes.default.svc.cluster.local"})
			j.connect(t, cluster.ConnectInput{Name: "d"})
			in := bring(t, "c", made.Code)
			tc.change(j, &in)
			c, err := j.Activate(ctx, here, in)
			if reason(err) != tc.reason || (c != nil) != tc.proven || !strings.Contains(fault.As(err).Message, tc.message) {
				t.Errorf("%v %v (%s), want %s", c, err, reason(err), tc.reason)
			}
			if strings.Contains(fmt.Sprint(err, c), made.Code.Reveal()) {
				t.Error("the refusal shows the code")
			}
			if c, _ := cluster.Clusters.Get(j.store.View(), j.Scope(), "c"); !c.Pending() {
				t.Error("the cluster is active")
			}
		})
	}
}

// under gives the one key of a set another id.
func under(t *testing.T, jwks []byte, id string) []byte {
	t.Helper()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	set.Keys = set.Keys[:1]
	set.Keys[0]["kid"] = id
	out, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestActivateAtOnce: of many with one code, one has its keys taken.
func TestActivateAtOnce(t *testing.T) {
	j := newJoining(t)
	made := j.connect(t, external("c"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[string]*cluster.Cluster{}
	for range 8 {
		in := bring(t, "c", made.Code)
		wg.Go(func() {
			c, err := j.Activate(ctx, here, in)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won[string(in.JWKS)] = c
			} else if reason(err) != "activation-used" {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	got, _ := cluster.Clusters.Get(j.store.View(), j.Scope(), "c")
	if len(won) != 1 {
		t.Fatalf("%d have won", len(won))
	}
	for _, c := range won {
		if !bytes.Equal(c.JWKS, got.JWKS) {
			t.Error("the keys are those of another")
		}
	}
}

// TestActivateIsOfThatCluster: a code ends with its cluster, and does not open
// one that took the name between the look and the write.
func TestActivateIsOfThatCluster(t *testing.T) {
	j := newJoining(t)
	made := j.connect(t, external("c"))
	again := func() {
		if _, err := j.Deregister(ctx, iam.Caller{}, "c"); err != nil {
			t.Fatal(err)
		}
		j.connect(t, external("c"))
	}
	in := bring(t, "c", made.Code)
	act := cluster.NewActivator(&between{Store: j.store, then: again}, func() time.Time { return j.now }, "us-west-2")
	if _, err := act.Activate(ctx, here, in); reason(err) != "activation-code" {
		t.Errorf("while it is replaced: %v", err)
	}
	if _, err := j.Activate(ctx, here, in); reason(err) != "activation-code" {
		t.Errorf("after: %v", err)
	}
	if c, _ := cluster.Clusters.Get(j.store.View(), j.Scope(), "c"); !c.Pending() {
		t.Error("the new cluster is active")
	}
}

// between runs something before the first write.
type between struct {
	store.Store
	then func()
}

func (b *between) Update(ctx context.Context, fn func(*store.Tx) error) error {
	if then := b.then; then != nil {
		b.then = nil
		then()
	}
	return b.Store.Update(ctx, fn)
}

// TestConnectJudged: what was judged is what is registered.
func TestConnectJudged(t *testing.T) {
	put := func(j *joining, c *cluster.Cluster) {
		err := j.store.Update(ctx, func(tx *store.Tx) error {
			cluster.Clusters.Put(tx, j.Scope(), "c", c)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		rival func(*joining, *cluster.Cluster)
		want  string
	}{
		"tagged": {func(j *joining, c *cluster.Cluster) {
			n := *c
			n.Tags = map[string]string{"env": "prod"}
			put(j, &n)
		}, "changed-meanwhile"},
		"registered again": {func(j *joining, c *cluster.Cluster) {
			n := *c
			n.UID = strings.Repeat("f", 32)
			put(j, &n)
		}, "cluster-replaced"},
		"deleted": {func(j *joining, _ *cluster.Cluster) {
			if _, err := j.Deregister(ctx, iam.Caller{}, "c"); err != nil {
				t.Fatal(err)
			}
		}, "changed-meanwhile"},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJoining(t)
			in := external("c")
			in.Token, in.Tags = "t", map[string]string{"env": "test"}
			made := j.connect(t, in)
			j.Authz = &clustertest.Meddler{Action: "eks:RegisterCluster", Then: func() { tc.rival(j, made.Cluster) }}
			if _, err := j.Connect(ctx, iam.Caller{Account: "123456789012"}, in); reason(err) != tc.want {
				t.Errorf("%v, want %s", err, tc.want)
			}
		})
	}
	t.Run("appears", func(t *testing.T) {
		j := newJoining(t)
		in := external("c")
		in.Token = "t"
		j.Authz = &clustertest.Meddler{Action: "eks:RegisterCluster", Then: func() {
			j.Authz = j.gate // the rival is another
			j.connect(t, in)
		}}
		if _, err := j.Connect(ctx, iam.Caller{Account: "123456789012"}, in); reason(err) != "changed-meanwhile" {
			t.Errorf("%v", err)
		}
	})
}

func TestDeregister(t *testing.T) {
	for name, make := range map[string]func(*joining){
		"pending": func(j *joining) { j.connect(t, external("c")) },
		"active":  func(j *joining) { j.register(t, "c") },
	} {
		t.Run(name, func(t *testing.T) {
			j := newJoining(t)
			make(j)
			rest := &things{left: 120}
			j.Dependents = []cluster.Dependents{rest}
			j.Authz = &clustertest.Meddler{Action: "eks:DeregisterCluster", Then: func() {
				if err := j.Tag(ctx, iam.Caller{}, "c", map[string]string{"a": "b"}); err != nil {
					t.Fatal(err)
				}
			}}
			if _, err := j.Deregister(ctx, iam.Caller{}, "c"); reason(err) != "changed-meanwhile" {
				t.Errorf("changed meanwhile: %v", err)
			}
			j.gate.deny = "eks:DeregisterCluster"
			j.Authz = j.gate
			if _, err := j.Deregister(ctx, iam.Caller{}, "c"); !fault.Is(err, fault.AccessDenied) {
				t.Errorf("%v", err)
			}
			j.gate.deny = "eks:DeleteCluster" // another action
			was, err := j.Deregister(ctx, iam.Caller{}, "c")
			if err != nil || was.Name != "c" || rest.left != 0 {
				t.Errorf("%+v %v, %d left", was, err, rest.left)
			}
			_, err = j.Deregister(ctx, iam.Caller{}, "c")
			refused(t, err, fault.NotFound, "No cluster found for name: c.")
		})
	}
}

// TestListPending: clients of native clusters do not see what they refuse.
func TestListPending(t *testing.T) {
	j := newJoining(t)
	j.register(t, "a")
	j.connect(t, external("b"))
	j.register(t, "c")
	for _, tc := range []struct {
		in   cluster.ListInput
		want string
		next string
	}{
		{cluster.ListInput{Max: 100}, "a c", ""},
		{cluster.ListInput{Max: 1}, "a", "a"},
		{cluster.ListInput{Max: 1, After: "a"}, "c", ""},
		{cluster.ListInput{Max: 100, Pending: true}, "a b c", ""},
	} {
		names, next, err := j.List(ctx, iam.Caller{}, tc.in)
		if err != nil || strings.Join(names, " ") != tc.want || next != tc.next {
			t.Errorf("%+v: %v %q %v", tc.in, names, next, err)
		}
	}
}

// TestWrongCodesAreSlow: after some wrong codes a source has to wait; a good
// code never has to, and other sources do not.
func TestWrongCodesAreSlow(t *testing.T) {
	j := newJoining(t)
	made := j.connect(t, external("c"))
	wrong := bring(t, "c", secret.New("podid-activation.123456789012.AAAA"))
	try := func(from string, in cluster.ActivateInput) error {
		_, err := j.Activate(ctx, netip.MustParseAddr(from), in)
		return err
	}
	for i := range 10 {
		if err := try(fmt.Sprintf("2001:db8::%x", i), wrong); reason(err) != "activation-code" {
			t.Fatalf("%d: %v", i, err)
		}
	}
	err := try("2001:db8::ff", wrong)
	if f := fault.As(err); f.Kind != fault.Throttled || f.RetryAfter != 6*time.Second {
		t.Errorf("%v %v", err, f.RetryAfter)
	}
	if reason(try("192.0.2.7", wrong)) == "activation-throttled" && reason(try("198.51.100.7", wrong)) == "activation-throttled" { // one in 512 shares a place
		t.Error("other sources have to wait")
	}
	j.now = j.now.Add(6 * time.Second)
	if err := try("2001:db8::1", wrong); reason(err) != "activation-code" {
		t.Errorf("after the wait: %v", err)
	}
	if err := try("2001:db8::1", wrong); reason(err) != "activation-throttled" {
		t.Errorf("and again: %v", err)
	}
	if err := try("2001:db8::1", bring(t, "c", made.Code)); err != nil {
		t.Errorf("a good code: %v", err)
	}
}

// TestActivationWithoutRandomness: no code is made of less than it needs.
func TestActivationWithoutRandomness(t *testing.T) {
	for n := range 64 {
		j := newJoining(t)
		j.Rand = bytes.NewReader(make([]byte, n))
		if _, err := j.Connect(ctx, iam.Caller{}, external("c")); err == nil {
			t.Errorf("of %d bytes a code was made", n)
		}
	}
}

// TestActivateWithoutStore: a store that is away is said, and is no refusal.
func TestActivateWithoutStore(t *testing.T) {
	j := newJoining(t)
	made := j.connect(t, external("c"))
	j.store.Fail(store.ErrUnavailable)
	for name, code := range map[string]secret.String{"good": made.Code, "unknown": secret.New("podid-activation.123456789012.AAAA")} {
		if _, err := j.Activate(ctx, here, bring(t, "c", code)); !fault.Is(err, fault.Unavailable) || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, _ := cluster.Clusters.Get(j.store.View(), j.Scope(), "c"); !c.Pending() {
		t.Error("the cluster changed")
	}
}

// FuzzActivationCode: no text but the code itself opens the cluster.
func FuzzActivationCode(f *testing.F) {
	for _, s := range []string{"", "podid-activation.", "podid-activation.123456789012.", "podid-activation.123456789012.AAAA", "podid-review.123456789012.AAAA", "\x00"} {
		f.Add(s)
	}
	st := storetest.NewMemory(store.NewSchema(cluster.Clusters))
	now := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	m := &cluster.Manager{Store: st, Authz: &gatekeeper{}, Now: now, Rand: rand.Reader, Partition: "aws", Account: "123456789012", Region: "us-west-2"}
	made, err := m.Connect(ctx, iam.Caller{}, cluster.ConnectInput{Name: "c"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, code string) {
		c, err := cluster.NewActivator(st, now, "us-west-2").Activate(ctx, here, cluster.ActivateInput{Name: "c", Code: secret.New(code)})
		if (c != nil) != made.Code.Equal(code) || err == nil {
			t.Errorf("%q: %v %v", code, c, err)
		}
	})
}
