// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build soak

package controlplane_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
	"podid/internal/iam"
	"podid/internal/session"
	"podid/internal/sts"
)

// What the run is and what it may cost.
const (
	soakWarmUp   = 50_000
	soakSessions = 1_000_000
	soakMemory   = 32 << 20 // bytes of growth: the runtime's own breathing
	soakDisk     = 1 << 20
)

// TestSoak: sessions are stored nowhere. A million of them, each issued with the
// six tags and opened again, in a whole control plane over its own etcd, leave
// memory and data directory as they were. The listener is left out: it would
// only make the run longer.
func TestSoak(t *testing.T) {
	dir := t.TempDir()
	cp, err := controlplane.Open(context.Background(), controlplanetest.Config(t, &controlplanetest.Options{Dir: dir}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cp.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	service, minter, roles, admin, err := cp.Inside()
	if err != nil {
		t.Fatal(err)
	}
	role, err := roles.CreateRole(ctx, admin, iam.CreateRoleInput{Name: "soak", Path: "/", Trust: controlplanetest.JSON(t, root(nil))})
	if err != nil {
		t.Fatal(err)
	}
	issue := func(from, n int) {
		for i := from; i < from+n; i++ {
			assumeAndOpen(t, service, minter, admin, role.ARN(), i)
		}
	}
	issue(0, soakWarmUp)
	memory, disk := resident(t), size(t, dir)
	start := time.Now()
	issue(soakWarmUp, soakSessions)
	took := time.Since(start)
	grown, written := resident(t)-memory, size(t, dir)-disk
	t.Logf("%d sessions in %s (%.0f/s, issued and opened)", soakSessions, took.Round(time.Second), soakSessions/took.Seconds())
	t.Logf("resident memory: %d KiB before, %d KiB after (%+d KiB)", memory>>10, (memory+grown)>>10, grown>>10)
	t.Logf("data directory:  %d KiB before, %d KiB after (%+d KiB)", disk>>10, (disk+written)>>10, written>>10)
	if grown > soakMemory {
		t.Errorf("memory grew by %d bytes, at most %d are allowed", grown, soakMemory)
	}
	if written > soakDisk {
		t.Errorf("the data directory grew by %d bytes, at most %d are allowed", written, soakDisk)
	}
}

func assumeAndOpen(t *testing.T, service *sts.Service, minter *session.Minter, admin iam.Caller, roleARN string, i int) {
	t.Helper()
	pod := "app-" + strconv.Itoa(i)
	tag := func(k, v string) session.Tag { return session.Tag{Key: k, Value: v} }
	out, err := service.AssumeRole(t.Context(), admin, sts.AssumeRoleInput{
		RoleARN: roleARN, SessionName: "soak-" + strconv.Itoa(i),
		Tags: []session.Tag{
			tag("eks-cluster-arn", "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster"), tag("eks-cluster-name", "my-cluster"), tag("kubernetes-namespace", "s3-app-ns"),
			tag("kubernetes-service-account", "s3-app-sa"), tag("kubernetes-pod-name", pod), tag("kubernetes-pod-uid", fmt.Sprintf("0b1c2d3e-0000-4000-8000-%012d", i)),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := minter.Open(t.Context(), out.Credentials.AccessKeyID, out.Credentials.SessionToken.Reveal()); err != nil {
		t.Fatal(err)
	}
}

// resident is the process' memory after everything that can go has gone.
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("the kernel tells no VmRSS")
	return 0
}

// size is what the files of a directory hold.
func size(t *testing.T, dir string) int64 {
	t.Helper()
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
