// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/eks"

	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
	"podid/internal/store/storetest/etcdtest"
)

// TestThreeReplicasOverTLS: three control planes over an etcd that knows its
// clients by their certificates. Each grants at once what another has
// acknowledged, and refuses what another has deleted as soon as it has heard of
// it.
func TestThreeReplicasOverTLS(t *testing.T) {
	t.Parallel()
	e := etcdtest.Start(t, etcdtest.Options{Members: 3})
	set := map[string]string{
		"PODID_ETCD_ENDPOINTS": strings.Join(e.Endpoints, ","), "PODID_ETCD_CA": e.CAFile, "PODID_ETCD_CERT": e.CertFile, "PODID_ETCD_KEY": e.KeyFile,
		"PODID_ROOT_KEY_FILE": filepath.Join(t.TempDir(), "root.key"),
	}
	w := newWorld(t, controlplanetest.Options{Settings: set})
	replicas := []*controlplanetest.ControlPlane{w.ControlPlane}
	for range 2 {
		replicas = append(replicas, controlplanetest.Start(t, controlplanetest.Options{Settings: set, Peer: w.ControlPlane}))
	}
	ctx, ns := context.Background(), "s3-app-ns"
	exchanged := func(cp *controlplanetest.ControlPlane, sa string) int {
		return rest(t, cp, w.node, "eks-auth", "POST", "/clusters/my-cluster/assume-role-for-pod-identity", object{"token": w.cl.Token(pod{ServiceAccount: sa})}).Status
	}
	for i := range 9 {
		here, sa := replicas[i%3], fmt.Sprintf("sa-%d", i)
		out, err := here.EKS().CreatePodIdentityAssociation(ctx, &eks.CreatePodIdentityAssociationInput{ClusterName: &w.cl.Name, Namespace: &ns, ServiceAccount: &sa, RoleArn: &w.role})
		if err != nil {
			t.Fatal(err)
		}
		for n, r := range replicas {
			if status := exchanged(r, sa); status != 200 {
				t.Errorf("%s, made at replica %d, is answered with %d by replica %d", sa, i%3, status, n)
			}
		}
		there := replicas[(i+1)%3]
		if _, err := there.EKS().DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: &w.cl.Name, AssociationId: out.Association.AssociationId}); err != nil {
			t.Fatal(err)
		}
		// Who deleted it knows at once, the others as soon as the watch has told them.
		if status := exchanged(there, sa); status != 404 {
			t.Errorf("%s, deleted at replica %d, is answered with %d by it", sa, (i+1)%3, status)
		}
		for n, r := range replicas {
			waitFor(t, fmt.Sprintf("replica %d to refuse %s, deleted at replica %d", n, sa, (i+1)%3), func() bool { return exchanged(r, sa) == 404 })
		}
	}
}

// TestExternalEtcdRefused: what would fail later is refused at the start.
func TestExternalEtcdRefused(t *testing.T) {
	t.Parallel()
	small := etcdtest.Start(t, etcdtest.Options{MaxTxnOps: 128})
	set := map[string]string{
		"PODID_ETCD_ENDPOINTS": small.Endpoints[0], "PODID_ETCD_CA": small.CAFile, "PODID_ETCD_CERT": small.CertFile, "PODID_ETCD_KEY": small.KeyFile,
	}
	if err := controlplanetest.Refused(t, controlplanetest.Options{Settings: set}); err == nil || !strings.Contains(err.Error(), "--max-txn-ops=1024") {
		t.Errorf("an etcd that takes small changes only: %v", err)
	}
	good := etcdtest.Start(t, etcdtest.Options{})
	cfg := controlplanetest.Config(t, &controlplanetest.Options{Settings: map[string]string{
		"PODID_ETCD_ENDPOINTS": good.Endpoints[0], "PODID_ETCD_CA": good.CAFile, "PODID_ETCD_CERT": good.CertFile, "PODID_ETCD_KEY": good.KeyFile,
	}})
	cfg.Settings.RootKeyFile = filepath.Join(t.TempDir(), "root.key")
	if cp, err := controlplane.Open(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "podid server new-root-key FILE") {
		t.Errorf("no root key: %v, %v", cp, err)
	}
}
