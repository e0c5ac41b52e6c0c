// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"podid/internal/store/etcdembed"
)

// TestAdminCredentialsOfStore: a replica that was not the first to start has no file with the key, and asks the store.
func TestAdminCredentialsOfStore(t *testing.T) {
	m, err := etcdembed.Start(t.Context(), etcdembed.Config{Dir: filepath.Join(t.TempDir(), "etcd"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			relays.Go(func() { relay(m, in) })
		}
	})
	dir := t.TempDir()
	key := filepath.Join(dir, "root.key")
	for name, value := range map[string]string{
		"PODID_ETCD_ENDPOINTS": "http://" + l.Addr().String(), "PODID_ETCD_INSECURE": "true", "PODID_ROOT_KEY_FILE": key, "PODID_ACCOUNT_ID": "111122223333", "PODID_REGION": "us-west-2",
	} {
		t.Setenv(name, value)
	}
	var out bytes.Buffer
	podid := func(args ...string) int {
		out.Reset()
		return run(t.Context(), args, nil, strings.NewReader(""), &out, &out)
	}
	if status := podid("server", "new-root-key", key); status != 0 {
		t.Fatalf("status %d: %s", status, out.String())
	}
	if status := podid("admin", "credentials", "--data-dir", dir); status != 1 || !strings.Contains(out.String(), "there is no account in this etcd yet") {
		t.Errorf("status %d: %s", status, out.String())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	relays.Wait()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
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
