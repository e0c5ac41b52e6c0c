// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"podid/internal/accessentry"
	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/fault"
	"podid/internal/store"
)

func changeCluster(tx *store.Tx, fn func(*cluster.Cluster)) {
	c, _ := cluster.Clusters.Get(tx, scope, "c")
	n := *c
	n.Tags = maps.Clone(c.Tags)
	fn(&n)
	cluster.Clusters.Put(tx, scope, "c", &n)
}

func changeEntry(tx *store.Tx, fn func(*accessentry.Entry)) {
	c, _ := cluster.Clusters.Get(tx, scope, "c")
	e, _ := accessentry.Entries.Get(tx, scope, accessentry.Key(c.UID, devARN))
	n := *e
	n.Tags = maps.Clone(e.Tags)
	fn(&n)
	accessentry.Entries.Put(tx, scope, accessentry.Key(c.UID, devARN), &n)
}

// A right that hangs on tags, or on the record's being that very one, must not
// be used on what took its place.
func TestWhatWasJudgedIsWhatIsChanged(t *testing.T) {
	name := "x"
	tagCluster := func(tx *store.Tx) { changeCluster(tx, func(c *cluster.Cluster) { c.Tags["env"] = "prod" }) }
	registerAnew := func(tx *store.Tx) {
		changeCluster(tx, func(c *cluster.Cluster) { c.UID = strings.Repeat("f", 32) })
	}
	tagEntry := func(tx *store.Tx) { changeEntry(tx, func(e *accessentry.Entry) { e.Tags["team"] = "b" }) }
	// The entry comes along, as if the principal had been let in again.
	moveAnew := func(tx *store.Tx) {
		old, _ := cluster.Clusters.Get(tx, scope, "c")
		registerAnew(tx)
		e, _ := accessentry.Entries.Get(tx, scope, accessentry.Key(old.UID, devARN))
		accessentry.Entries.Put(tx, scope, accessentry.Key(strings.Repeat("f", 32), devARN), e)
	}
	makeAnew := func(tx *store.Tx) { changeEntry(tx, func(e *accessentry.Entry) { e.ARN += "0" }) }
	for action, verb := range map[string]func(context.Context, *house) error{
		"eks:CreateAccessEntry": func(ctx context.Context, h *house) error {
			_, err := h.Create(ctx, me, accessentry.CreateInput{Cluster: "c", PrincipalARN: annARN})
			return err
		},
		"podid:CreateReviewToken": func(ctx context.Context, h *house) error {
			_, err := h.CreateReviewToken(ctx, me, "c")
			return err
		},
		"eks:UpdateAccessEntry": func(ctx context.Context, h *house) error {
			_, err := h.Update(ctx, me, accessentry.UpdateInput{Cluster: "c", PrincipalARN: devARN, Username: &name})
			return err
		},
		"eks:DeleteAccessEntry": func(ctx context.Context, h *house) error { return h.Delete(ctx, me, "c", devARN) },
		"eks:AssociateAccessPolicy": func(ctx context.Context, h *house) error {
			_, err := h.Associate(ctx, me, accessentry.AssociateInput{Cluster: "c", PrincipalARN: devARN, PolicyARN: edit, Scope: "cluster"})
			return err
		},
		"eks:DisassociateAccessPolicy": func(ctx context.Context, h *house) error { return h.Disassociate(ctx, me, "c", devARN, view) },
		"eks:TagResource": func(ctx context.Context, h *house) error {
			return h.Tag(ctx, me, "c", h.devEntry().ARN, map[string]string{"more": "x"})
		},
		"eks:UntagResource": func(ctx context.Context, h *house) error {
			return h.Untag(ctx, me, "c", h.devEntry().ARN, []string{"team"})
		},
	} {
		rivals := map[string]func(*store.Tx){"tagged": tagEntry, "made anew": makeAnew, "cluster tagged": tagCluster, "cluster registered anew": moveAnew}
		if strings.Contains(action, ":Create") {
			rivals = map[string]func(*store.Tx){"tagged": tagCluster, "registered anew": registerAnew}
		}
		for what, rival := range rivals {
			t.Run(action+" "+what, func(t *testing.T) {
				h := newHouse(t)
				h.create(t, accessentry.CreateInput{PrincipalARN: devARN, Tags: map[string]string{"team": "a"}})
				if _, err := h.Associate(t.Context(), me, accessentry.AssociateInput{Cluster: "c", PrincipalARN: devARN, PolicyARN: view, Scope: "cluster"}); err != nil {
					t.Fatal(err)
				}
				var before string
				h.Authz = &clustertest.Meddler{Action: action, Then: func() { h.write(t, rival); before = h.records() }}
				if reason := fault.As(verb(t.Context(), h)).Reason; reason != "changed-meanwhile" && reason != "cluster-replaced" {
					t.Errorf("%q, want a refusal", reason)
				}
				if after := h.records(); before == "" || after != before {
					t.Errorf("after the rival:\n%s\nnow:\n%s", before, after)
				}
				if err := verb(t.Context(), h); err != nil {
					t.Errorf("refused although nobody meddled: %v", err)
				}
			})
		}
	}
}

// devEntry is the entry of the role as it is now.
func (h *house) devEntry() *accessentry.Entry {
	c, _ := cluster.Clusters.Get(h.store.View(), scope, "c")
	e, _ := accessentry.Entries.Get(h.store.View(), scope, accessentry.Key(c.UID, devARN))
	return e
}

// records is all that is stored of entries and reviewers.
func (h *house) records() string {
	var out strings.Builder
	for id, e := range accessentry.Entries.List(h.store.View(), scope, "", "") {
		fmt.Fprintf(&out, "%s %+v\n", id, *e)
	}
	for id, r := range accessentry.Reviewers.List(h.store.View(), scope, "", "") {
		fmt.Fprintf(&out, "%s %+v\n", id, *r)
	}
	return out.String()
}
