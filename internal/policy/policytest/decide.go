// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"podid/internal/policy"
)

// documents are a case's policies after parsing.
type documents struct {
	identity, session []policy.Named
	boundary          *policy.Named
	resource, trust   *policy.Named
	scps, rcps        [][]policy.Named
}

// decide returns the case's verdict. A refused document is a verdict, not an error.
func (c *testCase) decide(cache *policy.Cache) (Result, error) {
	docs, err := c.parse(cache)
	var malformed *policy.MalformedError
	if errors.As(err, &malformed) {
		return Result{c.ID, Error, err.Error()}, nil
	}
	if err != nil {
		return Result{}, err
	}
	if c.AssumeRole != nil {
		return c.decideAssume(docs), nil
	}
	return c.decideActions(docs), nil
}

// parse reads all documents of the case.
func (c *testCase) parse(cache *policy.Cache) (*documents, error) {
	var d documents
	var errs []error
	one := func(kind policy.DocumentKind, label string, doc document) policy.Named {
		parsed, err := cache.Get(kind, doc.text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", label, err))
		}
		return policy.Named{Name: label, Doc: parsed}
	}
	list := func(kind policy.DocumentKind, label string, docs []document) []policy.Named {
		out := make([]policy.Named, 0, len(docs))
		for i, doc := range docs {
			out = append(out, one(kind, fmt.Sprintf("%s[%d]", label, i), doc))
		}
		return out
	}
	optional := func(kind policy.DocumentKind, label string, doc *document) *policy.Named {
		if doc == nil || doc.text == "null" {
			return nil
		}
		n := one(kind, label, *doc)
		return &n
	}
	d.identity = list(policy.Identity, "identityPolicies", c.Identity.items)
	d.session = list(policy.SessionPolicy, "sessionPolicy", c.Session.items)
	if len(c.Boundary.items) == 1 {
		d.boundary = optional(policy.Boundary, "boundary", &c.Boundary.items[0])
	}
	d.resource = optional(policy.Resource, "resourcePolicy", c.ResourcePolicy)
	d.trust = optional(policy.Trust, "trustPolicy", c.TrustPolicy)
	for i, level := range c.SCPs {
		d.scps = append(d.scps, list(policy.SCP, fmt.Sprintf("scps[%d]", i), level))
	}
	for i, level := range c.RCPs {
		d.rcps = append(d.rcps, list(policy.RCP, fmt.Sprintf("rcps[%d]", i), level))
	}
	return &d, errors.Join(errs...)
}

// context builds the condition keys that the case gives, and no others.
func (c *testCase) context() *policy.Context {
	ctx := &policy.Context{}
	for key, v := range c.Context {
		if v.multi {
			ctx.SetMulti(key, v.values...)
		} else {
			ctx.Set(key, v.values[0])
		}
	}
	return ctx
}

func (c *testCase) decideActions(d *documents) Result {
	in := policy.Input{
		Principal: c.Principal.Principal, Resource: c.Resource, ResourceAccount: c.ResourceAccount,
		Context: c.context(), Identity: d.identity, Boundary: d.boundary,
		Session: d.session, HasSession: c.Session.set, ResourcePolicy: d.resource,
		SCPs: d.scps, RCPs: d.rcps,
	}
	if d.trust != nil {
		in.ResourcePolicy, in.RequireResourcePolicy = d.trust, true
	}
	if in.ResourceAccount == "" {
		in.ResourceAccount = accountOf(c.Resource)
	}
	verdict := Allow
	var details []string
	for _, action := range c.Action.items {
		in.Action = action
		x := policy.Explain(&in)
		if !x.Decision.Allowed {
			verdict = Deny
		}
		details = append(details, x.Detail())
	}
	return Result{c.ID, verdict, strings.Join(details, "\n")}
}

// accountOf returns the account in an ARN; "" where there is none, as for buckets.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

func (c *testCase) decideAssume(d *documents) Result {
	r := c.AssumeRole
	a := policy.AssumeRole{
		Caller: c.Principal.Principal, CallerContext: c.context(), Action: r.Action,
		RoleARN: r.RoleARN, RoleAccount: accountOf(r.RoleARN),
		Identity: d.identity, Boundary: d.boundary, Session: d.session, HasSession: c.Session.set,
		SCPs: d.scps, RCPs: d.rcps,
		Tags: tags(r.Tags), Inherited: tags(r.InheritedTags), TransitiveKeys: r.TransitiveTagKeys,
		RoleSessionName: r.RoleSessionName, ExternalID: r.ExternalID, SourceIdentity: r.SourceIdentity,
		SourceAccount: r.SourceAccount, SourceARN: r.SourceARN,
	}
	if d.trust != nil {
		a.Trust = *d.trust
	} else if d.resource != nil {
		a.Trust = *d.resource
	}
	if w := r.WebIdentity; w != nil {
		if a.Action == "" {
			a.Action = policy.ActionAssumeRoleWithWebIdentity
		}
		a.WebIdentity = &policy.WebIdentity{ProviderARN: w.provider, Issuer: w.issuerName(c), Claims: w.claims}
		if w.provider != "" {
			a.Caller = policy.FederatedPrincipal(w.provider)
		}
	}
	verdict := Allow
	var details []string
	for _, x := range a.Explain() {
		if !x.Explanation.Decision.Allowed {
			verdict = Deny
		}
		details = append(details, x.Explanation.Detail())
	}
	return Result{c.ID, verdict, strings.Join(details, "\n")}
}

// issuerName takes the issuer from the provider's ARN where it is not given.
func (w *webIdentity) issuerName(c *testCase) string {
	if w.issuer != "" {
		return w.issuer
	}
	provider := w.provider
	if provider == "" {
		provider = c.Principal.String()
	}
	_, name, _ := strings.Cut(provider, ":oidc-provider/")
	return name
}

func tags(m map[string]string) []policy.Tag {
	out := make([]policy.Tag, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, policy.Tag{Key: k, Value: m[k]})
	}
	return out
}
