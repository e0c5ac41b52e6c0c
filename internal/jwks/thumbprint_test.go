// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwks_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"podid/internal/jwks"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCertificate(t *testing.T, name string, by *authority, isCA bool, hosts ...string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: isCA, BasicConstraintsValid: true, DNSNames: hosts, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) thumbprint() string {
	sum := sha1.Sum(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// TestPinned: thumbprints count where no trusted authority vouches for the
// server, and only for authorities that did sign its certificate.
func TestPinned(t *testing.T) {
	root := newCertificate(t, "root", nil, true)
	middle := newCertificate(t, "intermediate", root, true)
	leaf := newCertificate(t, "leaf", middle, false, "example.com")
	elsewhere := newCertificate(t, "leaf", middle, false, "example.org")
	other := newCertificate(t, "other", nil, true)
	forged := newCertificate(t, "leaf", other, false, "example.com")
	trusted := x509.NewCertPool()
	trusted.AddCert(root.cert)
	for _, tc := range []struct {
		name  string
		leaf  *authority
		chain []*authority
		roots *x509.CertPool
		pins  []string
		good  bool
	}{
		{"of a trusted authority, no thumbprint", leaf, []*authority{middle}, trusted, nil, true},
		{"of a trusted authority, another thumbprint", leaf, []*authority{middle}, trusted, []string{other.thumbprint()}, true},
		{"of an unknown one, no thumbprint", leaf, []*authority{middle}, x509.NewCertPool(), nil, false},
		{"thumbprint of the intermediate", leaf, []*authority{middle}, x509.NewCertPool(), []string{middle.thumbprint()}, true},
		{"thumbprint of the root, presented", leaf, []*authority{middle, root}, x509.NewCertPool(), []string{root.thumbprint()}, true},
		{"thumbprint of the root, not presented", leaf, []*authority{middle}, x509.NewCertPool(), []string{root.thumbprint()}, false},
		{"thumbprint of the server's own", leaf, nil, x509.NewCertPool(), []string{leaf.thumbprint()}, true},
		{"second of two thumbprints", leaf, []*authority{middle}, x509.NewCertPool(), []string{other.thumbprint(), middle.thumbprint()}, true},
		{"another host's certificate", elsewhere, []*authority{middle}, x509.NewCertPool(), []string{middle.thumbprint()}, false},
		{"the named one is presented, but has not signed", forged, []*authority{middle, root}, x509.NewCertPool(), []string{middle.thumbprint(), root.thumbprint()}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			issuer, o := chainSite(t, tc.leaf, tc.chain)
			o.RootCAs = tc.roots
			_, _, err := fetcher(t, o).Pinned(tc.pins).Discover(t.Context(), issuer)
			if (err == nil) != tc.good {
				t.Errorf("err = %v, good = %v", err, tc.good)
			}
			if !tc.good && len(tc.pins) > 0 && !errors.Is(err, jwks.ErrThumbprint) {
				t.Errorf("err = %v, want %v", err, jwks.ErrThumbprint)
			}
		})
	}
}

// chainSite serves an issuer with the certificates given.
func chainSite(t *testing.T, leaf *authority, chain []*authority) (issuer string, o jwks.Options) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jwks" {
			_, _ = io.WriteString(w, keys)
			return
		}
		_, _ = io.WriteString(w, `{"issuer":"`+issuer+`","jwks_uri":"`+issuer+`/jwks"}`)
	}))
	cert := tls.Certificate{Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: leaf.key}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.cert.Raw)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	issuer = "https://example.com:" + u.Port()
	return issuer, (&site{Server: s}).options()
}
