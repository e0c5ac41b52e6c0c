// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is podid's API group.
const Group = "podid.dev"

// Version is that of this package's types.
const Version = "v1alpha1"

// GroupVersion names this package's types.
func GroupVersion() schema.GroupVersion { return schema.GroupVersion{Group: Group, Version: Version} }

// AddToScheme registers this package's types.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &PodIdentityAssociation{}, &PodIdentityAssociationList{}, &PodIdentityRolePolicy{}, &PodIdentityRolePolicyList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}
