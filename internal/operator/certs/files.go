// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// filesEvery is how often files are read: a kubelet brings a changed Secret
// after a minute or so, and a certificate is renewed days before its end.
const filesEvery = 10 * time.Second

// Files is a certificate in a folder, as tls.crt and tls.key: a mounted Secret
// of cert-manager's, or anything of that form. Who trusts it is not its
// business. Start has to run.
type Files struct {
	Current
	Dir string
	Now func() time.Time
	Log *slog.Logger
}

// NeedLeaderElection: every replica serves.
func (*Files) NeedLeaderElection() bool { return false }

// Start reads the files again and again until ctx ends. Files that cannot be
// served with are logged once, and what they replaced is served on.
func (f *Files) Start(ctx context.Context) error {
	t := time.NewTicker(filesEvery)
	defer t.Stop()
	last := ""
	for {
		problem := ""
		if err := f.read(); err != nil {
			problem = err.Error()
		}
		if problem != "" && problem != last {
			f.Log.Warn("read the webhook's certificate", slog.String("error", problem))
		}
		last = problem
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (f *Files) read() error {
	crt, err := os.ReadFile(filepath.Join(f.Dir, keyServer))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(f.Dir, keyServerKey))
	if err != nil {
		return err
	}
	c, err := tls.X509KeyPair(crt, key) // refuses two of different renewals
	if err != nil {
		return fmt.Errorf("%s and %s: %w", keyServer, keyServerKey, err)
	}
	if p := f.pair.Load(); p != nil && bytes.Equal(p.certificate.Certificate[0], c.Certificate[0]) {
		return nil
	}
	if now := f.Now(); now.After(c.Leaf.NotAfter) {
		return errors.New("the certificate ended at " + c.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	f.set(&pair{certificate: &c})
	f.Log.Info("webhook certificate read", slog.Time("not_after", c.Leaf.NotAfter))
	return nil
}

// leafPEM is the first certificate of a pair as a Secret holds it.
func leafPEM(p *pair) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.certificate.Certificate[0]})
}
