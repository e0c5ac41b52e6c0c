// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/jwt/jwttest"
	"podid/internal/store"
)

// operator is who holds an enrolment key.
type operator struct {
	key *ecdsa.PrivateKey
	jwk []byte // its public half
}

func newOperator(t testing.TB) *operator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(jose.JSONWebKey{Key: &key.PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	return &operator{key, jwk}
}

// sign makes a proof; change alters what it says.
func (o *operator) sign(t testing.TB, c *cluster.Cluster, at time.Time, body []byte, change map[string]any) string {
	t.Helper()
	sum := sha256.Sum256(body)
	says := map[string]any{"aud": cluster.EnrolmentAudience, "sub": c.ARN(), "uid": c.UID, "issuedAtMs": at.UnixMilli(), "bodySha256": hex.EncodeToString(sum[:])}
	maps.Copy(says, change)
	text, err := json.Marshal(says)
	if err != nil {
		t.Fatal(err)
	}
	kid := ""
	if c.Enrolment != nil {
		kid = c.Enrolment.ID
	}
	return jwttest.Sign(t, jose.ES256, jose.JSONWebKey{Key: o.key, KeyID: kid}, nil, text)
}

type enrolled struct {
	*fixture
	*cluster.KeyKeeper
	*operator
	c *cluster.Cluster
}

func newEnrolled(t *testing.T) *enrolled {
	t.Helper()
	f, o := newFixture(t), newOperator(t)
	in := input(t, "one")
	in.Enrolment = o.jwk
	c, err := f.Register(ctx, iam.Caller{}, in)
	if err != nil {
		t.Fatal(err)
	}
	return &enrolled{f, cluster.NewKeyKeeper(f.store, func() time.Time { return f.now }, "us-west-2", 0, time.Hour), o, c}
}

func (e *enrolled) put(t *testing.T, jwks []byte, change map[string]any) (*cluster.Cluster, error) {
	t.Helper()
	e.now = e.now.Add(time.Second)
	return e.Put(ctx, here, cluster.PutKeysInput{Name: "one", Proof: e.sign(t, e.c, e.now, jwks, change), Body: jwks, JWKS: jwks})
}

// TestPutKeys: the operator of a cluster whose key was swapped is heard, and
// tokens of the old key stay good until they have expired.
func TestPutKeys(t *testing.T) {
	e := newEnrolled(t)
	keys := &cluster.KeySets{Now: e.fixture.Now}
	c, err := e.put(t, keySet(t, "new"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := accepted(t, keys, c); got != "k1 k2 new" {
		t.Errorf("accepted %q", got)
	}
	if c.Enrolment.Last != e.now.UnixMilli() || !c.Modified.Equal(e.now) || len(c.Retired) != 2 || !c.Retired[0].Until.Equal(e.now.Add(time.Hour)) {
		t.Errorf("%+v %+v", c, c.Enrolment)
	}
	modified := c.Modified
	if c, err = e.put(t, c.JWKS, nil); err != nil || !c.Modified.Equal(modified) || c.Enrolment.Last != e.now.UnixMilli() {
		t.Errorf("the same again: %v, %+v", err, c)
	}
	e.now = modified.Add(time.Hour)
	if got := accepted(t, keys, c); got != "new" {
		t.Errorf("accepted at the end %q", got)
	}
}

// TestPutKeysRefuses: forged, stale, replayed, of another cluster, over another body.
func TestPutKeysRefuses(t *testing.T) {
	e, other := newEnrolled(t), newOperator(t)
	two := input(t, "two")
	two.Enrolment = other.jwk
	second, err := e.Register(ctx, iam.Caller{}, two)
	if err != nil {
		t.Fatal(err)
	}
	bare := e.register(t, "bare")
	jwks := keySet(t, "new")
	good := func() string { return e.sign(t, e.c, e.now, jwks, nil) }
	parts := func(s string) []string { return strings.Split(s, ".") }
	for i, c := range []struct {
		name   string
		reason string
		change func(in *cluster.PutKeysInput)
	}{
		{"no proof", "enrolment-proof", func(in *cluster.PutKeysInput) { in.Proof = "" }},
		{"no token", "enrolment-proof", func(in *cluster.PutKeysInput) { in.Proof = "a.b.c" }},
		{"too long", "enrolment-proof", func(in *cluster.PutKeysInput) { in.Proof += strings.Repeat("A", 4096) }},
		{"another's key", "enrolment-proof", func(in *cluster.PutKeysInput) { in.Proof = other.sign(t, e.c, e.now, jwks, nil) }},
		{"another's proof", "enrolment-proof", func(in *cluster.PutKeysInput) { in.Proof = other.sign(t, second, e.now, jwks, nil) }},
		{"for another name", "enrolment-proof", func(in *cluster.PutKeysInput) { in.Name = "two" }},
		{"no such name", "enrolment-proof", func(in *cluster.PutKeysInput) { in.Name = "none" }},
		{"a cluster without the key", "enrolment-proof", func(in *cluster.PutKeysInput) {
			in.Name, in.Proof = "bare", e.sign(t, bare, e.now, jwks, nil)
		}},
		{"an earlier cluster of the name", "enrolment-proof", func(in *cluster.PutKeysInput) {
			in.Proof = e.sign(t, e.c, e.now, jwks, map[string]any{"uid": strings.Repeat("0", 32)})
		}},
		{"for another use", "enrolment-proof", func(in *cluster.PutKeysInput) {
			in.Proof = e.sign(t, e.c, e.now, jwks, map[string]any{"aud": "podid.dev/other"})
		}},
		{"of another account", "enrolment-proof", func(in *cluster.PutKeysInput) {
			in.Proof = e.sign(t, e.c, e.now, jwks, map[string]any{"sub": "arn:aws:eks:us-west-2:999999999999:cluster/one"})
		}},
		{"of another region", "enrolment-proof", func(in *cluster.PutKeysInput) {
			in.Proof = e.sign(t, e.c, e.now, jwks, map[string]any{"sub": "arn:aws:eks:eu-west-1:123456789012:cluster/one"})
		}},
		{"with more than is known", "enrolment-proof", func(in *cluster.PutKeysInput) {
			in.Proof = e.sign(t, e.c, e.now, jwks, map[string]any{"more": 1})
		}},
		{"no key id", "enrolment-proof", func(in *cluster.PutKeysInput) {
			x := *e.c
			x.Enrolment = nil
			in.Proof = e.sign(t, &x, e.now, jwks, nil)
		}},
		{"signature of another proof", "enrolment-proof", func(in *cluster.PutKeysInput) {
			a, b := parts(in.Proof), parts(e.sign(t, e.c, e.now.Add(time.Second), jwks, nil))
			in.Proof = a[0] + "." + b[1] + "." + a[2]
		}},
		{"of the operator's own session key", "enrolment-proof", func(in *cluster.PutKeysInput) {
			in.Proof = newOperator(t).sign(t, e.c, e.now, jwks, nil)
		}},
		{"over another body", "enrolment-body", func(in *cluster.PutKeysInput) { in.Body = []byte("{}") }},
		{"old", "enrolment-time", func(in *cluster.PutKeysInput) {
			in.Proof = e.sign(t, e.c, e.now.Add(-cluster.DefaultProofSkew-time.Second), jwks, nil)
		}},
		{"from the future", "enrolment-time", func(in *cluster.PutKeysInput) {
			in.Proof = e.sign(t, e.c, e.now.Add(cluster.DefaultProofSkew+time.Second), jwks, nil)
		}},
		{"no keys", "keys-missing", func(in *cluster.PutKeysInput) { in.JWKS = nil }},
		{"bad keys", "jwks", func(in *cluster.PutKeysInput) { in.JWKS = []byte(`{"keys":[]}`) }},
		{"another cluster's keys", "keys-of-another", func(in *cluster.PutKeysInput) { in.JWKS = second.JWKS }},
	} {
		e.now = e.now.Add(time.Second)
		in := cluster.PutKeysInput{Name: "one", Proof: good(), Body: jwks, JWKS: jwks}
		c.change(&in)
		from := netip.AddrFrom4([4]byte{192, 0, 3, byte(i)}) // each with attempts of its own
		out, err := e.Put(ctx, from, in)
		if reason(err) != c.reason {
			t.Errorf("%s: %v", c.name, err)
		}
		if own := c.reason != "enrolment-proof"; own != (out != nil) {
			t.Errorf("%s: the cluster is told: %v", c.name, out != nil)
		}
	}
	if now, _ := cluster.ByUID(e.store.View(), e.Scope(), e.c.UID); string(now.JWKS) != string(e.c.JWKS) || now.Enrolment.Last != 0 {
		t.Errorf("a refusal changed %+v", now)
	}

	// Once, and none after its successor.
	e.now = e.now.Add(time.Second)
	first := cluster.PutKeysInput{Name: "one", Proof: good(), Body: jwks, JWKS: jwks}
	e.now = e.now.Add(time.Second)
	next := cluster.PutKeysInput{Name: "one", Proof: good(), Body: jwks, JWKS: jwks}
	if _, err := e.Put(ctx, here, next); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]cluster.PutKeysInput{"again": next, "the one before": first} {
		if _, err := e.Put(ctx, here, in); reason(err) != "enrolment-replayed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPutKeysJudged: what changes between the look and the commit counts.
func TestPutKeysJudged(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(e *enrolled, t *testing.T)
		reason    string
	}{
		"the enrolment key is replaced": {func(e *enrolled, t *testing.T) {
			if _, err := e.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "one", Enrolment: newOperator(t).jwk}); err != nil {
				t.Fatal(err)
			}
		}, "enrolment-proof"},
		"the enrolment key is taken away": {func(e *enrolled, t *testing.T) {
			if _, err := e.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "one", NoEnrolment: true}); err != nil {
				t.Fatal(err)
			}
		}, "enrolment-proof"},
		"the cluster is deleted": {func(e *enrolled, t *testing.T) {
			if _, err := e.Delete(ctx, iam.Caller{}, "one"); err != nil {
				t.Fatal(err)
			}
		}, "enrolment-proof"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnrolled(t)
			b := &between{Store: e.store, then: func() { c.meanwhile(e, t) }}
			e.KeyKeeper = cluster.NewKeyKeeper(b, e.fixture.Now, "us-west-2", 0, 0)
			if _, err := e.put(t, keySet(t, "new"), nil); reason(err) != c.reason {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWrongProofsAreSlow(t *testing.T) {
	e := newEnrolled(t)
	var err error
	for range 11 {
		_, err = e.Put(ctx, here, cluster.PutKeysInput{Name: "one", Proof: "no"})
	}
	if reason(err) != "enrolment-throttled" || fault.As(err).Kind != fault.Throttled {
		t.Errorf("the eleventh: %v", err)
	}
	if _, err := e.put(t, keySet(t, "new"), nil); err != nil {
		t.Errorf("a good one is held up: %v", err)
	}
	e.store.Fail(store.ErrUnavailable)
	if _, err := e.Put(ctx, netip.MustParseAddr("192.0.2.9"), cluster.PutKeysInput{Name: "one", Proof: newOperator(t).sign(t, e.c, e.now, nil, nil)}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without the store: %v", err)
	}
}

func TestEnrolmentKeys(t *testing.T) {
	e := newEnrolled(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(jose.JSONWebKey{Key: &p384.PublicKey})
	if err != nil {
		t.Fatal(err)
	}
	private, err := json.Marshal(jose.JSONWebKey{Key: e.key})
	if err != nil {
		t.Fatal(err)
	}
	for name, jwk := range map[string][]byte{"no key": []byte("{}"), "another curve": other, "private": private, "not JSON": []byte("x"), "long": bytes.Repeat([]byte(" "), 5000)} {
		if _, err := e.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "one", Enrolment: jwk}); reason(err) != "enrolment-key" {
			t.Errorf("%s: %v", name, err)
		}
		in := input(t, "three")
		in.Enrolment = jwk
		if _, err := e.Register(ctx, iam.Caller{}, in); reason(err) != "enrolment-key" {
			t.Errorf("register, %s: %v", name, err)
		}
	}
	if _, err := e.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "one", Enrolment: e.jwk, NoEnrolment: true}); reason(err) != "enrolment-twice" {
		t.Errorf("both: %v", err)
	}
	sum, err := (&jose.JSONWebKey{Key: &e.key.PublicKey}).Thumbprint(crypto.SHA256)
	if err != nil || e.c.Enrolment.ID != base64.RawURLEncoding.EncodeToString(sum) {
		t.Errorf("id %s: %v", e.c.Enrolment.ID, err)
	}
}

// TestActivateWithEnrolment: a cluster that comes with a code names its
// operator's key with it.
func TestActivateWithEnrolment(t *testing.T) {
	j, o := newJoining(t), newOperator(t)
	made := j.connect(t, cluster.ConnectInput{Name: "c"})
	in := bring(t, "c", made.Code)
	in.Enrolment = []byte("{}")
	if _, err := j.Activate(ctx, here, in); reason(err) != "enrolment-key" {
		t.Errorf("bad key: %v", err)
	}
	in.Enrolment = o.jwk
	c, err := j.Activate(ctx, here, in)
	if err != nil || c.Enrolment == nil {
		t.Fatalf("%+v, %v", c, err)
	}
	keeper := cluster.NewKeyKeeper(j.store, func() time.Time { return j.now }, "us-west-2", 0, 0)
	jwks := keySet(t, "next")
	if _, err := keeper.Put(context.Background(), here, cluster.PutKeysInput{Name: "c", Proof: o.sign(t, c, j.now, jwks, nil), Body: jwks, JWKS: jwks}); err != nil {
		t.Error(err)
	}
}

func FuzzProof(f *testing.F) {
	o := newOperator(f)
	c := &cluster.Cluster{Partition: "aws", Account: "123456789012", Region: "us-west-2", Name: "one", UID: strings.Repeat("a", 32)}
	f.Add(o.sign(f, c, time.UnixMilli(1), nil, nil))
	f.Add(o.sign(f, c, time.UnixMilli(1), nil, map[string]any{"sub": 1, "uid": nil}))
	f.Add("a.b.c")
	f.Add("")
	f.Fuzz(func(t *testing.T, proof string) {
		fx := newFixture(t)
		in := input(t, "one")
		in.Enrolment = newOperator(t).jwk
		if _, err := fx.Register(ctx, iam.Caller{}, in); err != nil {
			t.Fatal(err)
		}
		k := cluster.NewKeyKeeper(fx.store, fx.Now, "us-west-2", 0, 0)
		var e *fault.Error
		if c, err := k.Put(ctx, here, cluster.PutKeysInput{Name: "one", Proof: proof}); c != nil || !errors.As(err, &e) || e.Reason != "enrolment-proof" {
			t.Errorf("%q: %v", proof, err)
		}
	})
}
