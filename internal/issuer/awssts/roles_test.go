// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/fault"
)

// trustOf is a trust policy for a principal, on conditions.
func trustOf(principal, condition string) string {
	if condition != "" {
		condition = `,"Condition":{` + condition + `}`
	}
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{` + principal + `},"Action":["sts:AssumeRole","sts:TagSession"]` + condition + `}}`
}

// checkRole asks and checks at once.
func (w *world) checkRole(t *testing.T, o *exchange.Order) error {
	t.Helper()
	v := w.db.View()
	return w.AskRole(t.Context(), v, o.Cluster, o.Association)(t.Context(), v, o.Cluster, o.Association)
}

// The check asks nobody, and is of what was asked about alone.
func TestCheckIsOfWhatWasAsked(t *testing.T) {
	for name, change := range map[string]func(*cluster.Cluster, *association.Association){
		"role":            func(_ *cluster.Cluster, a *association.Association) { a.RoleARN += "2" },
		"namespace":       func(_ *cluster.Cluster, a *association.Association) { a.Namespace += "2" },
		"service account": func(_ *cluster.Cluster, a *association.Association) { a.ServiceAccount += "2" },
		"tags":            func(_ *cluster.Cluster, a *association.Association) { a.DisableSessionTags = !a.DisableSessionTags },
		"cluster":         func(c *cluster.Cluster, _ *association.Association) { c.UID += "2" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.up.trust = trustOf(`"AWS":"`+userARN+`"`, "")
			o := order(nil)
			check := w.AskRole(t.Context(), w.db.View(), o.Cluster, o.Association)
			asked := len(w.up.made("GetRole"))
			c, a := *o.Cluster, *o.Association
			if err := check(t.Context(), w.db.View(), &c, &a); err != nil {
				t.Error(err)
			}
			change(&c, &a)
			if err := check(t.Context(), w.db.View(), &c, &a); fault.As(err).Reason != "changed-meanwhile" {
				t.Errorf("%v", err)
			}
			if n := len(w.up.made("GetRole")); asked == 0 || n != asked {
				t.Errorf("IAM was asked %d times before the check and %d after", asked, n)
			}
		})
	}
}

func TestCheckRole(t *testing.T) {
	const base = `"AWS":"` + userARN + `"`
	for name, tc := range map[string]struct {
		trust  string
		change func(*association.Association)
		answer func(http.ResponseWriter, url.Values, int) bool
		reason string
	}{
		"trusts the base":                {trustOf(base, ""), nil, nil, ""},
		"trusts its account":             {trustOf(`"AWS":"111122223333"`, ""), nil, nil, ""},
		"trusts EKS only":                {trustOf(`"Service":"pods.eks.amazonaws.com"`, ""), nil, nil, "trust-policy-invalid"},
		"trusts somebody else":           {trustOf(`"AWS":"arn:aws:iam::111122223333:user/other"`, ""), nil, nil, "trust-policy-invalid"},
		"namespace fits":                 {trustOf(base, `"StringEquals":{"aws:RequestTag/kubernetes-namespace":"ns"}`), nil, nil, ""},
		"namespace does not":             {trustOf(base, `"StringEquals":{"aws:RequestTag/kubernetes-namespace":"other"}`), nil, nil, "trust-policy-invalid"},
		"some pod":                       {trustOf(base, `"StringLike":{"aws:RequestTag/kubernetes-pod-name":"x-*"}`), nil, nil, ""},
		"another tag":                    {trustOf(base, `"StringEquals":{"aws:RequestTag/team":"x"}`), nil, nil, "trust-policy-invalid"},
		"EKS' own condition":             {trustOf(base, `"StringEquals":{"aws:SourceAccount":"111122223333"}`), nil, nil, "trust-policy-invalid"},
		"what only AWS knows":            {trustOf(base, `"StringEquals":{"aws:PrincipalOrgID":"o-1","aws:SourceVpc":"vpc-1"}`), nil, nil, ""},
		"variable that only AWS knows":   {trustOf(base, `"StringEquals":{"aws:PrincipalOrgID":"${aws:ResourceOrgID}"}`), nil, nil, ""},
		"external id where none is sent": {trustOf(base, `"StringEquals":{"sts:ExternalId":"x"}`), nil, nil, "trust-policy-invalid"},
		"external id of the workload":    {trustOf(base, `"StringEquals":{"sts:ExternalId":"us-west-2/111122223333/c1/ns/sa"}`), noTags, nil, ""},
		"tags where none are sent":       {trustOf(base, `"StringEquals":{"aws:RequestTag/kubernetes-namespace":"ns"}`), noTags, nil, "trust-policy-invalid"},
		"policy that cannot be read":     {`{`, nil, nil, ""},
		"IAM says no":                    {"", nil, nil, ""},
		"there is no role": {"", nil, func(w http.ResponseWriter, f url.Values, _ int) bool {
			if f.Get("Action") != "GetRole" {
				return false
			}
			refuse(w, http.StatusNotFound, "NoSuchEntity", "no")
			return true
		}, "role-not-found"},
		"of another path": {trustOf(base, ""), func(a *association.Association) { a.RoleARN = "arn:aws:iam::111122223333:role/team/app" }, nil, "role-not-found"},
		"of another account": {trustOf(base, ""), func(a *association.Association) {
			a.RoleARN = targetARN
		}, nil, "role-other-account"},
		"no role at all": {trustOf(base, ""), func(a *association.Association) { a.RoleARN = "x" }, nil, "role-arn-malformed"},
		"upstream away": {"", nil, func(w http.ResponseWriter, _ url.Values, _ int) bool {
			refuse(w, http.StatusForbidden, "InvalidClientTokenId", "no")
			return true
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.up.trust, w.up.answer = tc.trust, tc.answer
			o := order(tc.change)
			for range 2 { // as a caller who tries again does
				err := w.checkRole(t, o)
				if (err == nil) != (tc.reason == "") || err != nil && (fault.As(err).Reason != tc.reason || !fault.Is(err, fault.InvalidParameter)) {
					t.Errorf("%v, want %q", err, tc.reason)
				}
			}
			if n := len(w.up.made("GetRole")); n > 1 {
				t.Errorf("IAM was asked %d times", n)
			}
		})
	}
}

// What explain says is what the exchange would meet, and it issues nothing.
func TestExplain(t *testing.T) {
	for name, tc := range map[string]struct {
		trust, want string
		answer      func(http.ResponseWriter, url.Values, int) bool
		reason      string
	}{
		"trust holds":    {trustOf(`"AWS":"`+userARN+`"`, ""), "base credentials=pass, trust policy of the role: sts:AssumeRole=pass, trust policy of the role: sts:TagSession=pass, policies of the base credentials=open, target role=open", nil, ""},
		"trust fails":    {trustOf(`"AWS":"*"`, `"StringEquals":{"aws:RequestTag/kubernetes-namespace":"x"}`), "base credentials=pass, trust policy of the role: sts:AssumeRole=fail, trust policy of the role: sts:TagSession=fail", nil, "trust-policy-denied"},
		"only AWS knows": {trustOf(`"AWS":"*"`, `"StringEquals":{"aws:SourceVpc":"x"}`), "base credentials=pass, trust policy of the role: sts:AssumeRole=open, trust policy of the role: sts:TagSession=open, policies of the base credentials=open, target role=open", nil, ""},
		"no look at it":  {"", "base credentials=pass, trust policy of the role: sts:AssumeRole=open, policies of the base credentials=open, target role=open", nil, ""},
		"no credentials": {"", "base credentials=fail", func(w http.ResponseWriter, _ url.Values, _ int) bool {
			refuse(w, http.StatusForbidden, "InvalidClientTokenId", "no")
			return true
		}, "upstream-credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.up.trust, w.up.answer = tc.trust, tc.answer
			o := order(func(a *association.Association) { a.TargetRoleARN = targetARN })
			o.DryRun = true
			tr := &exchange.Trace{}
			out, err := w.Issue(t.Context(), w.db.View(), o, tr)
			if (err == nil) != (tc.reason == "") || err != nil && (fault.As(err).Reason != tc.reason || fault.Is(err, fault.Unavailable)) {
				t.Errorf("%v", err)
			}
			if err == nil && (out.Credentials.AccessKeyID != "" || out.Session != nil) {
				t.Errorf("%+v", out)
			}
			var got []string
			for _, s := range tr.Reports() {
				got = append(got, s.Step+"="+string(s.Verdict))
			}
			if strings.Join(got, ", ") != tc.want {
				t.Errorf("steps %s\nwant  %s", strings.Join(got, ", "), tc.want)
			}
			if len(w.up.made("AssumeRole")) != 0 {
				t.Error("explain issues")
			}
		})
	}
}
