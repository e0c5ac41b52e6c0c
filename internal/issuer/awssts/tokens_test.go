// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"podid/internal/association"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/issuer"
	"podid/internal/secret"
	"podid/internal/session"
	"podid/internal/store"
)

// fakeTokens shows what it was asked to sign.
type fakeTokens struct{ err error }

func (f *fakeTokens) Token(account, audience, subject string, tags []session.Tag) (secret.String, error) {
	return secret.New(fmt.Sprintf("%s %s %s %d", account, audience, subject, len(tags))), f.err
}

func (f *fakeTokens) ProviderARN(account string) (string, error) {
	return "arn:aws:iam::" + account + ":oidc-provider/x", f.err
}

// byToken makes the world's account ask with tokens.
func (w *world) byToken(audience string) *fakeTokens {
	w.t.Helper()
	tokens := &fakeTokens{}
	w.Tokens = tokens
	w.aws.Audience = audience
	err := w.db.Update(w.t.Context(), func(tx *store.Tx) error {
		issuer.Choices.Put(tx, store.Scope{Account: "111122223333", Region: store.Global}, "choice", &issuer.Choice{Kind: issuer.WebIdentity, AWS: w.aws})
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.up.answer = func(rw http.ResponseWriter, f url.Values, _ int) bool {
		if f.Get("Action") != "AssumeRoleWithWebIdentity" {
			return false
		}
		if f.Get("DurationSeconds") == "21600" {
			refuse(rw, http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
			return true
		}
		fmt.Fprintf(rw, `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>very-secret</SecretAccessKey><SessionToken>very-secret-token</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
			w.clock.now().Add(time.Hour).UTC().Format(time.RFC3339))
		return true
	}
	return tokens
}

func TestTokens(t *testing.T) {
	for name, tc := range map[string]struct {
		audience string
		change   func(*association.Association)
		token    string
		lives    string // of the calls by token
		target   string // of the call with the session
	}{
		"tags":         {"", nil, "111122223333 sts.amazonaws.com us-west-2/111122223333/c1/ns/sa 6", "21600 14400", ""},
		"audience":     {"acme", nil, "111122223333 acme us-west-2/111122223333/c1/ns/sa 6", "21600 14400", ""},
		"no tags":      {"", noTags, "111122223333 sts.amazonaws.com us-west-2/111122223333/c1/ns/sa 0", "21600 14400", ""},
		"target role":  {"", func(a *association.Association) { a.TargetRoleARN = targetARN }, "111122223333 sts.amazonaws.com us-west-2/111122223333/c1/ns/sa 6", "900", "3540"},
		"no tags, too": {"", func(a *association.Association) { noTags(a); a.TargetRoleARN = targetARN }, "111122223333 sts.amazonaws.com us-west-2/111122223333/c1/ns/sa 0", "900", "3540"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.byToken(tc.audience)
			out, err := w.issue(order(tc.change))
			if err != nil {
				t.Fatal(err)
			}
			var lives []string
			for _, c := range w.up.made("AssumeRoleWithWebIdentity") {
				lives = append(lives, c.Get("DurationSeconds"))
				if c.Get("WebIdentityToken") != tc.token || c.Get("RoleArn") != roleARN || c.Get("RoleSessionName") != "eks-c1-pod-1" || c.Has("ExternalId") {
					t.Errorf("%v", c)
				}
			}
			if strings.Join(lives, " ") != tc.lives {
				t.Errorf("lives %v, want %s", lives, tc.lives)
			}
			chained := w.up.made("AssumeRole")
			if (len(chained) == 1) != (tc.target != "") || tc.target != "" && chained[0].Get("DurationSeconds") != tc.target {
				t.Errorf("%v", chained)
			}
			if tc.target == "" && out.AssumedRoleARN != "arn:aws:sts::111122223333:assumed-role/app/eks-c1-pod-1" { // the answer does not say
				t.Errorf("%+v", out)
			}
		})
	}
}

func TestTokensRefused(t *testing.T) {
	for code, want := range map[string]struct {
		kind   fault.Kind
		reason string
	}{
		"InvalidIdentityToken": {fault.Unavailable, "upstream-credentials"}, "IDPRejectedClaim": {fault.Unavailable, "upstream-credentials"},
		"IDPCommunicationError": {fault.Unavailable, "upstream-credentials"}, "AccessDenied": {fault.AccessDenied, "upstream-denied"},
	} {
		w := newWorld(t)
		w.byToken("")
		w.up.answer = func(rw http.ResponseWriter, _ url.Values, _ int) bool {
			refuse(rw, http.StatusBadRequest, code, "no")
			return true
		}
		if _, err := w.issue(order(nil)); !fault.Is(err, want.kind) || fault.As(err).Reason != want.reason {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestTokensAtCreateAndExplained(t *testing.T) {
	w := newWorld(t)
	tokens := w.byToken("")
	o := order(func(a *association.Association) { a.TargetRoleARN = targetARN })
	if err := w.checkRole(t, o); err != nil {
		t.Error(err)
	}
	o.DryRun = true
	tr := &exchange.Trace{}
	if _, err := w.Issue(t.Context(), w.db.View(), o, tr); err != nil {
		t.Error(err)
	}
	var got []string
	for _, s := range tr.Reports() {
		got = append(got, s.Step+"="+string(s.Verdict))
	}
	if want := "token for the STS=pass, trust policy of the role: sts:AssumeRoleWithWebIdentity=open, target role=open"; strings.Join(got, ", ") != want {
		t.Errorf("steps %v", got)
	}
	tokens.err = fault.New(fault.Unavailable, "There is no key.").WithReason("oidc-key-missing")
	if _, err := w.Issue(t.Context(), w.db.View(), o, tr); fault.As(err).Reason != "oidc-key-missing" || fault.Is(err, fault.Unavailable) {
		t.Errorf("explained: %v", err)
	}
	o.DryRun = false
	if _, err := w.issue(o); !fault.Is(err, fault.Unavailable) {
		t.Errorf("issued: %v", err)
	}
	if n := len(w.up.made("AssumeRoleWithWebIdentity")); n != 0 {
		t.Errorf("%d calls", n)
	}
}
