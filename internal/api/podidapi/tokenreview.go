// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi

import (
	"context"
	"net/http"
	"strings"

	"podid/internal/accessentry"
	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/arn"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/secret"
	"podid/internal/tokenreview"
)

// ReviewTokens makes the bearer tokens of API servers.
type ReviewTokens interface {
	CreateReviewToken(ctx context.Context, caller iam.Caller, clusterName string) (secret.String, error)
}

var _ ReviewTokens = (*accessentry.Manager)(nil)

// ReviewTokenRoute is the operation that makes a bearer token for a cluster's
// API server.
func ReviewTokenRoute(tokens ReviewTokens) restjson.Route {
	return Route(http.MethodPost, "/podid/v1/clusters/{name}/review-token", "CreateReviewToken", onCluster, false, func(ctx context.Context, c *call.Call) (any, error) {
		name := c.HTTP.PathValue("name")
		c.Event.RequestParameters = map[string]string{"name": name}
		token, err := tokens.CreateReviewToken(ctx, c.Caller, name)
		if err != nil {
			return nil, err
		}
		c.Event.ResponseElements = map[string]string{"token": audit.Hidden}
		return map[string]string{"token": token.Reveal()}, nil
	})
}

// Reviewer decides on tokens.
type Reviewer interface {
	Cluster(ctx context.Context, name, bearer string) (*cluster.Cluster, error)
	Review(ctx context.Context, c *cluster.Cluster, token string) (iam.Caller, *tokenreview.User, error)
}

// TokenReview is the authentication webhook of clusters' API servers: no
// operation of the API, since API servers do not sign, but a path beside it.
type TokenReview struct {
	Gate      *call.Gate
	Reviews   Reviewer
	Region    string
	Partition string

	codec *restjson.Codec
}

// NewTokenReview returns the webhook on a gate.
func NewTokenReview(gate *call.Gate, reviews Reviewer, partition, region string) *TokenReview {
	return &TokenReview{Gate: gate, Reviews: reviews, Region: region, Partition: partition, codec: restjson.NewCodec(restjson.Errors{
		fault.AccessDenied: {Name: "UnauthorizedException", Status: http.StatusUnauthorized},
	})}
}

const (
	clustersBefore = "/podid/v1/clusters/"
	reviewAfter    = "/token-review"
)

// Handles reports whether a request is the webhook's.
func (t *TokenReview) Handles(r *http.Request) bool {
	return r.Method == http.MethodPost && clusterOfPath(r, reviewAfter) != ""
}

// clusterOfPath is the cluster's name in a path that ends so, "" for another.
func clusterOfPath(r *http.Request, after string) string {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), clustersBefore)
	name, end := strings.CutSuffix(rest, after)
	if !ok || !end || !cluster.ValidName(name) {
		return ""
	}
	return name
}

// ServeHTTP answers a TokenReview.
func (t *TokenReview) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := call.Operation{Service: Service, Source: "podid.dev", Name: "ReviewToken", Action: "none", Resource: onCluster, ReadOnly: true, Anonymous: true}
	t.Gate.Serve(w, r, op, t.codec, t.review)
}

// The members of authentication.k8s.io/v1 TokenReview that are read and
// written. Source: Kubernetes API Reference, TokenReview.
type reviewInput struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Spec       reviewSpec `json:"spec"`
}

type reviewSpec struct {
	Token string `json:"token"`
}

type reviewOutput struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Status     reviewStatus `json:"status"`
}

type reviewStatus struct {
	Authenticated bool        `json:"authenticated"`
	User          *reviewUser `json:"user,omitempty"`
	Error         string      `json:"error,omitempty"`
}

type reviewUser struct {
	Username string              `json:"username"`
	UID      string              `json:"uid"`
	Groups   []string            `json:"groups,omitempty"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

const (
	reviewVersion = "authentication.k8s.io/v1"
	reviewKind    = "TokenReview"
)

func (t *TokenReview) review(ctx context.Context, c *call.Call) (any, error) {
	name := clusterOfPath(c.HTTP, reviewAfter)
	c.Event.RequestParameters = map[string]string{"name": name}
	scheme, bearer, _ := strings.Cut(c.HTTP.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(c.HTTP.Header.Values("Authorization")) != 1 {
		bearer = ""
	}
	cl, err := t.Reviews.Cluster(ctx, name, bearer)
	if err != nil {
		return nil, err
	}
	c.Event.RecipientAccountID = cl.Account
	c.Extra().ClusterUID = cl.UID
	c.Event.Resources = []audit.Resource{{AccountID: cl.Account, Type: "AWS::EKS::Cluster", ARN: arn.Cluster(t.Partition, t.Region, cl.Account, cl.Name)}}
	var in reviewInput
	if err := restjson.Decode(c.Body, &in); err != nil {
		return nil, err
	}
	if in.APIVersion != reviewVersion || in.Kind != reviewKind || in.Spec.Token == "" {
		return nil, fault.New(fault.InvalidRequest, "A TokenReview of authentication.k8s.io/v1 with a token is wanted: set --authentication-token-webhook-version=v1.").WithReason("token-review-form")
	}
	out := reviewOutput{APIVersion: reviewVersion, Kind: reviewKind}
	caller, user, err := t.Reviews.Review(ctx, cl, in.Spec.Token)
	if caller.ARN != "" {
		c.Event.UserIdentity = call.Identity(caller)
	}
	if err != nil {
		f := fault.As(err)
		if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
			return nil, err
		}
		// The webhook has answered; what it refused is in the record.
		c.Extra().Reason = f.Reason
		out.Status.Error = f.Message
		return out, nil
	}
	out.Status = reviewStatus{Authenticated: true, User: &reviewUser{user.Username, user.UID, user.Groups, user.Extra}}
	return out, nil
}
