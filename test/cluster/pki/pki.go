// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pki makes the keys of a test cluster: one authority, certificates of
// servers and clients, kubeconfigs and the key that signs service account
// tokens. It owns nothing after they are written, and none is worth anything
// outside of its cluster.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity is the life of all certificates: no test lasts so long.
const validity = 7 * 24 * time.Hour

// An Authority signs the certificates of one cluster and writes them into one folder.
type Authority struct {
	Dir string

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// New makes an authority whose certificate is dir/ca.crt.
func New(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of keys: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test-cluster-ca"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority: %w", err)
	}
	a := &Authority{Dir: dir, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, os.WriteFile(a.Path("ca.crt"), a.pem, 0o600)
}

// Path is where a file of the authority lies.
func (a *Authority) Path(name string) string { return filepath.Join(a.Dir, name) }

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte { return a.pem }

// An Identity is a certificate and its key, in PEM.
type Identity struct{ Cert, Key []byte }

// Issue signs a certificate for a client or server: user and groups are what
// the API server reads of it, names the host names and addresses it serves.
func (a *Authority) Issue(user string, groups []string, names ...string) (Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return Identity{}, err
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: user, Organization: groups},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		return Identity{}, fmt.Errorf("sign the certificate of %s: %w", user, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, err
	}
	return Identity{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// Write issues a certificate into NAME.crt and NAME.key.
func (a *Authority) Write(name, user string, groups []string, names ...string) (Identity, error) {
	id, err := a.Issue(user, groups, names...)
	if err != nil {
		return id, err
	}
	if err := os.WriteFile(a.Path(name+".crt"), id.Cert, 0o600); err != nil {
		return id, err
	}
	return id, os.WriteFile(a.Path(name+".key"), id.Key, 0o600)
}

// Kubeconfig issues a client certificate into a kubeconfig for an API server, and returns its path.
func (a *Authority) Kubeconfig(name, server, user string, groups ...string) (string, error) {
	id, err := a.Issue(user, groups)
	if err != nil {
		return "", err
	}
	b64 := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: me, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: test, context: {cluster: test, user: me}}]
current-context: test
`, server, b64(a.pem), b64(id.Cert), b64(id.Key))
	path := a.Path(name + ".kubeconfig")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// TokenKey makes a key that signs service account tokens: NAME.key, and NAME.pub for who verifies them.
func (a *Authority) TokenKey(name string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(a.Path(name+".key"), private, 0o600); err != nil {
		return err
	}
	return os.WriteFile(a.Path(name+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), 0o600)
}
