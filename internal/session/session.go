// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package session owns temporary credentials: who they stand for (a role, a
// user, a federated user), which tags they carry, what bounds them, whose
// sessions led to them, and their form as sealed session token, secret access
// key and access key id. Nothing of a session is stored: any replica that
// holds the keyset opens any token. It refuses tokens of unknown form, unknown
// keys, and sessions that do not fit AWS' 4,096 bytes.
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

// Origin says which pod a session was issued to, by EKS Auth or for its web
// identity token. It serves revocation and audit.
type Origin struct {
	ClusterUID, AssociationID, PodUID string
	// Pod is the pod's namespace/name where no session tags say it.
	Pod string
}

// Kind says whom a session stands for.
type Kind uint8

// The kinds. Their numbers are part of the token's format.
const (
	OfRole    Kind = iota // AssumeRole and its kin, EKS Auth
	OfUser                // GetSessionToken: the user himself, for a time
	Federated             // GetFederationToken: somebody whom a user vouches for
)

// Ancestor is a session further up a chain of assumptions: what was revoked
// there is revoked here. Of several sessions of one principal in a chain the
// earliest counts.
type Ancestor struct {
	Account     string
	PrincipalID string // AROA… of a role, AIDA… of a user
	Issued      time.Time
}

// Session is the session of a role, a user or a federated user.
type Session struct {
	Kind               Kind
	UserID             string // AIDA… of the user behind it, but for OfRole
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
	Chain              []Ancestor // of the sessions that led to this one

	// MinTokenSize is what Mint pads the token to, in bytes; 0 = nothing. It
	// does not travel in the token.
	MinTokenSize int
}

// PrincipalID is the unique id of the role or user behind the session.
func (s *Session) PrincipalID() string {
	if s.Kind == OfRole {
		return s.RoleID
	}
	return s.UserID
}

// Pod is namespace/name of the pod that the session was issued to, "" if none
// is known.
func (s *Session) Pod() string {
	if s.Origin.Pod != "" || s.Origin.PodUID == "" {
		return s.Origin.Pod
	}
	var namespace, name string
	for i := range s.Tags {
		switch s.Tags[i].Key {
		case tagNamespace:
			namespace = s.Tags[i].Value
		case tagPodName:
			name = s.Tags[i].Value
		}
	}
	if namespace == "" || name == "" {
		return ""
	}
	return namespace + "/" + name
}

// Began is when the first session of the chain was issued.
func (s *Session) Began() time.Time {
	at := s.Issued
	for i := range s.Chain {
		if s.Chain[i].Issued.Before(at) {
			at = s.Chain[i].Issued
		}
	}
	return at
}

// Lineage is the chain of a session that is assumed with this one: what led
// here, and this session itself.
func (s *Session) Lineage() []Ancestor {
	out := append(make([]Ancestor, 0, len(s.Chain)+1), s.Chain...)
	for i := range out {
		if out[i].PrincipalID == s.PrincipalID() {
			return out // it was issued before this one
		}
	}
	return append(out, Ancestor{Account: s.Account, PrincipalID: s.PrincipalID(), Issued: s.Issued})
}

// RoleARN is the ARN of the role with its path: aws:PrincipalArn.
func (s *Session) RoleARN() string {
	return arn.IAM(s.Partition, s.Account, "role", s.RolePath, s.RoleName)
}

// ARN is the ARN of the session: sts assumed-role/name/session, or
// federated-user/name. A user's own session has the ARN of the user, who is
// known by his id only.
func (s *Session) ARN() string {
	if s.Kind == Federated {
		return arn.FederatedUser(s.Partition, s.Account, s.Name)
	}
	return arn.AssumedRole(s.Partition, s.Account, s.RoleName, s.Name)
}

// FederatedUserID is "account:name", also aws:userid.
func (s *Session) FederatedUserID() string { return s.Account + ":" + s.Name }

// AssumedRoleID is "AROA…:session", also aws:userid.
func (s *Session) AssumedRoleID() string { return s.RoleID + ":" + s.Name }

// Credentials are what a caller gets.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey secret.String
	SessionToken    secret.String
	Expires         time.Time
}
