// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"podid/internal/agent"
	"podid/internal/agent/nodeidentity"
	"podid/internal/controlplane"
	"podid/internal/secret"
)

type credentials struct {
	id     string
	secret secret.String
}

// adminCredentials reads the key that the first start left.
func (d *process) adminCredentials() (credentials, error) {
	f, err := os.Open(controlplane.AdminFile(d.path("server")))
	if err != nil {
		return credentials{}, fmt.Errorf("read the admin's credentials: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	var c credentials
	for sc := bufio.NewScanner(f); sc.Scan(); {
		k, v, _ := strings.Cut(sc.Text(), "=")
		switch v = strings.TrimSpace(v); strings.TrimSpace(k) {
		case "aws_access_key_id":
			c.id = v
		case "aws_secret_access_key":
			c.secret = secret.New(v)
		}
	}
	if c.id == "" || c.secret.IsZero() {
		return credentials{}, fmt.Errorf("%s holds no key", f.Name())
	}
	return c, nil
}

// writeEnv writes the shell exports that make clients talk to this process.
// Scripts wait for the file, so it appears whole and last.
func (d *process) writeEnv(admin credentials) error {
	first := d.cfg.Clusters[0]
	vars := [][2]string{
		{"AWS_ENDPOINT_URL", d.endpoint},
		{"AWS_CA_BUNDLE", d.caFile},
		{"NODE_EXTRA_CA_CERTS", d.caFile},
		{"AWS_ACCESS_KEY_ID", admin.id},
		{"AWS_SECRET_ACCESS_KEY", admin.secret.Reveal()},
		{"AWS_REGION", d.cfg.Region},
		{"AWS_DEFAULT_REGION", d.cfg.Region}, // CLI 1 and boto3 read the latter only
		{"PODID_CLUSTER", first},
		{"PODID_AGENT_ENDPOINT", d.issuers[first].agent},
	}
	var b strings.Builder
	b.WriteString("# Made by podid dev; holds the admin's key. Use: . " + shellQuote(d.path("env")) + "\n")
	// A session or profile of the caller's own would win over or mix with these.
	b.WriteString("unset AWS_SESSION_TOKEN AWS_PROFILE\n")
	for _, v := range vars {
		b.WriteString("export " + v[0] + "=" + shellQuote(v[1]) + "\n")
	}
	return writeFile(d.path("env"), []byte(b.String()))
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// writeFile writes a private file whole or not at all.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *process) greet(took time.Duration) {
	cluster := d.cfg.Clusters[0]
	fmt.Fprintf(d.cfg.Out, `podid dev is ready after %d ms.
  endpoint  %s
  account   %s, region %s
  clusters  %s

In another shell:
  . %s
  podid create podidentityassociation --cluster %s --namespace s3-app-ns --service-account-name s3-app-sa \
    --role-name s3-app-eks-pod-identity-role --permission-policy-arns arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess
  podid exec --cluster %s --namespace s3-app-ns --service-account-name s3-app-sa -- aws sts get-caller-identity

eksctl takes the same flags: eksctl create podidentityassociation … with these exports.
Ctrl-C stops it.
`, took.Milliseconds(), d.endpoint, d.cfg.AccountID, d.cfg.Region, strings.Join(d.cfg.Clusters, ", "), shellQuote(d.path("env")), cluster, cluster)
}

// newAgent makes the node agent of a local cluster. Its identity is the
// cluster's node role, got with a token of its own, as in a real cluster.
func (d *process) newAgent(i *issuer, roleARN string) (*agent.Agent, error) {
	tokenFile := d.path("agents", i.cluster+".token")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}}
	identity, err := nodeidentity.NewWebIdentity(nodeidentity.WebIdentityConfig{
		RoleARN: roleARN, TokenFile: tokenFile, SessionName: i.node.Name, Endpoint: d.endpoint, HTTP: client, Now: d.cfg.Now,
	})
	if err != nil {
		return nil, err
	}
	if err := d.writeAgentToken(i, tokenFile); err != nil {
		return nil, err
	}
	i.identity = identity
	return agent.New(agent.Config{
		Cluster: i.cluster, Region: d.cfg.Region, Endpoint: d.endpoint, Credentials: identity, HTTP: client, RootCAs: d.roots,
		BindAddresses: []string{"127.0.0.1:0"}, FollowAssociations: true, Log: d.cfg.Log.With("agent", i.cluster), Version: d.cfg.Release, Now: d.cfg.Now, Rand: d.cfg.Rand,
	})
}

func (d *process) writeAgentToken(i *issuer, path string) error {
	t, err := i.token(controlplane.TokenRequest{
		Cluster: i.cluster, Namespace: agentNamespace, ServiceAccount: agentServiceAccount, Audience: nodeidentity.Audience,
	})
	if err != nil {
		return err
	}
	return writeFile(path, []byte(t.Token))
}

// rotateTokens stands for kubelet: it writes the agents' tokens anew long
// before they end. The agents' sessions are kept fresh with them, so that the
// agents are known to be there however idle they are.
func (d *process) rotateTokens(ctx context.Context) error {
	t := time.NewTicker(tokenLife / 4)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			for _, i := range d.issuers {
				if err := d.writeAgentToken(i, d.path("agents", i.cluster+".token")); err != nil {
					d.cfg.Log.ErrorContext(ctx, "write the agent's token", "cluster", i.cluster, "err", err)
				}
				if _, err := i.identity.Retrieve(ctx); err != nil && ctx.Err() == nil {
					d.cfg.Log.ErrorContext(ctx, "renew the agent's session", "cluster", i.cluster, "err", err)
				}
			}
		}
	}
}
