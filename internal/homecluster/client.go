// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package homecluster

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"podid/internal/cli/clients"
)

// clients are those of podid-admin at the server's own listener, made anew for
// each use: key and certificate may have changed.
func (c *Config) clients() (*clients.Clients, error) {
	keyID, key, err := c.ControlPlane.AdminKey()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DisableKeepAlives: true, TLSHandshakeTimeout: 10 * time.Second}
	if !c.Settings.PlainHTTP {
		if transport.TLSClientConfig, err = c.trust(); err != nil {
			return nil, err
		}
	}
	return clients.New(aws.Config{
		Region: c.Settings.Region, BaseEndpoint: aws.String(c.ControlPlane.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider(keyID, key.Reveal(), ""), HTTPClient: &http.Client{Transport: transport},
	}), nil
}

// trust takes the self-made CA or, where the certificate comes from a file,
// that certificate under the name that it was made for.
func (c *Config) trust() (*tls.Config, error) {
	file, own := c.ControlPlane.CAFile(), false
	if file == "" {
		file, own = c.Settings.TLSCert, true
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the listener's certificate: %w", err)
	}
	out := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !out.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	if !own {
		return out, nil
	}
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the listener's certificate: %w", err)
	}
	switch {
	case len(leaf.DNSNames) > 0:
		out.ServerName = leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		out.ServerName = leaf.IPAddresses[0].String()
	default:
		return nil, fmt.Errorf("%s has no name", file)
	}
	return out, nil
}
