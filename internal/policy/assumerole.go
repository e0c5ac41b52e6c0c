// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// The actions that STS authorises when a role is assumed.
const (
	ActionAssumeRole                = "sts:AssumeRole"
	ActionAssumeRoleWithWebIdentity = "sts:AssumeRoleWithWebIdentity"
	ActionTagSession                = "sts:TagSession"
	ActionSetSourceIdentity         = "sts:SetSourceIdentity"
)

// Tag is a session tag or a role's tag.
type Tag struct{ Key, Value string }

// WebIdentity is what a verified token of an identity provider says.
type WebIdentity struct {
	ProviderARN string
	Issuer      string // without https://
	// Claims become the keys <issuer>:<claim>: sub, aud, amr, azp and what else
	// the provider is known for. amr, and claims with several values, are
	// multi-valued keys.
	Claims map[string][]string
}

// AssumeRole is a request to assume a role, as STS authorises it: the action
// itself, sts:TagSession when there are session tags, passed or inherited, and
// sts:SetSourceIdentity when there is a source identity. Each has its own keys;
// all must be allowed. Fields left empty set no key.
type AssumeRole struct {
	Caller Principal // the zero value with a WebIdentity: its provider
	// CallerContext holds the caller's own keys (aws:PrincipalTag/…, aws:userid,
	// aws:TokenIssueTime, aws:SourceIp and the like). nil means those that follow
	// from Caller alone, see Context.SetCaller.
	CallerContext *Context

	RoleARN     string
	RoleAccount string // empty: taken from RoleARN
	Trust       Named
	Action      string // ActionAssumeRole when empty

	// The caller's own policies, as in Input.
	Identity   []Named
	Boundary   *Named
	Session    []Named
	HasSession bool
	SCPs, RCPs [][]Named

	Tags           []Tag
	Inherited      []Tag // transitive tags of the caller's session
	TransitiveKeys []string

	RoleSessionName string
	ExternalID      string
	SourceIdentity  string
	SourceAccount   string
	SourceARN       string
	SourceOrgID     string
	SourceOrgPaths  []string
	ResourceOrgID   string
	RoleTags        []Tag
	WebIdentity     *WebIdentity

	// Unknown lists keys whose values are not known yet, see Context.SetUnknown.
	Unknown []string

	// Now is the time of the request. When it is zero neither it nor the two
	// members below set a key.
	Now             time.Time
	SecureTransport bool
	RequestedRegion string

	ctx Context
}

// ActionDecision is the decision on one of the actions.
type ActionDecision struct {
	Action   string   `json:"action"`
	Decision Decision `json:"decision"`
}

// ActionExplanation is the explanation of one of the actions.
type ActionExplanation struct {
	Action      string      `json:"action"`
	Explanation Explanation `json:"explanation"`
}

// Evaluate decides every action, refused ones included, in STS' order. It uses
// memory of a, so one AssumeRole serves one goroutine at a time.
func (a *AssumeRole) Evaluate() (allowed bool, decisions []ActionDecision) {
	allowed = true
	decisions = make([]ActionDecision, 0, 3)
	a.each(true, func(in *Input) {
		d := Evaluate(in)
		allowed = allowed && d.Allowed
		decisions = append(decisions, ActionDecision{Action: in.Action, Decision: d})
	})
	return allowed, decisions
}

// Allowed is Evaluate's first answer. It stops at the first refusal.
func (a *AssumeRole) Allowed() bool {
	allowed := true
	a.each(true, func(in *Input) { allowed = allowed && Evaluate(in).Allowed })
	return allowed
}

// Explain explains every action.
func (a *AssumeRole) Explain() []ActionExplanation {
	var out []ActionExplanation
	a.each(false, func(in *Input) {
		out = append(out, ActionExplanation{Action: in.Action, Explanation: Explain(in)})
	})
	return out
}

// OpenCallerContext gives CallerContext an empty context that keeps only the
// keys that a document of the request names. The documents are set before.
func (a *AssumeRole) OpenCallerContext() *Context {
	in := a.input()
	a.CallerContext = &Context{}
	a.CallerContext.Limit(&in)
	return a.CallerContext
}

// input is what all actions of the request have in common.
func (a *AssumeRole) input() Input {
	in := Input{
		Principal: a.Caller, Action: a.Action, Resource: a.RoleARN, ResourceAccount: a.RoleAccount,
		Identity: a.Identity, Boundary: a.Boundary, Session: a.Session, HasSession: a.HasSession,
		RequireResourcePolicy: true, SCPs: a.SCPs, RCPs: a.RCPs, Context: &a.ctx,
	}
	if a.Trust.Doc != nil {
		in.ResourcePolicy = &a.Trust
	}
	if in.Action == "" {
		in.Action = ActionAssumeRole
	}
	if a.WebIdentity != nil && in.Principal.kind == AnonymousKind {
		in.Principal = FederatedPrincipal(a.WebIdentity.ProviderARN)
	}
	if in.ResourceAccount == "" {
		in.ResourceAccount = arnAccount(a.RoleARN)
	}
	return in
}

// each visits the request's actions. The context is built in the order common
// keys, tags, keys of the first action, and cut back between actions, because a
// key that does not belong to an action is absent for it. limit leaves out keys
// that no document names.
func (a *AssumeRole) each(limit bool, visit func(*Input)) {
	in := a.input()
	ctx := &a.ctx
	ctx.Reset()
	if limit {
		ctx.Limit(&in)
	}
	a.setCommon()
	tagged := len(a.Tags)+len(a.Inherited) > 0
	if tagged {
		a.setTags()
	}
	tags := ctx.Len()
	a.set("sts:RoleSessionName", a.RoleSessionName)
	a.set("sts:ExternalId", a.ExternalID)
	a.set("sts:SourceIdentity", a.SourceIdentity)
	a.setUnknown(func(key string) bool { return !tagKey(key) || tagged })
	visit(&in)

	if tagged {
		ctx.truncate(tags)
		a.setUnknown(func(key string) bool { return !onlyAssumeRole(key) && !foldEqual(key, "sts:SourceIdentity") })
		in.Action = ActionTagSession
		visit(&in)
	}
	if a.SourceIdentity != "" {
		a.setCommon()
		a.set("sts:SourceIdentity", a.SourceIdentity)
		a.setUnknown(func(key string) bool { return !onlyAssumeRole(key) && !tagKey(key) })
		in.Action = ActionSetSourceIdentity
		visit(&in)
	}
}

// onlyAssumeRole tells the keys that neither sts:TagSession nor
// sts:SetSourceIdentity has.
func onlyAssumeRole(key string) bool {
	return foldEqual(key, "sts:RoleSessionName") || foldEqual(key, "sts:ExternalId")
}

// tagKey tells the keys that exist only when there are session tags.
func tagKey(key string) bool {
	_, ok := foldedPrefix("aws:RequestTag/", key)
	return ok || foldEqual(key, "aws:TagKeys") || foldEqual(key, "sts:TransitiveTagKeys")
}

func (a *AssumeRole) set(key, value string) {
	if value != "" {
		a.ctx.Set(key, value)
	}
}

func (a *AssumeRole) setUnknown(applies func(string) bool) {
	for _, key := range a.Unknown {
		if applies(key) {
			a.ctx.SetUnknown(key)
		}
	}
}

// setCommon sets the keys that every action has.
func (a *AssumeRole) setCommon() {
	ctx := &a.ctx
	ctx.truncate(0)
	if ctx.Closed() {
		return
	}
	if a.CallerContext != nil {
		ctx.Merge(a.CallerContext)
	} else {
		ctx.SetCaller(a.Caller)
	}
	for _, t := range a.Inherited {
		ctx.SetTag("aws:PrincipalTag/", t.Key, t.Value)
	}
	a.set("aws:SourceAccount", a.SourceAccount)
	a.set("aws:SourceArn", a.SourceARN)
	a.set("aws:SourceOrgID", a.SourceOrgID)
	if len(a.SourceOrgPaths) > 0 {
		ctx.SetMulti("aws:SourceOrgPaths", a.SourceOrgPaths...)
	}
	a.set("aws:ResourceAccount", a.RoleAccount)
	a.set("aws:ResourceOrgID", a.ResourceOrgID)
	for _, t := range a.RoleTags {
		ctx.SetTag("iam:ResourceTag/", t.Key, t.Value)
		ctx.SetTag("aws:ResourceTag/", t.Key, t.Value)
	}
	a.setClaims()
	if !a.Now.IsZero() {
		ctx.SetTime(a.Now)
		ctx.Set("aws:SecureTransport", strconv.FormatBool(a.SecureTransport))
		ctx.Set("aws:ViaAWSService", "false")
		a.set("aws:RequestedRegion", a.RequestedRegion)
	}
}

func (a *AssumeRole) setClaims() {
	if a.WebIdentity == nil {
		return
	}
	for claim, values := range a.WebIdentity.Claims {
		switch {
		case claim != "amr" && len(values) == 1:
			a.ctx.SetTag(a.WebIdentity.Issuer+":", claim, values[0])
		case len(values) > 0:
			a.ctx.SetMulti(a.WebIdentity.Issuer+":"+claim, values...)
		}
	}
}

// setTags sets the keys of session tags. Inherited transitive tags count as
// tags of this request too; AWS' own role chaining example depends on it.
func (a *AssumeRole) setTags() {
	ctx := &a.ctx
	for _, t := range a.Inherited {
		ctx.SetTag("aws:RequestTag/", t.Key, t.Value)
	}
	for _, t := range a.Tags {
		ctx.SetTag("aws:RequestTag/", t.Key, t.Value)
	}
	if !ctx.Wants("aws:TagKeys") && !ctx.Wants("sts:TransitiveTagKeys") {
		return
	}
	keys := make([]string, 0, len(a.Inherited)+len(a.Tags))
	transitive := make([]string, 0, len(a.Inherited)+len(a.TransitiveKeys))
	for _, t := range a.Inherited {
		keys = append(keys, t.Key)
		transitive = append(transitive, t.Key)
	}
	for _, t := range a.Tags {
		if !slices.Contains(keys, t.Key) {
			keys = append(keys, t.Key)
		}
	}
	for _, k := range a.TransitiveKeys {
		if !slices.Contains(transitive, k) {
			transitive = append(transitive, k)
		}
	}
	ctx.SetMulti("aws:TagKeys", keys...)
	if len(transitive) > 0 {
		ctx.SetMulti("sts:TransitiveTagKeys", transitive...)
	}
}

// SetTime sets the keys that hold the time of the request.
func (c *Context) SetTime(now time.Time) {
	if c.Wants("aws:CurrentTime") {
		c.Set("aws:CurrentTime", now.UTC().Format(time.RFC3339))
	}
	if c.Wants("aws:EpochTime") {
		c.Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	}
}

// SetCaller sets the keys that follow from who the caller is: for a service its
// name, for others ARN (of the role, not of the session), account, type and,
// where the unique id is known, aws:userid.
func (c *Context) SetCaller(p Principal) {
	if c.Closed() {
		return
	}
	switch p.kind {
	case ServiceKind:
		c.Set("aws:PrincipalIsAWSService", "true")
		c.Set("aws:PrincipalServiceName", p.name)
		c.SetMulti("aws:PrincipalServiceNamesList", p.name)
		return
	case FederatedKind:
		return
	case AnonymousKind:
		c.Set("aws:PrincipalType", "Anonymous")
		c.Set("aws:userid", "anonymous")
		return
	}
	arn, kind := p.arn, "User"
	userID := p.id
	switch p.kind {
	case RootKind:
		kind, userID = "Account", p.account
	case RoleSessionKind:
		arn, kind = p.roleARN, "AssumedRole"
		if session := p.arn[strings.LastIndexByte(p.arn, '/')+1:]; userID != "" && session != "" {
			userID += ":" + session
		}
	case FederatedUserKind:
		kind = "FederatedUser"
	case UserKind:
		c.Set("aws:username", p.arn[strings.LastIndexByte(p.arn, '/')+1:])
	}
	c.Set("aws:PrincipalIsAWSService", "false")
	c.Set("aws:PrincipalArn", arn)
	c.Set("aws:PrincipalAccount", p.account)
	c.Set("aws:PrincipalType", kind)
	if userID != "" {
		c.Set("aws:userid", userID)
	}
}
