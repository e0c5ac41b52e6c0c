// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package awssts owns the issuer whose credentials open real doors: roles of an
// AWS account, assumed at an AWS-shaped STS (AWS, LocalStack, another podid)
// through the AWS SDK with the server's base credentials. A pod gets the same
// six transitive session tags, session name, session policy and target role as
// from the embedded issuer; trust is the upstream's to judge. The upstream is
// spared (limit, retries with a budget, circuit breaker, one call for all who
// wait for the same pod), and podid's time-out stays below its agents'. It
// refuses roles of other accounts than the cluster's, and never calls an outage
// or bad base credentials a refusal: agents drop credentials that are refused.
package awssts

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"podid/internal/arn"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/issuer"
	"podid/internal/secret"
	"podid/internal/session"
	"podid/internal/store"
)

// firstHopLife is that of the session which only assumes the target role.
const firstHopLife = 15 * time.Minute

// Issuer issues from other STSes. Log and Now are required.
type Issuer struct {
	Log *slog.Logger
	Now func() time.Time
	// Config finds base credentials; nil is DefaultConfig.
	Config func(context.Context, issuer.AWS) (aws.Config, error)
	// Tokens signs for accounts whose issuer is webidentity.
	Tokens TokenSource

	mu        sync.Mutex
	upstreams map[upstreamKey]*upstream
	flights   map[string]*flight
	shared    sharedSessions
	running   sync.WaitGroup
}

// TokenSource signs tokens that an STS takes for web identities.
type TokenSource interface {
	Token(account, audience, subject string, tags []session.Tag) (secret.String, error)
	ProviderARN(account string) (string, error)
}

// Probe tells whom roles have to trust: it asks who the base credentials of the
// settings are, or names the provider of the tokens.
func (i *Issuer) Probe(ctx context.Context, account string, c issuer.Choice) (string, error) {
	if c.Kind == issuer.WebIdentity {
		return i.Tokens.ProviderARN(account)
	}
	u, err := i.upstream(ctx, c)
	if err != nil {
		return "", err
	}
	who, err := u.whoAmI(ctx)
	if err != nil {
		return "", err
	}
	return who.arn, nil
}

// Close waits for the calls under way, which end by their time-out at the
// latest, and gives connections back.
func (i *Issuer) Close() {
	i.running.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, u := range i.upstreams {
		u.transport.CloseIdleConnections()
	}
}

// order is an exchange.Order with what it means upstream.
type order struct {
	*exchange.Order
	aws     issuer.AWS
	version int64 // of the choice
	tags    []session.Tag
	tokens  TokenSource // nil: the base credentials ask
}

// Issue implements exchange.Issuer.
func (i *Issuer) Issue(ctx context.Context, r store.Reader, o *exchange.Order, t *exchange.Trace) (*exchange.Issued, error) {
	choice := issuer.Find(r, o.Cluster.Account)
	if choice.Kind != issuer.AWSSTS && choice.Kind != issuer.WebIdentity {
		return nil, &fault.Error{Kind: fault.Internal, Reason: "issuer-other", Err: errors.New("the account's issuer is neither awssts nor webidentity")}
	}
	if ref, err := arn.ParseRole(o.Association.RoleARN); err != nil || ref.Account != o.Cluster.Account {
		return nil, fault.New(fault.AccessDenied, "%s", issuer.Unauthorized).WithReason("role-other-account").
			WithDetail(Refusal{Role: o.Association.RoleARN})
	}
	x := &order{Order: o, aws: choice.AWS, version: choice.Modified.UnixNano()}
	if choice.Kind == issuer.WebIdentity {
		x.tokens = i.Tokens
	}
	if !o.Association.DisableSessionTags {
		x.tags = issuer.PodTags(o.Cluster, o.Cluster.ARN(), o.Pod)
	}
	u, err := i.upstream(ctx, choice)
	switch {
	case err != nil && o.DryRun:
		return nil, explained(err)
	case err != nil:
		return nil, err
	case o.DryRun && x.tokens != nil:
		return u.explainTokens(x, t)
	case o.DryRun:
		return u.explain(ctx, x, t)
	}
	if o.Association.DisableSessionTags {
		return i.issueShared(ctx, u, x)
	}
	return i.fly(ctx, x.key(o.Pod.UID), func(ctx context.Context) (*exchange.Issued, error) { return u.assume(ctx, x) })
}

// key tells apart what must not share a session: another association, one that
// was changed, another choice of issuer, another pod.
func (x *order) key(pod string) string {
	a := x.Association
	return strings.Join([]string{
		x.Cluster.UID, a.ID, strconv.FormatInt(a.Modified.UnixNano(), 36), a.RoleARN, a.TargetRoleARN, strconv.FormatInt(x.version, 36), pod,
	}, "|")
}

// externalID of the first role: without tags nothing else says whom the
// session is for.
func (x *order) externalID() string {
	if x.Association.DisableSessionTags {
		return x.workload()
	}
	return x.aws.ExternalID
}

// workload is region/account/cluster/namespace/service-account, as EKS has it.
func (x *order) workload() string {
	c, a := x.Cluster, x.Association
	return strings.Join([]string{c.Region, c.Account, c.Name, a.Namespace, a.ServiceAccount}, "/")
}

// assume is the call, or the two of a target role.
func (u *upstream) assume(ctx context.Context, x *order) (*exchange.Issued, error) {
	if x.tokens != nil {
		return u.assumeByToken(ctx, x)
	}
	a := x.Association
	in := &sts.AssumeRoleInput{RoleArn: &a.RoleARN, RoleSessionName: &x.SessionName, ExternalId: optional(x.externalID())}
	for _, t := range x.tags {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)})
		in.TransitiveTagKeys = append(in.TransitiveTagKeys, t.Key)
	}
	if a.TargetRoleARN == "" {
		in.Policy = optional(a.Policy)
		out, err := u.assumeLong(ctx, in)
		return issued(out, x, a.RoleARN, err)
	}
	in.DurationSeconds = seconds(firstHopLife)
	first, err := u.assumeRole(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	return u.assumeTarget(ctx, x, first.Credentials)
}

// assumeTarget is the second call. The tags are transitive: they come along,
// and must not be given again.
func (u *upstream) assumeTarget(ctx context.Context, x *order, as *types.Credentials) (*exchange.Issued, error) {
	a := x.Association
	target := &sts.AssumeRoleInput{
		RoleArn: &a.TargetRoleARN, RoleSessionName: &x.SessionName, Policy: optional(a.Policy), DurationSeconds: seconds(issuer.TargetLifetime),
	}
	if a.DisableSessionTags {
		target.ExternalId = optional(x.workload())
	}
	out, err := u.assumeRole(ctx, target, as)
	return issued(out, x, a.TargetRoleARN, err)
}

// assumeLong asks for the longest life that the role is known or thought to
// allow, and for less when the upstream says that it was too long.
func (u *upstream) assumeLong(ctx context.Context, in *sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
	life, err := u.longest(ctx, *in.RoleArn)
	if err != nil {
		return nil, err
	}
	for {
		in.DurationSeconds = seconds(life)
		out, err := u.assumeRole(ctx, in, nil)
		less, ok := shorten(life, err)
		if !ok {
			return out, err
		}
		life = less
		u.remember(*in.RoleArn, life)
	}
}

// assumeRole makes one call, with the base credentials or those given.
func (u *upstream) assumeRole(ctx context.Context, in *sts.AssumeRoleInput, as *types.Credentials) (*sts.AssumeRoleOutput, error) {
	var out *sts.AssumeRoleOutput
	err := u.do(ctx, func(ctx context.Context) error {
		var err error
		out, err = u.sts.AssumeRole(ctx, in, func(o *sts.Options) {
			if as != nil {
				o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{
						AccessKeyID: aws.ToString(as.AccessKeyId), SecretAccessKey: aws.ToString(as.SecretAccessKey), SessionToken: aws.ToString(as.SessionToken),
					}, nil
				})
			}
		})
		if err == nil {
			err = u.complete(out.Credentials)
		}
		return err
	})
	if err != nil {
		return nil, named(err, *in.RoleArn)
	}
	return out, nil
}

// complete refuses an answer without credentials: that is no STS.
func (u *upstream) complete(k *types.Credentials) error {
	if k == nil || k.Expiration == nil || aws.ToString(k.AccessKeyId) == "" {
		return u.away("upstream-answer", errors.New("the answer has no credentials"))
	}
	return nil
}

// named adds the role to a refusal's detail.
func named(err error, role string) error {
	f := *fault.As(err)
	if d, ok := f.Detail.(Refusal); ok {
		d.Role = role
		f.Detail = d
	}
	return &f
}

func issued(out *sts.AssumeRoleOutput, x *order, roleARN string, err error) (*exchange.Issued, error) {
	if err != nil {
		return nil, err
	}
	k := out.Credentials
	r := &exchange.Issued{RoleARN: roleARN, Tags: x.tags, Credentials: session.Credentials{
		AccessKeyID: aws.ToString(k.AccessKeyId), SecretAccessKey: secret.New(aws.ToString(k.SecretAccessKey)),
		SessionToken: secret.New(aws.ToString(k.SessionToken)), Expires: k.Expiration.UTC(),
	}}
	if who := out.AssumedRoleUser; who != nil {
		r.AssumedRoleARN, r.AssumedRoleID = aws.ToString(who.Arn), aws.ToString(who.AssumedRoleId)
	}
	if ref, err := arn.ParseRole(roleARN); r.AssumedRoleARN == "" && err == nil { // some STSes leave it out
		r.AssumedRoleARN = arn.AssumedRole(ref.Partition, ref.Account, ref.Name, x.SessionName)
	}
	return r, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func seconds(d time.Duration) *int32 { return aws.Int32(int32(d / time.Second)) }
