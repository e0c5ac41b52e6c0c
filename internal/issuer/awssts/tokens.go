// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts

import (
	"cmp"
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"podid/internal/exchange"
	"podid/internal/issuer"
)

// noIAM is why roles are not looked at where tokens ask.
const noIAM = "tokens open the STS, and not IAM"

// assumeByToken is assume with a token instead of base credentials. Its tags
// and its subject are in the token; an external id has no place.
func (u *upstream) assumeByToken(ctx context.Context, x *order) (*exchange.Issued, error) {
	a := x.Association
	life := firstHopLife
	in := &sts.AssumeRoleWithWebIdentityInput{RoleArn: &a.RoleARN, RoleSessionName: &x.SessionName}
	if a.TargetRoleARN == "" {
		in.Policy = optional(a.Policy)
		var err error
		if life, err = u.longest(ctx, a.RoleARN); err != nil {
			return nil, err
		}
	}
	for {
		in.DurationSeconds = seconds(life)
		out, err := u.assumeWith(ctx, in, x)
		if less, ok := shorten(life, err); ok {
			life = less
			u.remember(a.RoleARN, life)
			continue
		}
		switch {
		case err != nil:
			return nil, err
		case a.TargetRoleARN != "":
			return u.assumeTarget(ctx, x, out.Credentials)
		}
		return issued(out, x, a.RoleARN, nil)
	}
}

// assumeWith makes one call with a new token.
func (u *upstream) assumeWith(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput, x *order) (*sts.AssumeRoleOutput, error) {
	token, err := x.tokens.Token(x.Cluster.Account, cmp.Or(x.aws.Audience, issuer.DefaultAudience), x.workload(), x.tags)
	if err != nil {
		return nil, err
	}
	in.WebIdentityToken = aws.String(token.Reveal())
	var credentials *types.Credentials
	var user *types.AssumedRoleUser
	err = u.do(ctx, func(ctx context.Context) error {
		out, err := u.sts.AssumeRoleWithWebIdentity(ctx, in)
		if err != nil {
			return err
		}
		credentials, user = out.Credentials, out.AssumedRoleUser
		return u.complete(credentials)
	})
	if err != nil {
		return nil, named(err, *in.RoleArn)
	}
	return &sts.AssumeRoleOutput{Credentials: credentials, AssumedRoleUser: user}, nil
}

// explainTokens says who would ask; all else is the upstream's to judge.
func (u *upstream) explainTokens(x *order, t *exchange.Trace) (*exchange.Issued, error) {
	provider, err := x.tokens.ProviderARN(x.Cluster.Account)
	if err != nil {
		return nil, explained(err)
	}
	t.Report(exchange.StepReport{Step: stepToken, Verdict: exchange.Pass, Note: provider + ", subject " + x.workload() + ", for " + u.name})
	t.Report(exchange.StepReport{Step: stepTrust + " sts:AssumeRoleWithWebIdentity", Verdict: exchange.Open, Note: "not checked: " + noIAM})
	if x.Association.TargetRoleARN != "" {
		t.Report(exchange.StepReport{Step: stepTarget, Verdict: exchange.Open, Note: "not checked: " + noIAM})
	}
	return &exchange.Issued{RoleARN: x.Association.RoleARN, Tags: x.tags}, nil
}
