// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"podid/internal/cli/setup"
	"podid/internal/controlplane"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// wantAgents asks with the env file's exports for the add-on of each cluster's
// agent, as eksctl does before it makes an association: it is there at once.
func wantAgents(t *testing.T, env string, clusters []string) {
	t.Helper()
	c := exported(t, env).EKS
	for _, name := range clusters {
		out, err := c.DescribeAddon(t.Context(), &eks.DescribeAddonInput{ClusterName: aws.String(name), AddonName: aws.String("eks-pod-identity-agent")})
		if err != nil || out.Addon.Status != types.AddonStatusActive {
			t.Errorf("agent of %s: %+v, %v", name, out, err)
		}
	}
}

// TestAgentFollows: what the control plane takes from a pod, the agent does not serve for the hours that credentials last.
func TestAgentFollows(t *testing.T) {
	dir := t.TempDir()
	d := &process{issuers: issuers{}, cfg: Config{
		Dir: dir, Clusters: []string{"my-cluster"}, AccountID: "111122223333", Region: "us-west-2", Listen: "127.0.0.1:0", Release: "test",
		Log: slog.New(slog.DiscardHandler), Out: io.Discard, Now: time.Now, Rand: rand.Reader,
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	c := exported(t, waitForFile(t, filepath.Join(dir, "env"), done))
	made, err := setup.CreateAssociation(ctx, c, setup.AssociationInput{Cluster: "my-cluster", Namespace: "ns", ServiceAccount: "sa", RoleName: "pods"})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := d.issuers.Token(ctx, controlplane.TokenRequest{Cluster: "my-cluster", Namespace: "ns", ServiceAccount: "sa"})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	if got, body := askAgent(t, client, &tok); got != http.StatusOK {
		t.Fatalf("with an association: %d %s", got, body)
	}
	if _, err := c.EKS.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: aws.String("my-cluster"), AssociationId: made.AssociationId}); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(30 * time.Second)
	for {
		if got, _ := askAgent(t, client, &tok); got != http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the credentials of a deleted association are served for half a minute")
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}

// askAgent asks as a pod would.
func askAgent(t *testing.T, client *http.Client, tok *controlplane.Token) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tok.AgentEndpoint+"/v1/credentials", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", tok.Token)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // a test
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
