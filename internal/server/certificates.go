// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour
	// backdate allows for clients whose clock is behind.
	backdate = time.Hour
)

// TLSConfig says where the certificate comes from: two files, or a CA that
// podid makes for itself in a directory.
type TLSConfig struct {
	CertFile string // PEM, leaf first; read again when it changes
	KeyFile  string // PEM
	Dir      string // of the self-made CA: ca.crt to be trusted, ca.key (0600)
	// Names are further DNS names and addresses of the self-made certificate,
	// beside localhost, the loopback addresses, the host's name and the
	// address that is listened on.
	Names []string
}

// certificates is where the listener has its certificate from.
type certificates interface {
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)
	refresh() (changed bool, err error)
	caFile() string
}

func newCertificates(cfg Config) (certificates, error) {
	t := cfg.TLS
	switch {
	case (t.CertFile == "") != (t.KeyFile == ""):
		return nil, errors.New("a certificate needs its key and a key its certificate: give both files or none")
	case t.CertFile != "":
		f := &fileCertificate{certFile: t.CertFile, keyFile: t.KeyFile}
		_, err := f.refresh()
		return f, err
	case t.Dir == "":
		return nil, errors.New("a directory for the self-made CA is required where no certificate is given")
	}
	names := append([]string{"localhost", "127.0.0.1", "::1", hostName()}, t.Names...)
	if host, _, err := net.SplitHostPort(cfg.Listen); err == nil && !net.ParseIP(host).IsUnspecified() {
		names = append(names, host)
	}
	c := &selfMade{dir: t.Dir, names: names, now: cfg.Now, rand: cfg.Rand}
	if err := c.openCA(); err != nil {
		return nil, err
	}
	_, err := c.refresh()
	return c, err
}

// fileCertificate is a pair of files that somebody else renews.
type fileCertificate struct {
	certFile, keyFile string
	loaded            [2]fileState // only refresh uses it
	current           atomic.Pointer[tls.Certificate]
}

type fileState struct {
	size    int64
	changed time.Time
}

func (f *fileCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.current.Load(), nil
}

func (*fileCertificate) caFile() string { return "" }

// refresh reads the files when one of them has changed. A pair that does not
// fit, as in the middle of a renewal, is tried again next time.
func (f *fileCertificate) refresh() (bool, error) {
	var states [2]fileState
	for i, name := range []string{f.certFile, f.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return false, fmt.Errorf("read certificate: %w", err)
		}
		states[i] = fileState{info.Size(), info.ModTime()}
	}
	if f.current.Load() != nil && states == f.loaded {
		return false, nil
	}
	cert, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return false, fmt.Errorf("read certificate %s: %w", f.certFile, err)
	}
	f.loaded = states
	f.current.Store(&cert)
	return true, nil
}

// selfMade is a CA of our own whose leaf lives in memory only: every start
// and every renewal makes a new one.
type selfMade struct {
	dir     string
	names   []string
	now     func() time.Time
	rand    io.Reader
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey
	renewAt time.Time // only refresh uses it
	current atomic.Pointer[tls.Certificate]
}

func (c *selfMade) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil }

func (c *selfMade) caFile() string { return filepath.Join(c.dir, "ca.crt") }

func (c *selfMade) keyFile() string { return filepath.Join(c.dir, "ca.key") }

// refresh makes a new leaf when a third of the old one's life is left.
func (c *selfMade) refresh() (bool, error) {
	now := c.now()
	if c.current.Load() != nil && now.Before(c.renewAt) {
		return false, nil
	}
	until := now.Add(leafLife)
	if until.After(c.ca.NotAfter) {
		until = c.ca.NotAfter
	}
	if !until.After(now) {
		return false, fmt.Errorf("the CA in %s is over since %s: remove ca.crt and ca.key there, start again, and give the new ca.crt to clients", c.dir, c.ca.NotAfter.Format(time.DateOnly))
	}
	leaf, err := c.makeLeaf(now, until)
	if err != nil {
		return false, fmt.Errorf("make certificate: %w", err)
	}
	c.renewAt = now.Add(until.Sub(now) * 2 / 3)
	c.current.Store(leaf)
	return true, nil
}

func (c *selfMade) makeLeaf(now, until time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), c.rand)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial(c.rand)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "podid"},
		NotBefore: now.Add(-backdate), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range c.names {
		addName(t, name)
	}
	der, err := x509.CreateCertificate(c.rand, t, c.ca, key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// The CA goes along, so that `openssl s_client -showcerts` shows what to trust.
	return &tls.Certificate{Certificate: [][]byte{der, c.ca.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func addName(t *x509.Certificate, name string) {
	if ip := net.ParseIP(name); ip != nil {
		if !slices.ContainsFunc(t.IPAddresses, ip.Equal) {
			t.IPAddresses = append(t.IPAddresses, ip)
		}
		return
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name != "" && !slices.Contains(t.DNSNames, name) {
		t.DNSNames = append(t.DNSNames, name)
	}
}

func newSerial(r io.Reader) (*big.Int, error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, err
	}
	b[0] &= 0x7f // positive in 16 bytes
	return new(big.Int).SetBytes(b[:]), nil
}

// openCA loads the CA, or makes it on the first start. The key is written
// before the certificate, so a start that was cut short can go on.
func (c *selfMade) openCA() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("make CA directory: %w", err)
	}
	key, err := c.loadKey()
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(c.caFile()); err == nil {
			return fmt.Errorf("%s has lost its key: restore %s, or remove ca.crt to make a new CA that clients must be given", c.caFile(), c.keyFile())
		}
		key, err = c.makeKey()
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	c.key = key
	text, err := os.ReadFile(c.caFile())
	if errors.Is(err, fs.ErrNotExist) {
		return c.makeCA()
	}
	if err != nil {
		return fmt.Errorf("read CA: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return fmt.Errorf("%s is no PEM certificate", c.caFile())
	}
	if c.ca, err = x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("read CA: %w", err)
	}
	if !c.ca.IsCA || !c.key.PublicKey.Equal(c.ca.PublicKey) {
		return fmt.Errorf("%s does not belong to %s", c.keyFile(), c.caFile())
	}
	return nil
}

func (c *selfMade) loadKey() (*ecdsa.PrivateKey, error) {
	info, err := os.Stat(c.keyFile())
	if err != nil {
		return nil, fmt.Errorf("read CA key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %04o): chmod 600 it", c.keyFile(), info.Mode().Perm())
	}
	text, err := os.ReadFile(c.keyFile())
	if err != nil {
		return nil, fmt.Errorf("read CA key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s is no PEM private key", c.keyFile())
	}
	var parsed crypto.PrivateKey
	if parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		return nil, fmt.Errorf("read CA key %s: %w", c.keyFile(), err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s is no P-256 key", c.keyFile())
	}
	return key, nil
}

func (c *selfMade) makeKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), c.rand)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	return key, writeFile(c.keyFile(), "PRIVATE KEY", der, 0o600)
}

func (c *selfMade) makeCA() error {
	serial, err := newSerial(c.rand)
	if err != nil {
		return fmt.Errorf("make CA: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(c.key.Public())
	if err != nil {
		return fmt.Errorf("make CA: %w", err)
	}
	now, sum := c.now(), sha256.Sum256(public)
	t := &x509.Certificate{
		SerialNumber: serial,
		// The key's digest tells the CAs of several installations apart in a trust
		// store, and lets an old copy vouch for a certificate that was made again.
		Subject:   pkix.Name{CommonName: fmt.Sprintf("podid CA %x", sum[:4]), Organization: []string{"podid"}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(c.rand, t, t, c.key.Public(), c.key)
	if err != nil {
		return fmt.Errorf("make CA: %w", err)
	}
	if c.ca, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("make CA: %w", err)
	}
	return writeFile(c.caFile(), "CERTIFICATE", der, 0o644)
}

// writeFile writes a PEM file that is there whole or not at all.
func writeFile(path, kind string, der []byte, mode os.FileMode) error {
	temp := fmt.Sprintf("%s.%s", path, rand.Text()[:8])
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), ignoreMissing(os.Remove(temp)))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
