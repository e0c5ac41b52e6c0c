// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package iam owns the principals and policies of an account: roles, users
// with access keys, managed policies, OIDC providers, the AWS managed
// policies as data, and the verbs on them. Every verb takes the caller and
// asks the Authorizer itself, so that no route can skip the check. It refuses
// names, paths, documents and sizes that AWS refuses, with AWS' words.
// In the flow it stands below authn, authz and sts, which read its records.
package iam

import (
	"time"

	"podid/internal/arn"
	"podid/internal/session"
	"podid/internal/store"
)

// Tag is a resource tag.
type Tag struct {
	Key   string `cbor:"1,keyasint"`
	Value string `cbor:"2,keyasint"`
}

// InlinePolicy is a policy embedded in a role, user or group.
type InlinePolicy struct {
	Name     string `cbor:"1,keyasint"`
	Document string `cbor:"2,keyasint"`
}

// Role is an IAM role. Its id is unique for ever: sessions and grants refer
// to it, so a role of the same name made later inherits nothing.
type Role struct {
	ID          string         `cbor:"1,keyasint"` // AROA…
	Partition   string         `cbor:"2,keyasint"`
	Account     string         `cbor:"3,keyasint"`
	Path        string         `cbor:"4,keyasint"`
	Name        string         `cbor:"5,keyasint"`
	Description string         `cbor:"6,keyasint,omitempty"`
	Trust       string         `cbor:"7,keyasint"`
	Inline      []InlinePolicy `cbor:"8,keyasint,omitempty"`
	Attached    []string       `cbor:"9,keyasint,omitempty"`  // ARNs of managed policies, in order of attachment
	Boundary    string         `cbor:"10,keyasint,omitempty"` // ARN of a managed policy
	MaxSession  int32          `cbor:"11,keyasint"`           // seconds, 3600..43200
	Tags        []Tag          `cbor:"12,keyasint,omitempty"`
	Created     time.Time      `cbor:"13,keyasint"`
	LastUsed    time.Time      `cbor:"14,keyasint,omitempty"`
}

// ARN is the role's ARN with its path.
func (r *Role) ARN() string { return arn.IAM(r.Partition, r.Account, "role", r.Path, r.Name) }

// AccessKey is a long-lived key of a user.
type AccessKey struct {
	ID      string    `cbor:"1,keyasint"`
	Sealed  []byte    `cbor:"2,keyasint"` // the secret under the root key, bound to the user's record key and the key id
	Active  bool      `cbor:"3,keyasint"`
	Created time.Time `cbor:"4,keyasint"`
}

// User is an IAM user.
type User struct {
	ID        string         `cbor:"1,keyasint"` // AIDA…
	Partition string         `cbor:"2,keyasint"`
	Account   string         `cbor:"3,keyasint"`
	Path      string         `cbor:"4,keyasint"`
	Name      string         `cbor:"5,keyasint"`
	Inline    []InlinePolicy `cbor:"6,keyasint,omitempty"`
	Attached  []string       `cbor:"7,keyasint,omitempty"`
	Boundary  string         `cbor:"8,keyasint,omitempty"`
	Tags      []Tag          `cbor:"9,keyasint,omitempty"`
	Keys      []AccessKey    `cbor:"10,keyasint,omitempty"`
	Created   time.Time      `cbor:"11,keyasint"`
	Groups    []string       `cbor:"12,keyasint,omitempty"` // ids of groups, in order of joining
}

// ARN is the user's ARN with its path.
func (u *User) ARN() string { return arn.IAM(u.Partition, u.Account, "user", u.Path, u.Name) }

// PolicyVersion is one version of a managed policy.
type PolicyVersion struct {
	ID       string    `cbor:"1,keyasint"` // v1, v2, …
	Document string    `cbor:"2,keyasint"`
	Created  time.Time `cbor:"3,keyasint"`
}

// Policy is a managed policy: the account's own, or one of AWS'.
type Policy struct {
	ID          string          `cbor:"1,keyasint"` // ANPA…
	Partition   string          `cbor:"2,keyasint"`
	Account     string          `cbor:"3,keyasint"` // "aws" for AWS managed policies
	Path        string          `cbor:"4,keyasint"`
	Name        string          `cbor:"5,keyasint"`
	Description string          `cbor:"6,keyasint,omitempty"`
	Default     string          `cbor:"7,keyasint"` // id of the default version
	Versions    []PolicyVersion `cbor:"8,keyasint"`
	Tags        []Tag           `cbor:"9,keyasint,omitempty"`
	Created     time.Time       `cbor:"10,keyasint"`
	Updated     time.Time       `cbor:"11,keyasint"`
	NextVersion int             `cbor:"12,keyasint"` // number of the next version; numbers are never reused
}

// ARN is the policy's ARN with its path.
func (p *Policy) ARN() string { return arn.IAM(p.Partition, p.Account, "policy", p.Path, p.Name) }

// Document is the text of the default version.
func (p *Policy) Document() string {
	for _, v := range p.Versions {
		if v.ID == p.Default {
			return v.Document
		}
	}
	return ""
}

// Tables of this room. The scope is (account, store.Global). Ids are names in
// lower case: IAM names are unique without regard to case and path.
var (
	Roles    = store.NewTable("role", func(r *Role) []string { return []string{r.ID} })
	Users    = store.NewTable("user", userIndex)
	Policies = store.NewTable("policy", func(p *Policy) []string { return []string{p.ID} })
)

func userIndex(u *User) []string {
	keys := []string{u.ID}
	for _, k := range u.Keys {
		keys = append(keys, k.ID)
	}
	return append(keys, u.Groups...)
}

// CallerKind tells users, role sessions and services apart.
type CallerKind uint8

// The kinds of caller.
const (
	CallerUser      CallerKind = iota + 1
	CallerSession              // a role session
	CallerService              // podid itself acting as an AWS service, e.g. pods.eks.amazonaws.com
	CallerFederated            // a session of GetFederationToken: at most the user who vouches and the session's policies
)

// Caller is who makes a request, as authn has proven it. User and session
// records are those of the moment; policies are read anew by authz.
type Caller struct {
	Kind        CallerKind
	Partition   string
	Account     string
	ARN         string // user ARN, or session ARN
	UserID      string // AIDA…, or AROA…:session
	AccessKeyID string
	User        *User            // for CallerUser, and for CallerFederated the user who vouches
	Role        *Role            // for CallerSession: the role as it is now
	Session     *session.Session // for CallerSession and CallerFederated, and for a user with GetSessionToken's credentials
	Service     string           // for CallerService
}

// Query is one thing a caller wants to do. Keys are condition keys beyond
// those that follow from caller and request (aws:PrincipalArn, aws:SourceIp…).
type Query struct {
	Action   string // "eks:CreatePodIdentityAssociation"
	Resource string // an ARN, or "*"
	Keys     []ConditionKey
}

// ConditionKey is a condition key of a request and its value or values.
type ConditionKey struct {
	Name   string // "iam:PassedToService"
	Values []string
	Multi  bool // a multi-valued key such as aws:TagKeys, even with one value
}
