// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// service is the name that podid's own API is signed for.
const service = "podid"

// maxAnswer bounds an answer in bytes: a cluster has at most 256 KiB of keys.
const maxAnswer = 4 << 20

// callTimeout bounds one call, so that a silent server does not hang a shell.
const callTimeout = 30 * time.Second

// HTTPClient sends requests.
type HTTPClient interface {
	Do(*http.Request) (*http.Response, error)
}

// Podid calls /podid/v1. Fields are set once, before use. Without Credentials
// nothing is signed, which Activate alone allows.
type Podid struct {
	Endpoint    string
	Region      string
	Credentials aws.CredentialsProvider
	HTTP        HTTPClient
	Signer      *v4.Signer
	Now         func() time.Time
}

func httpClient(cfg aws.Config) HTTPClient {
	if cfg.HTTPClient != nil {
		return cfg.HTTPClient
	}
	return awshttp.NewBuildableClient()
}

// RegisterInput is the body of RegisterCluster.
type RegisterInput struct {
	Name                 string            `json:"name"`
	Connect              bool              `json:"connect,omitempty"` // the cluster brings its keys with an activation code
	Issuer               string            `json:"issuer"`
	JWKS                 json.RawMessage   `json:"jwks,omitempty"`
	Discover             bool              `json:"discover,omitempty"`
	NodeBinding          string            `json:"nodeBinding,omitempty"`
	Version              string            `json:"version,omitempty"`
	Endpoint             string            `json:"endpoint,omitempty"`
	CertificateAuthority string            `json:"certificateAuthority,omitempty"` // base64 of PEM
	Tags                 map[string]string `json:"tags,omitempty"`
	EnrolmentKey         json.RawMessage   `json:"enrolmentKey,omitempty"` // public half, a JWK
}

// UpdateInput is the body of UpdateCluster; what is nil stays as it is.
type UpdateInput struct {
	JWKS                 json.RawMessage `json:"jwks,omitempty"`
	KeepOldKeys          bool            `json:"keepOldKeys,omitempty"` // until their tokens have expired
	FetchKeys            bool            `json:"fetchKeys,omitempty"`
	Discover             *bool           `json:"discover,omitempty"`
	NodeBinding          *string         `json:"nodeBinding,omitempty"`
	Version              *string         `json:"version,omitempty"`
	Endpoint             *string         `json:"endpoint,omitempty"`
	CertificateAuthority *string         `json:"certificateAuthority,omitempty"`
	EnrolmentKey         json.RawMessage `json:"enrolmentKey,omitempty"`   // public half, a JWK
	NoEnrolmentKey       bool            `json:"noEnrolmentKey,omitempty"` // takes it away
}

// Cluster is a registered cluster with all that podid knows of it.
type Cluster struct {
	Name                 string            `json:"name"`
	Arn                  string            `json:"arn"`
	Status               string            `json:"status"`               // ACTIVE or PENDING
	Activation           *Activation       `json:"activation,omitempty"` // while PENDING
	UID                  string            `json:"uid"`
	ProviderArn          string            `json:"providerArn"`
	Issuer               string            `json:"issuer"`
	KeyIDs               []string          `json:"keyIds"`
	JWKS                 json.RawMessage   `json:"jwks"` // retired keys too
	RetiredKeys          []RetiredKey      `json:"retiredKeys,omitempty"`
	EnrolmentKeyID       string            `json:"enrolmentKeyId,omitempty"`
	Discover             bool              `json:"discover"`
	NodeBinding          string            `json:"nodeBinding"`
	Version              string            `json:"version,omitempty"`
	Endpoint             string            `json:"endpoint,omitempty"`
	CertificateAuthority string            `json:"certificateAuthority,omitempty"`
	Tags                 map[string]string `json:"tags"`
	CreatedAt            float64           `json:"createdAt"` // epoch seconds
	ModifiedAt           float64           `json:"modifiedAt"`
}

// RetiredKey is a key that the API server has no more, and when tokens of it
// are no longer accepted.
type RetiredKey struct {
	KeyID string  `json:"keyId"`
	Until float64 `json:"until"` // epoch seconds
}

// TokenInput asks for a service account token of a cluster whose issuer key
// the control plane holds (`podid dev`).
type TokenInput struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	PodName        string `json:"podName,omitempty"`
	Audience       string `json:"audience,omitempty"` // pods.eks.amazonaws.com by default
}

// Token is the answer. It prints as [secret]; Value gives the token.
type Token struct {
	Token         SecretString `json:"token"`
	Expiration    float64      `json:"expiration"` // epoch seconds
	AgentEndpoint string       `json:"agentEndpoint"`
	PodName       string       `json:"podName"`
	PodUID        string       `json:"podUid"`
	NodeName      string       `json:"nodeName"`
}

// SecretString is a secret that no format verb and no logger shows.
type SecretString string

// String hides the value.
func (SecretString) String() string { return "[secret]" }

// GoString hides the value.
func (SecretString) GoString() string { return "[secret]" }

// Expires is when the token ends.
func (t *Token) Expires() time.Time { return Epoch(t.Expiration) }

// Epoch makes a time of epoch seconds, to the millisecond.
func Epoch(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)).UTC() }

// RegisterCluster calls podid:RegisterCluster.
func (p *Podid) RegisterCluster(ctx context.Context, in RegisterInput) (*Cluster, error) {
	var out struct{ Cluster Cluster }
	return &out.Cluster, p.call(ctx, http.MethodPost, "/podid/v1/clusters", in, &out)
}

// DescribeCluster calls podid:DescribeCluster.
func (p *Podid) DescribeCluster(ctx context.Context, name string) (*Cluster, error) {
	var out struct{ Cluster Cluster }
	return &out.Cluster, p.call(ctx, http.MethodGet, clusterPath(name), nil, &out)
}

// UpdateCluster calls podid:UpdateCluster.
func (p *Podid) UpdateCluster(ctx context.Context, name string, in UpdateInput) (*Cluster, error) {
	var out struct{ Cluster Cluster }
	return &out.Cluster, p.call(ctx, http.MethodPatch, clusterPath(name), in, &out)
}

// CreateToken asks the control plane of `podid dev` for a token.
func (p *Podid) CreateToken(ctx context.Context, cluster string, in TokenInput) (*Token, error) {
	out := &Token{}
	return out, p.call(ctx, http.MethodPost, clusterPath(cluster)+"/token", in, out)
}

// Explain calls podid:Explain.
func (p *Podid) Explain(ctx context.Context, cluster string, in ExplainInput) (*Explanation, error) {
	out := &Explanation{}
	return out, p.call(ctx, http.MethodPost, clusterPath(cluster)+"/explain", in, out)
}

func clusterPath(name string) string { return "/podid/v1/clusters/" + url.PathEscape(name) }

// call sends one signed request. An answer that is no 2xx becomes a
// smithy.APIError, as those of AWS' clients are.
func (p *Podid) call(ctx context.Context, method, path string, in, out any) error {
	body := []byte{}
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	return p.send(ctx, method, path, body, out)
}

// send is call with a body that is JSON already.
func (p *Podid) send(ctx context.Context, method, path string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(p.Endpoint, "/")+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if p.Credentials != nil {
		if err := p.sign(ctx, req, body); err != nil {
			return err
		}
	}
	resp, err := p.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("call control plane: %w", err)
	}
	return errors.Join(read(resp, out), resp.Body.Close())
}

func (p *Podid) sign(ctx context.Context, req *http.Request, body []byte) error {
	return p.signFor(ctx, req, body, service)
}

// signFor signs for a service of AWS', which the control plane serves too.
func (p *Podid) signFor(ctx context.Context, req *http.Request, body []byte, service string) error {
	creds, err := p.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("get credentials: %w", err)
	}
	raw := sha256.Sum256(body)
	sum := hex.EncodeToString(raw[:])
	req.Header.Set("X-Amz-Content-Sha256", sum)
	if err := p.Signer.SignHTTP(ctx, creds, req, sum, service, p.Region, p.Now()); err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	return nil
}

func read(resp *http.Response, out any) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if len(data) > maxAnswer {
		return fmt.Errorf("read answer: longer than %d bytes", maxAnswer)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return apiError(resp, data)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

func apiError(resp *http.Response, data []byte) error {
	var body struct{ Message string }
	if json.Unmarshal(data, &body) != nil || body.Message == "" {
		body.Message = "the server answered " + resp.Status
	}
	code, _, _ := strings.Cut(resp.Header.Get("X-Amzn-Errortype"), ":")
	if code == "" {
		code = "UnknownError"
	}
	fault := smithy.FaultClient
	if resp.StatusCode >= 500 {
		fault = smithy.FaultServer
	}
	return &smithy.GenericAPIError{Code: code, Message: body.Message, Fault: fault}
}
