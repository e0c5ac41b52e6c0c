// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"net"
	"slices"

	"podid/internal/api/podidapi"
	"podid/internal/tokenreview"
)

// tokenReview is the authentication webhook of clusters' API servers, nil
// when it is off.
func (cp *ControlPlane) tokenReview(v *shared) *podidapi.TokenReview {
	if !cp.cfg.Settings.TokenReview {
		return nil
	}
	s := &tokenreview.Service{Store: cp.db, Prover: v.authn, Region: cp.account.Region, Hosts: cp.tokenHosts}
	return podidapi.NewTokenReview(v.gate, s, cp.account.Partition, cp.account.Region)
}

// tokenHosts are the names that the URL of a k8s-aws-v1 token may have: the
// server's own with its port, and those of the settings.
func (cp *ControlPlane) tokenHosts() []string {
	hosts := slices.Clone(cp.cfg.Settings.TokenReviewHosts)
	_, port, err := net.SplitHostPort(cp.Addr().String())
	if err != nil {
		return hosts
	}
	for _, name := range append([]string{"localhost", "127.0.0.1"}, cp.cfg.Settings.TLSNames...) {
		hosts = append(hosts, net.JoinHostPort(name, port))
		if port == "443" {
			hosts = append(hosts, name)
		}
	}
	return hosts
}
