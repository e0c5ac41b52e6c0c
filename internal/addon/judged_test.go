// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package addon_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"podid/internal/addon"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/fault"
	"podid/internal/store"
)

const (
	ebs   = "aws-ebs-csi-driver"
	ebsSA = "ebs-csi-controller-sa"
)

// meddle has a rival tag a record between the answer to the action and the
// write, and everybody be allowed everything.
func (h *house) meddle(t *testing.T, action string, rival func(*store.Tx)) *clustertest.Meddler {
	m := &clustertest.Meddler{Action: action, Then: func() {
		if err := h.store.Update(t.Context(), func(tx *store.Tx) error { rival(tx); return nil }); err != nil {
			t.Error(err)
		}
	}}
	h.addons.Authz, h.addons.Associations.Authz = m, m
	return m
}

func prod(tags map[string]string) map[string]string {
	tags = maps.Clone(tags)
	tags["env"] = "prod"
	return tags
}

func tagCluster(tx *store.Tx) {
	c, _ := cluster.Clusters.Get(tx, scope, "c")
	n := *c
	n.Tags = map[string]string{"env": "prod"}
	cluster.Clusters.Put(tx, scope, "c", &n)
}

func tagAddon(tx *store.Tx) {
	for id, a := range addon.Addons.List(tx, scope, "", "") {
		n := *a
		n.Tags = prod(a.Tags)
		addon.Addons.Put(tx, scope, id, &n)
	}
}

// replaceAddon stands for one that was deleted and made again.
func replaceAddon(tx *store.Tx) {
	for id, a := range addon.Addons.List(tx, scope, "", "") {
		n := *a
		n.ARN += "0"
		addon.Addons.Put(tx, scope, id, &n)
	}
	for id, a := range association.Associations.List(tx, scope, "", "") {
		n := *a
		n.OwnerARN += "0"
		association.Associations.Put(tx, scope, id, &n)
	}
}

func tagOwned(tx *store.Tx) {
	for id, a := range association.Associations.List(tx, scope, "", "") {
		n := *a
		n.Tags = map[string]string{"env": "prod"}
		association.Associations.Put(tx, scope, id, &n)
	}
}

// A right that hangs on tags must not be used once they have changed: those of
// the cluster, of the add-on, and of the associations that it owns.
func TestWhatWasJudgedIsWhatIsChanged(t *testing.T) {
	roles := []association.OwnedRole{{ServiceAccount: ebsSA, RoleARN: roleARN}}
	other := []association.OwnedRole{{ServiceAccount: ebsSA, RoleARN: roleARN + "-2"}}
	create := func(h *house, t *testing.T) error {
		_, err := h.addons.Create(t.Context(), me, addon.CreateInput{Cluster: "c", Name: "coredns"})
		return err
	}
	createOwner := func(h *house, t *testing.T) error {
		_, err := h.addons.Create(t.Context(), me, addon.CreateInput{Cluster: "c", Name: "aws-efs-csi-driver", Roles: []association.OwnedRole{{ServiceAccount: "efs-csi-controller-sa", RoleARN: roleARN}}})
		return err
	}
	update := func(h *house, t *testing.T) error {
		_, err := h.addons.Update(t.Context(), me, addon.UpdateInput{Cluster: "c", Name: ebs, Roles: &other})
		return err
	}
	remove := func(h *house, t *testing.T) error {
		_, err := h.addons.Delete(t.Context(), me, "c", ebs, false)
		return err
	}
	preserve := func(h *house, t *testing.T) error {
		_, err := h.addons.Delete(t.Context(), me, "c", ebs, true)
		return err
	}
	tag := func(h *house, t *testing.T) error {
		return h.addons.Tag(t.Context(), me, "c", ebs, map[string]string{"mine": "yes"})
	}
	untag := func(h *house, t *testing.T) error {
		return h.addons.Untag(t.Context(), me, "c", ebs, []string{"env"})
	}
	for _, tc := range []struct {
		name, action string
		rival        func(*store.Tx)
		verb         func(*house, *testing.T) error
	}{
		{"create, cluster tagged", "eks:CreateAddon", tagCluster, create},
		{"create with roles, cluster tagged first", "eks:CreateAddon", tagCluster, createOwner},
		{"create with roles, cluster tagged later", "eks:CreatePodIdentityAssociation", tagCluster, createOwner},
		{"create with roles, cluster tagged last", "iam:PassRole", tagCluster, createOwner},
		{"update, add-on tagged", "eks:UpdateAddon", tagAddon, update},
		{"update, add-on replaced", "eks:UpdateAddon", replaceAddon, update},
		{"update, association tagged", "eks:UpdatePodIdentityAssociation", tagOwned, update},
		{"delete, add-on tagged", "eks:DeleteAddon", tagAddon, remove},
		{"delete, add-on replaced", "eks:DeleteAddon", replaceAddon, remove},
		{"delete, association tagged", "eks:DeletePodIdentityAssociation", tagOwned, remove},
		{"delete and preserve, add-on tagged", "eks:DeleteAddon", tagAddon, preserve},
		{"tag", "eks:TagResource", tagAddon, tag},
		{"untag", "eks:UntagResource", tagAddon, untag},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t)
			if _, err := h.addons.Create(t.Context(), me, addon.CreateInput{Cluster: "c", Name: ebs, Roles: roles, Tags: map[string]string{"env": "test"}}); err != nil {
				t.Fatal(err)
			}
			var before, after string
			m := h.meddle(t, tc.action, func(tx *store.Tx) { tc.rival(tx) })
			rival := m.Then
			m.Then = func() { rival(); before = h.records() }
			if err := tc.verb(h, t); fault.As(err).Reason != "changed-meanwhile" {
				t.Errorf("%v, want a refusal", err)
			}
			if after = h.records(); before == "" || after != before {
				t.Errorf("after the rival:\n%s\nnow:\n%s", before, after)
			}
			if err := tc.verb(h, t); err != nil {
				t.Errorf("refused although nobody meddled: %v", err)
			}
		})
	}
}

// records is what is stored of add-ons and associations.
func (h *house) records() string {
	var out strings.Builder
	for id, a := range addon.Addons.List(h.store.View(), scope, "", "") {
		fmt.Fprintf(&out, "%s %+v\n", id, *a)
	}
	for id, a := range association.Associations.List(h.store.View(), scope, "", "") {
		fmt.Fprintf(&out, "%s %+v\n", id, *a)
	}
	return out.String()
}
