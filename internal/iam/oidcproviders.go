// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/store"
)

// Limits of OIDC providers: IAM service model and IAM User Guide, "IAM and
// AWS STS quotas".
const (
	maxProviderURL  = 255
	maxClientID     = 255
	maxThumbprints  = 5
	providerARNKind = "oidc-provider/"
)

// Quotas of OIDC providers.
const (
	OIDCProvidersPerAccount Quota = "OpenIdConnectProvidersPerAccount"
	ClientIDsPerProvider    Quota = "ClientIdsPerOpenIdConnectProvider"
	TagsPerOIDCProvider     Quota = "TagsPerOpenIdConnectProvider"
)

var thumbprintRE = regexp.MustCompile(`^[0-9A-Fa-f]{40}$`)

// OIDCProvider is an identity provider whose tokens the account's roles may
// trust. Nothing of it is fetched before its first token.
type OIDCProvider struct {
	ID          string    `cbor:"1,keyasint"` // unique for ever, shown nowhere: a provider made again has fetched nothing
	Partition   string    `cbor:"2,keyasint"`
	Account     string    `cbor:"3,keyasint"`
	URL         string    `cbor:"4,keyasint"` // without https://
	ClientIDs   []string  `cbor:"5,keyasint,omitempty"`
	Thumbprints []string  `cbor:"6,keyasint,omitempty"` // SHA-1 of certificates, 40 hexadecimal digits in lower case
	Tags        []Tag     `cbor:"7,keyasint,omitempty"`
	Created     time.Time `cbor:"8,keyasint"`
}

// Issuer is the value of iss in the provider's tokens.
func (p *OIDCProvider) Issuer() string { return "https://" + p.URL }

// ARN is the provider's ARN, for Principal.Federated.
func (p *OIDCProvider) ARN() string {
	return arn.IAM(p.Partition, p.Account, "oidc-provider", "/", p.URL)
}

func (p *OIDCProvider) clone() *OIDCProvider {
	n := *p
	n.ClientIDs, n.Thumbprints, n.Tags = slices.Clone(p.ClientIDs), slices.Clone(p.Thumbprints), slices.Clone(p.Tags)
	return &n
}

// OIDCProviders is the table, by URL without https://.
var OIDCProviders = store.NewTable[OIDCProvider]("oidc-provider", nil)

// FindOIDCProvider returns the provider that the account has for an issuer.
func FindOIDCProvider(r store.Reader, account, issuer string) (*OIDCProvider, bool) {
	host, ok := strings.CutPrefix(issuer, "https://")
	if !ok {
		return nil, false
	}
	return OIDCProviders.Get(r, store.Scope{Account: account, Region: store.Global}, host)
}

// ClusterProviders knows the providers that registered clusters have of
// themselves. They are shown among the account's, and cannot be changed here.
type ClusterProviders interface {
	OIDCProviders(r store.Reader, account string) []*OIDCProvider
}

func (m *Manager) clusterProviders(r store.Reader) []*OIDCProvider {
	if m.Clusters == nil {
		return nil
	}
	return m.Clusters.OIDCProviders(r, m.Account)
}

// findProvider looks among the account's own, then among those of clusters.
func (m *Manager) findProvider(r store.Reader, url string) (p *OIDCProvider, ofCluster, ok bool) {
	if p, ok := OIDCProviders.Get(r, m.scope(), url); ok {
		return p, false, true
	}
	for _, p := range m.clusterProviders(r) {
		if p.URL == url {
			return p, true, true
		}
	}
	return nil, false, false
}

func noProvider(providerARN string) error {
	return fault.New(fault.NotFound, "OpenIDConnect Provider not found for arn %s", providerARN).WithReason("oidc-provider-not-found")
}

// provider returns the provider and asks whether the caller may do the action
// on it.
func (m *Manager) provider(ctx context.Context, caller Caller, action, providerARN string, keys ...ConditionKey) (p *OIDCProvider, ofCluster bool, err error) {
	host, err := m.providerURL(providerARN)
	if err != nil {
		return nil, false, err
	}
	p, err = fenced(ctx, m.Store, func(r store.Reader) (*OIDCProvider, bool) {
		found, of, ok := m.findProvider(r, host)
		ofCluster = of
		return found, ok
	})
	if err != nil {
		return nil, false, err
	}
	if p != nil {
		keys = append(resourceKeys(p.Tags), keys...)
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: action, Resource: providerARN, Keys: keys}); err != nil {
		return nil, false, err
	}
	if p == nil {
		return nil, false, noProvider(providerARN)
	}
	return p, ofCluster, nil
}

// providerURL reads the URL, without https://, in an ARN of this account. An
// ARN of another account is one of a provider that is not found.
func (m *Manager) providerURL(providerARN string) (string, error) {
	if n := len(providerARN); n < 20 || n > 2048 {
		return "", checkLength("openIDConnectProviderArn", providerARN, 20, 2048)
	}
	a, err := arn.Parse(providerARN)
	if err != nil || a.Service != "iam" || a.Region != "" || a.Partition != m.Partition || !strings.HasPrefix(a.Resource, providerARNKind) {
		return "", invalid("openIDConnectProviderArn", "Invalid ARN: %.200s", providerARN)
	}
	if a.Account != m.Account {
		return "", nil
	}
	return strings.TrimPrefix(a.Resource, providerARNKind), nil
}

// changeProvider asks, then applies fn to a copy of the account's own
// provider. Those of clusters are refused: they stand for registered keys.
func (m *Manager) changeProvider(ctx context.Context, caller Caller, action, providerARN string, keys []ConditionKey, fn func(tx *store.Tx, p *OIDCProvider) error) error {
	seen, ofCluster, err := m.provider(ctx, caller, action, providerARN, keys...)
	if err != nil {
		return err
	}
	if ofCluster {
		return ofAnotherNoun(providerARN)
	}
	return m.update(ctx, func(tx *store.Tx) error {
		p, ok := OIDCProviders.Get(tx, m.scope(), seen.URL)
		if !ok || p.ID != seen.ID {
			return noProvider(providerARN)
		}
		n := p.clone()
		if err := fn(tx, n); err != nil {
			return err
		}
		OIDCProviders.Put(tx, m.scope(), n.URL, n)
		return nil
	})
}

func ofAnotherNoun(providerARN string) error {
	return badInput("oidc-provider-of-cluster", "The provider %s stands for the keys of a registered cluster. It is changed with the cluster and goes with it.", providerARN)
}

// CreateProviderInput describes an OIDC provider to be made.
type CreateProviderInput struct {
	URL                    string // https://host[:port][/path]
	ClientIDs, Thumbprints []string
	Tags                   []Tag
}

// CreateOIDCProvider makes a provider. Nothing is fetched
// (iam:CreateOpenIDConnectProvider, with tags also
// iam:TagOpenIDConnectProvider).
func (m *Manager) CreateOIDCProvider(ctx context.Context, caller Caller, in CreateProviderInput) (*OIDCProvider, error) {
	host, err := checkProviderURL(in.URL)
	if err != nil {
		return nil, err
	}
	clientIDs, err := m.checkClientIDs(in.ClientIDs)
	if err != nil {
		return nil, err
	}
	thumbprints, err := checkThumbprints(in.Thumbprints)
	if err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	providerID, err := newID(m.Rand, "OIDC")
	if err != nil {
		return nil, err
	}
	p := &OIDCProvider{
		ID: providerID, Partition: m.Partition, Account: m.Account, URL: host, ClientIDs: clientIDs, Thumbprints: thumbprints, Tags: in.Tags, Created: m.now(),
	}
	if err := m.authorizeCreate(ctx, caller, "iam:CreateOpenIDConnectProvider", "iam:TagOpenIDConnectProvider", p.ARN(), "", in.Tags); err != nil {
		return nil, err
	}
	err = m.update(ctx, func(tx *store.Tx) error {
		if _, _, ok := m.findProvider(tx, host); ok {
			return fault.New(fault.AlreadyExists, "Provider with url https://%s already exists.", host).WithReason("oidc-provider-exists")
		}
		if err := full(m, tx, OIDCProviders, OIDCProvidersPerAccount); err != nil {
			return err
		}
		OIDCProviders.Put(tx, m.scope(), host, p)
		return nil
	})
	return p, err
}

// checkProviderURL returns the URL without https://. AWS advises against
// ports; an issuer that is hosted by oneself often has one, so they may be.
func checkProviderURL(value string) (string, error) {
	if err := checkLength("url", value, 1, maxProviderURL); err != nil {
		return "", err
	}
	bad := func(why string) (string, error) {
		return "", invalid("url", "Invalid Open ID Connect Provider URL: %s", why)
	}
	u, err := url.Parse(value)
	host, https := strings.CutPrefix(value, "https://")
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return bad("it cannot be read")
	case !https:
		return bad("it must begin with https://")
	case u.User != nil:
		return bad("it must not name a user")
	case strings.ContainsAny(value, "?#"):
		return bad("it must have neither query nor fragment")
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("*\"<>\\^`{|}", r) }):
		return bad("it holds a character that no URL has")
	}
	return host, nil
}

func checkClientID(value string) error { return checkLength("clientID", value, 1, maxClientID) }

func (m *Manager) checkClientIDs(in []string) ([]string, error) {
	var out []string
	for _, c := range in {
		if err := checkClientID(c); err != nil {
			return nil, err
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	if limit := m.quota(ClientIDsPerProvider); len(out) > limit {
		return nil, overQuota(ClientIDsPerProvider, limit)
	}
	return out, nil
}

func checkThumbprints(in []string) ([]string, error) {
	if len(in) > maxThumbprints {
		return nil, invalid("thumbprintList", "Thumbprint list must contain fewer than %d entries.", maxThumbprints+1)
	}
	out := make([]string, 0, len(in))
	for _, t := range in {
		if err := checkLength("thumbprintList", t, 40, 40); err != nil {
			return nil, err
		}
		if !thumbprintRE.MatchString(t) {
			return nil, invalid("thumbprintList", "Invalid thumbprint: %s is not the SHA-1 of a certificate in hexadecimal digits.", t)
		}
		out = append(out, strings.ToLower(t))
	}
	return out, nil
}

// GetOIDCProvider returns a provider, the account's own or a cluster's
// (iam:GetOpenIDConnectProvider).
func (m *Manager) GetOIDCProvider(ctx context.Context, caller Caller, providerARN string) (*OIDCProvider, error) {
	p, _, err := m.provider(ctx, caller, "iam:GetOpenIDConnectProvider", providerARN)
	return p, err
}

// ListOIDCProviders returns the ARNs of all providers, the account's own
// before those of clusters (iam:ListOpenIDConnectProviders).
func (m *Manager) ListOIDCProviders(ctx context.Context, caller Caller) ([]string, error) {
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:ListOpenIDConnectProviders", Resource: "*"}); err != nil {
		return nil, err
	}
	v := m.Store.View()
	var out []string
	for _, p := range OIDCProviders.List(v, m.scope(), "", "") {
		out = append(out, p.ARN())
	}
	for _, p := range m.clusterProviders(v) {
		out = append(out, p.ARN())
	}
	return out, nil
}

// DeleteOIDCProvider removes a provider; trust policies that name it trust
// nobody by it from then on. As with AWS, one that is not there is no error
// (iam:DeleteOpenIDConnectProvider).
func (m *Manager) DeleteOIDCProvider(ctx context.Context, caller Caller, providerARN string) error {
	seen, ofCluster, err := m.provider(ctx, caller, "iam:DeleteOpenIDConnectProvider", providerARN)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if ofCluster {
		return ofAnotherNoun(providerARN)
	}
	return m.update(ctx, func(tx *store.Tx) error {
		if p, ok := OIDCProviders.Get(tx, m.scope(), seen.URL); ok && p.ID == seen.ID {
			OIDCProviders.Delete(tx, m.scope(), seen.URL)
		}
		return nil
	})
}

// UpdateOIDCThumbprints replaces the thumbprints
// (iam:UpdateOpenIDConnectProviderThumbprint).
func (m *Manager) UpdateOIDCThumbprints(ctx context.Context, caller Caller, providerARN string, thumbprints []string) error {
	list, err := checkThumbprints(thumbprints)
	if err != nil {
		return err
	}
	return m.changeProvider(ctx, caller, "iam:UpdateOpenIDConnectProviderThumbprint", providerARN, nil, func(_ *store.Tx, p *OIDCProvider) error {
		p.Thumbprints = list
		return nil
	})
}

// AddClientID adds an audience; one that is there is no error
// (iam:AddClientIDToOpenIDConnectProvider).
func (m *Manager) AddClientID(ctx context.Context, caller Caller, providerARN, clientID string) error {
	if err := checkClientID(clientID); err != nil {
		return err
	}
	return m.changeProvider(ctx, caller, "iam:AddClientIDToOpenIDConnectProvider", providerARN, nil, func(_ *store.Tx, p *OIDCProvider) (err error) {
		p.ClientIDs, err = m.checkClientIDs(append(p.ClientIDs, clientID))
		return err
	})
}

// RemoveClientID removes an audience; one that is not there is no error
// (iam:RemoveClientIDFromOpenIDConnectProvider).
func (m *Manager) RemoveClientID(ctx context.Context, caller Caller, providerARN, clientID string) error {
	if err := checkClientID(clientID); err != nil {
		return err
	}
	return m.changeProvider(ctx, caller, "iam:RemoveClientIDFromOpenIDConnectProvider", providerARN, nil, func(_ *store.Tx, p *OIDCProvider) error {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(c string) bool { return c == clientID })
		return nil
	})
}

// TagOIDCProvider sets tags (iam:TagOpenIDConnectProvider).
func (m *Manager) TagOIDCProvider(ctx context.Context, caller Caller, providerARN string, tags []Tag) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return m.changeProvider(ctx, caller, "iam:TagOpenIDConnectProvider", providerARN, requestKeys(tags), func(_ *store.Tx, p *OIDCProvider) (err error) {
		p.Tags, err = m.mergeTags(p.Tags, tags, TagsPerOIDCProvider)
		return err
	})
}

// UntagOIDCProvider removes tags (iam:UntagOpenIDConnectProvider).
func (m *Manager) UntagOIDCProvider(ctx context.Context, caller Caller, providerARN string, keys []string) error {
	if err := checkTagKeys(keys); err != nil {
		return err
	}
	return m.changeProvider(ctx, caller, "iam:UntagOpenIDConnectProvider", providerARN, tagKeysKey(keys), func(_ *store.Tx, p *OIDCProvider) error {
		p.Tags = dropTags(p.Tags, keys)
		return nil
	})
}

// ListOIDCProviderTags returns the tags (iam:ListOpenIDConnectProviderTags).
func (m *Manager) ListOIDCProviderTags(ctx context.Context, caller Caller, providerARN string, p Page) (Listing[Tag], error) {
	x, _, err := m.provider(ctx, caller, "iam:ListOpenIDConnectProviderTags", providerARN)
	if err != nil {
		return Listing[Tag]{}, err
	}
	return pageTags("oidc-provider-tags", p, x.Tags)
}
