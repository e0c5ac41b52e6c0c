// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
)

// Lives of what is made, and how long before its end a new one takes its place.
const (
	authorityLife  = 10 * 365 * 24 * time.Hour
	authorityAhead = 365 * 24 * time.Hour
	serverLife     = 90 * 24 * time.Hour
	serverAhead    = 30 * 24 * time.Hour
	backdated      = time.Hour // for clocks that are behind
	// settle is how long a new authority is trusted before it signs: API
	// servers have to have read the webhook configuration that names it.
	settle = 5 * time.Minute
)

// Keys of the Secret, as cert-controller and cert-manager name them.
const (
	keyAuthority    = "ca.crt" // the newest first: it is the one that signs
	keyAuthorityKey = "ca.key"
	keyServer       = "tls.crt"
	keyServerKey    = "tls.key"
)

// maker makes and judges certificates; both are cert-controller's.
type maker struct {
	names   []string // of the server: the first is its common name
	rotator rotator.CertRotator
}

func newMaker(names []string) *maker {
	return &maker{names: names, rotator: rotator.CertRotator{
		CAName: "podid-operator-webhook-ca", CAOrganization: "podid", DNSName: names[0], ExtraDNSNames: names[1:],
		ExtKeyUsages: &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}}
}

// next returns what is to be written in place of data, and why; nil if
// nothing is. It makes one step at a time: a new authority first, and what is
// signed by it when that is trusted everywhere.
func (m *maker) next(data map[string][]byte, now time.Time) (map[string][]byte, string, error) {
	authorities := splitPEM(data[keyAuthority])
	served := m.serves(authorities, data, now) == nil
	switch {
	case !m.signs(authorities, data[keyAuthorityKey], now):
		var trusted [][]byte
		why := "there is no authority that can sign"
		if served {
			trusted, why = unexpired(authorities, now), "the authority nears its end or its key is not here"
		}
		out, err := m.authority(trusted, data, now)
		if err != nil || served {
			return out, why, err
		}
		return m.sign(out, why, now)
	case m.serves(authorities[:1], data, now.Add(serverAhead)) == nil:
		return nil, "", nil
	case served && now.Before(made(authorities[0]).Add(settle)):
		return nil, "", nil
	}
	return m.sign(data, "the certificate nears its end or was signed by an earlier authority", now)
}

// signs reports whether the newest authority can be signed with for long enough.
func (m *maker) signs(authorities [][]byte, key []byte, now time.Time) bool {
	if len(authorities) == 0 {
		return false
	}
	ok, err := rotator.ValidCert(authorities[0], authorities[0], key, m.rotator.CAName, nil, now.Add(authorityAhead))
	return ok && err == nil
}

// serves reports why the server's certificate cannot be served with at a time.
func (m *maker) serves(authorities [][]byte, data map[string][]byte, at time.Time) error {
	err := errors.New("there is no authority")
	for _, ca := range authorities {
		if _, err = rotator.ValidCert(ca, data[keyServer], data[keyServerKey], m.names[0], m.rotator.ExtKeyUsages, at); err == nil {
			return m.named(data[keyServer])
		}
	}
	return err
}

// named refuses a certificate that lacks one of the names.
func (m *maker) named(text []byte) error {
	c, err := parse(text)
	if err != nil {
		return err
	}
	for _, n := range m.names {
		if err := c.VerifyHostname(n); err != nil {
			return err
		}
	}
	return nil
}

// authority puts a new authority before those that are trusted still.
func (m *maker) authority(trusted [][]byte, data map[string][]byte, now time.Time) (map[string][]byte, error) {
	ca, err := m.rotator.CreateCACert(now.Add(-backdated), now.Add(authorityLife))
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	return map[string][]byte{
		keyAuthority: slices.Concat(ca.CertPEM, bytes.Join(trusted, nil)), keyAuthorityKey: ca.KeyPEM,
		keyServer: data[keyServer], keyServerKey: data[keyServerKey],
	}, nil
}

// sign makes a new server certificate by the newest authority.
func (m *maker) sign(data map[string][]byte, why string, now time.Time) (map[string][]byte, string, error) {
	authorities := unexpired(splitPEM(data[keyAuthority]), now)
	cert, err := parse(authorities[0])
	if err != nil {
		return nil, "", err
	}
	key, err := parseKey(data[keyAuthorityKey])
	if err != nil {
		return nil, "", err
	}
	ca := &rotator.KeyPairArtifacts{Cert: cert, Key: key, CertPEM: authorities[0], KeyPEM: data[keyAuthorityKey]}
	end := now.Add(serverLife)
	if end.After(cert.NotAfter) {
		end = cert.NotAfter
	}
	crt, crtKey, err := m.rotator.CreateCertPEM(ca, now.Add(-backdated), end)
	if err != nil {
		return nil, "", fmt.Errorf("make server certificate: %w", err)
	}
	return map[string][]byte{
		keyAuthority: bytes.Join(authorities, nil), keyAuthorityKey: data[keyAuthorityKey], keyServer: crt, keyServerKey: crtKey,
	}, why, nil
}

// made is when an authority of ours was made.
func made(ca []byte) time.Time {
	c, err := parse(ca)
	if err != nil {
		return time.Time{}
	}
	return c.NotBefore.Add(backdated)
}

// unexpired are the certificates that are valid still; what cannot be read is not.
func unexpired(list [][]byte, now time.Time) [][]byte {
	var out [][]byte
	for _, text := range list {
		if c, err := parse(text); err == nil && now.Before(c.NotAfter) {
			out = append(out, text)
		}
	}
	return out
}

// splitPEM returns the certificates of a bundle, one PEM block each.
func splitPEM(text []byte) [][]byte {
	var out [][]byte
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return out
		}
		if b.Type == "CERTIFICATE" {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes}))
		}
	}
}

func parse(text []byte) (*x509.Certificate, error) {
	b, _ := pem.Decode(text)
	if b == nil {
		return nil, errors.New("there is no certificate in PEM")
	}
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return c, nil
}

func parseKey(text []byte) (*rsa.PrivateKey, error) {
	b, _ := pem.Decode(text)
	if b == nil {
		return nil, errors.New("there is no private key in PEM")
	}
	k, err := x509.ParsePKCS1PrivateKey(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the authority's key: %w", err)
	}
	return k, nil
}
