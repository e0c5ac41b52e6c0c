// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
)

// PrincipalKind tells callers apart.
type PrincipalKind uint8

// The kinds of callers. A user session (GetFederationToken) counts as FederatedUser.
const (
	AnonymousKind PrincipalKind = iota
	RootKind
	UserKind
	RoleSessionKind
	FederatedUserKind
	ServiceKind
	FederatedKind
)

// PodIdentityService is the service that assumes the roles of pods: the
// principal that their trust policies name, and to which they are passed.
const PodIdentityService = "pods.eks.amazonaws.com"

// Principal is who asks. Build one with the constructors below.
type Principal struct {
	kind    PrincipalKind
	account string
	arn     string // user, session, root, or federated user
	roleARN string
	id      string // AROA… or AIDA…
	name    string // service name or provider ARN
}

// ServicePrincipal is an AWS service, such as pods.eks.amazonaws.com.
func ServicePrincipal(name string) Principal { return Principal{kind: ServiceKind, name: name} }

// UserPrincipal is an IAM user.
func UserPrincipal(arn string) Principal {
	return Principal{kind: UserKind, arn: arn, account: arnAccount(arn)}
}

// SessionPrincipal is a session of a role. The role's ARN keeps its path, which
// the session's ARN does not have.
func SessionPrincipal(roleARN, sessionARN string) Principal {
	return Principal{kind: RoleSessionKind, roleARN: roleARN, arn: sessionARN, account: arnAccount(roleARN)}
}

// FederatedUserPrincipal is a session made by GetFederationToken.
func FederatedUserPrincipal(arn string) Principal {
	return Principal{kind: FederatedUserKind, arn: arn, account: arnAccount(arn)}
}

// FederatedPrincipal is somebody known only by an identity provider's token.
func FederatedPrincipal(providerARN string) Principal {
	return Principal{kind: FederatedKind, name: providerARN}
}

// AnonymousPrincipal is a caller without credentials.
func AnonymousPrincipal() Principal { return Principal{} }

// WithID adds the unique id of the user or role, by which a trust policy may
// name it after its ARN was given to another.
func (p Principal) WithID(id string) Principal { p.id = id; return p }

// Kind returns the kind of caller.
func (p Principal) Kind() PrincipalKind { return p.kind }

// Account returns the caller's account; empty for services, federated and
// anonymous callers.
func (p Principal) Account() string { return p.account }

// RoleARN returns the role of a session, else "".
func (p Principal) RoleARN() string { return p.roleARN }

// String names the caller for people: its ARN or its name.
func (p Principal) String() string {
	switch p.kind {
	case AnonymousKind:
		return "anonymous"
	case ServiceKind, FederatedKind:
		return p.name
	}
	if p.arn == "" {
		return p.roleARN
	}
	return p.arn
}

// ParsePrincipal reads a caller from its ARN or service name. The path of an
// assumed role is not in the ARN of its session, and is taken as "/".
func ParsePrincipal(text string) (Principal, error) {
	parts := strings.SplitN(text, ":", arnParts)
	if len(parts) < arnParts || parts[0] != "arn" {
		if !serviceName(text) {
			return Principal{}, fmt.Errorf("principal %q is neither an ARN nor the name of a service", text)
		}
		return ServicePrincipal(text), nil
	}
	account, resource := parts[4], parts[5]
	kind, name, _ := strings.Cut(resource, "/")
	switch {
	case resource == "root" && isAccountID(account):
		return Principal{kind: RootKind, account: account, arn: text}, nil
	case kind == "oidc-provider" || kind == "saml-provider":
		return FederatedPrincipal(text), nil
	case !isAccountID(account) || name == "":
		return Principal{}, fmt.Errorf("principal %q: account id or name is missing", text)
	case kind == "user":
		return UserPrincipal(text), nil
	case kind == "federated-user":
		return FederatedUserPrincipal(text), nil
	case kind == "role":
		return SessionPrincipal(text, ""), nil
	case kind == "assumed-role":
		role, session, ok := strings.Cut(name, "/")
		if !ok || role == "" || session == "" {
			return Principal{}, fmt.Errorf("principal %q: an assumed role needs role and session name", text)
		}
		return SessionPrincipal("arn:"+parts[1]+":iam::"+account+":role/"+role, text), nil
	}
	return Principal{}, fmt.Errorf("principal %q is of no known kind", text)
}

// arnAccount returns the fifth part of an ARN.
func arnAccount(arn string) string {
	rest := arn
	for range 4 {
		_, after, ok := strings.Cut(rest, ":")
		if !ok {
			return ""
		}
		rest = after
	}
	account, _, _ := strings.Cut(rest, ":")
	return account
}

func isAccountID(s string) bool { return len(s) == 12 && digits(s) }

// grant is how closely a statement names the caller. The order matters: a
// closer grant is worth more.
type grant uint8

const (
	grantNone    grant = iota
	grantAccount       // the caller's account, which then has to allow it itself
	grantRole          // the caller's role, or its unique id
	grantDirect        // the session, the user, the service, or everybody
)

type namedKind uint8

const (
	namedAccount namedKind = iota
	namedARN
	namedID
	namedSession // of a role by its unique id: AROA…:session
)

type namedPrincipal struct {
	kind namedKind
	text string
}

// principalSet is a compiled Principal or NotPrincipal element.
type principalSet struct {
	everybody    bool
	anyService   bool
	anyFederated bool
	aws          []namedPrincipal
	services     []string
	federated    []string
	canonical    []string // user ids of S3's kind: good grammar, but no caller here has one
}

// match returns the closest grant that the set gives to p.
func (s *principalSet) match(p *Principal) grant {
	if s.everybody {
		return grantDirect
	}
	best := grantNone
	switch p.kind {
	case ServiceKind:
		if s.anyService || slices.Contains(s.services, p.name) {
			best = grantDirect
		}
		return best
	case FederatedKind:
		if s.anyFederated || slices.Contains(s.federated, p.name) {
			best = grantDirect
		}
		return best
	case AnonymousKind:
		return grantNone
	}
	for i := range s.aws {
		best = max(best, s.aws[i].match(p))
	}
	return best
}

func (n *namedPrincipal) match(p *Principal) grant {
	switch n.kind {
	case namedAccount:
		if n.text != p.account {
			return grantNone
		}
		if p.kind == RootKind {
			return grantDirect
		}
		return grantAccount
	case namedID:
		switch {
		case p.id == "" || n.text != p.id:
			return grantNone
		case p.kind == RoleSessionKind:
			return grantRole
		}
		return grantDirect
	case namedSession:
		if p.kind == RoleSessionKind && p.isSession(n.text) {
			return grantDirect
		}
		return grantNone
	}
	switch {
	case n.text == "":
		return grantNone
	case n.text == p.arn:
		return grantDirect
	case n.text == p.roleARN:
		return grantRole
	}
	return grantNone
}

// isSession says whether the session is the one that text names by the unique
// id of its role.
func (p *Principal) isSession(text string) bool {
	session, ok := strings.CutPrefix(text, p.id)
	return ok && p.id != "" && len(session) > 1 && session[0] == ':' && session[1:] == p.arn[strings.LastIndexByte(p.arn, '/')+1:]
}

// compilePrincipals reads a Principal element: "*" or an object of kinds.
func compilePrincipals(n *node) (principalSet, error) {
	var set principalSet
	if n.kind == nodeString {
		if n.text != "*" {
			return set, &MalformedError{Message: msgSyntax, Cause: `Principal is a string other than "*"`}
		}
		set.everybody = true
		return set, nil
	}
	if len(n.members) == 0 {
		return set, &MalformedError{Message: msgTrustPrincipal, Cause: "Principal is empty"}
	}
	for i, kind := range n.members {
		values, ok := n.items[i].strings(false)
		if !ok || len(values) == 0 {
			return set, &MalformedError{Message: msgSyntax, Cause: "Principal " + kind + " is neither a string nor a list of them"}
		}
		for _, v := range values {
			if !set.add(kind, v) {
				return set, &MalformedError{Message: fmt.Sprintf("Invalid principal in policy: %q:%q", principalLabel(kind), v)}
			}
		}
	}
	return set, nil
}

// principalLabel is how AWS' message names a kind.
func principalLabel(kind string) string {
	switch kind {
	case "Service", "Federated":
		return strings.ToUpper(kind)
	}
	return kind
}

// add takes one value in; false when it is no principal of that kind.
func (s *principalSet) add(kind, value string) bool {
	switch kind {
	case "AWS":
		return s.addAWS(value)
	case "Service":
		if value == "*" {
			s.anyService = true
			return true
		}
		s.services = append(s.services, value)
		return serviceName(value)
	case "Federated":
		if value == "*" {
			s.anyFederated = true
			return true
		}
		s.federated = append(s.federated, value)
		return federatedName(value)
	case "CanonicalUser":
		s.canonical = append(s.canonical, value)
		return value != "" && alphanumeric(value)
	}
	return false
}

func (s *principalSet) addAWS(value string) bool {
	switch {
	case value == "*":
		s.everybody = true
		return true
	case isAccountID(value):
		s.aws = append(s.aws, namedPrincipal{kind: namedAccount, text: value})
		return true
	case uniqueID(value):
		s.aws = append(s.aws, namedPrincipal{kind: namedID, text: value})
		return true
	}
	if role, session, ok := strings.Cut(value, ":"); ok && session != "" && strings.HasPrefix(role, "AROA") && uniqueID(role) {
		s.aws = append(s.aws, namedPrincipal{kind: namedSession, text: value})
		return !strings.ContainsAny(session, ":/*?$ ")
	}
	parts := strings.SplitN(value, ":", arnParts)
	if len(parts) < arnParts || parts[0] != "arn" || !partitionName(parts[1]) || parts[3] != "" ||
		!isAccountID(parts[4]) || strings.ContainsAny(value, "*?$ ") {
		return false
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	switch {
	case parts[2] == "iam" && parts[5] == "root":
		s.aws = append(s.aws, namedPrincipal{kind: namedAccount, text: parts[4]})
		return true
	case parts[2] == "iam" && (kind == "user" || kind == "role"):
	case parts[2] == "sts" && kind == "federated-user":
	case parts[2] == "sts" && kind == "assumed-role":
		role, session, _ := strings.Cut(name, "/")
		if role == "" || session == "" {
			return false
		}
	default:
		return false
	}
	s.aws = append(s.aws, namedPrincipal{kind: namedARN, text: value})
	return name != ""
}

// uniqueID recognises the ids of roles and users, which AWS writes in place of
// an ARN whose owner was deleted.
func uniqueID(s string) bool {
	return len(s) >= 16 && alphanumeric(s) && (strings.HasPrefix(s, "AROA") || strings.HasPrefix(s, "AIDA"))
}

func partitionName(p string) bool { return p == "aws" || strings.HasPrefix(p, "aws-") }

// serviceName accepts names with a dot, such as ec2.amazonaws.com.
func serviceName(s string) bool {
	for _, r := range s {
		if badVendorRune(r) && r != '_' {
			return false
		}
	}
	at := strings.IndexByte(s, '.')
	return at > 0 && at < len(s)-1
}

// federatedName accepts provider ARNs and the host names of well-known providers.
func federatedName(s string) bool {
	if strings.HasPrefix(s, "arn:") {
		parts := strings.SplitN(s, ":", arnParts)
		return len(parts) == arnParts && parts[2] == "iam" && isAccountID(parts[4]) && !strings.ContainsAny(s, "*?") &&
			(strings.HasPrefix(parts[5], "oidc-provider/") || strings.HasPrefix(parts[5], "saml-provider/"))
	}
	return serviceName(s)
}
