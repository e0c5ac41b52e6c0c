// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/api/v1alpha1"
	"podid/internal/operator/glob"
)

// A wish is what policies are asked about.
type wish struct {
	namespace       map[string]string // its labels
	serviceAccount  string
	role, target    string
	namespaceExists bool
}

// A verdict is what the policies say.
type verdict struct {
	allowed, adoption bool
	policy            string // that allows; with adoption one that allows that too
}

// policies reads what is allowed, from the cache.
func (r *Reconciler) policies(ctx context.Context) ([]v1alpha1.PodIdentityRolePolicy, error) {
	var list v1alpha1.PodIdentityRolePolicyList
	if err := r.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list role policies: %w", err)
	}
	return list.Items, nil
}

// judge asks each policy by itself: what two of them allow in part is not allowed.
func judge(policies []v1alpha1.PodIdentityRolePolicy, w wish) verdict {
	var v verdict
	for i := range policies {
		p := &policies[i]
		if p.DeletionTimestamp != nil || !allows(&p.Spec, w) {
			continue
		}
		if !v.allowed || p.Spec.AllowAdoption && !v.adoption {
			v = verdict{allowed: true, adoption: p.Spec.AllowAdoption, policy: p.Name}
		}
	}
	return v
}

func allows(p *v1alpha1.PodIdentityRolePolicySpec, w wish) bool {
	selector, err := metav1.LabelSelectorAsSelector(&p.NamespaceSelector)
	if err != nil { // what cannot be understood allows nothing
		return false
	}
	return w.namespaceExists && selector.Matches(labels.Set(w.namespace)) &&
		matchesAny(p.ServiceAccounts, w.serviceAccount) && matchesAny(p.RoleARNs, w.role) &&
		(w.target == "" || matchesAny(p.TargetRoleARNs, w.target))
}

func matchesAny(patterns []v1alpha1.Pattern, text string) bool {
	return slices.ContainsFunc(patterns, func(p v1alpha1.Pattern) bool { return glob.Match(string(p), text) })
}
