// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/api/v1alpha1"
)

func TestJudge(t *testing.T) {
	data := metav1.LabelSelector{MatchLabels: map[string]string{"team": "data"}}
	policy := func(change func(*v1alpha1.PodIdentityRolePolicy)) v1alpha1.PodIdentityRolePolicy {
		p := v1alpha1.PodIdentityRolePolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.PodIdentityRolePolicySpec{
			NamespaceSelector: data, ServiceAccounts: []v1alpha1.Pattern{"web", "job-*"}, RoleARNs: []v1alpha1.Pattern{"arn:aws:iam::111122223333:role/app/*"},
		}}
		if change != nil {
			change(&p)
		}
		return p
	}
	target := func(p *v1alpha1.PodIdentityRolePolicy) {
		p.Spec.TargetRoleARNs = []v1alpha1.Pattern{"arn:aws:iam::444455556666:role/*"}
	}
	base := wish{namespace: map[string]string{"team": "data"}, namespaceExists: true, serviceAccount: "web", role: roleA}
	with := func(change func(*wish)) wish { w := base; change(&w); return w }
	const foreign = "arn:aws:iam::444455556666:role/t"
	for _, tc := range []struct {
		name string
		p    []v1alpha1.PodIdentityRolePolicy
		w    wish
		want verdict
	}{
		{"no policy", nil, base, verdict{}},
		{"allowed", []v1alpha1.PodIdentityRolePolicy{policy(nil)}, base, verdict{true, false, "p"}},
		{"pattern of accounts", []v1alpha1.PodIdentityRolePolicy{policy(nil)}, with(func(w *wish) { w.serviceAccount = "job-7" }), verdict{true, false, "p"}},
		{"another account", []v1alpha1.PodIdentityRolePolicy{policy(nil)}, with(func(w *wish) { w.serviceAccount = "website" }), verdict{}},
		{"another role", []v1alpha1.PodIdentityRolePolicy{policy(nil)}, with(func(w *wish) { w.role = roleX }), verdict{}},
		{"another namespace", []v1alpha1.PodIdentityRolePolicy{policy(nil)}, with(func(w *wish) { w.namespace = map[string]string{"team": "web"} }), verdict{}},
		{"namespace that is gone", []v1alpha1.PodIdentityRolePolicy{policy(func(p *v1alpha1.PodIdentityRolePolicy) { p.Spec.NamespaceSelector = metav1.LabelSelector{} })}, with(func(w *wish) { w.namespace, w.namespaceExists = nil, false }), verdict{}},
		{"all namespaces", []v1alpha1.PodIdentityRolePolicy{policy(func(p *v1alpha1.PodIdentityRolePolicy) { p.Spec.NamespaceSelector = metav1.LabelSelector{} })}, with(func(w *wish) { w.namespace = nil }), verdict{true, false, "p"}},
		{"selector that says nothing sensible", []v1alpha1.PodIdentityRolePolicy{policy(func(p *v1alpha1.PodIdentityRolePolicy) {
			p.Spec.NamespaceSelector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Perhaps"}}}
		})}, base, verdict{}},
		{"target without permission", []v1alpha1.PodIdentityRolePolicy{policy(nil)}, with(func(w *wish) { w.target = foreign }), verdict{}},
		{"target", []v1alpha1.PodIdentityRolePolicy{policy(target)}, with(func(w *wish) { w.target = foreign }), verdict{true, false, "p"}},
		{"target of another account", []v1alpha1.PodIdentityRolePolicy{policy(target)}, with(func(w *wish) { w.target = roleX }), verdict{}},
		{"two policies do not add up", []v1alpha1.PodIdentityRolePolicy{
			policy(func(p *v1alpha1.PodIdentityRolePolicy) { p.Spec.RoleARNs = []v1alpha1.Pattern{roleB} }),
			policy(func(p *v1alpha1.PodIdentityRolePolicy) { p.Spec.ServiceAccounts = []v1alpha1.Pattern{"other"} }),
		}, base, verdict{}},
		{"adoption by the one that allows", []v1alpha1.PodIdentityRolePolicy{
			policy(nil), policy(func(p *v1alpha1.PodIdentityRolePolicy) { p.Name, p.Spec.AllowAdoption = "q", true }),
		}, base, verdict{true, true, "q"}},
		{"adoption by one that does not", []v1alpha1.PodIdentityRolePolicy{
			policy(nil), policy(func(p *v1alpha1.PodIdentityRolePolicy) {
				p.Spec.RoleARNs, p.Spec.AllowAdoption = []v1alpha1.Pattern{roleB}, true
			}),
		}, base, verdict{true, false, "p"}},
		{"policy that is being deleted", []v1alpha1.PodIdentityRolePolicy{policy(func(p *v1alpha1.PodIdentityRolePolicy) { now := metav1.Now(); p.DeletionTimestamp = &now })}, base, verdict{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := judge(tc.p, tc.w); got != tc.want {
				t.Errorf("judged %+v, want %+v", got, tc.want)
			}
		})
	}
}
