// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"podid/internal/cli/clients"
)

// exported is what the env file's exports make of AWS' clients.
func exported(t *testing.T, env string) *clients.Clients {
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
	t.Cleanup(transport.CloseIdleConnections)
	return clients.New(aws.Config{
		Region: get("AWS_REGION"), BaseEndpoint: aws.String(get("AWS_ENDPOINT_URL")), HTTPClient: &http.Client{Transport: transport},
		Credentials: awscredentials.NewStaticCredentialsProvider(get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), ""),
	})
}

// kubeToken is what eksctl and kubectl make of the exports.
func kubeToken(t *testing.T, c *clients.Clients, cluster string) string {
	t.Helper()
	signed, err := sts.NewPresignClient(c.STS).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, func(o *sts.Options) {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("x-k8s-aws-id", cluster), smithyhttp.SetHeaderValue("X-Amz-Expires", "60"))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(signed.URL))
}

// wantKubernetes asks the API server of each cluster, where DescribeCluster
// says that it is, with the admin's token for that cluster and for another.
func wantKubernetes(t *testing.T, env string, clusterNames []string) {
	t.Helper()
	all := exported(t, env)
	for i, name := range clusterNames {
		c, err := all.Podid.DescribeCluster(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		pem, err := base64.StdEncoding.DecodeString(c.CertificateAuthority)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
		for token, want := range map[string]int{
			kubeToken(t, all, name): http.StatusOK, kubeToken(t, all, clusterNames[1-i]): http.StatusUnauthorized, "k8s-aws-v1.x": http.StatusUnauthorized,
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Endpoint+"/api/v1/namespaces/default", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := (&http.Client{Transport: transport}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close() // nothing of it is read
			if resp.StatusCode != want {
				t.Errorf("API server of %s: %d, want %d", name, resp.StatusCode, want)
			}
		}
		transport.CloseIdleConnections()
		if c.Version == "" {
			t.Errorf("%s has no version", name)
		}
	}
}
