// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podtoken

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"podid/internal/jwt"
)

// File is a source that reads a JWK set from a file, anew each time: a mounted ConfigMap changes under it.
type File struct{ Path string }

// Keys implements Source.
func (s File) Keys(context.Context) (KeySet, error) {
	text, err := readFile(s.Path)
	if err != nil {
		return KeySet{}, fmt.Errorf("read keys: %w", err)
	}
	return KeySet{JWKS: text}, nil
}

// String implements Source.
func (s File) String() string { return "file " + s.Path }

// Doer sends one HTTP request. [http.Client] is one.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// APIServer is a source that asks the cluster's API server at /openid/v1/jwks, which every service account may
// (ClusterRole system:service-account-issuer-discovery).
type APIServer struct {
	address   string
	tokenFile string
	caFile    string
}

// NewAPIServer returns the source. The token is sent as the bearer, and both files are read for each fetch. An empty
// caFile means the system's roots, an empty tokenFile no token.
func NewAPIServer(address, tokenFile, caFile string) (*APIServer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("address of the key set %q: want https://host[:port]/path", address)
	}
	return &APIServer{address: address, tokenFile: tokenFile, caFile: caFile}, nil
}

// Keys implements Source.
func (s *APIServer) Keys(ctx context.Context) (KeySet, error) {
	client, err := s.client()
	if err != nil {
		return KeySet{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address, nil)
	if err != nil {
		return KeySet{}, fmt.Errorf("build request: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	if s.tokenFile != "" {
		token, err := readFile(s.tokenFile)
		if err != nil {
			return KeySet{}, fmt.Errorf("read the agent's token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	text, err := get(client, req)
	return KeySet{JWKS: text}, err
}

// client is made anew for each fetch, which are minutes apart: nothing of it stays in memory, and the CA may have changed.
func (s *APIServer) client() (*http.Client, error) {
	var roots *x509.CertPool
	if s.caFile != "" {
		text, err := readFile(s.caFile)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("CA file %s holds no PEM certificate", s.caFile)
		}
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token stays here
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		},
	}, nil
}

// String implements Source.
func (s *APIServer) String() string { return s.address }

// ControlPlane is a source that asks podid's control plane for the cluster's record, which names the issuer too. The
// agent's identity needs podid:DescribeCluster on the cluster.
type ControlPlane struct {
	// Endpoints are base URLs as of EKS Auth, tried one after the other; Cluster is the name, Region that of the signature.
	Endpoints       []*url.URL
	Cluster, Region string
	Credentials     aws.CredentialsProvider
	HTTP            Doer
	Now             func() time.Time
}

// Keys implements Source.
func (s ControlPlane) Keys(ctx context.Context) (KeySet, error) {
	creds, err := s.Credentials.Retrieve(ctx)
	if err != nil {
		return KeySet{}, fmt.Errorf("fetch the agent's own credentials: %w", err)
	}
	err = errors.New("no endpoint of the control plane")
	for _, base := range s.Endpoints {
		var keys KeySet
		if keys, err = s.ask(ctx, creds, base.JoinPath("podid", "v1", "clusters", url.PathEscape(s.Cluster)).String()); err == nil {
			return keys, nil
		}
	}
	return KeySet{}, err
}

// ask makes one call.
func (s ControlPlane) ask(ctx context.Context, creds aws.Credentials, address string) (KeySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout/2)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return KeySet{}, fmt.Errorf("build request: %w", err)
	}
	empty := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, creds, req, hex.EncodeToString(empty[:]), "podid", s.Region, s.Now().UTC()); err != nil {
		return KeySet{}, fmt.Errorf("sign request: %w", err)
	}
	text, err := get(s.HTTP, req)
	if err != nil {
		return KeySet{}, err
	}
	var out struct {
		Cluster struct {
			Issuer string          `json:"issuer"`
			JWKS   json.RawMessage `json:"jwks"`
		} `json:"cluster"`
	}
	if err := json.Unmarshal(text, &out); err != nil || out.Cluster.Issuer == "" || len(out.Cluster.JWKS) == 0 {
		return KeySet{}, errors.New("the control plane's answer holds no cluster with issuer and keys")
	}
	return KeySet{JWKS: out.Cluster.JWKS, Issuer: out.Cluster.Issuer}, nil
}

// String implements Source.
func (s ControlPlane) String() string { return fmt.Sprint("control plane ", s.Endpoints) }

// Either is a source that asks Then where First fails. An API server whose signing key was replaced at once refuses the
// agent's own token, which the old key signed, until kubelet has renewed it; the control plane has learned the new key.
type Either struct{ First, Then Source }

// Keys implements Source.
func (s Either) Keys(ctx context.Context) (KeySet, error) {
	keys, err := s.First.Keys(ctx)
	if err == nil {
		return keys, nil
	}
	keys, other := s.Then.Keys(ctx)
	if other != nil {
		return KeySet{}, fmt.Errorf("%s: %w; %s: %w", s.First, err, s.Then, other)
	}
	return keys, nil
}

// String implements Source.
func (s Either) String() string { return fmt.Sprintf("%s, else %s", s.First, s.Then) }

// get returns the body of a 200.
func get(client Doer, req *http.Request) ([]byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySetBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetch keys: %w", err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("fetch keys: status %d", resp.StatusCode)
	case len(text) > maxKeySetBytes:
		return nil, fmt.Errorf("fetch keys: answer is larger than %d bytes", maxKeySetBytes)
	}
	return text, nil
}

// Identity is what the agent's own token says about cluster and node. Kubelet has put it there, so it needs no proof.
type Identity struct{ Issuer, Node, NodeUID string }

// ReadIdentity reads it from the token's file.
func ReadIdentity(path string) (Identity, error) {
	text, err := readFile(path)
	if err != nil {
		return Identity{}, fmt.Errorf("read the agent's token: %w", err)
	}
	_, payload, err := jwt.PeekUnverified(strings.TrimSpace(string(text)))
	if err != nil {
		return Identity{}, fmt.Errorf("read the agent's token: %w", err)
	}
	var claims struct {
		Issuer     string `json:"iss"`
		Kubernetes struct {
			Node struct {
				Name string `json:"name"`
				UID  string `json:"uid"`
			} `json:"node"`
		} `json:"kubernetes.io"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return Identity{}, errors.New("read the agent's token: its claims are no service account token's")
	}
	return Identity{Issuer: claims.Issuer, Node: claims.Kubernetes.Node.Name, NodeUID: claims.Kubernetes.Node.UID}, nil
}
