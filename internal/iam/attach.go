// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"slices"
	"strings"

	"podid/internal/fault"
	"podid/internal/policy"
	"podid/internal/store"
)

// What roles, users and groups have in common: attached, inline and boundary policies.

// attach adds a managed policy to a list. One that is there is no error.
func (m *Manager) attach(tx *store.Tx, list *[]string, policyARN string, quota Quota) error {
	if err := m.requirePolicy(tx, policyARN); err != nil {
		return err
	}
	if strings.Contains(policyARN, ":iam::"+managedAccount+":policy/aws-service-role/") {
		return badInput("policy-not-attachable", "Cannot attach a Service Role Policy to a Customer Role.")
	}
	if slices.Contains(*list, policyARN) {
		return nil
	}
	if limit := m.quota(quota); len(*list) >= limit {
		return overQuota(quota, limit)
	}
	*list = append(*list, policyARN)
	return nil
}

func detach(list *[]string, policyARN string) error {
	i := slices.Index(*list, policyARN)
	if i < 0 {
		return noPolicy(policyARN)
	}
	*list = slices.Delete(*list, i, i+1)
	return nil
}

// requirePolicy refuses ARNs of policies that do not exist; "" is none. In a
// transaction the policy counts as read, so it cannot go away meanwhile.
func (m *Manager) requirePolicy(r store.Reader, policyARN string) error {
	if policyARN == "" {
		return nil
	}
	if _, ok := FindPolicy(r, m.Account, policyARN); !ok {
		return notAttachable(policyARN)
	}
	return nil
}

// putInline sets an inline policy. limit bounds the characters of all of them.
func putInline(list *[]InlinePolicy, kind, owner, name, document string, limit int) error {
	out := slices.DeleteFunc(slices.Clone(*list), func(p InlinePolicy) bool { return p.Name == name })
	out = append(out, InlinePolicy{name, document})
	slices.SortFunc(out, func(a, b InlinePolicy) int { return strings.Compare(a.Name, b.Name) })
	total := 0
	for _, p := range out {
		total += policy.Size(p.Document)
	}
	if total > limit {
		return fault.New(fault.LimitExceeded, "Maximum policy size of %d bytes exceeded for %s %s", limit, kind, owner).WithReason("quota-exceeded")
	}
	*list = out
	return nil
}

func deleteInline(list *[]InlinePolicy, kind, name string) error {
	i := slices.IndexFunc(*list, func(p InlinePolicy) bool { return p.Name == name })
	if i < 0 {
		return noInline(kind, name)
	}
	*list = slices.Delete(*list, i, i+1)
	return nil
}

func getInline(list []InlinePolicy, kind, name string) (InlinePolicy, error) {
	i := slices.IndexFunc(list, func(p InlinePolicy) bool { return p.Name == name })
	if i < 0 {
		return InlinePolicy{}, noInline(kind, name)
	}
	return list[i], nil
}

func inlineNames(list []InlinePolicy) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.Name
	}
	slices.Sort(out)
	return out
}

// AttachedPolicy names a managed policy that is attached.
type AttachedPolicy struct{ Name, ARN string }

// pageAttached lists attachments whose policy's path begins with the prefix,
// in the order of their ARNs.
func pageAttached(list string, p Page, arns []string, pathPrefix string) (Listing[AttachedPolicy], error) {
	prefix, err := checkPathPrefix(pathPrefix)
	if err != nil {
		return Listing[AttachedPolicy]{}, err
	}
	var all []AttachedPolicy
	for _, a := range slices.Sorted(slices.Values(arns)) {
		path, name := policyPathName(a)
		if strings.HasPrefix(path, prefix) {
			all = append(all, AttachedPolicy{name, a})
		}
	}
	return page(list, p, all, func(a AttachedPolicy) string { return a.ARN })
}

// policyPathName splits the resource of a policy's ARN: policy/path/name.
func policyPathName(policyARN string) (path, name string) {
	i := strings.LastIndexByte(policyARN, '/')
	j := strings.IndexByte(policyARN, '/')
	if j < 0 {
		return "/", policyARN
	}
	return policyARN[j : i+1], policyARN[i+1:]
}
