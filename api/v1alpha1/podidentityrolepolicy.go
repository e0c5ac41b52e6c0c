// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodIdentityRolePolicy allows the roles that PodIdentityAssociations of some
// namespaces may name. Without one, none may. It allows an object if
// everything that the object names is allowed by this one policy; several
// policies are not added together.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=pirp,categories=podid
// +kubebuilder:printcolumn:name="SERVICEACCOUNTS",type=string,JSONPath=`.spec.serviceAccounts`
// +kubebuilder:printcolumn:name="ROLEARNS",type=string,JSONPath=`.spec.roleArns`
// +kubebuilder:printcolumn:name="TARGETROLEARNS",type=string,priority=1,JSONPath=`.spec.targetRoleArns`
// +kubebuilder:printcolumn:name="ADOPTION",type=boolean,JSONPath=`.spec.allowAdoption`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
type PodIdentityRolePolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PodIdentityRolePolicySpec `json:"spec"`
}

// Pattern matches a whole text: * stands for any characters, also none, and ?
// for one. All others stand for themselves.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=640
type Pattern string

// PodIdentityRolePolicySpec says what is allowed.
type PodIdentityRolePolicySpec struct {
	// namespaceSelector selects namespaces by their labels; {} selects all. A
	// namespace's name is its label kubernetes.io/metadata.name.
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector"`

	// serviceAccounts are patterns of the names of service accounts.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	ServiceAccounts []Pattern `json:"serviceAccounts"`

	// roleArns are patterns of the roles that may be named as roleArn.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	RoleARNs []Pattern `json:"roleArns"`

	// targetRoleArns are patterns of the roles that may be named as
	// targetRoleArn. Without any, an object with a targetRoleArn is not allowed.
	//
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	// +optional
	TargetRoleARNs []Pattern `json:"targetRoleArns,omitempty"`

	// allowAdoption lets an object take over an association that was not made
	// for it.
	//
	// +optional
	AllowAdoption bool `json:"allowAdoption,omitempty"`
}

// PodIdentityRolePolicyList is a list of them.
//
// +kubebuilder:object:root=true
type PodIdentityRolePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PodIdentityRolePolicy `json:"items"`
}
