// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/sigv4"
)

// Rules of k8s-aws-v1 tokens, as aws-iam-authenticator has them.
const (
	KubeTokenPrefix = "k8s-aws-v1."
	// KubeTokenLife is how long a token is good from its X-Amz-Date on,
	// whatever shorter life its URL names.
	KubeTokenLife = 15 * time.Minute

	maxKubeToken   = 16 << 10
	clusterHeader  = "X-K8s-Aws-Id"
	signedHeaders  = "host;x-k8s-aws-id"
	identityAction = "GetCallerIdentity"
	stsVersion     = "2011-06-15"
)

// tokenParams are the parameters of the URL in a token; only the security
// token may be absent.
var tokenParams = []string{
	"Action", "Version", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Security-Token",
}

var expiresRE = regexp.MustCompile(`^[1-9][0-9]{0,2}$`)

// IsKubeToken reports whether a bearer token says of itself that it is one.
func IsKubeToken(token string) bool { return strings.HasPrefix(token, KubeTokenPrefix) }

func badToken(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidToken, format, args...).WithReason("kube-token-" + reason)
}

// KubeCaller proves who made a k8s-aws-v1 token for the cluster: a presigned
// sts:GetCallerIdentity, which is read and verified here and never fetched.
// hosts are the names, with port where it is not 443, that its URL may have.
// Errors are faults with a reason; their texts hold nothing of the token.
func (a *Authenticator) KubeCaller(ctx context.Context, token, clusterName string, hosts []string) (iam.Caller, error) {
	r, err := parseKubeToken(token, clusterName, hosts)
	if err != nil {
		return iam.Caller{}, err
	}
	s, err := sigv4.Parse(r)
	if err != nil {
		return iam.Caller{}, signatureFault(err)
	}
	if !s.Presigned || s.Expires <= 0 || s.Expires > KubeTokenLife || strings.Join(s.SignedHeaders, ";") != signedHeaders {
		return iam.Caller{}, badToken("form", "The token is not a presigned request of at most 15 minutes.")
	}
	s.Expires = KubeTokenLife
	if err := s.RequireScope("sts", a.regions("sts")...); err != nil {
		return iam.Caller{}, signatureFault(err)
	}
	caller, key, err := a.find(ctx, s)
	if err != nil {
		return iam.Caller{}, err
	}
	if err := s.Verify(r, emptySHA256, a.Keys.Key(s, key.Reveal()), a.Now(), a.Skew); err != nil {
		return iam.Caller{}, signatureFault(err)
	}
	if a.Uses != nil && s.SecurityToken == "" {
		a.Uses.Used(caller.Account, caller.AccessKeyID, s.Service, s.Region)
	}
	return caller, nil
}

// parseKubeToken makes the request that the token's maker has signed, with the
// cluster's name in the header that it must have signed.
func parseKubeToken(token, clusterName string, hosts []string) (*http.Request, error) {
	if len(token) > maxKubeToken {
		return nil, badToken("size", "The token is longer than %d bytes.", maxKubeToken)
	}
	text, ok := strings.CutPrefix(token, KubeTokenPrefix)
	if !ok {
		return nil, badToken("form", "The token does not begin with k8s-aws-v1.")
	}
	// The decoder would pass over line ends.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, badToken("encoding", "The token is not base64url without padding.")
	}
	rest, ok := strings.CutPrefix(string(raw), "https://")
	if !ok || !plainURL(rest) {
		return nil, badToken("url", "The token does not hold an https URL.")
	}
	authority, query, ok := strings.Cut(rest, "/?")
	if !ok || strings.ContainsAny(authority, "/?#@%\\") || strings.ContainsAny(query, "#;") {
		return nil, badToken("url", "The URL in the token does not have the path / and a query.")
	}
	if !slices.Contains(hosts, authority) {
		return nil, badToken("host", "The host of the URL in the token is none that this server answers for.")
	}
	if err := checkTokenQuery(query); err != nil {
		return nil, err
	}
	return &http.Request{
		Method: http.MethodGet, Host: authority, URL: &url.URL{Scheme: "https", Host: authority, Path: "/", RawQuery: query},
		Header: http.Header{clusterHeader: {clusterName}}, Body: http.NoBody,
	}, nil
}

func plainURL(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// checkTokenQuery wants each parameter once and no other.
func checkTokenQuery(query string) error {
	seen := map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		name, text, ok := strings.Cut(part, "=")
		if !ok || !slices.Contains(tokenParams, name) {
			return badToken("parameter", "The URL in the token has a parameter that it must not have.")
		}
		value, err := url.QueryUnescape(text)
		if err != nil {
			return badToken("parameter", "The URL in the token has a parameter that cannot be read.")
		}
		if _, dup := seen[name]; dup {
			return badToken("parameter", "The URL in the token has the parameter %s twice.", name)
		}
		seen[name] = value
	}
	for _, name := range tokenParams[:len(tokenParams)-1] {
		if seen[name] == "" {
			return badToken("parameter", "The URL in the token lacks the parameter %s.", name)
		}
	}
	switch {
	case seen["Action"] != identityAction || seen["Version"] != stsVersion:
		return badToken("action", "The URL in the token asks for something else than GetCallerIdentity.")
	case seen["X-Amz-SignedHeaders"] != signedHeaders:
		return badToken("headers", "The token must sign the headers host and x-k8s-aws-id, and no others.")
	case !expiresRE.MatchString(seen["X-Amz-Expires"]):
		return badToken("expires", "The X-Amz-Expires of the token is not between 1 and 900 seconds.")
	}
	if n := seen["X-Amz-Expires"]; len(n) == 3 && n > "900" {
		return badToken("expires", "The X-Amz-Expires of the token is not between 1 and 900 seconds.")
	}
	return nil
}
