// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package arn owns Amazon Resource Names: parse once at the door, carry the
// parts inside. It refuses anything that is not six parts beginning with
// "arn", and role names and paths outside IAM's character sets.
// Source: IAM User Guide, "Identify AWS resources with ARNs" and "IAM
// identifiers".
package arn

import (
	"fmt"
	"strings"
)

// ARN is a parsed Amazon Resource Name. Resource may hold ':' and '/'.
type ARN struct {
	Partition, Service, Region, Account, Resource string
}

// Parse splits s. It does not judge region, account or resource.
func Parse(s string) (ARN, error) {
	var a ARN
	scheme, rest, ok := strings.Cut(s, ":")
	for _, part := range [...]*string{&a.Partition, &a.Service, &a.Region, &a.Account} {
		if ok {
			*part, rest, ok = strings.Cut(rest, ":")
		}
	}
	if !ok || scheme != "arn" || a.Partition == "" || a.Service == "" || rest == "" || len(s) > 2048 {
		return ARN{}, fmt.Errorf("%.100q is not an ARN (arn:partition:service:region:account:resource)", s)
	}
	a.Resource = rest
	return a, nil
}

func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// Checks below are loops, not regular expressions: every exchange parses the
// ARN of its role.

// IsAccount reports whether s is a 12-digit account id.
func IsAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// IsName reports whether s is an IAM name, of the characters [\w+=,.@-], of at
// least 1 and at most limit characters.
func IsName(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '_', c == '+', c == '=', c == ',', c == '.', c == '@', c == '-':
		default:
			return false
		}
	}
	return true
}

// MaxPath is the longest IAM path.
const MaxPath = 512

// IsPath reports whether s is an IAM path: "/", or "/a/b/" of printable ASCII,
// at most MaxPath characters.
func IsPath(s string) bool {
	if s == "/" {
		return true
	}
	if len(s) < 3 || len(s) > MaxPath || s[0] != '/' || s[len(s)-1] != '/' {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// Role is an IAM role's ARN.
type Role struct{ Partition, Account, Path, Name string }

// ParseRole reads arn:partition:iam::account:role/path/name.
func ParseRole(s string) (Role, error) {
	a, err := Parse(s)
	if err != nil {
		return Role{}, err
	}
	rest, ok := strings.CutPrefix(a.Resource, "role")
	if a.Service != "iam" || a.Region != "" || !IsAccount(a.Account) || !ok || !strings.HasPrefix(rest, "/") {
		return Role{}, fmt.Errorf("%.200q is not a role ARN (arn:partition:iam::account:role/name)", s)
	}
	i := strings.LastIndexByte(rest, '/')
	r := Role{a.Partition, a.Account, rest[:i+1], rest[i+1:]}
	if !IsName(r.Name, 64) || !IsPath(r.Path) {
		return Role{}, fmt.Errorf("%.200q is not a role ARN: name or path has characters that IAM does not allow", s)
	}
	return r, nil
}

func (r Role) String() string {
	return "arn:" + r.Partition + ":iam::" + r.Account + ":role" + r.Path + r.Name
}

// IAM formats an ARN of IAM: kind "user", "policy", "role", "oidc-provider"…
// path begins and ends with "/".
func IAM(partition, account, kind, path, name string) string {
	return "arn:" + partition + ":iam::" + account + ":" + kind + path + name
}

// Cluster formats an EKS cluster's ARN.
func Cluster(partition, region, account, name string) string {
	return "arn:" + partition + ":eks:" + region + ":" + account + ":cluster/" + name
}

// Association formats a pod identity association's ARN.
func Association(partition, region, account, cluster, id string) string {
	return "arn:" + partition + ":eks:" + region + ":" + account + ":podidentityassociation/" + cluster + "/" + id
}

// Addon formats the ARN of an add-on of an EKS cluster. Its id is a UUID.
func Addon(partition, region, account, cluster, name, id string) string {
	return "arn:" + partition + ":eks:" + region + ":" + account + ":addon/" + cluster + "/" + name + "/" + id
}

// AccessEntry formats the ARN of the access entry that a principal of the
// account has in an EKS cluster: kind is "user" or "role", name has no path,
// and the id is a UUID.
func AccessEntry(partition, region, account, cluster, kind, name, id string) string {
	return "arn:" + partition + ":eks:" + region + ":" + account + ":access-entry/" + cluster + "/" + kind + "/" + account + "/" + name + "/" + id
}

// AssumedRole formats the ARN of a role session. The role's path is dropped,
// as STS does.
func AssumedRole(partition, account, role, session string) string {
	return "arn:" + partition + ":sts::" + account + ":assumed-role/" + role + "/" + session
}

// FederatedUser formats the ARN of a session that GetFederationToken made.
func FederatedUser(partition, account, name string) string {
	return "arn:" + partition + ":sts::" + account + ":federated-user/" + name
}
