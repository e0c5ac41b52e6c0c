// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

const (
	maxGroups     = 100
	maxName       = 256 // characters of a user name or group
	maxNamespaces = 100
	maxARN        = 2048
)

// types are those of the EKS API. Only Standard entries let anybody in here.
var types = []string{Standard, "FARGATE_LINUX", "EC2_LINUX", "EC2_WINDOWS", "EC2", "HYBRID_LINUX", "HYPERPOD_LINUX"}

// reserved begin names that Kubernetes or AWS mean something by.
// Source: EKS User Guide, "Create access entries".
var reserved = []string{"system:", "eks:", "aws:", "amazon:", "iam:"}

var (
	namespaceRE = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	templateRE  = regexp.MustCompile(`\{\{[^{}]*\}\}`)
)

func invalid(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason(reason)
}

// principal is an IAM user or role as it is now.
type principal struct {
	kind, name, arn, id string
}

// findPrincipal returns the user or role of the account with exactly that ARN.
// What is of another account is refused as what there is not: nobody learns
// here whom another account has.
func findPrincipal(r store.Reader, partition, account, s string) (principal, error) {
	wrong := invalid("principal", "The specified principalArn is invalid: invalid principal.")
	a, err := arn.Parse(s)
	if err != nil || len(s) > maxARN || a.Partition != partition || a.Service != "iam" || a.Region != "" || a.Account != account {
		return principal{}, wrong
	}
	kind, path, _ := strings.Cut(a.Resource, "/")
	name := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
	scope := store.Scope{Account: account, Region: store.Global}
	switch kind {
	case "role":
		if x, ok := iam.Roles.Get(r, scope, name); ok && x.ARN() == s {
			return principal{kind, x.Name, s, x.ID}, nil
		}
	case "user":
		if x, ok := iam.Users.Get(r, scope, name); ok && x.ARN() == s {
			return principal{kind, x.Name, s, x.ID}, nil
		}
	}
	return principal{}, wrong
}

// defaultUsername is what EKS gives an entry without a name.
func defaultUsername(partition, account string, p principal) string {
	if p.kind == "user" {
		return p.arn
	}
	return arn.AssumedRole(partition, account, p.name, "{{SessionName}}")
}

// checkNames judges type, user name and groups.
func checkNames(kind, username string, groups []string) error {
	if !slices.Contains(types, kind) {
		return invalid("entry-type", "The type %.40q is not valid: one of %s is wanted.", kind, strings.Join(types, ", "))
	}
	if kind != Standard && (username != "" || len(groups) > 0) {
		return invalid("entry-type", "A username and kubernetesGroups can be given for entries of the type STANDARD only.")
	}
	if err := checkUsername(username); err != nil {
		return err
	}
	return checkGroups(groups)
}

func checkUsername(s string) error {
	if s == "" {
		return nil
	}
	if n := utf8.RuneCountInString(s); n > maxName || !plain(s) {
		return invalid("username", "The username is not valid: 1 to %d characters without control characters are wanted.", maxName)
	}
	for _, p := range reserved {
		if strings.HasPrefix(s, p) {
			return invalid("username-reserved", "The username %.100q is invalid, it cannot start with %s", s, p)
		}
	}
	for _, t := range templateRE.FindAllString(s, -1) {
		if !slices.Contains(templates, t) {
			return invalid("username-template", "The username holds %.60q; %s can be used.", t, strings.Join(templates, ", "))
		}
	}
	if rest := templateRE.ReplaceAllString(s, ""); strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return invalid("username-template", "The username holds half a template; %s can be used.", strings.Join(templates, ", "))
	}
	// Whoever assumes a role chooses the session's name: it must not be all of
	// the user name.
	if before, _, ok := strings.Cut(s, "{{SessionName"); ok && !strings.Contains(before, ":") {
		return invalid("username-session", "The username must hold a colon before {{SessionName}} or {{SessionNameRaw}}.")
	}
	return nil
}

func checkGroups(groups []string) error {
	if len(groups) > maxGroups {
		return invalid("group-count", "At most %d kubernetesGroups can be given, not %d.", maxGroups, len(groups))
	}
	for i, g := range groups {
		if n := utf8.RuneCountInString(g); n < 1 || n > maxName || !plain(g) {
			return invalid("group", "A Kubernetes group name is not valid: 1 to %d characters without control characters are wanted.", maxName)
		}
		for _, p := range append([]string{groupPrefix}, reserved...) {
			if strings.HasPrefix(g, p) {
				return invalid("group-reserved", "The kubernetes group name %.100s is invalid, it cannot start with %s", g, p)
			}
		}
		if slices.Contains(groups[:i], g) {
			return invalid("group-twice", "The kubernetes group name %.100s is given twice.", g)
		}
	}
	return nil
}

func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) && strings.TrimSpace(s) == s
}

// checkScope judges an access scope: the words of the API, and namespaces by
// their full names. EKS also takes patterns; Kubernetes' own RBAC, which gives
// policies their meaning here, has none.
func checkScope(kind string, namespaces []string) error {
	switch {
	case kind != "cluster" && kind != "namespace":
		return invalid("access-scope", "The accessScope type %.40q is not valid: cluster or namespace is wanted.", kind)
	case kind == "cluster" && len(namespaces) > 0:
		return invalid("access-scope", "An accessScope of the type cluster has no namespaces.")
	case kind == "namespace" && (len(namespaces) == 0 || len(namespaces) > maxNamespaces):
		return invalid("access-scope", "An accessScope of the type namespace has 1 to %d namespaces.", maxNamespaces)
	}
	for i, ns := range namespaces {
		if !namespaceRE.MatchString(ns) {
			return invalid("access-scope", "The namespace %.80q is not valid: its full name is wanted, of a-z, 0-9 and '-'.", ns)
		}
		if slices.Contains(namespaces[:i], ns) {
			return invalid("access-scope", "The namespace %.80q is given twice.", ns)
		}
	}
	return nil
}

// policyNames are the access policies for people and programs. The others of
// EKS are for AWS' own services.
// Source: EKS User Guide, "Review access policy permissions".
var policyNames = []string{
	"AmazonEKSAdminPolicy", "AmazonEKSAdminViewPolicy", "AmazonEKSClusterAdminPolicy", "AmazonEKSEditPolicy", "AmazonEKSViewPolicy",
}

// Policy is an access policy that can be associated.
type Policy struct{ Name, ARN string }

// Policies lists the access policies of a partition, by name.
func Policies(partition string) []Policy {
	out := make([]Policy, len(policyNames))
	for i, n := range policyNames {
		out[i] = Policy{n, "arn:" + partition + ":eks::aws:cluster-access-policy/" + n}
	}
	return out
}

func checkPolicy(partition, policyARN string) error {
	if !slices.ContainsFunc(Policies(partition), func(p Policy) bool { return p.ARN == policyARN }) {
		return invalid("access-policy", "The specified policyArn is invalid: there is no access policy %.200q.", policyARN)
	}
	return nil
}
