// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// wantAgents asks with the env file's exports for the add-on of each cluster's
// agent, as eksctl does before it makes an association: it is there at once.
func wantAgents(t *testing.T, env string, clusters []string) {
	t.Helper()
	get := func(name string) string {
		m := regexp.MustCompile(`(?m)^export ` + name + `='([^']*)'`).FindStringSubmatch(env)
		if m == nil {
			t.Fatalf("env exports no %s", name)
		}
		return m[1]
	}
	pem, err := os.ReadFile(get("AWS_CA_BUNDLE"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	c := eks.New(eks.Options{
		Region: get("AWS_REGION"), BaseEndpoint: aws.String(get("AWS_ENDPOINT_URL")), HTTPClient: &http.Client{Transport: transport},
		Credentials: awscredentials.NewStaticCredentialsProvider(get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), ""),
	})
	for _, name := range clusters {
		out, err := c.DescribeAddon(t.Context(), &eks.DescribeAddonInput{ClusterName: aws.String(name), AddonName: aws.String("eks-pod-identity-agent")})
		if err != nil || out.Addon.Status != types.AddonStatusActive {
			t.Errorf("agent of %s: %+v, %v", name, out, err)
		}
	}
}
