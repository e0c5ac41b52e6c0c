// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	account = "111122223333"
	region  = "us-west-2"
	cluster = "bench"
	// serviceAccounts have an association each.
	serviceAccounts = 16
)

// world is a control plane with a cluster whose pods may exchange.
type world struct {
	server *process
	base   string // https://localhost:port
	dir    string
	tokens *signer
	http   *http.Client
	admin  aws.Credentials
	// nodeRole is the role of the agents, session one of its sessions.
	nodeRole string
	session  aws.Credentials
	// podRole is that of the associations.
	podRole string
	// plainRole trusts the account, as roles that users assume do.
	plainRole string
	accounts  []string
	provider  string // ARN of the cluster's

	readyWall, readyCPU time.Duration
	idleRSS             int64
}

// freePort is one that was free a moment ago.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, errors.Join(err, ln.Close())
}

// freePorts are n of them.
func freePorts(n int) ([]string, error) {
	ports := make([]string, n)
	for i := range ports {
		var err error
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

// openWorld starts a control plane in an empty directory and times it.
func openWorld(ctx context.Context, o options, dir string) (*world, error) {
	w := &world{dir: filepath.Join(dir, "server")}
	w.http = insecure()
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	w.base = "https://localhost:" + port
	begin := time.Now()
	w.server, err = start(ctx, "podid server", nil, false, o.server, "server", "--data-dir", w.dir, "--account-id", account, "--region", region,
		"--listen", "127.0.0.1:"+port, "--metrics-address", "")
	if err != nil {
		return nil, err
	}
	if err := ready(ctx, w.http, w.server, w.base+"/readyz"); err != nil {
		return nil, errors.Join(err, w.server.stop())
	}
	w.readyWall = time.Since(begin)
	if w.readyCPU, err = w.server.cpu(); err == nil {
		if err = pause(ctx, o.settle); err == nil {
			w.idleRSS, err = w.server.rss()
		}
	}
	if err == nil {
		err = w.furnish(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, w.server.stop())
	}
	return w, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// furnish registers the cluster and makes roles, associations and the node's session.
func (w *world) furnish(ctx context.Context) error {
	var err error
	if w.tokens, err = newSigner(); err != nil {
		return err
	}
	if err = w.readAdmin(); err != nil {
		return err
	}
	var reg struct {
		Cluster struct{ ProviderARN string } `json:"cluster"`
	}
	err = w.call(ctx, w.admin, "podid", "/podid/v1/clusters", map[string]any{"name": cluster, "issuer": issuer, "jwks": w.tokens.jwks()}, &reg)
	if err != nil {
		return err
	}
	w.provider = reg.Cluster.ProviderARN
	w.nodeRole, err = w.role(ctx, "podid-node", w.trusts("podid-agent"), "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")
	if err != nil {
		return err
	}
	w.podRole, err = w.role(ctx, "app", statement([]string{"sts:AssumeRole", "sts:TagSession"}, map[string]any{"Service": podAudience}, map[string]any{
		"StringEquals": map[string]any{"aws:SourceAccount": account},
		"ArnEquals":    map[string]any{"aws:SourceArn": "arn:aws:eks:" + region + ":" + account + ":cluster/" + cluster},
	}), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
	if err != nil {
		return err
	}
	w.plainRole, err = w.role(ctx, "plain", statement("sts:AssumeRole", map[string]any{"AWS": account}, map[string]any{
		"StringLike": map[string]any{"sts:RoleSessionName": "bench-*"},
	}), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
	if err != nil {
		return err
	}
	for i := range serviceAccounts {
		name := fmt.Sprintf("app-%02d", i)
		w.accounts = append(w.accounts, name)
		in := map[string]any{"namespace": namespace, "serviceAccount": name, "roleArn": w.podRole}
		if err := w.call(ctx, w.admin, "eks", "/clusters/"+cluster+"/pod-identity-associations", in, nil); err != nil {
			return err
		}
	}
	return w.assumeNodeRole(ctx)
}

// trusts is the trust in a service account of podid's own, by the audience of the control plane.
func (w *world) trusts(serviceAccount string) map[string]any {
	_, host, _ := strings.Cut(w.provider, ":oidc-provider/")
	return statement("sts:AssumeRoleWithWebIdentity", map[string]any{"Federated": w.provider}, map[string]any{
		"StringEquals": map[string]any{host + ":sub": "system:serviceaccount:podid-system:" + serviceAccount, host + ":aud": nodeAudience},
	})
}

func statement(action, principal, condition any) map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Action": action, "Principal": principal, "Condition": condition,
	}}}
}

func (w *world) readAdmin() error {
	text, err := os.ReadFile(filepath.Join(w.dir, "admin-credentials"))
	if err != nil {
		return fmt.Errorf("read the admin's key: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		k, v, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(k) {
		case "aws_access_key_id":
			w.admin.AccessKeyID = strings.TrimSpace(v)
		case "aws_secret_access_key":
			w.admin.SecretAccessKey = strings.TrimSpace(v)
		}
	}
	return nil
}

func (w *world) role(ctx context.Context, name string, trust any, policyARN string) (string, error) {
	text, err := json.Marshal(trust)
	if err != nil {
		return "", err
	}
	c := iam.New(iam.Options{Region: region, BaseEndpoint: &w.base, HTTPClient: w.http, Credentials: static(w.admin), RetryMaxAttempts: 1})
	out, err := c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(string(text))})
	if err != nil {
		return "", fmt.Errorf("make role %s: %w", name, err)
	}
	if _, err := c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: &policyARN}); err != nil {
		return "", fmt.Errorf("make role %s: %w", name, err)
	}
	return *out.Role.Arn, nil
}

func static(c aws.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

// assumeNodeRole gets the session that an agent on the node would have.
func (w *world) assumeNodeRole(ctx context.Context) error {
	token, err := w.tokens.token(nodeAudience, "podid-system", "podid-agent", "podid-agent-x")
	if err != nil {
		return err
	}
	c := sts.New(sts.Options{Region: region, BaseEndpoint: &w.base, HTTPClient: w.http, Credentials: aws.AnonymousCredentials{}, RetryMaxAttempts: 1})
	out, err := c.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: &w.nodeRole, RoleSessionName: aws.String(node), WebIdentityToken: &token,
	})
	if err != nil {
		return fmt.Errorf("assume the node role: %w", err)
	}
	k := out.Credentials
	w.session = aws.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey, SessionToken: *k.SessionToken}
	return nil
}

// exchanges mints n tokens and signs the request of each, all before the clock starts.
func (w *world) exchanges(ctx context.Context, n int) ([]request, error) {
	tokens, err := w.tokens.podTokens(n, w.accounts)
	if err != nil {
		return nil, err
	}
	out := make([]request, n)
	s := v4.NewSigner()
	for i, token := range tokens {
		body := []byte(`{"token":"` + token + `"}`)
		path := "/clusters/" + cluster + "/assume-role-for-pod-identity"
		r, err := w.sign(ctx, s, w.session, "eks-auth", path, "application/json", body)
		if err != nil {
			return nil, err
		}
		out[i] = request{method: r.Method, path: path, host: r.Host, header: r.Header, body: body}
	}
	return out, nil
}

// assumes signs n requests of a user who assumes a role.
func (w *world) assumes(ctx context.Context, n int) ([]request, error) {
	out := make([]request, n)
	s := v4.NewSigner()
	for i := range out {
		form := url.Values{
			"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {w.plainRole}, "RoleSessionName": {fmt.Sprintf("bench-%d", i)},
		}
		body := []byte(form.Encode())
		r, err := w.sign(ctx, s, w.admin, "sts", "/", "application/x-www-form-urlencoded", body)
		if err != nil {
			return nil, err
		}
		out[i] = request{method: r.Method, path: "/", host: r.Host, header: r.Header, body: body}
	}
	return out, nil
}

func (w *world) sign(ctx context.Context, s *v4.Signer, c aws.Credentials, service, path, content string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", content)
	r.Header.Set("User-Agent", "podid-agent/bench")
	sum := sha256.Sum256(body)
	if err := s.SignHTTP(ctx, c, r, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		return nil, fmt.Errorf("sign request: %w", err)
	}
	return r, nil
}

// call makes a REST call; out may be nil.
func (w *world) call(ctx context.Context, c aws.Credentials, service, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := w.sign(ctx, v4.NewSigner(), c, service, path, "application/json", body)
	if err != nil {
		return err
	}
	resp, err := w.http.Do(r)
	if err != nil {
		return fmt.Errorf("call %s: %w", path, err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("call %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("call %s: %s: %.300s", path, resp.Status, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}
