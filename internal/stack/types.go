// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import "slices"

// The resource types, as templates name them.
const (
	TypeRole                   = "AWS::IAM::Role"
	TypePolicy                 = "AWS::IAM::Policy"
	TypeManagedPolicy          = "AWS::IAM::ManagedPolicy"
	TypeOIDCProvider           = "AWS::IAM::OIDCProvider"
	TypeInstanceProfile        = "AWS::IAM::InstanceProfile"
	TypePodIdentityAssociation = "AWS::EKS::PodIdentityAssociation"
)

type valueKind uint8

const (
	aText valueKind = iota
	aNumber
	aBool
	aDocument // a JSON object, or its text
	texts
	tags
	inlinePolicies
)

// A property is a row of a resource type's reference page.
type property struct {
	name     string
	kind     valueKind
	required bool
	replaces bool // "Update requires: Replacement"
}

// A resourceType is what a type's reference page says. Where AWS lets a type's Ref or attribute name something that podid does
// not have, it is left out here, so that a template is refused before anything is made.
type resourceType struct {
	properties []property
	attributes []string
	iam        bool   // needs CAPABILITY_IAM
	name       string // the property that makes it CAPABILITY_NAMED_IAM, or ""
	empty      func() Properties
}

func typeOf(kind string) (resourceType, bool) {
	switch kind {
	case TypeRole:
		return roleType(), true
	case TypePolicy:
		return policyType(), true
	case TypeManagedPolicy:
		return managedPolicyType(), true
	case TypeOIDCProvider:
		return oidcProviderType(), true
	case TypeInstanceProfile:
		return instanceProfileType(), true
	case TypePodIdentityAssociation:
		return associationType(), true
	}
	return resourceType{}, false
}

// Attributes returns what Fn::GetAtt offers for a resource type.
func Attributes(kind string) []string {
	rt, _ := typeOf(kind)
	return rt.attributes
}

func (rt resourceType) property(name string) (property, bool) {
	i := slices.IndexFunc(rt.properties, func(p property) bool { return p.name == name })
	if i < 0 {
		return property{}, false
	}
	return rt.properties[i], true
}

func roleType() resourceType {
	return resourceType{
		properties: []property{
			{name: "AssumeRolePolicyDocument", kind: aDocument, required: true},
			{name: "Description"},
			{name: "ManagedPolicyArns", kind: texts},
			{name: "MaxSessionDuration", kind: aNumber},
			{name: "Path", replaces: true},
			{name: "PermissionsBoundary"},
			{name: "Policies", kind: inlinePolicies},
			{name: "RoleName", replaces: true},
			{name: "Tags", kind: tags},
		},
		attributes: []string{"Arn", "RoleId"},
		iam:        true,
		name:       "RoleName",
		empty:      func() Properties { return &Role{} },
	}
}

func policyType() resourceType {
	return resourceType{
		properties: []property{
			{name: "Groups", kind: texts},
			{name: "PolicyDocument", kind: aDocument, required: true},
			// AWS renames in place. Made new and the old one deleted is the same in the end, and a failure between is undone alike.
			{name: "PolicyName", required: true, replaces: true},
			{name: "Roles", kind: texts},
			{name: "Users", kind: texts},
		},
		attributes: []string{"Id"},
		iam:        true,
		empty:      func() Properties { return &Policy{} },
	}
}

func managedPolicyType() resourceType {
	return resourceType{
		properties: []property{
			{name: "Description", replaces: true},
			{name: "Groups", kind: texts},
			{name: "ManagedPolicyName", replaces: true},
			{name: "Path", replaces: true},
			{name: "PolicyDocument", kind: aDocument, required: true},
			{name: "Roles", kind: texts},
			{name: "Users", kind: texts},
		},
		attributes: []string{
			"AttachmentCount", "CreateDate", "DefaultVersionId", "IsAttachable", "PermissionsBoundaryUsageCount",
			"PolicyArn", "PolicyId", "UpdateDate",
		},
		iam:   true,
		name:  "ManagedPolicyName",
		empty: func() Properties { return &ManagedPolicy{} },
	}
}

func oidcProviderType() resourceType {
	return resourceType{
		properties: []property{
			{name: "ClientIdList", kind: texts},
			{name: "Tags", kind: tags},
			{name: "ThumbprintList", kind: texts},
			{name: "Url", required: true, replaces: true},
		},
		attributes: []string{"Arn"},
		iam:        true,
		empty:      func() Properties { return &OIDCProvider{} },
	}
}

func instanceProfileType() resourceType {
	return resourceType{
		properties: []property{
			{name: "InstanceProfileName", replaces: true},
			{name: "Path", replaces: true},
			{name: "Roles", kind: texts, required: true},
		},
		attributes: []string{"Arn"},
		iam:        true,
		name:       "InstanceProfileName",
		empty:      func() Properties { return &InstanceProfile{} },
	}
}

func associationType() resourceType {
	return resourceType{
		properties: []property{
			{name: "ClusterName", required: true, replaces: true},
			{name: "DisableSessionTags", kind: aBool},
			{name: "Namespace", required: true, replaces: true},
			{name: "Policy"},
			{name: "RoleArn", required: true},
			{name: "ServiceAccount", required: true, replaces: true},
			{name: "Tags", kind: tags},
			{name: "TargetRoleArn"},
		},
		attributes: []string{"AssociationArn", "AssociationId", "ExternalId"},
		empty:      func() Properties { return &PodIdentityAssociation{} },
	}
}
