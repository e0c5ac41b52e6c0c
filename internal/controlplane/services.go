// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"podid/internal/accessentry"
	"podid/internal/account"
	"podid/internal/addon"
	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/api/cfnapi"
	"podid/internal/api/eksapi"
	"podid/internal/api/eksauthapi"
	"podid/internal/api/iamapi"
	"podid/internal/api/podidapi"
	"podid/internal/api/restjson"
	"podid/internal/api/stsapi"
	"podid/internal/association"
	"podid/internal/authmsg"
	"podid/internal/authn"
	"podid/internal/authz"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/feed"
	"podid/internal/iam"
	"podid/internal/issuer"
	"podid/internal/issuer/awssts"
	"podid/internal/issuer/embedded"
	"podid/internal/issuer/webidentity"
	"podid/internal/jwks"
	"podid/internal/keyring"
	"podid/internal/policy"
	"podid/internal/refusal"
	"podid/internal/revocation"
	"podid/internal/satoken"
	"podid/internal/session"
	"podid/internal/sigv4"
	"podid/internal/stackrun"
	"podid/internal/store"
	"podid/internal/sts"
)

// Sizes of caches.
const (
	policyCache     = 16 << 20  // bytes of policy text
	signingKeyCache = 8192      // derived keys, some hundred bytes each
	maxBody         = 256 << 10 // bytes; the largest legal request is a CreatePolicyVersion of some 130 KiB, escaped
)

// shared is what all accounts of the control plane have in common: who proves
// and judges callers, under which keys sessions are sealed, what is cached.
type shared struct {
	seals     sealer
	messages  *authmsg.Codec
	ring      *keyring.Ring
	minter    *session.Minter
	policies  *policy.Cache
	fetcher   *jwks.Fetcher
	keys      *cluster.KeySets
	providers *sts.ProviderKeys
	authz     *authz.Authorizer
	authn     *authn.Authenticator
	lastUsed  *iam.LastUsed
	sightings *addon.Sightings
	refusals  *refusal.Log
	gate      *call.Gate
	observe   func(service, operation, code string, status int, took time.Duration)
	awssts    *awssts.Issuer
	tokenKeys *webidentity.Provider
	closing   chan struct{} // closed when Run is asked to end
}

// services are the verbs of one account and the handlers on them.
type services struct {
	*shared

	accounts     *account.Manager
	issuers      *issuer.Manager
	iam          *iam.Manager
	clusters     *cluster.Manager
	associations *association.Manager
	addons       *addon.Manager
	access       *accessentry.Manager
	revocations  *revocation.Manager
	stacks       *stackrun.Manager
	sts          *sts.Service
	exchange     *exchange.Service
	feed         *feed.Service
	pages        restjson.Pages
	tokens       *tokenRoute
	settings     routeSettings
	now          func() time.Time
}

type routeSettings struct{ partition, account, region string }

// build makes what all accounts share. Everything is given by name; nothing is
// found by itself.
func (cp *ControlPlane) build() (*shared, error) {
	s, acct := cp.cfg.Settings, cp.account
	now, rand := cp.cfg.Now, cp.cfg.Rand
	v := &shared{seals: sealer{cp.root, rand}, ring: cp.ring(acct.ID), policies: policy.NewCache(policyCache), closing: cp.closing}
	v.messages = &authmsg.Codec{Sealer: v.seals, Now: now}
	var err error
	v.fetcher, err = jwks.New(jwks.Options{AllowedPrefixes: s.AllowIssuerCIDRs, JWKSOrigins: s.AllowJWKSOrigins})
	if err != nil {
		return nil, err
	}
	v.minter = &session.Minter{Keys: v.ring, Rand: rand, Now: now, Account: acct.ID, Partition: acct.Partition, Opened: new(session.OpenCache)}
	v.authn = &authn.Authenticator{
		Store: cp.db, Sessions: v.minter, Sealer: v.seals, Keys: sigv4.NewKeyCache(signingKeyCache), Now: now, Skew: s.ClockSkew, Account: acct.ID, Region: acct.Region,
	}
	v.authn.Revoked = &revocation.Checker{Store: cp.db}
	v.lastUsed = &iam.LastUsed{Store: cp.db, Now: now}
	v.authn.Uses = v.lastUsed
	v.sightings = &addon.Sightings{Store: cp.db, Now: now}
	dropped := prometheus.NewCounter(prometheus.CounterOpts{Name: "podid_refusals_dropped_total", Help: "Refused exchanges that operators are not told of: there were too many at once."})
	if err := cp.registry.Register(dropped); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	v.refusals = &refusal.Log{Store: cp.db, Now: now, Dropped: dropped.Inc}
	v.authz = &authz.Authorizer{Store: cp.db, Policies: v.policies, Now: now, Region: acct.Region, OrgID: s.OrgID}
	v.tokenKeys = &webidentity.Provider{Store: cp.db, Sealer: v.seals, Now: now, Rand: rand, URL: s.OIDCIssuerURL, Partition: acct.Partition}
	v.awssts = &awssts.Issuer{Log: cp.cfg.Log, Now: now, Tokens: v.tokenKeys}
	if err := cp.registry.Register(v.awssts); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	v.keys = newKeySets(cp.db, v.fetcher, now, cp.cfg.Log)
	v.providers = newProviderKeys(v.fetcher, now)
	v.gate = &call.Gate{
		Authn: v.authn, Audit: cp.audit, Log: cp.cfg.Log, Now: now, Region: acct.Region, Account: acct.ID, MaxBody: maxBody, Message: v.messages.Encode,
		Observed: func(op call.Operation, code string, status int, took time.Duration) {
			v.observe(op.Service, op.Name, code, status, took)
		},
	}
	return v, nil
}

// servicesOf makes the verbs of an account, lowest first. They know no other
// account: a name means what it means there.
func (cp *ControlPlane) servicesOf(common *shared, acct *account.Account) (*services, error) {
	s, now, rand := cp.cfg.Settings, cp.cfg.Now, cp.cfg.Rand
	scope := store.Scope{Account: acct.ID, Region: acct.Region}
	pageKey, err := common.seals.Open(acct.PageKey, pageKeyAAD(acct.ID))
	if err != nil {
		return nil, fmt.Errorf("open the page key: %w", err)
	}
	v := &services{shared: common, now: now, pages: restjson.Pages{Key: pageKey}, settings: routeSettings{acct.Partition, acct.ID, acct.Region}}
	v.accounts = cp.accounts(v.authz, acct)
	v.iam = cp.iam(acct.ID)
	v.iam.Authz, v.iam.LastUsed = v.authz, v.lastUsed
	v.iam.First = cp.account.ID
	v.iam.Clusters = cluster.Providers{Region: acct.Region, Audiences: []string{sts.AudienceControlPlane, sts.AudienceSTS}}
	v.revocations = &revocation.Manager{Store: cp.db, Authz: v.authz, Now: now, Partition: acct.Partition, Account: acct.ID, Region: acct.Region}
	v.sts = &sts.Service{
		Store: cp.db, Callers: v.authz, Policies: v.policies, Minter: v.minter, Messages: v.messages, Clusters: v.keys, Providers: v.providers, Now: now, Rand: rand,
		Partition: acct.Partition, Account: acct.ID, Region: acct.Region, OrgID: s.OrgID, MaxLife: s.TokenMaxLife,
	}
	issues := &issuer.Router{Embedded: &embedded.Issuer{STS: v.sts}, AWSSTS: v.awssts}
	v.issuers = &issuer.Manager{
		Store: cp.db, Authz: v.authz, Probe: v.awssts, Now: now, Partition: acct.Partition, Region: acct.Region, Account: acct.ID, First: cp.account.ID,
	}
	v.associations = &association.Manager{
		Store: cp.db, Authz: v.authz, Roles: issues, Now: now, Rand: rand, Partition: acct.Partition, Account: acct.ID, Region: acct.Region, Limit: s.AssociationLimit,
	}
	v.addons = &addon.Manager{
		Store: cp.db, Authz: v.authz, Associations: v.associations, Agents: v.sightings, Now: now, Rand: rand,
		Partition: acct.Partition, Account: acct.ID, Region: acct.Region,
	}
	v.access = &accessentry.Manager{Store: cp.db, Authz: v.authz, Now: now, Rand: rand, Partition: acct.Partition, Account: acct.ID, Region: acct.Region}
	v.clusters = &cluster.Manager{
		Store: cp.db, Authz: v.authz, Keys: v.fetcher, Dependents: []cluster.Dependents{v.addons, v.access, v.refusals, v.associations}, Now: now, Rand: rand,
		TokenLife: s.TokenMaxLife + satoken.DefaultLeeway,
		Partition: acct.Partition, Account: acct.ID, Region: acct.Region,
	}
	v.stacks = &stackrun.Manager{
		Store: cp.db, Authz: v.authz, IAM: v.iam, Associations: v.associations, Sessions: v.sts, Sealer: v.seals, Now: now, Rand: rand,
		Partition: acct.Partition, Account: acct.ID, Region: acct.Region,
	}
	v.exchange = &exchange.Service{
		Store: cp.db, Authz: v.authz, Keys: v.keys, Issuer: issues, Checker: v.authz, Now: now, Rand: rand, MaxLife: s.TokenMaxLife,
		Scope: scope, Partition: acct.Partition,
	}
	v.feed = &feed.Service{
		Rights:  cluster.Rights{Store: cp.db, Authz: v.authz, Partition: acct.Partition, Account: acct.ID, Region: acct.Region},
		Closing: v.closing,
	}
	if cp.cfg.Tokens != nil {
		v.tokens = &tokenRoute{issuer: cp.cfg.Tokens, authz: v.authz, settings: v.settings}
		if acct.ID != cp.account.ID {
			v.tokens.issuer = noTokens{} // the process holds the keys of the first account's clusters
		}
	}
	return v, nil
}

// routes is the REST surface, of all services on one listener.
func (v *services) routes() []restjson.Route {
	set := v.settings
	eks := &eksapi.API{
		Clusters: v.clusters, Associations: v.associations, Addons: v.addons, Entries: v.access, Versions: v.clusters, Pages: v.pages,
		Partition: set.partition, Account: set.account, Region: set.region,
	}
	auth := &eksauthapi.API{Exchange: seenExchange{v.exchange, v.sightings, v.refusals, set}, Partition: set.partition, Account: set.account, Region: set.region}
	own := &podidapi.API{Clusters: v.clusters, Exchange: v.exchange, Accounts: v.accounts, Issuers: v.issuers, Revocations: v.revocations, Policies: v.iam}
	out := append(eks.Routes(), auth.Routes()...)
	out = append(out, own.Routes()...)
	out = append(out, podidapi.ReviewTokenRoute(v.access), podidapi.FeedRoute(v.feed), podidapi.RefusalsRoute(v.feed, v.now))
	out = append(out, (&eksapi.Access{Entries: v.access, Pages: v.pages, Account: set.account, Region: set.region}).Routes()...)
	if v.tokens != nil {
		out = append(out, v.tokens.route())
	}
	return out
}

// queries is the Query surface.
func (v *services) queries() []awsquery.Service {
	return []awsquery.Service{stsapi.Service(seenSTS{v.sts, v.sightings, v.settings}), iamapi.Service(v.iam), cfnapi.Service(v.stacks)}
}

// handler is the one handler: Query services share the path "/", told apart
// by the signature's scope; all others have paths of their own. Each operation
// runs on the services of the caller's account.
func (d *desks) handler() http.Handler {
	query := awsquery.New(d.first.gate, d.queries()...)
	rest := restjson.New(d.first.gate, d.routes()...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/":
			query.ServeHTTP(w, r)
		case d.reviews != nil && d.reviews.Handles(r):
			d.reviews.ServeHTTP(w, r)
		case d.joins.Handles(r):
			d.joins.ServeHTTP(w, r)
		case d.keys.Handles(r):
			d.keys.ServeHTTP(w, r)
		case d.first.tokenKeys.Handles(r.URL.Path):
			d.first.tokenKeys.ServeHTTP(w, r)
		default:
			rest.ServeHTTP(w, r)
		}
	})
}
