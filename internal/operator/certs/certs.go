// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package certs has the certificate with which the webhook is served. It owns
// the two ways to one: Kept is made and renewed by the operator itself and
// lies in a Secret that all replicas share; Files are cert-manager's, or
// whoever else writes them. Both are taken over without a restart, and served
// from memory.
//
// Certificates are made and judged by open-policy-agent/cert-controller. Its
// own loop is not used: it would cache every Secret of the namespace, serve
// only after a kubelet has put the Secret into a mounted volume, and replace
// an authority in one stroke, so that API servers which read the new
// configuration later than the new certificate, or earlier, refuse it. Here
// any replica that finds something to do does one step of it, and the API
// server's optimistic lock lets one of them win.
//
// It refuses to serve with a certificate that its own authorities did not
// sign, that lacks a name, or that is over: the one before stays.
//
// RBAC in the operator's namespace: secrets create; get, list, watch and
// update of the one Secret.
package certs

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
)

// Current holds the certificate that is served now, and what it is trusted by.
// It is safe for concurrent use.
type Current struct {
	pair   atomic.Pointer[pair]
	notify func()
}

type pair struct {
	certificate *tls.Certificate
	authorities []byte
}

// Certificate is for tls.Config.GetCertificate.
func (c *Current) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p := c.pair.Load()
	if p == nil {
		return nil, errors.New("there is no certificate yet")
	}
	return p.certificate, nil
}

// Ready reports whether there is a certificate.
func (c *Current) Ready() bool { return c.pair.Load() != nil }

// Authorities are the certificates, in PEM, that API servers have to trust;
// nil while there are none, or where that is not this package's business.
func (c *Current) Authorities() []byte {
	if p := c.pair.Load(); p != nil {
		return p.authorities
	}
	return nil
}

// OnChange has f called after a certificate was taken over. It is called
// before Start, and f must not block.
func (c *Current) OnChange(f func()) { c.notify = f }

func (c *Current) set(p *pair) {
	c.pair.Store(p)
	if c.notify != nil {
		c.notify()
	}
}
