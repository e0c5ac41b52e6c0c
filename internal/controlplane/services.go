// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"net/http"
	"time"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/api/eksapi"
	"podid/internal/api/eksauthapi"
	"podid/internal/api/iamapi"
	"podid/internal/api/podidapi"
	"podid/internal/api/restjson"
	"podid/internal/api/stsapi"
	"podid/internal/association"
	"podid/internal/authn"
	"podid/internal/authz"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/iam"
	"podid/internal/issuer/embedded"
	"podid/internal/jwks"
	"podid/internal/keyring"
	"podid/internal/policy"
	"podid/internal/session"
	"podid/internal/sigv4"
	"podid/internal/store"
	"podid/internal/sts"
)

// Sizes of caches.
const (
	policyCache     = 16 << 20  // bytes of policy text
	signingKeyCache = 8192      // derived keys, some hundred bytes each
	maxBody         = 256 << 10 // bytes; the largest legal request is a CreatePolicyVersion of some 130 KiB, escaped
)

// services are the verbs and the handlers on them.
type services struct {
	ring         *keyring.Ring
	authz        *authz.Authorizer
	authn        *authn.Authenticator
	iam          *iam.Manager
	clusters     *cluster.Manager
	associations *association.Manager
	sts          *sts.Service
	exchange     *exchange.Service
	gate         *call.Gate
	pages        restjson.Pages
	tokens       *tokenRoute
	settings     routeSettings
	observe      func(service, operation, code string, status int, took time.Duration)
}

type routeSettings struct{ partition, account, region string }

// build makes the verbs, lowest first. Everything is given by name; nothing is
// found by itself.
func (cp *ControlPlane) build() (*services, error) {
	s, acct := cp.cfg.Settings, cp.account
	now, rand := cp.cfg.Now, cp.cfg.Rand
	seals := sealer{cp.root, rand}
	policies := policy.NewCache(policyCache)
	scope := store.Scope{Account: acct.ID, Region: acct.Region}
	fetcher, err := jwks.New(jwks.Options{AllowedPrefixes: s.AllowIssuerCIDRs, JWKSOrigins: s.AllowJWKSOrigins})
	if err != nil {
		return nil, err
	}
	pageKey, err := seals.Open(acct.PageKey, pageKeyAAD(acct.ID))
	if err != nil {
		return nil, fmt.Errorf("open the page key: %w", err)
	}

	v := &services{ring: cp.ring(acct.ID), pages: restjson.Pages{Key: pageKey}, settings: routeSettings{acct.Partition, acct.ID, acct.Region}}
	minter := &session.Minter{Keys: v.ring, Rand: rand, Now: now, Account: acct.ID, Partition: acct.Partition, Opened: new(session.OpenCache)}
	v.authn = &authn.Authenticator{
		Store: cp.db, Sessions: minter, Sealer: seals, Keys: sigv4.NewKeyCache(signingKeyCache), Now: now, Skew: s.ClockSkew, Account: acct.ID, Region: acct.Region,
	}
	v.authz = &authz.Authorizer{Store: cp.db, Policies: policies, Now: now, Region: acct.Region, OrgID: s.OrgID}
	v.iam = cp.iam(acct.ID)
	v.iam.Authz = v.authz
	keys := newKeySets(cp.db, fetcher, scope, now, cp.cfg.Log)
	v.sts = &sts.Service{
		Store: cp.db, Callers: v.authz, Policies: policies, Minter: minter, Clusters: keys, Now: now, Rand: rand,
		Partition: acct.Partition, Account: acct.ID, Region: acct.Region, OrgID: s.OrgID, MaxLife: s.TokenMaxLife,
	}
	issuer := &embedded.Issuer{STS: v.sts}
	v.associations = &association.Manager{
		Store: cp.db, Authz: v.authz, Roles: issuer, Now: now, Rand: rand, Partition: acct.Partition, Account: acct.ID, Region: acct.Region, Limit: s.AssociationLimit,
	}
	v.clusters = &cluster.Manager{
		Store: cp.db, Authz: v.authz, Keys: fetcher, Dependents: []cluster.Dependents{v.associations}, Now: now, Rand: rand,
		Partition: acct.Partition, Account: acct.ID, Region: acct.Region,
	}
	v.exchange = &exchange.Service{
		Store: cp.db, Authz: v.authz, Keys: keys, Issuer: issuer, Checker: v.authz, Now: now, Rand: rand, MaxLife: s.TokenMaxLife,
		Scope: scope, Partition: acct.Partition,
	}
	if cp.cfg.Tokens != nil {
		v.tokens = &tokenRoute{issuer: cp.cfg.Tokens, authz: v.authz, settings: v.settings}
	}
	v.gate = &call.Gate{
		Authn: v.authn, Audit: cp.audit, Log: cp.cfg.Log, Now: now, Region: acct.Region, Account: acct.ID, MaxBody: maxBody,
		Observed: func(op call.Operation, code string, status int, took time.Duration) {
			v.observe(op.Service, op.Name, code, status, took)
		},
	}
	return v, nil
}

// routes is the REST surface, of all services on one listener.
func (v *services) routes() []restjson.Route {
	set := v.settings
	eks := &eksapi.API{
		Clusters: v.clusters, Associations: v.associations, Pages: v.pages, Partition: set.partition, Account: set.account, Region: set.region,
	}
	auth := &eksauthapi.API{Exchange: v.exchange, Partition: set.partition, Account: set.account, Region: set.region}
	own := &podidapi.API{Clusters: v.clusters, Exchange: v.exchange}
	out := append(eks.Routes(), auth.Routes()...)
	out = append(out, own.Routes()...)
	if v.tokens != nil {
		out = append(out, v.tokens.route())
	}
	return out
}

// queries is the Query surface.
func (v *services) queries() []awsquery.Service {
	return []awsquery.Service{stsapi.Service(v.sts), iamapi.Service(v.iam)}
}

// handler is the one handler: Query services share the path "/", told apart
// by the signature's scope; all others have paths of their own.
func (v *services) handler() http.Handler {
	query := awsquery.New(v.gate, v.queries()...)
	rest := restjson.New(v.gate, v.routes()...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			query.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}
