// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package clusterconfig owns the files that describe associations: eksctl's
// ClusterConfig, as far as iam.podIdentityAssociations goes, and podid's own
// IAMConfig for what that schema cannot say: roles with a trust policy of
// their own, several inline policies or several users, and managed policies.
// Documents of both kinds may stand in one file. It reads strictly: a member
// that eksctl does not know either is refused with its line, and every fault
// of a file is told at once. It writes what it reads. It speaks to nobody;
// what the files mean for a control plane is the business of its callers.
package clusterconfig

import (
	"encoding/json"
	"fmt"

	"podid/internal/cli/wellknown"
)

// The kinds of documents.
const (
	ConfigVersion = "eksctl.io/v1alpha5"
	ConfigKind    = "ClusterConfig"
	IAMVersion    = "podid.dev/v1alpha1"
	IAMKind       = "IAMConfig"
)

// Set is what one or more files say together.
type Set struct {
	Clusters []*ClusterConfig
	IAM      []*IAMConfig
	// Ignored names what eksctl knows and podid has no use for, such as node
	// groups, each with its place.
	Ignored []string
}

// Associations counts the associations of all clusters.
func (s *Set) Associations() int {
	n := 0
	for _, c := range s.Clusters {
		n += len(c.Associations)
	}
	return n
}

// Place is where something stands. Lines count from 1.
type Place struct {
	File string
	Line int
}

// String is file:line.
func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// ClusterConfig is eksctl's document of one cluster.
type ClusterConfig struct {
	Name         string
	Region       string
	Associations []*Association
	At           Place
}

// Document is a policy document: JSON text of an object, its members in the
// order in which they were written.
type Document = json.RawMessage

// Association is one of iam.podIdentityAssociations. Either RoleARN names a
// role that exists, or a role is made, by RoleName or a name made up.
type Association struct {
	Namespace              string            `json:"namespace"`
	ServiceAccountName     string            `json:"serviceAccountName"`
	CreateServiceAccount   bool              `json:"createServiceAccount,omitempty"`
	RoleARN                string            `json:"roleARN,omitempty"`
	RoleName               string            `json:"roleName,omitempty"`
	PermissionPolicyARNs   []string          `json:"permissionPolicyARNs,omitempty"`
	PermissionPolicyName   string            `json:"permissionPolicyName,omitempty"`
	PermissionPolicy       Document          `json:"permissionPolicy,omitempty"`
	WellKnownPolicies      wellknown.Set     `json:"wellKnownPolicies,omitempty"`
	PermissionsBoundaryARN string            `json:"permissionsBoundaryARN,omitempty"`
	TargetRoleARN          string            `json:"targetRoleARN,omitempty"`
	DisableSessionTags     bool              `json:"disableSessionTags,omitempty"`
	Policy                 string            `json:"policy,omitempty"` // session policy, JSON text
	Tags                   map[string]string `json:"tags,omitempty"`

	At Place `json:"-"`
}

// DefaultPolicyName is the name that permissionPolicy gets in its role when
// permissionPolicyName gives none, as it is with eksctl.
const DefaultPolicyName = "Policy1"

// Subject is namespace/name of the service account.
func (a *Association) Subject() string { return a.Namespace + "/" + a.ServiceAccountName }

// IAMConfig is podid's document of roles and managed policies.
type IAMConfig struct {
	// Account is the 12-digit account that the ARNs are of, "" for any.
	Account  string
	Policies []*ManagedPolicy
	Roles    []*Role
	At       Place
}

// ManagedPolicy is a customer's managed policy, with its default version.
type ManagedPolicy struct {
	Name        string            `json:"name"`
	Path        string            `json:"path,omitempty"` // "" is /
	Description string            `json:"description,omitempty"`
	Document    Document          `json:"document"`
	Tags        map[string]string `json:"tags,omitempty"`

	At Place `json:"-"`
}

// Role is a role with all that belongs to it.
type Role struct {
	Name                   string            `json:"name"`
	Path                   string            `json:"path,omitempty"` // "" is /
	Description            string            `json:"description,omitempty"`
	MaxSessionDuration     int32             `json:"maxSessionDuration,omitempty"` // seconds; 0 is 3600
	TrustPolicy            Document          `json:"trustPolicy"`
	PermissionPolicyARNs   []string          `json:"permissionPolicyARNs,omitempty"`
	InlinePolicies         []InlinePolicy    `json:"inlinePolicies,omitempty"`
	PermissionsBoundaryARN string            `json:"permissionsBoundaryARN,omitempty"`
	Tags                   map[string]string `json:"tags,omitempty"`

	At Place `json:"-"`
}

// InlinePolicy is a policy inside of a role.
type InlinePolicy struct {
	Name     string   `json:"name"`
	Document Document `json:"document"`
}
