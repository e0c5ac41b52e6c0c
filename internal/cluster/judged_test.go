// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"maps"
	"testing"

	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// A right that hangs on a cluster's tags, or on its being that very cluster,
// must not be used on another one that took its place meanwhile.
func TestWhatWasJudgedIsWhatIsChanged(t *testing.T) {
	verbs := map[string]func(*fixture) error{
		"podid:UpdateCluster": func(f *fixture) error {
			off := cluster.NodeBindingOff
			_, err := f.Update(ctx, iam.Caller{}, cluster.UpdateInput{Name: "c", NodeBinding: &off})
			return err
		},
		"eks:DeleteCluster": func(f *fixture) error { _, err := f.Delete(ctx, iam.Caller{}, "c"); return err },
		"eks:TagResource": func(f *fixture) error {
			return f.Tag(ctx, iam.Caller{}, "c", map[string]string{"mine": "yes"})
		},
		"eks:UntagResource": func(f *fixture) error { return f.Untag(ctx, iam.Caller{}, "c", []string{"env"}) },
	}
	for action, verb := range verbs {
		for name, rival := range map[string]func(*cluster.Cluster){
			"tagged":           func(c *cluster.Cluster) { c.Tags["env"] = "prod" },
			"registered again": func(c *cluster.Cluster) { c.UID = "ffffffffffffffffffffffffffffffff" },
		} {
			t.Run(action+" "+name, func(t *testing.T) {
				f := newFixture(t)
				in := input(t, "c")
				in.Tags = map[string]string{"env": "test"}
				if _, err := f.Register(ctx, iam.Caller{}, in); err != nil {
					t.Fatal(err)
				}
				var want *cluster.Cluster
				f.Authz = &clustertest.Meddler{Action: action, Then: func() {
					err := f.store.Update(ctx, func(tx *store.Tx) error {
						c, _ := cluster.Clusters.Get(tx, f.Scope(), "c")
						n := *c
						n.Tags = maps.Clone(c.Tags)
						rival(&n)
						want = &n
						cluster.Clusters.Put(tx, f.Scope(), "c", &n)
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
				}}
				err := verb(f)
				if reason := fault.As(err).Reason; reason != "changed-meanwhile" && reason != "cluster-replaced" {
					t.Errorf("%v, want a refusal", err)
				}
				got, ok := cluster.Clusters.Get(f.store.View(), f.Scope(), "c")
				if !ok || got.NodeBinding != want.NodeBinding || !maps.Equal(got.Tags, want.Tags) {
					t.Errorf("the cluster is now %+v", got)
				}
				if f.Authz = f.gate; verb(f) != nil {
					t.Error("refused although nobody meddled")
				}
			})
		}
	}
}

func TestClusterThatAppearsMeanwhileIsNotTouched(t *testing.T) {
	f := newFixture(t)
	f.Authz = &clustertest.Meddler{Action: "eks:DeleteCluster", Then: func() {
		if _, err := f.Register(ctx, iam.Caller{}, input(t, "c")); err != nil {
			t.Fatal(err)
		}
	}}
	if _, err := f.Delete(ctx, iam.Caller{}, "c"); fault.As(err).Reason != "changed-meanwhile" {
		t.Errorf("%v, want a refusal", err)
	}
}
