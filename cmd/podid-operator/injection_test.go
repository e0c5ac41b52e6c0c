// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"podid/internal/operator"
	"podid/internal/operator/podpatch"
)

func injectionOf(t *testing.T, serviceHost, caFile, args string) (operator.Injection, error) {
	t.Helper()
	o := injectionOptions{serviceHost: serviceHost}
	f := pflag.NewFlagSet("server", pflag.ContinueOnError)
	o.register(f)
	if err := f.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	return o.config(caFile)
}

func TestInjectionFlags(t *testing.T) {
	for _, tt := range []struct {
		name, host, caFile, args string
		want                     func(operator.Injection) bool
	}{
		{"defaults", "10.96.0.1", "/ca", "", func(i operator.Injection) bool {
			return i.Address == ":9443" && i.MinTLS == tls.VersionTLS12 && i.Certificates == operator.CertificatesSelf && i.Settings == podpatch.DefaultSettings() && i.CAFiles == nil && i.Owner == "podid-operator"
		}},
		{"IPv6 cluster", "fd00::1", "", "", func(i operator.Injection) bool { return i.Settings.CredentialsURI == podpatch.CredentialsURIv6 }},
		{"outside of a cluster", "", "", "", func(i operator.Injection) bool { return i.Settings.CredentialsURI == podpatch.CredentialsURIv4 }},
		{"API server by a name", "api.example.com", "", "", func(i operator.Injection) bool { return i.Settings.CredentialsURI == podpatch.CredentialsURIv4 }},
		{"family told", "fd00::1", "", "--ip-family ipv4", func(i operator.Injection) bool { return i.Settings.CredentialsURI == podpatch.CredentialsURIv4 }},
		{"URI told", "fd00::1", "", "--credentials-uri http://127.0.0.1/v1/credentials", func(i operator.Injection) bool { return i.Settings.CredentialsURI == "http://127.0.0.1/v1/credentials" }},
		{"everything a pod may get", "", "", "--token-expiration 1h --aws-default-region eu-west-1 --sts-regional-endpoint --disable-imds --sts-endpoint https://p", func(i operator.Injection) bool {
			s := i.Settings
			return s.Expiration.Hours() == 1 && s.Region == "eu-west-1" && s.RegionalSTS && s.DisableIMDS && s.STSEndpoint == "https://p"
		}},
		{"own authorities", "", "/ca", "--inject-ca", func(i operator.Injection) bool { return slices.Equal(i.CAFiles, []string{"/ca"}) }},
		{"told authorities", "", "/ca", "--inject-ca --inject-ca-file a,b --inject-ca-file c", func(i operator.Injection) bool { return slices.Equal(i.CAFiles, []string{"a", "b", "c"}) }},
		{"TLS 1.3", "", "", "--tls-min-version 1.3", func(i operator.Injection) bool { return i.MinTLS == tls.VersionTLS13 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := injectionOf(t, tt.host, tt.caFile, tt.args); err != nil || !tt.want(got) {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	for args, want := range map[string]string{
		"--tls-min-version 1.1":             "want 1.2 or 1.3",
		"--ip-family six":                   "want auto, ipv4 or ipv6",
		"--inject-ca":                       "needs --inject-ca-file",
		"--inject-ca-file a":                "is not set",
		"--ip-family x --tls-min-version 1": "want auto",
	} {
		if _, err := injectionOf(t, "", "", args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
