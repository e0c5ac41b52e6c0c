// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"podid/internal/fault"
)

// Limits of settings.
const (
	maxRate = 100_000
	maxCA   = 64 << 10 // bytes of PEM
)

var (
	regionForm     = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	profileForm    = regexp.MustCompile(`^[A-Za-z0-9_./@+-]{1,128}$`)
	externalIDForm = regexp.MustCompile(`^[\w+=,.@:/-]+$`) // API model of sts: 2 to 1224
)

func invalid(reason, format string, args ...any) error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason(reason)
}

// Validate refuses settings that no request could be made with, or that
// another issuer does not have.
func (c *Choice) Validate() error {
	switch c.Kind {
	case Embedded:
		if c.AWS != (AWS{}) {
			return invalid("issuer-settings", "The issuer embedded has no settings: leave out endpoints, region, profile, external id, certificates and rate.")
		}
		return nil
	case AWSSTS:
		if c.AWS.Audience != "" {
			return invalid("issuer-settings", "The issuer awssts has no audience: it signs no tokens.")
		}
		return c.AWS.validate()
	case WebIdentity:
		if c.AWS.Profile != "" || c.AWS.ExternalID != "" || c.AWS.IAMEndpoint != "" {
			return invalid("issuer-settings", "The issuer webidentity has neither profile, external id nor IAM endpoint: it asks with tokens.")
		}
		return c.AWS.validate()
	case "":
		return fault.New(fault.MissingParameter, "The parameter issuer is required: embedded, awssts or webidentity.").WithReason("issuer-missing")
	}
	return invalid("issuer-kind", "The issuer %.40q is not known: embedded, awssts or webidentity.", c.Kind)
}

func (a *AWS) validate() error {
	for name, text := range map[string]string{"stsEndpoint": a.STSEndpoint, "iamEndpoint": a.IAMEndpoint} {
		if err := checkEndpoint(name, text); err != nil {
			return err
		}
	}
	switch {
	case len(a.Region) > 63 || !regionForm.MatchString(a.Region):
		return invalid("issuer-region", "The region %.80q of the STS is not valid: write one such as us-west-2.", a.Region)
	case a.Profile != "" && !profileForm.MatchString(a.Profile):
		return invalid("issuer-profile", "The profile %.140q is not valid: 1 to 128 letters, digits and _./@+-.", a.Profile)
	case a.ExternalID != "" && (len(a.ExternalID) < 2 || len(a.ExternalID) > 1224 || !externalIDForm.MatchString(a.ExternalID)):
		return invalid("issuer-external-id", `The externalId is not valid: 2 to 1224 characters of [\w+=,.@:/-].`)
	case a.Audience != "" && (len(a.Audience) > 255 || !externalIDForm.MatchString(a.Audience)):
		return invalid("issuer-audience", `The audience is not valid: 1 to 255 characters of [\w+=,.@:/-].`)
	case a.Rate < 0 || a.Rate > maxRate:
		return invalid("issuer-rate", "The requestsPerSecond %d is not valid: 1 to %d, or 0 for %d.", a.Rate, maxRate, DefaultRate)
	}
	return checkCA(a.CA)
}

// checkEndpoint wants TLS: the answers hold credentials. Only what does not
// leave the machine may go without.
func checkEndpoint(name, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > 2048 || u.Host == "" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return invalid("issuer-endpoint", "The %s %.200q is not the URL of a service: write https://host or https://host:port.", name, text)
	}
	switch u.Scheme {
	case "https":
		return nil
	case "http":
		if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback() {
			return nil
		}
		return invalid("issuer-endpoint-plain", "The %s %.200q has no TLS, and its answers hold credentials: use https, or http on a loopback address.", name, text)
	}
	return invalid("issuer-endpoint", "The %s %.200q is neither https nor http.", name, text)
}

func checkCA(text string) error {
	if len(text) > maxCA {
		return invalid("issuer-ca", "The certificates are longer than %d bytes.", maxCA)
	}
	rest, n := []byte(text), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return invalid("issuer-ca", "The certificates hold a block %.40q: only CERTIFICATE belongs there.", block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return invalid("issuer-ca", "Certificate %d cannot be read.", n+1)
		}
		n++
	}
	if strings.TrimSpace(string(rest)) != "" || text != "" && n == 0 {
		return invalid("issuer-ca", "The certificates are not PEM.")
	}
	return nil
}
