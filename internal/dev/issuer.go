// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/go-jose/go-jose/v4"

	"podid/internal/controlplane"
	"podid/internal/fault"
)

// issuerURL is kubeadm's default, the same for every cluster: what tells
// local clusters apart is their keys, as it is with real ones.
const issuerURL = "https://kubernetes.default.svc.cluster.local"

// tokenLife is kubelet's for pod identity tokens.
const tokenLife = 24 * time.Hour

// issuer stands for the API server of one local cluster: it signs service
// account tokens in the form that TokenRequest gives them.
type issuer struct {
	cluster  string
	key      *rsa.PrivateKey
	kid      string
	signer   jose.Signer
	now      func() time.Time
	node     node
	agent    string                  // where the cluster's agent answers
	identity aws.CredentialsProvider // its agent's; set before the agent runs
}

type node struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// newIssuer loads the cluster's key from dir, or makes it.
func newIssuer(dir, cluster string, random io.Reader, now func() time.Time) (*issuer, error) {
	key, err := loadKey(filepath.Join(dir, cluster+".key"), random)
	if err != nil {
		return nil, fmt.Errorf("issuer key of cluster %s: %w", cluster, err)
	}
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	i := &issuer{cluster: cluster, key: key, kid: hex.EncodeToString(sum[:8]), now: now}
	i.node = node{Name: cluster + "-node", UID: i.uid("node")}
	i.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: i.kid}}, nil)
	return i, err
}

func loadKey(path string, random io.Reader) (*rsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path, random)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no RSA key", path)
	}
	return key, nil
}

func makeKey(path string, random io.Reader) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(random, 2048)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// uid is a UUID that stays the same for the same thing of the same cluster.
func (i *issuer) uid(parts ...string) string {
	h := sha256.Sum256([]byte(i.kid + "\x00" + strings.Join(parts, "\x00")))
	h[6], h[8] = h[6]&0x0f|0x40, h[8]&0x3f|0x80
	s := hex.EncodeToString(h[:16])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// jwks is the key set, as /openid/v1/jwks of an API server has it.
func (i *issuer) jwks() ([]byte, error) {
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &i.key.PublicKey, KeyID: i.kid, Algorithm: "RS256", Use: "sig"}}})
}

// claims are those of a projected token: bound to service account, pod and
// node.
type claims struct {
	Audience   []string   `json:"aud"`
	Expires    int64      `json:"exp"`
	IssuedAt   int64      `json:"iat"`
	Issuer     string     `json:"iss"`
	ID         string     `json:"jti"`
	Kubernetes kubernetes `json:"kubernetes.io"`
	NotBefore  int64      `json:"nbf"`
	Subject    string     `json:"sub"`
}

type kubernetes struct {
	Namespace      string `json:"namespace"`
	Node           node   `json:"node"`
	Pod            node   `json:"pod"`
	ServiceAccount node   `json:"serviceaccount"`
}

// token signs a token for a pod of the service account. Without a pod's name
// it stands for the first pod of a deployment of that name.
func (i *issuer) token(r controlplane.TokenRequest) (controlplane.Token, error) {
	pod := r.Pod
	if pod == "" {
		pod = r.ServiceAccount + "-" + strings.ToLower(base32.StdEncoding.EncodeToString([]byte(i.uid(r.Namespace, r.ServiceAccount)))[:5])
	}
	now := i.now()
	c := claims{
		Audience: []string{r.Audience}, Issuer: issuerURL, IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(tokenLife).Unix(),
		ID: i.uid("jti", r.Namespace, r.ServiceAccount, pod, now.String()), Subject: "system:serviceaccount:" + r.Namespace + ":" + r.ServiceAccount,
		Kubernetes: kubernetes{
			Namespace: r.Namespace, Node: i.node, Pod: node{pod, i.uid("pod", r.Namespace, pod)},
			ServiceAccount: node{r.ServiceAccount, i.uid("sa", r.Namespace, r.ServiceAccount)},
		},
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return controlplane.Token{}, err
	}
	signed, err := i.signer.Sign(payload)
	if err != nil {
		return controlplane.Token{}, err
	}
	text, err := signed.CompactSerialize()
	return controlplane.Token{
		Token: text, Expires: now.Add(tokenLife), Pod: pod, PodUID: c.Kubernetes.Pod.UID, Node: i.node.Name, AgentEndpoint: i.agent,
	}, err
}

// issuers are the local clusters, by name.
type issuers map[string]*issuer

// Token implements controlplane.TokenIssuer.
func (is issuers) Token(_ context.Context, r controlplane.TokenRequest) (controlplane.Token, error) {
	i, ok := is[r.Cluster]
	if !ok {
		return controlplane.Token{}, fault.New(fault.NotFound, "No local cluster has the name %s; podid dev stands for those given with --clusters.", r.Cluster).WithReason("cluster-not-local")
	}
	if r.Audience == "" {
		r.Audience = podAudience
	}
	return i.token(r)
}
