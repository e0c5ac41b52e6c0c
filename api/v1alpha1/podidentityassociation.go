// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodIdentityAssociation asks that the pods of a service account of its
// namespace get credentials of a role. It is refused unless a
// PodIdentityRolePolicy allows the role to that service account.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=pia,categories=podid
// +kubebuilder:printcolumn:name="CLUSTER",type=string,JSONPath=`.status.clusterName`
// +kubebuilder:printcolumn:name="NAMESPACE",type=string,JSONPath=`.metadata.namespace`
// +kubebuilder:printcolumn:name="SERVICEACCOUNT",type=string,JSONPath=`.spec.serviceAccount`
// +kubebuilder:printcolumn:name="ROLEARN",type=string,priority=1,JSONPath=`.spec.roleArn`
// +kubebuilder:printcolumn:name="ASSOCIATIONID",type=string,priority=1,JSONPath=`.status.associationId`
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="REASON",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
type PodIdentityAssociation struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec PodIdentityAssociationSpec `json:"spec"`
	// +optional
	Status PodIdentityAssociationStatus `json:"status,omitempty"`
}

// RoleARN names an IAM role: arn:PARTITION:iam::ACCOUNT:role/PATH/NAME.
//
// +kubebuilder:validation:MinLength=20
// +kubebuilder:validation:MaxLength=640
// +kubebuilder:validation:Pattern=`^arn:[a-z][a-z0-9-]*:iam::[0-9]{12}:role/([!-~]+/)?[A-Za-z0-9_+=,.@-]{1,64}$`
type RoleARN string

// TagValue is that of a tag.
//
// +kubebuilder:validation:MaxLength=256
type TagValue string

// DeletionPolicy says what becomes of the association when its object is deleted.
//
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

// The deletion policies.
const (
	DeletionDelete DeletionPolicy = "Delete" // the association goes with the object
	DeletionRetain DeletionPolicy = "Retain" // it stays, and is nobody's
)

// PodIdentityAssociationSpec is what is asked for.
//
// +kubebuilder:validation:XValidation:rule="!has(self.policy) || size(self.policy) == 0 || (has(self.disableSessionTags) && self.disableSessionTags)",message="policy can only be used when disableSessionTags is true"
type PodIdentityAssociationSpec struct {
	// serviceAccount is the name of the service account, of the object's
	// namespace. It need not exist yet. It cannot be changed: make another object.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="serviceAccount cannot be changed"
	ServiceAccount string `json:"serviceAccount"`

	// roleArn is the role whose credentials the pods get, of the control plane's account.
	RoleARN RoleARN `json:"roleArn"`

	// targetRoleArn is a role, of any account, that roleArn's session assumes;
	// the pods get its credentials instead.
	//
	// +optional
	TargetRoleARN RoleARN `json:"targetRoleArn,omitempty"`

	// policy is a session policy as JSON that narrows what the credentials
	// may. It needs disableSessionTags.
	//
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Policy string `json:"policy,omitempty"`

	// disableSessionTags leaves the six tags of cluster, namespace, service
	// account and pod out of the session.
	//
	// +optional
	DisableSessionTags bool `json:"disableSessionTags,omitempty"`

	// tags of the association itself; those that others put on it stay.
	//
	// +kubebuilder:validation:MaxProperties=45
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) >= 1 && size(k) <= 128)",message="a tag's key has 1 to 128 characters"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('aws:') && !k.startsWith('podid.dev/'))",message="keys that begin with aws: or podid.dev/ are reserved"
	// +optional
	Tags map[string]TagValue `json:"tags,omitempty"`

	// deletionPolicy says what becomes of the association when the object is
	// deleted: Delete or Retain. Without it, one that was made for the object is
	// deleted, and one that was adopted is retained.
	//
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// The types of conditions.
const (
	// ConditionReady: the association is what the object asks for, the
	// operator's webhook knows of it, and nothing hinders its use.
	ConditionReady = "Ready"
	// ConditionRoleResolved: the control plane finds the role, and it trusts EKS Pod Identity.
	ConditionRoleResolved = "RoleResolved"
	// ConditionPropagated: the operator's webhook knows the association; pods
	// that are made from now on are given what they need.
	ConditionPropagated = "Propagated"
)

// PodIdentityAssociationStatus is what has become of it.
type PodIdentityAssociationStatus struct {
	// observedGeneration is that of the spec which the rest of the status is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are Ready, RoleResolved and Propagated.
	//
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// clusterName is this cluster's name at the control plane.
	//
	// +optional
	ClusterName string `json:"clusterName,omitempty"`

	// associationId of the association: a- and 17 characters.
	//
	// +optional
	AssociationID string `json:"associationId,omitempty"`

	// associationArn of the association.
	//
	// +optional
	AssociationARN string `json:"associationArn,omitempty"`

	// externalId is what targetRoleArn's trust policy can ask for.
	//
	// +optional
	ExternalID string `json:"externalId,omitempty"`

	// adopted is true where the association was there before the object.
	//
	// +optional
	Adopted bool `json:"adopted,omitempty"`

	// tagKeys are the tags that the object has put on the association.
	//
	// +listType=set
	// +optional
	TagKeys []string `json:"tagKeys,omitempty"`
}

// PodIdentityAssociationList is a list of them.
//
// +kubebuilder:object:root=true
type PodIdentityAssociationList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PodIdentityAssociation `json:"items"`
}
