// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

var ctx = context.Background()

// gatekeeper allows all but the denied actions, and keeps what was asked.
type gatekeeper struct {
	mu    sync.Mutex
	deny  string
	asked []iam.Query
}

func (g *gatekeeper) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, q)
	if q.Action == g.deny {
		return fault.New(fault.AccessDenied, "no")
	}
	return nil
}

type discovery struct {
	jwks  []byte
	err   error
	calls []string
}

func (d *discovery) Discover(_ context.Context, issuer string) ([]byte, string, error) {
	d.calls = append(d.calls, issuer)
	return d.jwks, issuer + "/keys", d.err
}

// things are dependents in a number.
type things struct{ left int }

func (d *things) DeleteOf(_ *store.Tx, _ *cluster.Cluster, limit int) int {
	n := min(limit, d.left)
	d.left -= n
	return n
}

type fixture struct {
	*cluster.Manager
	gate  *gatekeeper
	keys  *discovery
	store *storetest.Memory
	now   time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		gate: &gatekeeper{}, keys: &discovery{jwks: keySet(t, "d1")}, store: storetest.NewMemory(store.NewSchema(cluster.Clusters)),
		now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	f.Manager = &cluster.Manager{
		Store: f.store, Authz: f.gate, Keys: f.keys, Now: func() time.Time { return f.now }, Rand: rand.Reader,
		Partition: "aws", Account: "123456789012", Region: "us-west-2",
	}
	return f
}

func keySet(t *testing.T, ids ...string) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, id := range ids {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &k.PublicKey, KeyID: id, Algorithm: "ES256", Use: "sig"})
	}
	b, err := json.MarshalIndent(set, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func input(t *testing.T, name string) cluster.RegisterInput {
	t.Helper()
	return cluster.RegisterInput{Name: name, Issuer: "https://kubernetes.default.svc.cluster.local", JWKS: keySet(t, "k1", "k2")}
}

func (f *fixture) register(t *testing.T, name string) *cluster.Cluster {
	t.Helper()
	c, err := f.Register(ctx, iam.Caller{}, input(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func refused(t *testing.T, err error, kind fault.Kind, message string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(fault.As(err).Message, message) {
		t.Errorf("got %v, want kind %d with %q", err, kind, message)
	}
}

func TestRegister(t *testing.T) {
	f := newFixture(t)
	in := input(t, "my-cluster")
	in.Tags = map[string]string{"team": "data"}
	in.Version, in.Endpoint = "1.34", "https://10.0.0.1:6443"
	in.CA = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	c, err := f.Register(ctx, iam.Caller{}, in)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.UID) != 32 || c.ARN() != "arn:aws:eks:us-west-2:123456789012:cluster/my-cluster" || c.NodeBinding != cluster.NodeBindingDefault || !c.Created.Equal(f.now) {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(c.KeyIDs(), []string{"k1", "k2"}) || strings.Contains(string(c.JWKS), "\n") {
		t.Errorf("keys %v in %s", c.KeyIDs(), c.JWKS)
	}
	want := iam.Query{Action: "podid:RegisterCluster", Resource: c.ARN(), Keys: []iam.ConditionKey{
		{Name: "aws:RequestTag/team", Values: []string{"data"}}, {Name: "aws:TagKeys", Values: []string{"team"}, Multi: true},
	}}
	if d := cmp.Diff(want, f.gate.asked[0]); d != "" {
		t.Error(d)
	}
	_, err = f.Register(ctx, iam.Caller{}, in)
	refused(t, err, fault.AlreadyExists, "Cluster already exists with name: my-cluster")
	got, err := f.Describe(ctx, iam.Caller{}, "my-cluster")
	if err != nil {
		t.Fatal(err)
	}
	if got.UID != c.UID || got.Tags["team"] != "data" {
		t.Errorf("described as %+v", got)
	}
	n := 0
	for _, same := range cluster.ByIssuer(f.store.View(), f.Scope(), c.Issuer) {
		if n++; same.UID != c.UID {
			t.Errorf("the issuer leads to %+v", same)
		}
	}
	if n != 1 {
		t.Errorf("%d clusters of the issuer", n)
	}
}

func TestRegisterRefuses(t *testing.T) {
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: []byte("secret-secret-secret-secret-1234"), KeyID: "s", Algorithm: "HS256"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		change  func(*cluster.RegisterInput)
		kind    fault.Kind
		message string
	}{
		{"no name", func(in *cluster.RegisterInput) { in.Name = "" }, fault.InvalidParameter, "cluster name"},
		{"long name", func(in *cluster.RegisterInput) { in.Name = strings.Repeat("a", 101) }, fault.InvalidParameter, "cluster name"},
		{"slash in name", func(in *cluster.RegisterInput) { in.Name = "a/b" }, fault.InvalidParameter, "cluster name"},
		{"dash first", func(in *cluster.RegisterInput) { in.Name = "-a" }, fault.InvalidParameter, "cluster name"},
		{"newline last", func(in *cluster.RegisterInput) { in.Name = "a\n" }, fault.InvalidParameter, "cluster name"},
		{"no issuer", func(in *cluster.RegisterInput) { in.Issuer = "" }, fault.InvalidParameter, "issuer"},
		{"plain http", func(in *cluster.RegisterInput) { in.Issuer = "http://x" }, fault.InvalidParameter, "issuer"},
		{"issuer with query", func(in *cluster.RegisterInput) { in.Issuer = "https://x?y" }, fault.InvalidParameter, "issuer"},
		{"issuer with bare query", func(in *cluster.RegisterInput) { in.Issuer = "https://x?" }, fault.InvalidParameter, "issuer"},
		{"issuer with fragment", func(in *cluster.RegisterInput) { in.Issuer = "https://x#y" }, fault.InvalidParameter, "issuer"},
		{"issuer with user", func(in *cluster.RegisterInput) { in.Issuer = "https://u:p@x" }, fault.InvalidParameter, "issuer"},
		{"issuer with port only", func(in *cluster.RegisterInput) { in.Issuer = "https://:1" }, fault.InvalidParameter, "issuer"},
		{"no keys", func(in *cluster.RegisterInput) { in.JWKS = nil }, fault.MissingParameter, "keys are missing"},
		{"keys are not JSON", func(in *cluster.RegisterInput) { in.JWKS = []byte("x") }, fault.InvalidParameter, "key set is not valid"},
		{"symmetric key", func(in *cluster.RegisterInput) { in.JWKS = private }, fault.InvalidParameter, "key set is not valid"},
		{"no key in the set", func(in *cluster.RegisterInput) { in.JWKS = []byte(`{"keys":[]}`) }, fault.InvalidParameter, "key set is not valid"},
		{"huge set", func(in *cluster.RegisterInput) { in.JWKS = make([]byte, 256<<10+1) }, fault.InvalidParameter, "longer than"},
		{"node binding", func(in *cluster.RegisterInput) { in.NodeBinding = "maybe" }, fault.InvalidParameter, "nodeBinding"},
		{"version", func(in *cluster.RegisterInput) { in.Version = "v1.34.1" }, fault.InvalidParameter, "Kubernetes version"},
		{"endpoint", func(in *cluster.RegisterInput) { in.Endpoint = "10.0.0.1" }, fault.InvalidParameter, "endpoint"},
		{"CA not base64", func(in *cluster.RegisterInput) { in.CA = "%" }, fault.InvalidParameter, "not base64"},
		{"CA not PEM", func(in *cluster.RegisterInput) { in.CA = "eHh4" }, fault.InvalidParameter, "PEM"},
		{"CA with a key", func(in *cluster.RegisterInput) {
			in.CA = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY"}))
		}, fault.InvalidParameter, "certificates only"},
		{"reserved tag", func(in *cluster.RegisterInput) { in.Tags = map[string]string{"AWS:x": ""} }, fault.InvalidParameter, "reserved"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			in := input(t, "my-cluster")
			tc.change(&in)
			_, err := f.Register(ctx, iam.Caller{}, in)
			refused(t, err, tc.kind, tc.message)
			if n := f.store.View().Len(); n != 0 {
				t.Errorf("%d records written", n)
			}
		})
	}
}

// TestDenied: a caller who may not learns nothing and makes nothing fetched.
func TestDenied(t *testing.T) {
	f := newFixture(t)
	f.register(t, "is")
	verbs := map[string]func(name string) error{
		"podid:RegisterCluster": func(n string) error {
			_, err := f.Register(ctx, iam.Caller{}, cluster.RegisterInput{Name: n, Discover: true})
			return err
		},
		"eks:DescribeCluster": func(n string) error { _, err := f.Describe(ctx, iam.Caller{}, n); return err },
		"podid:DescribeCluster": func(n string) error {
			_, err := f.Inspect(ctx, iam.Caller{}, n)
			return err
		},
		"eks:ListClusters": func(string) error { _, _, err := f.List(ctx, iam.Caller{}, cluster.ListInput{}); return err },
		"eks:DeleteCluster": func(n string) error {
			_, err := f.Delete(ctx, iam.Caller{}, n)
			return err
		},
		"podid:UpdateCluster": func(n string) error {
			_, err := f.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: n, FetchKeys: true})
			return err
		},
		"eks:TagResource":         func(n string) error { return f.Tag(ctx, iam.Caller{}, n, nil) },
		"eks:UntagResource":       func(n string) error { return f.Untag(ctx, iam.Caller{}, n, nil) },
		"eks:ListTagsForResource": func(n string) error { _, err := f.Tags(ctx, iam.Caller{}, n); return err },
	}
	for action, verb := range verbs {
		for _, name := range []string{"is", "is-not", "not/valid"} {
			f.gate.deny = action
			if err := verb(name); !fault.Is(err, fault.AccessDenied) {
				t.Errorf("%s on %s: %v", action, name, err)
			}
		}
	}
	if len(f.keys.calls) != 0 {
		t.Errorf("fetched for a caller who may not: %v", f.keys.calls)
	}
}

func TestDiscover(t *testing.T) {
	f := newFixture(t)
	in := cluster.RegisterInput{Name: "c", Issuer: "https://issuer.example", Discover: true}
	c, err := f.Register(ctx, iam.Caller{}, in)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.KeyIDs(), []string{"d1"}) || !c.Discover || !slices.Equal(f.keys.calls, []string{"https://issuer.example"}) {
		t.Errorf("keys %v from %v", c.KeyIDs(), f.keys.calls)
	}
	f.keys.jwks = keySet(t, "d2")
	c, err = f.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "c", FetchKeys: true})
	if err != nil || !slices.Equal(c.KeyIDs(), []string{"d2"}) {
		t.Errorf("after rotation %v %v", c, err)
	}
	f.keys.err = errors.New("connection refused")
	in.Name = "d"
	_, err = f.Register(ctx, iam.Caller{}, in)
	refused(t, err, fault.IdPUnavailable, "https://issuer.example could not be fetched: connection refused")
	f.Keys = nil
	_, err = f.Register(ctx, iam.Caller{}, in)
	refused(t, err, fault.InvalidRequest, "give jwks")
}

func TestUpdate(t *testing.T) {
	f := newFixture(t)
	was := f.register(t, "c")
	f.now = f.now.Add(time.Hour)
	off, version, same, other := cluster.NodeBindingOff, "1.35", was.Issuer, "https://other"
	c, err := f.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "c", JWKS: keySet(t, "new"), NodeBinding: &off, Version: &version, Issuer: &same})
	if err != nil {
		t.Fatal(err)
	}
	if c.UID != was.UID || c.NodeBinding != off || c.Version != "1.35" || !slices.Equal(c.KeyIDs(), []string{"new"}) || !c.Modified.Equal(f.now) || !c.Created.Equal(was.Created) {
		t.Errorf("%+v", c)
	}
	if was.NodeBinding != cluster.NodeBindingDefault {
		t.Error("an update changed a record that others hold")
	}
	bad := cluster.NodeBinding("x")
	for name, tc := range map[string]struct {
		in      cluster.UpdateInput
		kind    fault.Kind
		message string
	}{
		"nothing":       {cluster.UpdateInput{Name: "c"}, fault.InvalidRequest, "changes nothing"},
		"other issuer":  {cluster.UpdateInput{Name: "c", Issuer: &other}, fault.InvalidParameter, "issuer of a cluster cannot be changed"},
		"no cluster":    {cluster.UpdateInput{Name: "x", NodeBinding: &off}, fault.NotFound, "No cluster found for name: x."},
		"two key sets":  {cluster.UpdateInput{Name: "c", JWKS: []byte("{}"), FetchKeys: true}, fault.InvalidRequest, "not both"},
		"bad binding":   {cluster.UpdateInput{Name: "c", NodeBinding: &bad}, fault.InvalidParameter, "nodeBinding"},
		"bad keys":      {cluster.UpdateInput{Name: "c", JWKS: []byte("{}")}, fault.InvalidParameter, "key set"},
		"empty key set": {cluster.UpdateInput{Name: "c", JWKS: []byte{}}, fault.InvalidParameter, "key set"},
	} {
		_, err := f.Update(ctx, iam.Caller{}, tc.in)
		if !fault.Is(err, tc.kind) || !strings.Contains(fault.As(err).Message, tc.message) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListPages(t *testing.T) {
	f := newFixture(t)
	for i := range 5 {
		f.register(t, fmt.Sprintf("c%d", i))
	}
	var got []string
	after := ""
	for n := 0; ; n++ {
		names, next, err := f.List(ctx, iam.Caller{}, cluster.ListInput{After: after, Max: 2})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, names...)
		if n == 0 { // what goes and comes between pages disturbs nothing
			if _, err := f.Delete(ctx, iam.Caller{}, "c1"); err != nil {
				t.Fatal(err)
			}
			f.register(t, "c0a")
			f.register(t, "c3a")
		}
		if next == "" {
			break
		}
		after = next
	}
	if !slices.Equal(got, []string{"c0", "c1", "c2", "c3", "c3a", "c4"}) {
		t.Error(got)
	}
	if names, next, err := f.List(ctx, iam.Caller{}, cluster.ListInput{Max: 6}); err != nil || next != "" || len(names) != 6 {
		t.Errorf("a full last page: %v %q %v", names, next, err)
	}
	for _, n := range []int{0, 101, -1} {
		if _, _, err := f.List(ctx, iam.Caller{}, cluster.ListInput{Max: n}); !fault.Is(err, fault.InvalidParameter) {
			t.Errorf("max %d: %v", n, err)
		}
	}
}

// TestDelete: dependents go in batches, the cluster with the last of them, and
// a name registered anew is another cluster.
func TestDelete(t *testing.T) {
	for _, n := range []int{0, 1, 49, 50, 51, 120} {
		f := newFixture(t)
		d := &things{left: n}
		f.Dependents = []cluster.Dependents{d}
		was := f.register(t, "c")
		got, err := f.Delete(ctx, iam.Caller{}, "c")
		if err != nil || got.UID != was.UID || d.left != 0 {
			t.Fatalf("%d dependents: %v, %d left", n, err, d.left)
		}
		_, err = f.Describe(ctx, iam.Caller{}, "c")
		refused(t, err, fault.NotFound, "No cluster found for name: c.")
		_, err = f.Delete(ctx, iam.Caller{}, "c")
		refused(t, err, fault.NotFound, "No cluster found for name: c.")
		if again := f.register(t, "c"); again.UID == was.UID || again.ProviderARN() == was.ProviderARN() {
			t.Error("a cluster made anew inherits its predecessor's unique id")
		}
	}
}

// TestConcurrentRegister: one of many wins the name.
func TestConcurrentRegister(t *testing.T) {
	f := newFixture(t)
	in := input(t, "c")
	var wg sync.WaitGroup
	var mu sync.Mutex
	won, lost := 0, 0
	for range 20 {
		wg.Go(func() {
			_, err := f.Register(ctx, iam.Caller{}, in)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case fault.Is(err, fault.AlreadyExists):
				lost++
			default:
				t.Errorf("register: %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 || lost != 19 {
		t.Errorf("%d won, %d lost", won, lost)
	}
}

func TestStoreAway(t *testing.T) {
	f := newFixture(t)
	f.register(t, "c")
	for _, cause := range []error{store.ErrUnavailable, store.ErrUnknown, store.ErrConflict} {
		f.store.Fail(cause)
		if _, err := f.Register(ctx, iam.Caller{}, input(t, "d")); !fault.Is(err, fault.Unavailable) || !errors.Is(err, cause) {
			t.Errorf("%v became %v", cause, err)
		}
		if _, err := f.Describe(ctx, iam.Caller{}, "c"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("describe: %v", err)
		}
	}
}

func TestTags(t *testing.T) {
	f := newFixture(t)
	f.register(t, "c")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(f.Tag(ctx, iam.Caller{}, "c", map[string]string{"a": "1", "b": "2"}))
	must(f.Tag(ctx, iam.Caller{}, "c", map[string]string{"b": "3"}))
	must(f.Untag(ctx, iam.Caller{}, "c", []string{"a", "never"}))
	got, err := f.Tags(ctx, iam.Caller{}, "c")
	must(err)
	if d := cmp.Diff(map[string]string{"b": "3"}, got); d != "" {
		t.Error(d)
	}
	last := f.gate.asked[len(f.gate.asked)-1]
	if d := cmp.Diff([]iam.ConditionKey{{Name: "aws:ResourceTag/b", Values: []string{"3"}}}, last.Keys); d != "" {
		t.Error(d)
	}
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint("t", i)] = ""
	}
	refused(t, f.Tag(ctx, iam.Caller{}, "c", many), fault.InvalidParameter, "would have 51")
	refused(t, f.Tag(ctx, iam.Caller{}, "c", nil), fault.MissingParameter, "At least one tag")
	refused(t, f.Untag(ctx, iam.Caller{}, "c", nil), fault.MissingParameter, "At least one tag key")
	refused(t, f.Tag(ctx, iam.Caller{}, "x", map[string]string{"a": ""}), fault.NotFound, "No cluster found")
}

func TestCheckTags(t *testing.T) {
	for _, tc := range []struct {
		name, key, value string
		ok               bool
	}{
		{"plain", "team", "data", true},
		{"all marks", "a+b-c=d.e_f:g/h@i j", "", true},
		{"unicode", "größe", "été", true},
		{"128 characters", strings.Repeat("é", 128), strings.Repeat("é", 256), true},
		{"129 characters", strings.Repeat("é", 129), "", false},
		{"257 characters", "k", strings.Repeat("é", 257), false},
		{"no key", "", "v", false},
		{"reserved", "aws:x", "", false},
		{"reserved in any case", "Aws:x", "", false},
		{"not reserved", "awsx", "", true},
		{"newline", "a\nb", "", false},
		{"percent", "a%b", "", false},
		{"star in value", "k", "*", false},
	} {
		if err := cluster.CheckTags(map[string]string{tc.key: tc.value}); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
