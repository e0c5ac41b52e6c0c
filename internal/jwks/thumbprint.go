// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package jwks

import (
	"crypto/sha1" //nolint:gosec // thumbprints are SHA-1 by AWS' definition: they name certificates that an administrator has chosen
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// ErrThumbprint: the server's certificate comes from no authority that is
// trusted, and from none of those that thumbprints name.
var ErrThumbprint = errors.New("certificate is of no trusted authority and matches no thumbprint")

// Pinned returns a Fetcher with the same rules that also takes servers whose
// certificates come from authorities named by thumbprint: the SHA-1 of a
// certificate in hexadecimal digits, in lower case. Thumbprints matter only
// where the authorities that are trusted anyway do not vouch for the server
// (IAM User Guide, "Obtain the thumbprint for an OpenID Connect identity
// provider"). A certificate that is named must not merely be presented: the
// server's own must be it, or be signed by it.
func (f *Fetcher) Pinned(thumbprints []string) *Fetcher {
	if len(thumbprints) == 0 {
		return f
	}
	n := *f
	pins := slices.Clone(thumbprints)
	transport := f.transport.Clone()
	roots := f.transport.TLSClientConfig.RootCAs
	transport.TLSClientConfig.InsecureSkipVerify = true // VerifyConnection does all of it
	transport.TLSClientConfig.VerifyConnection = func(cs tls.ConnectionState) error { return verifyPinned(cs, roots, pins) }
	n.transport = transport
	n.client = &http.Client{Transport: transport, CheckRedirect: f.client.CheckRedirect}
	return &n
}

// verifyPinned is what crypto/tls does by default, and then again with the
// certificates that thumbprints name in the place of authorities.
func verifyPinned(cs tls.ConnectionState, roots *x509.CertPool, thumbprints []string) error {
	if len(cs.PeerCertificates) == 0 {
		return fmt.Errorf("%w: none was presented", ErrThumbprint)
	}
	o := x509.VerifyOptions{Roots: roots, DNSName: cs.ServerName, Intermediates: x509.NewCertPool()}
	pinned := x509.NewCertPool()
	for i, c := range cs.PeerCertificates {
		if i > 0 {
			o.Intermediates.AddCert(c)
		}
		sum := sha1.Sum(c.Raw) //nolint:gosec // see the import
		if slices.Contains(thumbprints, hex.EncodeToString(sum[:])) {
			pinned.AddCert(c)
		}
	}
	leaf := cs.PeerCertificates[0]
	_, err := leaf.Verify(o)
	if err == nil {
		return nil
	}
	o.Roots = pinned
	if _, pinnedErr := leaf.Verify(o); pinnedErr != nil {
		return fmt.Errorf("%w: %w", ErrThumbprint, err)
	}
	return nil
}
