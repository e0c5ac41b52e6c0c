// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/pflag"

	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/podtoken"
)

// Where kubelet puts what a pod needs to speak to its API server.
const (
	podTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	podCAFile    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

// Values of --jwks-source.
const (
	sourceAuto         = "auto"
	sourceAPIServer    = "api-server"
	sourceControlPlane = "control-plane"
	sourceNone         = "none"
)

// tokenOptions are the flags that say how tokens are verified.
type tokenOptions struct {
	source, file, cacheFile    string
	url, tokenFile, caFile     string
	issuer                     string
	apiHost, apiPort, nodeName string // of the environment
}

func (o *tokenOptions) register(f *pflag.FlagSet, described func(name, text string) string) {
	f.StringVar(&o.file, "jwks-file", "", "file with the cluster's public keys (a JWK set), which pods' tokens are verified with; read anew when they change")
	f.StringVar(&o.source, "jwks-source", sourceAuto, "where those keys come from without a file: api-server, control-plane, none (EKS Auth judges every new token), or auto: the API server when the agent runs in a pod, else none")
	f.StringVar(&o.url, "jwks-url", "", "address of the keys at the API server (default https://KUBERNETES_SERVICE_HOST:KUBERNETES_SERVICE_PORT/openid/v1/jwks)")
	f.StringVar(&o.tokenFile, "jwks-token-file", podTokenFile, "the agent's own token for the API server")
	f.StringVar(&o.caFile, "jwks-ca-file", podCAFile, "PEM file of the only CAs to trust at the API server")
	f.StringVar(&o.cacheFile, "jwks-cache-file", "", "file that keeps the last keys over a restart; public keys only")
	f.StringVar(&o.issuer, "issuer", "", described("issuer", "the cluster's token issuer (default that of the agent's own token)"))
}

func (o *tokenOptions) resolve(env lookup, given func(string) bool) {
	o.apiHost, _ = env("KUBERNETES_SERVICE_HOST")
	o.apiPort, _ = env("KUBERNETES_SERVICE_PORT")
	o.nodeName, _ = env("NODE_NAME")
	if o.source == sourceAuto && given("jwks-url") {
		o.source = sourceAPIServer
	}
	if o.source == sourceAuto && o.file == "" {
		o.source = sourceNone
		if _, err := os.Stat(o.tokenFile); o.apiHost != "" && err == nil {
			o.source = sourceAPIServer
		}
	}
	if o.url == "" && o.apiHost != "" {
		o.url = o.apiServer() + "/openid/v1/jwks"
	}
}

// apiServer is the API server's address as a pod's environment has it.
func (o *tokenOptions) apiServer() string {
	port := o.apiPort
	if port == "" {
		port = "443"
	}
	return "https://" + net.JoinHostPort(o.apiHost, port)
}

func (o *tokenOptions) check() error {
	switch o.source {
	case sourceAuto, sourceControlPlane, sourceNone:
	case sourceAPIServer:
		if o.url == "" {
			return errors.New("--jwks-source api-server: want --jwks-url, since KUBERNETES_SERVICE_HOST is not set")
		}
	default:
		return fmt.Errorf("--jwks-source %q: want auto, api-server, control-plane or none", o.source)
	}
	if o.file != "" && o.source != sourceAuto {
		return fmt.Errorf("--jwks-file and --jwks-source %s: want one source of keys", o.source)
	}
	return nil
}

// tokenConfig turns the flags into the configuration of podtoken; without a source it is empty.
func (o *options) tokenConfig(identity aws.CredentialsProvider, roots *x509.CertPool, log *slog.Logger) (podtoken.Config, error) {
	cfg := podtoken.Config{Issuer: o.tokens.issuer, Node: o.tokens.nodeName, CacheFile: o.tokens.cacheFile}
	switch {
	case o.tokens.file != "":
		cfg.Source = podtoken.File{Path: o.tokens.file}
	case o.tokens.source == sourceAPIServer:
		source, err := podtoken.NewAPIServer(o.tokens.url, o.tokens.tokenFile, o.tokens.caFile)
		if err != nil {
			return podtoken.Config{}, err
		}
		cfg.Source = source
		if o.endpoint != "" && identity != nil {
			then, err := o.controlPlaneKeys(identity, roots)
			if err != nil {
				return podtoken.Config{}, err
			}
			cfg.Source = podtoken.Either{First: source, Then: then}
		}
	case o.tokens.source == sourceControlPlane:
		source, err := o.controlPlaneKeys(identity, roots)
		if err != nil {
			return podtoken.Config{}, err
		}
		cfg.Source = source
	default:
		log.Warn("tokens are not verified on this node: EKS Auth judges every one that is new, and a rotated token needs it; see --jwks-file and --jwks-source")
		return podtoken.Config{}, nil
	}
	o.ownIdentity(&cfg, log)
	if cfg.Issuer == "" && o.tokens.source != sourceControlPlane {
		log.Warn("the cluster's issuer is not known: tokens of any issuer that the keys verify are accepted; see --issuer")
	}
	return cfg, nil
}

func (o *options) controlPlaneKeys(identity aws.CredentialsProvider, roots *x509.CertPool) (podtoken.Source, error) {
	endpoints, err := eksauthclient.ParseEndpoints(o.endpoint, o.allowHTTP)
	if err != nil {
		return nil, err
	}
	return podtoken.ControlPlane{
		Endpoints: endpoints.All(), Cluster: o.cluster, Region: o.region, Credentials: identity,
		HTTP: eksauthclient.NewHTTPClient(roots), Now: time.Now,
	}, nil
}

// ownIdentity fills in issuer and node from the agent's own token, the first that can be read.
func (o *options) ownIdentity(cfg *podtoken.Config, log *slog.Logger) {
	for _, path := range []string{o.nodeTokenFile, o.tokens.tokenFile} {
		if path == "" {
			continue
		}
		own, err := podtoken.ReadIdentity(path)
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				log.Warn("read issuer and node from the agent's own token", slog.String("err", err.Error()))
			}
			continue
		}
		if cfg.Issuer == "" {
			cfg.Issuer = own.Issuer
		}
		if own.Node != "" {
			cfg.Node, cfg.NodeUID = own.Node, own.NodeUID
		}
		return
	}
}
