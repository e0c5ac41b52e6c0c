// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association_test

import (
	"maps"
	"testing"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/fault"
	"podid/internal/store"
)

// A right that hangs on tags must not be used once they have changed.
func TestWhatWasJudgedIsWhatIsChanged(t *testing.T) {
	other := roleARN + "-2"
	verbs := map[string]func(*fixture, string) error{
		"eks:UpdatePodIdentityAssociation": func(f *fixture, id string) error {
			_, err := f.Update(ctx, me, association.UpdateInput{Cluster: "my-cluster", ID: id, RoleARN: &other})
			return err
		},
		"eks:DeletePodIdentityAssociation": func(f *fixture, id string) error {
			_, err := f.Delete(ctx, me, "my-cluster", id)
			return err
		},
		"eks:TagResource": func(f *fixture, id string) error {
			return f.Tag(ctx, me, "my-cluster", id, map[string]string{"mine": "yes"})
		},
		"eks:UntagResource": func(f *fixture, id string) error { return f.Untag(ctx, me, "my-cluster", id, []string{"env"}) },
	}
	for action, verb := range verbs {
		t.Run(action, func(t *testing.T) {
			f := newFixture(t)
			a, err := f.Create(ctx, me, association.CreateInput{
				Cluster: "my-cluster", Namespace: "ns", ServiceAccount: "judged", RoleARN: roleARN, Tags: map[string]string{"env": "test"},
			})
			if err != nil {
				t.Fatal(err)
			}
			var key string
			f.Authz = &clustertest.Meddler{Action: action, Then: func() {
				err := f.store.Update(ctx, func(tx *store.Tx) error {
					k, c, _ := association.Associations.FindIndex(tx, f.scope(), a.ID)
					n := *c
					n.Tags = maps.Clone(c.Tags)
					n.Tags["env"] = "prod"
					key = k
					association.Associations.Put(tx, f.scope(), k, &n)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}}
			if err := verb(f, a.ID); fault.As(err).Reason != "changed-meanwhile" {
				t.Errorf("%v, want a refusal", err)
			}
			got, ok := association.Associations.Get(f.store.View(), f.scope(), key)
			if !ok || got.RoleARN != roleARN || len(got.Tags) != 1 || got.Tags["env"] != "prod" {
				t.Errorf("the association is now %+v", got)
			}
			if f.Authz = f.gate; verb(f, a.ID) != nil {
				t.Error("refused although nobody meddled")
			}
		})
	}
}

func TestCreateInTheClusterThatWasJudged(t *testing.T) {
	f := newFixture(t)
	f.Authz = &clustertest.Meddler{Action: "iam:PassRole", Then: func() {
		err := f.store.Update(ctx, func(tx *store.Tx) error {
			c, _ := cluster.Clusters.Get(tx, f.scope(), "my-cluster")
			n := *c
			n.UID = "ffffffffffffffffffffffffffffffff"
			cluster.Clusters.Put(tx, f.scope(), "my-cluster", &n)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}}
	_, err := f.Create(ctx, me, association.CreateInput{Cluster: "my-cluster", Namespace: "ns", ServiceAccount: "judged", RoleARN: roleARN})
	if fault.As(err).Reason != "cluster-replaced" {
		t.Errorf("%v, want a refusal", err)
	}
}

func (f *fixture) scope() store.Scope { return store.Scope{Account: f.Account, Region: f.Region} }
