// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

// Named is a document with the name and ARN by which decisions refer to it, for
// example "AmazonS3ReadOnlyAccess" or "trust policy of role/app".
type Named struct {
	Name string
	ARN  string
	Doc  *Document
}

// Input is one request with every document that bears on it. Slices and
// documents are read, never changed.
type Input struct {
	Principal       Principal
	Action          string // service:Operation, any case
	Resource        string // ARN, or "*" for a request that names none
	ResourceAccount string // owner of the resource; empty means the caller's account
	Context         *Context

	Identity []Named // all policies of the user or role, inline and managed
	Boundary *Named
	// Session holds the session policies: an Allow in any of them is enough.
	// HasSession without documents allows nothing.
	Session    []Named
	HasSession bool

	// ResourcePolicy is the policy on the resource; for a role its trust policy.
	// With RequireResourcePolicy, as for roles, a request needs a grant from it
	// even inside one account.
	ResourcePolicy        *Named
	RequireResourcePolicy bool

	// SCPs bind the caller, RCPs the resource: one slice for each level from the
	// organisation's root down; nil when there is no organisation.
	SCPs, RCPs [][]Named
}

// Evaluate decides a request. It allocates only when unknown keys bear on the
// answer. It is safe for concurrent use, as documents are immutable.
func Evaluate(in *Input) Decision {
	ev := evaluation{in: in}
	d := ev.decide()
	if !ev.sawOpen {
		return d
	}
	strict := evaluation{in: in, strict: true}
	if s := strict.decide(); s.Allowed != d.Allowed {
		d.Open = openKeys(in)
	}
	return d
}

// evaluation is one walk over the documents. By default a condition on an
// unknown key passes; strict, it counts against the caller, so that comparing
// the two tells whether the answer depends on such a key.
type evaluation struct {
	in      *Input
	strict  bool
	sawOpen bool
}

// hit is a statement that matched. A nil doc means none did.
type hit struct {
	doc   *Named
	stmt  *statement
	grant grant
}

func (h hit) source() Source {
	return Source{Document: h.doc.Name, ARN: h.doc.ARN, Statement: h.stmt.index, Sid: h.stmt.sid}
}

// decide follows AWS' order: explicit denials anywhere, then the organisation's
// limits, then grants.
func (ev *evaluation) decide() Decision {
	in := ev.in
	if foldEqual(in.Action, "sts:GetCallerIdentity") {
		return Decision{Allowed: true, Cause: AlwaysAllowed, Source: Source{Statement: -1}}
	}
	bound := in.Principal.boundBySCP()
	if h := ev.findDeny(bound); h.doc != nil {
		return Decision{Explicit: true, Cause: ExplicitDeny, Source: h.source()}
	}
	if src, ok := ev.levelsAllow(in.RCPs, true); !ok {
		return Decision{Cause: NoRCPAllow, Source: src}
	}
	if bound {
		if src, ok := ev.levelsAllow(in.SCPs, false); !ok {
			return Decision{Cause: NoSCPAllow, Source: src}
		}
	}
	return ev.grant()
}

// boundBySCP: service control policies bind users, roles and the root user of
// member accounts, never services or callers without an account.
func (p *Principal) boundBySCP() bool { return p.account != "" }

func (ev *evaluation) findDeny(bound bool) hit {
	in := ev.in
	if h := ev.denyIn(in.Identity); h.doc != nil {
		return h
	}
	if h := ev.denyIn(in.Session); h.doc != nil {
		return h
	}
	if h := ev.denyOne(in.Boundary); h.doc != nil {
		return h
	}
	if h := ev.denyOne(in.ResourcePolicy); h.doc != nil {
		return h
	}
	for _, level := range in.RCPs {
		if h := ev.denyIn(level); h.doc != nil {
			return h
		}
	}
	if bound {
		for _, level := range in.SCPs {
			if h := ev.denyIn(level); h.doc != nil {
				return h
			}
		}
	}
	return hit{}
}

func (ev *evaluation) denyIn(docs []Named) hit {
	for i := range docs {
		if h := ev.denyOne(&docs[i]); h.doc != nil {
			return h
		}
	}
	return hit{}
}

func (ev *evaluation) denyOne(n *Named) hit {
	if n == nil || n.Doc == nil || n.Doc.allows == len(n.Doc.statements) {
		return hit{}
	}
	for i := range n.Doc.statements {
		s := &n.Doc.statements[i]
		if !s.deny {
			continue
		}
		if g, ok := ev.applies(s); ok {
			return hit{doc: n, stmt: s, grant: g}
		}
	}
	return hit{}
}

// allowIn returns the closest Allow of the documents.
func (ev *evaluation) allowIn(docs []Named) hit {
	var best hit
	for i := range docs {
		h := ev.allowOne(&docs[i])
		if h.doc != nil && (best.doc == nil || h.grant > best.grant) {
			best = h
		}
		if best.doc != nil && best.grant == grantDirect {
			break
		}
	}
	return best
}

func (ev *evaluation) allowOne(n *Named) hit {
	var best hit
	if n == nil || n.Doc == nil || n.Doc.allows == 0 {
		return best
	}
	for i := range n.Doc.statements {
		s := &n.Doc.statements[i]
		if s.deny {
			continue
		}
		if g, ok := ev.applies(s); ok && (best.doc == nil || g > best.grant) {
			best = hit{doc: n, stmt: s, grant: g}
			if g == grantDirect {
				break
			}
		}
	}
	return best
}

// levelsAllow asks for an Allow at every level. A level of resource control
// policies that only denies is open: AWS attaches an Allow for everything there
// that cannot be detached.
func (ev *evaluation) levelsAllow(levels [][]Named, openWithoutAllow bool) (Source, bool) {
	for _, level := range levels {
		if openWithoutAllow && !anyAllow(level) {
			continue
		}
		if h := ev.allowIn(level); h.doc == nil {
			return wholeSource(level), false
		}
	}
	return Source{}, true
}

func anyAllow(docs []Named) bool {
	for i := range docs {
		if docs[i].Doc != nil && docs[i].Doc.allows > 0 {
			return true
		}
	}
	return false
}

// wholeSource names the document that gave no permission where there is one.
func wholeSource(docs []Named) Source {
	if len(docs) == 1 {
		return Source{Document: docs[0].Name, ARN: docs[0].ARN, Statement: -1}
	}
	return Source{Statement: -1}
}

func wholeOf(n *Named) Source {
	if n == nil {
		return Source{Statement: -1}
	}
	return Source{Document: n.Name, ARN: n.ARN, Statement: -1}
}

// grant decides when nothing denies and the organisation lets the request pass.
func (ev *evaluation) grant() Decision {
	in := ev.in
	p := &in.Principal
	if in.RequireResourcePolicy && p.kind == RootKind {
		return Decision{Cause: RootMayNotAssume, Source: Source{Statement: -1}}
	}
	resource := ev.allowOne(in.ResourcePolicy)
	needsResource := in.RequireResourcePolicy || p.account == "" || !ev.sameAccount()
	if needsResource && resource.doc == nil {
		cause := NoResourceAllow
		if in.RequireResourcePolicy {
			cause = NoTrustAllow
		}
		return Decision{Cause: cause, Source: wholeOf(in.ResourcePolicy)}
	}
	if resource.doc != nil && (p.account == "" || ev.sameAccount() && resource.grant == grantDirect) {
		return Decision{Allowed: true, Cause: AllowedByStatement, Source: resource.source()}
	}
	byResource := resource.doc != nil && resource.grant == grantRole && ev.sameAccount()
	identity := ev.allowIn(in.Identity)
	if identity.doc == nil && !byResource && p.kind != RootKind {
		return Decision{Cause: NoIdentityAllow, Source: wholeSource(in.Identity)}
	}
	if in.Boundary != nil && ev.allowOne(in.Boundary).doc == nil {
		return Decision{Cause: NoBoundaryAllow, Source: wholeOf(in.Boundary)}
	}
	// A session of GetFederationToken without session policies may do nothing.
	if (in.HasSession || len(in.Session) > 0 || p.kind == FederatedUserKind) && ev.allowIn(in.Session).doc == nil {
		return Decision{Cause: NoSessionAllow, Source: wholeSource(in.Session)}
	}
	d := Decision{Allowed: true, Cause: AllowedByStatement, Source: Source{Statement: -1}}
	switch {
	case resource.doc != nil && (needsResource || identity.doc == nil):
		d.Source = resource.source()
	case identity.doc != nil:
		d.Source = identity.source()
	}
	return d
}

func (ev *evaluation) sameAccount() bool {
	return ev.in.ResourceAccount == "" || ev.in.ResourceAccount == ev.in.Principal.account
}
