// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/spf13/pflag"

	"podid/internal/operator/podidclient"
)

// connection are the flags of all commands that call the control plane.
type connection struct {
	cluster, region, endpoint, caFile string
	allowHTTP                         bool
	role, tokenFile, session          string
	// keys may stand in for role and token file; see keysOf.
	keys key
}

// key is an access key with its secret.
type key struct{ id, secret, token string }

func (c *connection) register(f *pflag.FlagSet) {
	text := texts(f)
	text(&c.cluster, "cluster-name", "", "name of this cluster at the control plane (required)")
	text(&c.region, "region", "", "region that calls are signed for (required)")
	text(&c.endpoint, "endpoint", "", "URL of the control plane (required)")
	text(&c.caFile, "ca-file", "", "PEM file of the only CAs to trust at the control plane")
	f.BoolVar(&c.allowHTTP, "allow-http-endpoint", false, "permit an http:// endpoint that is not loopback; keys and tokens then travel readable")
	text(&c.role, "operator-role-arn", "", "role of the operator (required)")
	text(&c.tokenFile, "operator-token-file", "", "its own projected service account token, of audience "+podidclient.Audience+" (required)")
	text(&c.session, "pod-name", "podid-operator", "session name of the role, which audit shows")
}

// needed is a flag that the environment may stand in for.
type needed struct {
	name     string
	value    *string
	required bool
}

// resolve fills in the environment and names every required flag that is
// missing. Role and token file are, unless there are keys.
func (c *connection) resolve(env lookup, given func(flag string) bool) error {
	role := c.keys.id == ""
	return resolve(env, given, []needed{
		{"cluster-name", &c.cluster, true},
		{"region", &c.region, true},
		{"endpoint", &c.endpoint, true},
		{"ca-file", &c.caFile, false},
		{"operator-role-arn", &c.role, role},
		{"operator-token-file", &c.tokenFile, role},
		{"pod-name", &c.session, false},
	})
}

func resolve(env lookup, given func(flag string) bool, flags []needed) error {
	var problems []error
	for _, f := range flags {
		if !given(f.name) {
			for _, name := range environment[f.name] {
				if v, _ := env(name); v != "" {
					*f.value = v
					break
				}
			}
		}
		if f.required && *f.value == "" {
			problems = append(problems, fmt.Errorf("--%s is required (or %s)", f.name, strings.Join(environment[f.name], ", ")))
		}
	}
	return errors.Join(problems...)
}

// keysOf reads the environment's access key, for programs outside of Kubernetes
// that have no token of a service account. One without its secret is none.
func keysOf(env lookup) key {
	var k key
	k.id, _ = env("AWS_ACCESS_KEY_ID")
	k.secret, _ = env("AWS_SECRET_ACCESS_KEY")
	k.token, _ = env("AWS_SESSION_TOKEN")
	if k.id == "" || k.secret == "" {
		return key{}
	}
	return k
}

func (c *connection) client() (*podidclient.Client, error) {
	roots, err := readRoots(c.caFile)
	if err != nil {
		return nil, err
	}
	cfg := podidclient.Config{
		Endpoint: strings.TrimSuffix(c.endpoint, "/"), AllowPlainHTTP: c.allowHTTP, Region: c.region, RootCAs: roots,
		RoleARN: c.role, TokenFile: c.tokenFile, SessionName: c.session,
	}
	if (c.role == "" || c.tokenFile == "") && c.keys.id != "" {
		cfg.Credentials = credentials.NewStaticCredentialsProvider(c.keys.id, c.keys.secret, c.keys.token)
	}
	return podidclient.New(cfg)
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the system's roots
	}
	text, err := os.ReadFile(file) //nolint:gosec // the user names the file
	if err != nil {
		return nil, fmt.Errorf("read --ca-file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca-file %s has no certificate in PEM", file)
	}
	return roots, nil
}
