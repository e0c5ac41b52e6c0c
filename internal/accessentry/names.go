// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry

import (
	"slices"
	"strings"
)

// Names are what an entry's user name may be made of.
type Names struct {
	SessionName string // "" for a user
	AccountID   string
	AccessKeyID string
}

// templates are the words that a user name may hold.
var templates = []string{"{{SessionName}}", "{{SessionNameRaw}}", "{{AccountID}}", "{{AccessKeyID}}"}

// username is the entry's user name for somebody with these names. SessionName
// has '-' for '@', as in aws-iam-authenticator; SessionNameRaw is as it is.
func (e *Entry) username(n Names) string {
	return strings.NewReplacer(
		"{{SessionName}}", strings.ReplaceAll(n.SessionName, "@", "-"), "{{SessionNameRaw}}", n.SessionName,
		"{{AccountID}}", n.AccountID, "{{AccessKeyID}}", n.AccessKeyID,
	).Replace(e.Username)
}

// groupPrefix begins the groups that stand for access policies. No entry can
// name them by itself: associating a policy is a right of its own.
const groupPrefix = "podid.dev:"

// PolicyGroup is the Kubernetes group that an access policy gives: for the
// whole cluster, or for one namespace.
func PolicyGroup(policyName, namespace string) string {
	if namespace == "" {
		return groupPrefix + "cluster:" + policyName
	}
	return groupPrefix + "namespace:" + namespace + ":" + policyName
}

// Identity is who Kubernetes is to see: the user name, and the groups that the
// entry and its access policies give, sorted.
func (e *Entry) Identity(n Names) (username string, groups []string) {
	groups = slices.Clone(e.Groups)
	for _, p := range e.Policies {
		name := p.PolicyARN[strings.LastIndexByte(p.PolicyARN, '/')+1:]
		if len(p.Namespaces) == 0 {
			groups = append(groups, PolicyGroup(name, ""))
		}
		for _, ns := range p.Namespaces {
			groups = append(groups, PolicyGroup(name, ns))
		}
	}
	slices.Sort(groups)
	return e.username(n), slices.Compact(groups)
}

// PolicyARNs lists the entry's access policies.
func (e *Entry) PolicyARNs() []string {
	out := make([]string, len(e.Policies))
	for i := range e.Policies {
		out[i] = e.Policies[i].PolicyARN
	}
	return out
}
