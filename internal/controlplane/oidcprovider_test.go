// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"crypto/rsa"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/go-jose/go-jose/v4"

	"podid/internal/controlplane/controlplanetest"
	"podid/internal/jwt/jwttest"
)

// identityProvider is an OIDC provider on the loopback with a certificate that
// no authority has signed.
type identityProvider struct {
	*httptest.Server
	key        *rsa.PrivateKey
	thumbprint string
}

func newIdentityProvider(t *testing.T) *identityProvider {
	t.Helper()
	p := &identityProvider{key: controlplanetest.NewKey(t)}
	keys := controlplanetest.JWKS(t, "k1", p.key)
	mux := http.NewServeMux()
	mux.HandleFunc("/realms/a/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"issuer":"`+p.issuer()+`","jwks_uri":"`+p.URL+`/jwks"}`)
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(keys) })
	p.Server = httptest.NewUnstartedServer(mux)
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.StartTLS()
	t.Cleanup(p.Close)
	sum := sha1.Sum(p.Certificate().Raw)
	p.thumbprint = hex.EncodeToString(sum[:])
	return p
}

func (p *identityProvider) issuer() string { return p.URL + "/realms/a" }

func (p *identityProvider) token(t *testing.T, more object) string {
	t.Helper()
	claims := object{"iss": p.issuer(), "sub": "ci-job", "aud": "podid", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	for k, v := range more {
		claims[k] = v
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return jwttest.Sign(t, jose.RS256, jose.JSONWebKey{Key: p.key, KeyID: "k1"}, nil, payload)
}

// tokenText is a token for the SDK's provider.
type tokenText string

func (s tokenText) GetIdentityToken() ([]byte, error) { return []byte(s), nil }

// TestOIDCProvider: a provider that is made through IAM is good for
// AssumeRoleWithWebIdentity by AWS' SDK, with the tags of its tokens.
func TestOIDCProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{Settings: map[string]string{"PODID_ALLOW_ISSUER_CIDR": "127.0.0.0/8"}})
	p := newIdentityProvider(t)
	host := strings.TrimPrefix(p.issuer(), "https://")
	ctx := t.Context()
	api := w.IAM()
	list, err := api.ListOpenIDConnectProviders(ctx, &iam.ListOpenIDConnectProvidersInput{})
	if err != nil || !slices.ContainsFunc(list.OpenIDConnectProviderList, func(e types.OpenIDConnectProviderListEntry) bool { return *e.Arn == w.cl.ProviderARN }) {
		t.Fatalf("the cluster's provider is not listed: %v", err)
	}
	shown, err := api.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(w.cl.ProviderARN)})
	if err != nil || !slices.ContainsFunc(shown.Tags, func(tag types.Tag) bool { return *tag.Key == "podid.dev/cluster" && *tag.Value == w.cl.ARN() }) {
		t.Errorf("the cluster's provider: %+v, %v", shown, err)
	}
	_, err = api.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(w.cl.ProviderARN)})
	wantAPIError(t, err, "InvalidInput", "The provider "+w.cl.ProviderARN+" stands for the keys of a registered cluster. It is changed with the cluster and goes with it.")

	made, err := api.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: aws.String(p.issuer()), ClientIDList: []string{"podid"}, ThumbprintList: []string{strings.Repeat("0", 40)}})
	if err != nil {
		t.Fatal(err)
	}
	w.Role("ci", object{"Version": "2012-10-17", "Statement": object{
		"Effect": "Allow", "Principal": object{"Federated": *made.OpenIDConnectProviderArn}, "Action": []string{"sts:AssumeRoleWithWebIdentity", "sts:TagSession"},
		"Condition": object{"StringEquals": object{host + ":aud": "podid", host + ":sub": "ci-job"}},
	}})
	good := p.token(t, object{"https://aws.amazon.com/tags": object{"principal_tags": object{"repo": []string{"podid"}}}})
	_, err = webIdentity(w.ControlPlane, roleARN+"ci", good)
	wantAPIError(t, err, "InvalidIdentityToken", "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint")
	_, err = api.UpdateOpenIDConnectProviderThumbprint(ctx, &iam.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: made.OpenIDConnectProviderArn, ThumbprintList: []string{strings.ToUpper(p.thumbprint)}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := webIdentity(w.ControlPlane, roleARN+"ci", good)
	if err != nil {
		t.Fatal(err)
	}
	if *out.Provider != *made.OpenIDConnectProviderArn || *out.Audience != "podid" || *out.SubjectFromWebIdentityToken != "ci-job" {
		t.Errorf("answer = %+v", out)
	}
	// The SDK's own way of it.
	cfg := w.Config(nil)
	cfg.Credentials = stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(cfg), roleARN+"ci", tokenText(good))
	id, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || !strings.Contains(*id.Arn, ":assumed-role/ci/") {
		t.Errorf("identity = %+v, %v", id, err)
	}
	for name, tc := range map[string]struct {
		token         string
		code, message string
	}{
		"two values":       {p.token(t, object{"https://aws.amazon.com/tags": object{"principal_tags": object{"a": []string{"b", "c"}}}}), "IDPRejectedClaim", `The claim https://aws.amazon.com/tags is not accepted: the tag "a" must have exactly one value, a string in an array of one`},
		"another audience": {p.token(t, object{"aud": "x"}), "InvalidIdentityToken", "Incorrect token audience"},
		"another subject":  {p.token(t, object{"sub": "x"}), "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"expired":          {p.token(t, object{"iat": 1000, "exp": 2000}), "ExpiredTokenException", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := webIdentity(w.ControlPlane, roleARN+"ci", tc.token)
			wantAPIError(t, err, tc.code, tc.message)
		})
	}
	_, err = sts.NewFromConfig(w.Config(nil)).AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(roleARN + "ci"), RoleSessionName: aws.String("me"), WebIdentityToken: aws.String(good), ProviderId: aws.String("www.amazon.com"),
	})
	wantAPIError(t, err, "ValidationError", "ProviderId is for OAuth 2.0 access tokens, which are not taken here: leave it out, and pass an OpenID Connect ID token.")

	// One that nothing answers for.
	dark, err := api.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: aws.String("https://127.0.0.1:1"), ClientIDList: []string{"podid"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = webIdentity(w.ControlPlane, roleARN+"ci", p.token(t, object{"iss": "https://127.0.0.1:1"}))
	wantAPIError(t, err, "IDPCommunicationError", "Could not retrieve the keys of the identity provider https://127.0.0.1:1: it cannot be reached. Try again.")
	for _, arn := range []*string{dark.OpenIDConnectProviderArn, made.OpenIDConnectProviderArn} {
		if _, err := api.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = webIdentity(w.ControlPlane, roleARN+"ci", good)
	wantAPIError(t, err, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for "+p.issuer())
}
