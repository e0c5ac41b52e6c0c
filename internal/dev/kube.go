// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/cli/clients"
	"podid/internal/dev/apiserver"
)

// reviewTimeout bounds a question to the webhook, and maxReview its answer in
// bytes.
const (
	reviewTimeout = 10 * time.Second
	maxReview     = 64 << 10
)

// adminPolicy is the access policy of administrators of a cluster.
const adminPolicy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

// apiServer is the stand-in for a cluster's API server. It asks podid who
// its callers are, as a real one does.
type apiServer struct {
	*apiserver.Server

	url  string // of the webhook
	http *http.Client
	// bearer proves the API server to the webhook; set when it is registered.
	bearer atomic.Pointer[clients.SecretString]
}

// newAPIServer takes a port for the cluster's API server.
func (d *process) newAPIServer(name string) (*apiServer, error) {
	k := &apiServer{
		url:  d.endpoint + "/podid/v1/clusters/" + url.PathEscape(name) + "/token-review",
		http: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS12}}, Timeout: reviewTimeout},
	}
	var err error
	k.Server, err = apiserver.New(apiserver.Config{
		Cluster: name, File: d.path("apiservers", name+".json"), Review: k.review, Log: d.cfg.Log.With("apiserver", name), Now: d.cfg.Now, Rand: d.cfg.Rand,
	})
	return k, err
}

// authority is the certificate as DescribeCluster shows it.
func (k *apiServer) authority() string { return base64.StdEncoding.EncodeToString(k.CA()) }

// admit makes the admin an administrator of the cluster, as whoever creates an
// EKS cluster is, and gets the API server its bearer token.
func (k *apiServer) admit(ctx context.Context, c *clients.Clients, name string) error {
	who, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	_, err = c.EKS.CreateAccessEntry(ctx, &eks.CreateAccessEntryInput{ClusterName: &name, PrincipalArn: who.Arn})
	if err != nil && !clients.IsConflict(err) {
		return fmt.Errorf("create the admin's access entry: %w", err)
	}
	_, err = c.EKS.AssociateAccessPolicy(ctx, &eks.AssociateAccessPolicyInput{
		ClusterName: &name, PrincipalArn: who.Arn, PolicyArn: aws.String(adminPolicy), AccessScope: &types.AccessScope{Type: types.AccessScopeTypeCluster},
	})
	if err != nil {
		return fmt.Errorf("associate the admin's access policy: %w", err)
	}
	token, err := c.Podid.CreateReviewToken(ctx, name)
	if err != nil {
		return fmt.Errorf("create the API server's token: %w", err)
	}
	k.bearer.Store(&token)
	return nil
}

// review asks podid's webhook.
func (k *apiServer) review(ctx context.Context, token string) (apiserver.User, error) {
	bearer := k.bearer.Load()
	if bearer == nil {
		return apiserver.User{}, errors.New("the API server is not registered yet")
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": map[string]string{"token": token}})
	if err != nil {
		return apiserver.User{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url, bytes.NewReader(body))
	if err != nil {
		return apiserver.User{}, err
	}
	req.Header.Set("Authorization", "Bearer "+string(*bearer))
	req.Header.Set("Content-Type", "application/json")
	resp, err := k.http.Do(req)
	if err != nil {
		return apiserver.User{}, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReview))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return apiserver.User{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return apiserver.User{}, fmt.Errorf("the webhook answers with status %d", resp.StatusCode)
	}
	var out struct {
		Status struct {
			Authenticated bool
			User          struct {
				Username string
				Groups   []string
			}
		}
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return apiserver.User{}, fmt.Errorf("read the webhook's answer: %w", err)
	}
	if !out.Status.Authenticated {
		return apiserver.User{}, apiserver.ErrUnauthenticated
	}
	return apiserver.User{Name: out.Status.User.Username, Groups: out.Status.User.Groups}, nil
}
