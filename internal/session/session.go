// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package session owns role sessions: who a temporary credential stands for,
// which tags it carries, what bounds it, and its form as sealed session
// token, secret access key and access key id. Nothing of a session is stored:
// any replica that holds the keyset opens any token. It refuses tokens of
// unknown form, unknown keys, and sessions that do not fit AWS' 4,096 bytes.
package session

import (
	"time"

	"podid/internal/arn"
	"podid/internal/secret"
)

// Tag is one session tag. Transitive tags go with role chaining.
type Tag struct {
	Key, Value string
	Transitive bool
}

// Node is the node identity of an agent's session. The server sets it from
// the agent's own token; no caller can, and it is kept through chaining.
type Node struct {
	ClusterUID string // unique id of the cluster, not its name
	Name, UID  string // the Kubernetes node
}

// IsZero reports whether the session has no node identity.
func (n Node) IsZero() bool { return n == Node{} }

// Origin says which pod a session was issued to by EKS Auth. It serves
// revocation and audit.
type Origin struct {
	ClusterUID, AssociationID, PodUID string
}

// Session is a role session.
type Session struct {
	Partition, Account string
	RoleID             string // AROA…: a deleted and re-created role is another role
	RolePath, RoleName string
	Name               string // RoleSessionName, 2..64
	Issued, Expires    time.Time
	Tags               []Tag
	Chained            bool // assumed with the credentials of another role session
	SourceIdentity     string
	FederatedProvider  string   // provider ARN for web identity sessions
	Policy             string   // inline session policy, "" = none
	PolicyARNs         []string // managed session policies
	Node               Node
	Origin             Origin
}

// RoleARN is the ARN of the role with its path: aws:PrincipalArn.
func (s *Session) RoleARN() string {
	return arn.IAM(s.Partition, s.Account, "role", s.RolePath, s.RoleName)
}

// ARN is the ARN of the session: sts assumed-role/name/session.
func (s *Session) ARN() string {
	return arn.AssumedRole(s.Partition, s.Account, s.RoleName, s.Name)
}

// AssumedRoleID is "AROA…:session", also aws:userid.
func (s *Session) AssumedRoleID() string { return s.RoleID + ":" + s.Name }

// Credentials are what a caller gets.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey secret.String
	SessionToken    secret.String
	Expires         time.Time
}
