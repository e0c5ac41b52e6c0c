// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controlplanetest runs a whole control plane inside a test: real
// etcd, real TLS, real signatures, and local clusters whose tokens the test
// mints. It owns nothing of the product; it refuses to be linked by it.
package controlplanetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/controlplane"
	"podid/internal/seal"
	"podid/internal/serverconfig"
)

// Account and region of every test's control plane.
const (
	Account = "111122223333"
	Region  = "us-west-2"
)

// ControlPlane is a running control plane.
type ControlPlane struct {
	Plane *controlplane.ControlPlane

	Endpoint string
	CAFile   string
	// AccountID is the account that the clients below are of.
	AccountID string
	Dir       string
	Roots     *x509.CertPool
	HTTP      *http.Client
	Admin     aws.CredentialsProvider
	AdminID   string
	Secret    string

	tb   testing.TB
	now  func() time.Time
	stop func()
}

// Options vary a control plane. The zero value is the ordinary one.
type Options struct {
	Dir      string            // data directory; "" is a temporary one
	Settings map[string]string // PODID_… settings
	Now      func() time.Time
	Tokens   controlplane.TokenIssuer
	Log      io.Writer     // text, from debug on; nil is none, and no work for it
	Stdout   io.Writer     // for PODID_AUDIT_LOG=stdout
	Peer     *ControlPlane // a replica over the same store, whose admin this one has
}

// Start runs a control plane until the test ends.
func Start(tb testing.TB, o Options) *ControlPlane {
	tb.Helper()
	cp, err := controlplane.Open(context.Background(), Config(tb, &o))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cp.Run(ctx) }()
	c := &ControlPlane{Plane: cp, tb: tb, now: o.Now, AccountID: Account, Endpoint: cp.Endpoint(), CAFile: cp.CAFile(), Dir: o.Dir}
	c.stop = func() {
		if cancel == nil {
			return
		}
		c.HTTP.CloseIdleConnections() // else HTTP/2 waits a second for the client to go
		cancel()
		cancel = nil
		if err := <-done; err != nil {
			tb.Errorf("control plane: %v", err)
		}
	}
	tb.Cleanup(c.Stop)
	c.trust()
	if o.Peer != nil {
		c.AdminID, c.Secret, c.Admin = o.Peer.AdminID, o.Peer.Secret, o.Peer.Admin
	} else {
		c.readAdmin()
	}
	return c
}

// Refused opens a control plane that must not start, and returns why.
func Refused(tb testing.TB, o Options) error {
	tb.Helper()
	cp, err := controlplane.Open(context.Background(), Config(tb, &o))
	if err == nil {
		tb.Error("the control plane starts")
		return cp.Close()
	}
	return err
}

// Config is what Start makes a control plane of, for what works on a data
// directory without one. It fills the options' defaults in.
func Config(tb testing.TB, o *Options) controlplane.Config {
	tb.Helper()
	if o.Dir == "" {
		o.Dir = tb.TempDir()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	log := slog.New(slog.DiscardHandler)
	if o.Log != nil {
		log = slog.New(slog.NewTextHandler(o.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	return controlplane.Config{
		Settings: settings(tb, *o), Release: "test", Log: log, Now: o.Now, Rand: rand.Reader, Stdout: o.Stdout, Tokens: o.Tokens,
	}
}

// Stop ends the control plane before the test does.
func (c *ControlPlane) Stop() { c.stop() }

func settings(tb testing.TB, o Options) serverconfig.Config {
	tb.Helper()
	given := map[string]string{
		"PODID_DATA_DIR": o.Dir, "PODID_ACCOUNT_ID": Account, "PODID_REGION": Region, "PODID_LISTEN": "127.0.0.1:0", "PODID_METRICS_ADDRESS": "",
	}
	for k, v := range o.Settings {
		given[k] = v
	}
	if given["PODID_ETCD_ENDPOINTS"] != "" {
		shareRootKey(tb, given)
	}
	s, err := serverconfig.NewFlags().Load(serverconfig.Env{Lookup: func(k string) (string, bool) { v, ok := given[k]; return v, ok }})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// shareRootKey is what whoever runs replicas does first. The etcd of tests is
// on loopback and takes anybody.
func shareRootKey(tb testing.TB, given map[string]string) {
	tb.Helper()
	if _, ok := given["PODID_ETCD_CERT"]; !ok {
		given["PODID_ETCD_INSECURE"] = "true"
	}
	if given["PODID_ROOT_KEY_FILE"] == "" {
		given["PODID_ROOT_KEY_FILE"] = filepath.Join(given["PODID_DATA_DIR"], "root.key")
	}
	if _, err := seal.LoadOrCreateRootKey(given["PODID_ROOT_KEY_FILE"], rand.Reader); err != nil {
		tb.Fatal(err)
	}
}

func (c *ControlPlane) trust() {
	c.tb.Helper()
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.Roots = x509.NewCertPool()
	if !c.Roots.AppendCertsFromPEM(pem) {
		c.tb.Fatalf("%s holds no certificate", c.CAFile)
	}
	c.HTTP = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12, Time: c.now}, ForceAttemptHTTP2: true}}
}

func (c *ControlPlane) readAdmin() {
	c.tb.Helper()
	c.AdminID, c.Secret, c.Admin = ReadCredentials(c.tb, filepath.Join(c.Dir, "admin-credentials"))
}

// ReadCredentials reads the key from a shared credentials file that holds one.
func ReadCredentials(tb testing.TB, path string) (id, key string, p aws.CredentialsProvider) {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		k, v, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(k) {
		case "aws_access_key_id":
			id = strings.TrimSpace(v)
		case "aws_secret_access_key":
			key = strings.TrimSpace(v)
		}
	}
	return id, key, credentials.NewStaticCredentialsProvider(id, key, "")
}

// Config is for AWS' SDK, with the credentials given. One attempt: a refusal
// is an answer.
func (c *ControlPlane) Config(p aws.CredentialsProvider) aws.Config {
	return aws.Config{Region: Region, BaseEndpoint: aws.String(c.Endpoint), Credentials: p, HTTPClient: c.HTTP, RetryMaxAttempts: 1}
}

// EKS, IAM and STS are the SDK's clients as the admin.
func (c *ControlPlane) EKS() *eks.Client { return eks.NewFromConfig(c.Config(c.Admin)) }

// IAM is the SDK's client as the admin.
func (c *ControlPlane) IAM() *iam.Client { return iam.NewFromConfig(c.Config(c.Admin)) }

// STS is the SDK's client as the admin.
func (c *ControlPlane) STS() *sts.Client { return sts.NewFromConfig(c.Config(c.Admin)) }

// Answer is what a REST call came to.
type Answer struct {
	Status int
	Code   string // x-amzn-ErrorType
	Body   map[string]any
	Raw    []byte
}

// Call makes a signed REST call for a service ("podid", "eks", "eks-auth").
func (c *ControlPlane) Call(ctx context.Context, p aws.CredentialsProvider, service, method, path string, in any) (Answer, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return Answer{}, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	if p != nil {
		cred, err := p.Retrieve(ctx)
		if err != nil {
			return Answer{}, err
		}
		raw := sha256.Sum256(body)
		sum := hex.EncodeToString(raw[:])
		r.Header.Set("X-Amz-Content-Sha256", sum)
		if err := v4.NewSigner().SignHTTP(ctx, cred, r, sum, service, Region, c.now()); err != nil {
			return Answer{}, err
		}
	}
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return Answer{}, err
	}
	raw, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return Answer{}, err
	}
	out := Answer{Status: resp.StatusCode, Code: resp.Header.Get("x-amzn-ErrorType"), Raw: raw}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out.Body); err != nil {
			return out, fmt.Errorf("answer %.200q is not JSON: %w", raw, err)
		}
	}
	return out, nil
}
