// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"podid/internal/cli/setup"
)

// clusterSource says where issuer and keys of a new cluster come from.
type clusterSource struct {
	jwks, ca, codeFile string
	kube               kubeFlags
	enrol              enrolFlags
}

func (s *clusterSource) check(in *setup.ClusterInput) error {
	if err := checkPassRoles(in.PassRoles); err != nil {
		return err
	}
	if err := s.enrol.check(s.kube); err != nil {
		return err
	}
	if in.Connect {
		if s.enrol.file != "" {
			return usagef("--enrolment-file belongs to podid activate cluster: with --connect the cluster's side makes the key")
		}
		if s.jwks != "" || s.ca != "" || s.kube.given() || in.Discover || in.Endpoint != "" || in.Version != "" {
			return usagef("with --connect the cluster brings keys, version, endpoint and CA by itself: give none of them")
		}
		return nil
	}
	if s.codeFile != "" {
		return usagef("--code-file belongs to --connect")
	}
	if s.kube.given() {
		if s.jwks != "" || in.Discover || in.Issuer != "" {
			return usagef("--kubeconfig reads issuer and keys: give no --issuer, --jwks and --discover with it")
		}
		return nil
	}
	if err := missing("issuer", in.Issuer); err != nil {
		return err
	}
	if (s.jwks == "") == !in.Discover {
		return usagef("--jwks FILE or --discover is needed, one of them")
	}
	return nil
}

// fillCluster reads files and, with a kubeconfig, asks the API server.
func (a *app) fillCluster(ctx context.Context, in *setup.ClusterInput, s *clusterSource) error {
	var err error
	if in.CA, err = readCA(s.ca); err != nil {
		return err
	}
	if !s.kube.given() {
		in.JWKS, err = readJWKS(s.jwks, a.In)
		return err
	}
	said, err := a.ask(ctx, s.kube)
	if err != nil {
		return err
	}
	in.Issuer, in.JWKS = said.issuer, said.jwks
	fillEmpty(&in.Version, said.version)
	fillEmpty(&in.Endpoint, said.endpoint)
	fillEmpty(&in.CA, said.ca)
	return nil
}
