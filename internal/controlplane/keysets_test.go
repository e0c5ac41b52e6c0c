// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"podid/internal/cluster"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

// issuerStub is an issuer whose answer the test sets.
type issuerStub struct {
	keys []byte
	err  error
}

func (i *issuerStub) Discover(context.Context, string) ([]byte, string, error) {
	return i.keys, "https://issuer.example/keys", i.err
}

func oneKey(t *testing.T, kid string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: kid, Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

type keysWorld struct {
	t      *testing.T
	now    time.Time
	issuer *issuerStub
	store  *storetest.Memory
	scope  store.Scope
	sets   *cluster.KeySets
}

func newKeysWorld(t *testing.T, registered []byte) *keysWorld {
	t.Helper()
	w := &keysWorld{
		t: t, now: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), issuer: &issuerStub{},
		store: storetest.NewMemory(Schema()), scope: store.Scope{Account: "111122223333", Region: "eu-west-1"},
	}
	w.sets = newKeySets(w.store, w.issuer, func() time.Time { return w.now }, slog.New(slog.DiscardHandler))
	w.register(registered)
	return w
}

// register sets the cluster's keys as UpdateCluster does.
func (w *keysWorld) register(keys []byte) {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	err := w.store.Update(w.t.Context(), func(tx *store.Tx) error {
		cluster.Clusters.Put(tx, w.scope, "prod", &cluster.Cluster{
			UID: "0123456789abcdef0123456789abcdef", Account: w.scope.Account, Region: w.scope.Region, Name: "prod",
			Issuer: "https://issuer.example", JWKS: keys, Discover: true, NodeBinding: cluster.NodeBindingDefault, Modified: w.now,
		})
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *keysWorld) cluster() *cluster.Cluster {
	c, _ := cluster.Clusters.Get(w.store.View(), w.scope, "prod")
	return c
}

func (w *keysWorld) refresh(c *cluster.Cluster) ([]byte, error) {
	return w.sets.Refresh(w.t.Context(), c, "unknown")
}

func TestRefreshDoesNotBringBackKeysThatWereTakenBack(t *testing.T) {
	stolen, good := oneKey(t, "stolen"), oneKey(t, "good")
	w := newKeysWorld(t, good)
	w.issuer.keys = stolen
	if keys, err := w.refresh(w.cluster()); err != nil || !bytes.Equal(keys, stolen) {
		t.Fatalf("first refresh: %s, %v", keys, err)
	}
	w.register(good) // the key is taken back

	w.issuer.err = errors.New("the issuer is away")
	for _, later := range []time.Duration{0, 10 * time.Second, time.Minute, time.Hour} {
		w.now = w.now.Add(later)
		if keys, err := w.refresh(w.cluster()); err == nil {
			t.Errorf("%s later the keys of the last fetch count again: %s", later, keys)
		}
	}
	if !bytes.Equal(w.cluster().JWKS, good) {
		t.Error("the registered keys were replaced")
	}
}

func TestRefreshServesWhatTheStoreHasNotTakenYet(t *testing.T) {
	old, next := oneKey(t, "old"), oneKey(t, "next")
	w := newKeysWorld(t, old)
	w.issuer.keys = next
	stale := w.cluster()
	for range 3 { // the second and third are within the interval between fetches
		if keys, err := w.refresh(stale); err != nil || !bytes.Equal(keys, next) {
			t.Fatalf("refresh for a view that is behind: %s, %v", keys, err)
		}
	}
	if !bytes.Equal(w.cluster().JWKS, next) {
		t.Error("fetched keys were not kept")
	}
}

func TestFetchedKeysDoNotReplaceKeysRegisteredMeanwhile(t *testing.T) {
	old, fetched, registered := oneKey(t, "old"), oneKey(t, "fetched"), oneKey(t, "registered")
	w := newKeysWorld(t, old)
	w.issuer.keys = fetched
	before := w.cluster()
	w.register(registered)
	if _, err := w.refresh(before); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(w.cluster().JWKS, registered) {
		t.Error("a fetch that began earlier replaced the keys that were registered meanwhile")
	}
}
