// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/pflag"

	"podid/internal/operator"
	"podid/internal/operator/podpatch"
)

// injectionOptions are the flags of the webhook and of what it gives pods.
type injectionOptions struct {
	mode                  string
	address, minTLS       string
	drain                 time.Duration
	certificates, certDir string
	owner                 string
	family, uri           string
	serviceHost           string // the address of the API server's Service
	settings              podpatch.Settings
	injectCA              bool
	caFiles               []string
}

func (o *injectionOptions) register(f *pflag.FlagSet) {
	o.settings = podpatch.DefaultSettings()
	f.StringVar(&o.mode, "mode", operator.ModeWebhook, "who changes pods: webhook, or admission-policy (the API server itself, by a MutatingAdmissionPolicy)")
	f.StringVar(&o.address, "webhook-address", ":9443", "address of the webhook; empty for none, where AWS' own is fed")
	f.StringVar(&o.minTLS, "tls-min-version", "1.2", "least version of TLS that the webhook speaks: 1.2 or 1.3")
	f.DurationVar(&o.drain, "webhook-drain", 5*time.Second, "how long a replica that stops goes on answering while API servers learn of it")
	f.StringVar(&o.certificates, "webhook-certificates", operator.CertificatesSelf, "where the webhook's certificate comes from: self (made and renewed here) or files (cert-manager's, or yours)")
	f.StringVar(&o.certDir, "webhook-cert-dir", "", "folder of tls.crt and tls.key, with --webhook-certificates=files")
	f.StringVar(&o.owner, "owner-cluster-role", "podid-operator", "ClusterRole that owns what the operator makes, so that it goes with it; empty for none")
	f.StringVar(&o.family, "ip-family", "auto", "by which the node agent is reached: ipv4, ipv6, or auto (ipv6 where the API server's Service is)")
	f.StringVar(&o.uri, "credentials-uri", "", "URL at which pods get credentials, instead of the usual one of --ip-family")
	f.DurationVar(&o.settings.Expiration, "token-expiration", o.settings.Expiration, "life of tokens where neither the pod nor its service account says")
	f.StringVar(&o.settings.Region, "aws-default-region", "", "AWS_REGION of pods that have none")
	f.BoolVar(&o.settings.RegionalSTS, "sts-regional-endpoint", false, "set AWS_STS_REGIONAL_ENDPOINTS=regional")
	f.BoolVar(&o.settings.DisableIMDS, "disable-imds", false, "set AWS_EC2_METADATA_DISABLED=true")
	f.StringVar(&o.settings.STSEndpoint, "sts-endpoint", "", "AWS_ENDPOINT_URL_STS of pods: that of the control plane, where roles for service accounts are podid's")
	f.BoolVar(&o.injectCA, "inject-ca", false, "give pods the authorities of --ca-file, as AWS_CA_BUNDLE and NODE_EXTRA_CA_CERTS")
	f.StringSliceVar(&o.caFiles, "inject-ca-file", nil, "PEM files of the authorities to give, instead of --ca-file (repeatable)")
}

// config makes the configuration; caFile is what the operator itself trusts the control plane by.
func (o *injectionOptions) config(caFile string) (operator.Injection, error) {
	version, versionErr := operator.TLSVersion(o.minTLS)
	uri, uriErr := o.credentialsURI()
	files, filesErr := o.authorities(caFile)
	s := o.settings
	s.CredentialsURI = uri
	return operator.Injection{
		Mode: o.mode, Address: o.address, MinTLS: version, Drain: o.drain, Certificates: o.certificates, CertDir: o.certDir, Owner: o.owner, Settings: s, CAFiles: files,
	}, errors.Join(versionErr, uriErr, filesErr)
}

func (o *injectionOptions) authorities(caFile string) ([]string, error) {
	switch {
	case !o.injectCA && len(o.caFiles) > 0:
		return nil, errors.New("--inject-ca-file is for --inject-ca, which is not set")
	case !o.injectCA:
		return nil, nil
	case len(o.caFiles) > 0:
		return o.caFiles, nil
	case caFile == "":
		return nil, errors.New("--inject-ca needs --inject-ca-file or --ca-file")
	}
	return []string{caFile}, nil
}

// credentialsURI goes by the address of the API server's Service: its family
// is the cluster's first, and the only one of a cluster without IPv4.
func (o *injectionOptions) credentialsURI() (string, error) {
	host, _ := netip.ParseAddr(o.serviceHost)
	switch six := host.Is6() && !host.Is4In6(); {
	case o.family != "auto" && o.family != "ipv4" && o.family != "ipv6":
		return "", fmt.Errorf("--ip-family %q: want auto, ipv4 or ipv6", o.family)
	case o.uri != "":
		return o.uri, nil
	case o.family == "ipv6" || o.family == "auto" && six:
		return podpatch.CredentialsURIv6, nil
	}
	return podpatch.CredentialsURIv4, nil
}
