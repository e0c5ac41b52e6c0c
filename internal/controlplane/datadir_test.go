// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/google/go-cmp/cmp"

	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
)

// associations describes all associations of the textbook's cluster.
func associations(t *testing.T, cp *controlplanetest.ControlPlane) string {
	t.Helper()
	var all []any
	for _, id := range listAssociations(t, cp.EKS(), "my-cluster") {
		out, err := cp.EKS().DescribePodIdentityAssociation(context.Background(), &eks.DescribePodIdentityAssociationInput{ClusterName: aws.String("my-cluster"), AssociationId: &id})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, out.Association)
	}
	return controlplanetest.JSON(t, all)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDataDirectory: what was acknowledged is there after a restart, in a
// restored snapshot, and the admin can be reset.
func TestDataDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(t, controlplanetest.Options{Dir: dir})
	w.cl.Associate("second", w.role, func(in *eks.CreatePodIdentityAssociationInput) { in.Tags = map[string]string{"team": "blue"} })
	user := w.User("somebody", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"eks:*"}, "*", nil)))
	session := w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	before := associations(t, w.ControlPlane)
	w.Stop()

	snapshot, other := filepath.Join(t.TempDir(), "snapshot.db"), t.TempDir()
	ctx := context.Background()
	if err := controlplane.SaveSnapshot(ctx, controlplanetest.Config(t, &controlplanetest.Options{Dir: dir}), snapshot); err != nil {
		t.Fatal(err)
	}
	if err := controlplane.RestoreSnapshot(controlplanetest.Config(t, &controlplanetest.Options{Dir: other}), snapshot); err != nil {
		t.Fatal(err)
	}
	if err := controlplane.RestoreSnapshot(controlplanetest.Config(t, &controlplanetest.Options{Dir: dir}), snapshot); err == nil {
		t.Error("a snapshot was restored over a store")
	}
	copyFile(t, filepath.Join(dir, "root.key"), filepath.Join(other, "root.key"))
	for name, d := range map[string]string{"restart": dir, "snapshot": other} {
		t.Run(name, func(t *testing.T) {
			cp := controlplanetest.Start(t, controlplanetest.Options{Dir: d, Peer: w.ControlPlane})
			defer cp.Stop()
			if diff := cmp.Diff(before, associations(t, cp)); diff != "" {
				t.Error(diff)
			}
			if d == dir && !cp.Roots.Equal(w.Roots) {
				t.Error("clients have to trust another CA after a restart")
			}
			for who, p := range map[string]aws.CredentialsProvider{"user": user, "session": session} {
				if a := whoami(cp, p); a.Status != 200 {
					t.Errorf("%s: %d %s", who, a.Status, a.Raw)
				}
			}
			rest(t, cp, w.node, "eks-auth", "POST", "/clusters/my-cluster/assume-role-for-pod-identity", object{"token": w.cl.Token(pod{})}).Credentials(t)
		})
	}
	t.Run("reset-admin", func(t *testing.T) { testResetAdmin(t, dir, w.ControlPlane) })
}

func testResetAdmin(t *testing.T, dir string, was *controlplanetest.ControlPlane) {
	cp := controlplanetest.Start(t, controlplanetest.Options{Dir: dir})
	cp.UserPolicy("podid-admin", controlplanetest.Document(controlplanetest.Statement("Deny", []string{"*"}, "*", nil)))
	cp.Query(cp.Admin, "iam", "2010-05-08", map[string][]string{"Action": {"ListRoles"}}).Want(t, 403, "AccessDenied", "")
	o := controlplanetest.Options{Dir: dir}
	if _, err := controlplane.ResetAdmin(context.Background(), controlplanetest.Config(t, &o)); err == nil {
		t.Error("reset while the server runs")
	}
	cp.Stop()
	if _, err := controlplane.ResetAdmin(context.Background(), controlplanetest.Config(t, &o)); err != nil {
		t.Fatal(err)
	}
	cp = controlplanetest.Start(t, o)
	if cp.AdminID == was.AdminID {
		t.Error("the admin has the same key")
	}
	whoami(cp, was.Admin).Want(t, 403, "InvalidClientTokenId", "")
	if _, err := cp.IAM().ListRoles(context.Background(), &iam.ListRolesInput{}); err != nil {
		t.Errorf("the admin after the reset: %v", err)
	}
	empty := controlplanetest.Options{Dir: t.TempDir()}
	if _, err := controlplane.ResetAdmin(context.Background(), controlplanetest.Config(t, &empty)); err == nil || !strings.Contains(err.Error(), "there is no account") {
		t.Errorf("reset of an empty directory: %v", err)
	}
}

// TestFirstStart: a crash at any point of the first start leaves a directory
// that the next start finishes, with an admin whose key is on disk.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := controlplane.AdminFile(dir)
	first := controlplanetest.Start(t, controlplanetest.Options{Dir: dir})
	first.Stop()
	for path, want := range map[string]fs.FileMode{dir: 0o700, file: 0o600, filepath.Join(dir, "root.key"): 0o600, filepath.Join(dir, "audit", "audit.log"): 0o600, filepath.Join(dir, "etcd"): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want && path != dir {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	bogus := "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n"
	for _, tc := range []struct {
		name string
		dir  string
		set  func(dir string) error
	}{
		{"after the store, before the file", dir, func(string) error { return os.Rename(file, file+".pending") }},
		{"lost to another replica", dir, func(string) error { return os.WriteFile(file+".pending", []byte(bogus), 0o600) }},
		{"before the store", t.TempDir(), func(dir string) error {
			return os.WriteFile(controlplane.AdminFile(dir)+".pending", []byte(bogus), 0o600)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.set(tc.dir); err != nil {
				t.Fatal(err)
			}
			cp := controlplanetest.Start(t, controlplanetest.Options{Dir: tc.dir})
			defer cp.Stop()
			if a := whoami(cp, cp.Admin); a.Status != 200 {
				t.Errorf("admin: %d %s", a.Status, a.Raw)
			}
			if tc.dir == dir && cp.AdminID != first.AdminID {
				t.Error("the admin has another key")
			}
			if _, err := os.Stat(controlplane.AdminFile(tc.dir) + ".pending"); !os.IsNotExist(err) {
				t.Errorf("the pending file: %v", err)
			}
		})
	}
	t.Run("a link in the pending file's place", func(t *testing.T) {
		dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
		if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(victim, controlplane.AdminFile(dir)+".pending"); err != nil {
			t.Fatal(err)
		}
		cp := controlplanetest.Start(t, controlplanetest.Options{Dir: dir})
		defer cp.Stop()
		if text, err := os.ReadFile(victim); err != nil || string(text) != "mine" {
			t.Errorf("the admin's key went through the link: %v", err)
		}
		if info, err := os.Lstat(controlplane.AdminFile(dir)); err != nil || info.Mode() != 0o600 {
			t.Errorf("the admin's file is %v, %v", info, err)
		}
	})
	t.Run("in use", func(t *testing.T) {
		cp := controlplanetest.Start(t, controlplanetest.Options{Dir: dir})
		if err := controlplanetest.Refused(t, controlplanetest.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("a second server on the directory: %v", err)
		}
		if a := whoami(cp, credentials.NewStaticCredentialsProvider(first.AdminID, first.Secret, "")); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	})
}
