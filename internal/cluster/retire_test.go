// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
)

// sets joins key sets.
func sets(t *testing.T, all ...[]byte) []byte {
	t.Helper()
	var out struct {
		Keys []json.RawMessage `json:"keys"`
	}
	for _, s := range all {
		var one struct {
			Keys []json.RawMessage `json:"keys"`
		}
		if err := json.Unmarshal(s, &one); err != nil {
			t.Fatal(err)
		}
		out.Keys = append(out.Keys, one.Keys...)
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// accepted are the ids of the keys that tokens are verified with.
func accepted(t *testing.T, k *cluster.KeySets, c *cluster.Cluster) string {
	t.Helper()
	set, err := k.Get(c)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, key := range set.Keys() {
		ids = append(ids, key.ID)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// TestRetiredKeys: what a rotation leaves behind is good until its tokens have
// expired, and not a moment longer; a hard replacement takes it away at once.
func TestRetiredKeys(t *testing.T) {
	f := newFixture(t)
	f.TokenLife = time.Hour
	keys := &cluster.KeySets{Now: f.Now}
	a, b, c := keySet(t, "a"), keySet(t, "b"), keySet(t, "c")
	other := keySet(t, "a") // another key under the kid
	in := input(t, "one")
	in.JWKS = a
	made, err := f.Register(ctx, iam.Caller{}, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name  string
		after time.Duration
		jwks  []byte
		hard  bool
		want  string
		list  string // of retired keys
	}{
		{"swapped", 0, b, false, "a b", "a"},
		{"the same again", 10 * time.Minute, b, false, "a b", "a"}, // not for longer
		{"the third", 10 * time.Minute, c, false, "a b c", "a b"},
		{"the first ends", 40 * time.Minute, nil, false, "b c", "a b"},
		{"the second comes back", time.Minute, sets(t, b, c), false, "b c", ""},
		{"and goes", time.Minute, c, false, "b c", "b"},
		{"all at once", time.Minute, a, true, "a", ""},
		{"kid taken over", time.Minute, other, false, "a", ""},
	} {
		f.now = f.now.Add(step.after)
		if step.jwks != nil {
			if made, err = f.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "one", JWKS: step.jwks, KeepOld: !step.hard}); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
		if got := accepted(t, keys, made); got != step.want {
			t.Errorf("%s: accepted %q, want %q", step.name, got, step.want)
		}
		var list []string
		for _, r := range made.Retired {
			list = append(list, r.ID())
		}
		if got := strings.Join(list, " "); got != step.list {
			t.Errorf("%s: retired %q, want %q", step.name, got, step.list)
		}
	}
	if _, err := f.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "one", KeepOld: true, Version: new(string)}); !fault.Is(err, fault.InvalidRequest) {
		t.Errorf("keepOldKeys without keys: %v", err)
	}
}

func TestRetiredKeysAreBounded(t *testing.T) {
	f := newFixture(t)
	made := f.register(t, "one")
	keys := &cluster.KeySets{Now: f.Now}
	for i := range cluster.MaxRetired + 5 {
		f.now = f.now.Add(time.Minute)
		var err error
		if made, err = f.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "one", JWKS: keySet(t, "n"+strconv.Itoa(i)), KeepOld: true}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(made.Retired); got != cluster.MaxRetired || made.Retired[0].ID() != "n4" {
		t.Errorf("%d retired keys, the first %s", got, made.Retired[0].ID())
	}
	if got := len(strings.Fields(accepted(t, keys, made))); got != cluster.MaxRetired+1 {
		t.Errorf("%d keys are accepted", got)
	}
}
