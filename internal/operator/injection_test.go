// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"crypto/tls"
	"strings"
	"testing"

	"podid/internal/operator/podpatch"
)

func TestInjectionRefused(t *testing.T) {
	good := Injection{Mode: ModeWebhook, Address: ":0", Certificates: CertificatesSelf, Settings: podpatch.DefaultSettings()}
	for _, tt := range []struct {
		name   string
		change func(*Injection)
		want   string // "" for nothing
	}{
		{"as it is", func(*Injection) {}, ""},
		{"policies need no certificate", func(i *Injection) { i.Mode, i.Certificates = ModePolicy, "" }, ""},
		{"unknown mode", func(i *Injection) { i.Mode = "both" }, "want webhook or admission-policy"},
		{"unknown certificates", func(i *Injection) { i.Certificates = "acme" }, "want self or files"},
		{"files without a folder", func(i *Injection) { i.Certificates = CertificatesFiles }, "the folder"},
		{"settings", func(i *Injection) { i.Settings.CredentialsURI = "" }, "credentials URI"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := good
			tt.change(&i)
			if err := i.validate(); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Error(err)
			}
		})
	}
	for name, want := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13, "1.1": 0, "": 0} {
		if got, err := TLSVersion(name); got != want || (err == nil) != (want != 0) {
			t.Errorf("%s: %x %v", name, got, err)
		}
	}
}

func TestServerNames(t *testing.T) {
	if names := serverNames("podid-system"); names[0] != "podid-operator.podid-system.svc" {
		t.Error(names)
	}
}
