// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/controlplane/controlplanetest"
)

// listening lists the TCP ports that this process listens on.
func listening(t *testing.T) []string {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	mine := map[string]bool{}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "socket:[") {
			mine[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	var out []string
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, err := os.ReadFile(table)
		if os.IsNotExist(err) {
			continue // a kernel without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			const state, listen, inode = 3, "0A", 9
			if len(f) <= inode || f[state] != listen || !mine[f[inode]] {
				continue
			}
			_, hex, _ := strings.Cut(f[1], ":")
			port, err := strconv.ParseUint(hex, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, strconv.FormatUint(port, 10))
		}
	}
	return out
}

// TestNoFurtherPort: the embedded store opens no port; the API's is the only
// one. No other test runs meanwhile.
func TestNoFurtherPort(t *testing.T) {
	before := listening(t)
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(cp.Endpoint, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(before, port), listening(t)); diff != "" {
		t.Errorf("listening ports (-want +got):\n%s", diff)
	}
	unix, err := os.ReadFile("/proc/self/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(unix), cp.Dir) {
		t.Errorf("there is a socket in the data directory:\n%s", unix)
	}
	info, err := os.Stat(filepath.Join(cp.Dir, "etcd"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the store's directory: %v, %v", info.Mode(), err)
	}
}
