// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
	"podid/internal/store/etcdembed"
)

// testOtherFormat: a release that does not know the data's format says which
// one wrote it, and leaves it alone.
func testOtherFormat(t *testing.T, dir string) {
	m, err := etcdembed.Start(context.Background(), etcdembed.Config{Dir: filepath.Join(dir, "etcd"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	got, err := m.Client().Get(ctx, "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	key := ""
	for _, kv := range got.Kvs {
		if strings.HasSuffix(string(kv.Key), "/format/data") {
			key = string(kv.Key)
		}
	}
	if key == "" {
		t.Fatal("no format record")
	}
	if _, err := m.Client().Put(ctx, key, `{"format":2,"release":"v9.9.9"}`); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	err = controlplanetest.Refused(t, controlplanetest.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "data is format 2, written by release v9.9.9; this is release test, which reads format 1") {
		t.Errorf("error %v", err)
	}
}

// etcdAt serves an embedded member on a loopback port, as an etcd cluster
// outside would be reached.
func etcdAt(t *testing.T) string {
	t.Helper()
	url, _ := cuttableEtcd(t)
	return url
}

// cuttableEtcd is etcdAt with a way to cut all connections for good.
func cuttableEtcd(t *testing.T) (endpoint string, cut func()) {
	t.Helper()
	m, err := etcdembed.Start(context.Background(), etcdembed.Config{Dir: filepath.Join(t.TempDir(), "etcd"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	var open sync.Map
	done.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(in, true)
			done.Go(func() { relay(m, in) })
		}
	})
	cut = sync.OnceFunc(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for c := range open.Range {
			_ = c.(net.Conn).Close()
		}
	})
	t.Cleanup(func() {
		cut()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		done.Wait()
	})
	return "http://" + l.Addr().String(), cut
}

func relay(m *etcdembed.Member, in net.Conn) {
	out, err := m.Dial(context.Background())
	if err != nil {
		_ = in.Close()
		return
	}
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_, _ = pair[0].Close(), pair[1].Close()
		})
	}
	both.Wait()
}

// TestReplicas: two control planes over one etcd. What one has acknowledged
// the other knows, with no wait; each opens the other's sessions.
func TestReplicas(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "root.key")
	set := map[string]string{"PODID_ETCD_ENDPOINTS": etcdAt(t), "PODID_ROOT_KEY_FILE": root}
	w := newWorld(t, controlplanetest.Options{Settings: set})
	b := controlplanetest.Start(t, controlplanetest.Options{Settings: set, Peer: w.ControlPlane})
	p := w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	if a := whoami(b, p); a.Status != 200 {
		t.Fatalf("a session of the other replica: %d %s", a.Status, a.Raw)
	}
	exchangeAt := func(cp *controlplanetest.ControlPlane, sa string) controlplanetest.Answer {
		return rest(t, cp, w.node, "eks-auth", http.MethodPost, "/clusters/my-cluster/assume-role-for-pod-identity", object{"token": w.cl.Token(pod{ServiceAccount: sa})})
	}
	clients := []*controlplanetest.ControlPlane{w.ControlPlane, b}
	for i := range 20 {
		here, there := clients[i%2], clients[(i+1)%2]
		sa, ns := fmt.Sprintf("sa-%d", i), "s3-app-ns"
		out, err := here.EKS().CreatePodIdentityAssociation(context.Background(), &eks.CreatePodIdentityAssociationInput{ClusterName: &w.cl.Name, Namespace: &ns, ServiceAccount: &sa, RoleArn: &w.role})
		if err != nil {
			t.Fatal(err)
		}
		exchangeAt(there, sa).Credentials(t)
		if _, err := here.EKS().DeletePodIdentityAssociation(context.Background(), &eks.DeletePodIdentityAssociationInput{ClusterName: &w.cl.Name, AssociationId: out.Association.AssociationId}); err != nil {
			t.Fatal(err)
		}
		_, err = there.EKS().DescribePodIdentityAssociation(context.Background(), &eks.DescribePodIdentityAssociationInput{ClusterName: &w.cl.Name, AssociationId: out.Association.AssociationId})
		wantAPIError(t, err, "ResourceNotFoundException", "")
	}
	t.Run("accounts", func(t *testing.T) {
		// Users, sessions and clusters of a new account are good at the other at once.
		for i, id := range []string{"444455556666", "777788889999"} {
			here, there := clients[i%2].NewAccount(id), clients[(i+1)%2]
			if a := whoami(there, here.Admin); a.Status != 200 {
				t.Errorf("%d %s", a.Status, a.Raw)
			}
			cl := here.Register("my-cluster", nil)
			token := cl.Token(pod{Namespace: "podid-system", ServiceAccount: "podid-agent", Audience: controlplanetest.NodeAudience})
			a := there.STSQuery(nil, url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {cl.NodeRole()}, "RoleSessionName": {"n1"}, "WebIdentityToken": {token}})
			if a.Status != 200 {
				t.Errorf("%d %s", a.Status, a.Raw)
			}
			if x := rest(t, there, there.Admin, "podid", http.MethodDelete, accountsPath+"/"+id, nil); x.Status != 409 {
				t.Errorf("%d %s", x.Status, x.Raw)
			}
		}
	})
	t.Run("snapshot while it runs", func(t *testing.T) {
		file, dir := filepath.Join(t.TempDir(), "snapshot.db"), t.TempDir()
		if err := controlplane.SaveSnapshot(context.Background(), controlplanetest.Config(t, &controlplanetest.Options{Settings: set}), file); err != nil {
			t.Fatal(err)
		}
		o := controlplanetest.Options{Dir: dir, Settings: map[string]string{"PODID_ROOT_KEY_FILE": root}, Peer: w.ControlPlane}
		if err := controlplane.RestoreSnapshot(controlplanetest.Config(t, &o), file); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(associations(t, w.ControlPlane), associations(t, controlplanetest.Start(t, o))); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("another root key", func(t *testing.T) {
		other := map[string]string{"PODID_ETCD_ENDPOINTS": set["PODID_ETCD_ENDPOINTS"]}
		err := controlplanetest.Refused(t, controlplanetest.Options{Settings: other})
		if err == nil || !strings.Contains(err.Error(), "root key") {
			t.Errorf("error %v", err)
		}
	})
}

// TestFirstStartOfReplicas: of replicas that start at once over an empty store
// exactly one makes account and admin, and all serve them.
func TestFirstStartOfReplicas(t *testing.T) {
	t.Parallel()
	ctx, set := context.Background(), map[string]string{"PODID_ETCD_ENDPOINTS": etcdAt(t), "PODID_ROOT_KEY_FILE": filepath.Join(t.TempDir(), "root.key")}
	const n = 4
	var configs [n]controlplane.Config
	for i := range configs {
		configs[i] = controlplanetest.Config(t, &controlplanetest.Options{Settings: set})
	}
	replicas := make([]*controlplane.ControlPlane, n)
	_, errs := parallel(n, func(i int) (string, error) {
		var err error
		replicas[i], err = controlplane.Open(ctx, configs[i])
		return "", err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	admins := 0
	for i, cp := range replicas {
		if id := cp.Account().ID; id != controlplanetest.Account {
			t.Errorf("account %s", id)
		}
		if _, err := os.Stat(controlplane.AdminFile(configs[i].Settings.DataDir)); err == nil {
			admins++
		}
		if _, err := os.Stat(controlplane.AdminFile(configs[i].Settings.DataDir) + ".pending"); !os.IsNotExist(err) {
			t.Errorf("a key that was not taken is left: %v", err)
		}
		if err := cp.Close(); err != nil {
			t.Error(err)
		}
	}
	if admins != 1 {
		t.Errorf("%d replicas have an admin's key, want 1", admins)
	}
}

// TestStoreAway: without the store, what is known is still exchanged; what
// would need to be confirmed or written is answered with 503, never with a
// refusal that an agent takes for final.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	endpoint, cut := cuttableEtcd(t)
	w := newWorld(t, controlplanetest.Options{Settings: map[string]string{"PODID_ETCD_ENDPOINTS": endpoint, "PODID_REQUEST_TIMEOUT": "20s"}})
	session := w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	cut()
	w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	if a := whoami(w.ControlPlane, session); a.Status != 200 {
		t.Errorf("a session: %d %s", a.Status, a.Raw)
	}
	answers := make([]controlplanetest.Answer, 4)
	parallel(len(answers), func(i int) (string, error) {
		switch i {
		case 0:
			answers[i] = w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "unknown"}))
		case 1:
			answers[i] = rest(t, w.ControlPlane, w.node, "eks-auth", "POST", "/clusters/nowhere/assume-role-for-pod-identity", object{"token": w.cl.Token(pod{})})
		case 2:
			answers[i] = rest(t, w.ControlPlane, w.Admin, "eks", "POST", "/clusters/my-cluster/pod-identity-associations", object{"namespace": "a", "serviceAccount": "b", "roleArn": w.role})
		case 3:
			answers[i] = rest(t, w.ControlPlane, session, "eks", "GET", "/clusters", nil)
		}
		return "", nil
	})
	for i, a := range answers {
		if a.Status != 503 || a.Code != "ServiceUnavailableException" {
			t.Errorf("call %d: %d %s", i, a.Status, a.Raw)
		}
	}
}
