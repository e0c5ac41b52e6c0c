// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
)

// kubernetes measures the memory of an idle agent that does all it can: it follows the pods of its node and the feed,
// signs its node, and hands over.
func (b *agentBench) kubernetes(ctx context.Context) (err error) {
	api := httptest.NewTLSServer(http.HandlerFunc(apiServer))
	defer api.Close()
	files := map[string][]byte{
		"api-ca":    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}),
		"api-token": []byte("token"),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(b.dir, name), text, 0o600); err != nil {
			return err
		}
	}
	memory, err := os.MkdirTemp("/dev/shm", "podid-load-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(memory)) }()
	flags := []string{
		"--api-server", api.URL, "--jwks-token-file", filepath.Join(b.dir, "api-token"), "--jwks-ca-file", filepath.Join(b.dir, "api-ca"),
		"--sign-node", "--handover-dir", filepath.Join(memory, "run"), "--state-dir", filepath.Join(memory, "state"),
	}
	return b.with(ctx, flags, func(a *process, _ string) error {
		if err := pause(ctx, b.o.settle); err != nil {
			return err
		}
		idle, err := a.rss()
		if err != nil {
			return err
		}
		b.row(idle > 18e6, "resident, idle, with Kubernetes features", "18 MB", "%s", mega(idle))
		api.CloseClientConnections() // the watch, for which Close would wait
		return nil
	})
}

// apiServer has one node, and 110 pods on it of which nothing happens.
func apiServer(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPatch:
		_, _ = io.WriteString(w, "{}")
	case strings.HasPrefix(r.URL.Path, "/api/v1/nodes/"):
		_, _ = fmt.Fprintf(w, `{"metadata":{"annotations":{"x":%q}},"spec":{"taints":[]},"status":{"conditions":[]}}`, strings.Repeat("x", 30_000))
	case r.URL.Query().Get("watch") != "":
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		_, _ = io.WriteString(w, `{"metadata":{"resourceVersion":"1"},"items":[`)
		for i := range 110 {
			_, _ = fmt.Fprintf(w, `%s{"metadata":{"uid":"uid-%d","managedFields":[%q]}}`, strings.Repeat(",", min(i, 1)), i, strings.Repeat("x", 4000))
		}
		_, _ = io.WriteString(w, `]}`)
	}
}
