// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"podid/internal/arn"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/issuer"
	"podid/internal/policy"
	"podid/internal/session"
	"podid/internal/store"
)

const codeNoEntity = "NoSuchEntity"

// keepRole is how long IAM's answer holds. It spares IAM when a caller tries
// again, and when one change names a role several times.
const (
	keepRole = 10 * time.Second
	maxRoles = 1000
)

// role is what IAM says of a role.
type role struct {
	arn   string
	trust string
}

// roleAnswer is IAM's answer: a role, that there is none, or why that could
// not be asked.
type roleAnswer struct {
	role  *role
	none  bool
	why   string
	until time.Time
}

// role asks IAM for a role of the base credentials' account.
func (u *upstream) role(ctx context.Context, ref arn.Role, who *identity) roleAnswer {
	if ref.Account != who.account {
		return roleAnswer{why: "the role belongs to account " + ref.Account + ", the base credentials to " + who.account}
	}
	u.mu.Lock()
	known, ok := u.roles[ref.String()]
	u.mu.Unlock()
	if ok && u.now().Before(known.until) {
		return known
	}
	answer := u.getRole(ctx, ref)
	answer.until = u.now().Add(keepRole)
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.roles) >= maxRoles {
		clear(u.roles)
	}
	u.roles[ref.String()] = answer
	return answer
}

func (u *upstream) getRole(ctx context.Context, ref arn.Role) roleAnswer {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out, err := u.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &ref.Name})
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode() == codeNoEntity:
		return roleAnswer{none: true}
	case errors.As(err, &api):
		return roleAnswer{why: "iam:GetRole of the role is answered with " + first(api.ErrorCode(), 80)}
	case err != nil:
		return roleAnswer{why: "IAM does not answer"}
	case out.Role == nil || aws.ToString(out.Role.Arn) != ref.String():
		return roleAnswer{none: true} // of that name, but another path
	}
	trust, err := url.QueryUnescape(aws.ToString(out.Role.AssumeRolePolicyDocument))
	if err != nil {
		return roleAnswer{why: "the role's trust policy cannot be read"}
	}
	if d := aws.ToInt32(out.Role.MaxSessionDuration); d >= 3600 {
		u.remember(ref.String(), time.Duration(d)*time.Second)
	}
	return roleAnswer{role: &role{arn: ref.String(), trust: trust}}
}

// AskRole implements association.RoleChecker. What IAM and podid's own reading
// of the trust policy say of the role holds for this association alone.
func (i *Issuer) AskRole(ctx context.Context, r store.Reader, c *cluster.Cluster, a *association.Association) association.RoleCheck {
	type subject struct {
		cluster, namespace, serviceAccount, role string
		untagged                                 bool
	}
	of := func(c *cluster.Cluster, a *association.Association) subject {
		return subject{c.UID, a.Namespace, a.ServiceAccount, a.RoleARN, a.DisableSessionTags}
	}
	asked, verdict := of(c, a), i.judgeRole(ctx, r, c, a)
	return func(_ context.Context, _ store.Reader, c *cluster.Cluster, a *association.Association) error {
		if of(c, a) != asked {
			return cluster.ChangedMeanwhile("association")
		}
		return verdict
	}
}

// judgeRole asks IAM for the role and reads its trust policy as far as podid
// may; what it cannot check is no error: the log says so, and explain does.
func (i *Issuer) judgeRole(ctx context.Context, r store.Reader, c *cluster.Cluster, a *association.Association) error {
	ref, err := arn.ParseRole(a.RoleARN)
	if err != nil {
		return fault.New(fault.InvalidParameter, "%s", err).WithReason("role-arn-malformed")
	}
	if ref.Account != c.Account {
		return fault.New(fault.InvalidParameter, "Role provided in the request does not exist.").WithReason("role-other-account")
	}
	unchecked := func(why string) error {
		i.Log.InfoContext(ctx, "role of an association not checked", "role", a.RoleARN, "why", why)
		return nil
	}
	choice := issuer.Find(r, c.Account)
	if choice.Kind == issuer.WebIdentity {
		return unchecked(noIAM)
	}
	x := &order{Order: &exchange.Order{Cluster: c, Association: a}, aws: choice.AWS}
	if !a.DisableSessionTags {
		x.tags = issuer.PodTags(c, c.ARN(), exchange.Pod{Namespace: a.Namespace, ServiceAccount: a.ServiceAccount})
	}
	u, err := i.upstream(ctx, choice)
	if err != nil {
		return unchecked(fault.As(err).Message)
	}
	who, err := u.whoAmI(ctx)
	if err != nil {
		return unchecked(fault.As(err).Message)
	}
	answer := u.role(ctx, ref, who)
	switch {
	case answer.none:
		return fault.New(fault.InvalidParameter, "Role provided in the request does not exist.").WithReason("role-not-found").
			WithDetail(Refusal{Upstream: u.name, Role: a.RoleARN})
	case answer.role == nil:
		return unchecked(answer.why)
	}
	req, why := u.trustRequest(ctx, answer.role, who, x)
	if req == nil {
		return unchecked(why)
	}
	for _, d := range req.Explain() {
		if !d.Explanation.Decision.Allowed {
			return fault.New(fault.InvalidParameter, "Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue.").
				WithReason("trust-policy-invalid").WithDetail(TrustRefusal{u.name, a.RoleARN, who.arn, req.Explain()})
		}
	}
	return nil
}

// TrustRefusal is the detail of a trust policy that podid reads as a refusal.
type TrustRefusal struct {
	Upstream string                     `json:"upstream"`
	Role     string                     `json:"role"`
	Base     string                     `json:"base"`
	Actions  []policy.ActionExplanation `json:"actions"`
}

// allowAll stands for the caller's own policies, which cannot be read here.
const allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`

// trustRequest is the first assumption, for podid's own evaluator: the trust
// policy alone, since the base credentials' own policies cannot be read. Every
// condition key that podid does not know counts as met. Without a request, why
// says what stands in the way.
func (u *upstream) trustRequest(ctx context.Context, ro *role, who *identity, x *order) (req *policy.AssumeRole, why string) {
	caller, why := u.principal(ctx, who)
	if why != "" {
		return nil, why
	}
	trust, err := policy.Parse(policy.Trust, ro.trust)
	if err != nil {
		return nil, "the role's trust policy cannot be read: " + err.Error()
	}
	own, err := policy.Parse(policy.Identity, allowAll)
	if err != nil {
		return nil, err.Error()
	}
	req = &policy.AssumeRole{
		Caller: caller, RoleARN: ro.arn, RoleAccount: who.account, Trust: policy.Named{Name: "trust policy of role " + ro.arn, ARN: ro.arn, Doc: trust},
		Identity: []policy.Named{{Name: "not read", Doc: own}}, RoleSessionName: x.SessionName, ExternalID: x.externalID(),
		Unknown: append(issuer.UnknownKeys(x.Pod), strangeKeys(ro.trust, x.tags)...),
	}
	for _, t := range x.tags {
		req.Tags = append(req.Tags, policy.Tag{Key: t.Key, Value: t.Value})
		req.TransitiveKeys = append(req.TransitiveKeys, t.Key)
	}
	return req, ""
}

// principal is who the base credentials are, in the words of trust policies. A
// role's path is not in its session's ARN, and IAM has to be asked.
func (u *upstream) principal(ctx context.Context, who *identity) (policy.Principal, string) {
	p, err := policy.ParsePrincipal(who.arn)
	if err != nil {
		return policy.Principal{}, err.Error()
	}
	if p.RoleARN() == "" {
		return p.WithID(who.id), ""
	}
	ref, err := arn.ParseRole(p.RoleARN())
	if err != nil {
		return policy.Principal{}, err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out, err := u.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &ref.Name})
	if err != nil || out.Role == nil {
		return policy.Principal{}, "the path of the base role " + ref.Name + " is not known: iam:GetRole of it is not allowed"
	}
	return policy.SessionPrincipal(aws.ToString(out.Role.Arn), who.arn).WithID(aws.ToString(out.Role.RoleId)), ""
}

// known are the keys that podid sets, or knows to be absent, when it assumes a
// role with credentials of its own.
var known = []string{
	"sts:ExternalId", "aws:TagKeys", "sts:TransitiveTagKeys", "sts:RoleSessionName", "aws:PrincipalArn", "aws:PrincipalAccount", "aws:PrincipalType",
	"aws:PrincipalIsAWSService", "aws:PrincipalServiceName", "aws:PrincipalServiceNamesList", "aws:SourceAccount", "aws:SourceArn", "aws:SourceOrgID",
	"aws:SourceOrgPaths", "aws:ResourceAccount", "aws:username",
}

var variableForm = regexp.MustCompile(`\$\{\s*([A-Za-z0-9:/._+=@-]+)`)

// strangeKeys lists the condition keys of a document, in conditions and
// variables, whose values podid cannot know: the caller's own tags, addresses,
// organisation, time.
func strangeKeys(doc string, tags []session.Tag) []string {
	var out []string
	add := func(key string) {
		is := func(k string) bool { return strings.EqualFold(k, key) }
		name, request := strings.CutPrefix(strings.ToLower(key), "aws:requesttag/")
		if slices.ContainsFunc(known, is) || slices.ContainsFunc(out, is) || request && !slices.ContainsFunc(tags, func(t session.Tag) bool { return t.Key == name && t.Value == "" }) {
			return
		}
		out = append(out, key)
	}
	for _, m := range variableForm.FindAllStringSubmatch(doc, -1) {
		add(m[1])
	}
	var d struct{ Statement json.RawMessage }
	if json.Unmarshal([]byte(doc), &d) != nil {
		return out // it does not parse as a policy either
	}
	type statement struct {
		Condition map[string]map[string]any
	}
	var all []statement
	if json.Unmarshal(d.Statement, &all) != nil {
		all = make([]statement, 1)
		if json.Unmarshal(d.Statement, &all[0]) != nil {
			return out
		}
	}
	for _, s := range all {
		for _, keys := range s.Condition {
			for key := range keys {
				add(key)
			}
		}
	}
	return out
}
