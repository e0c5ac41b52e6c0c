// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"

	"podid/internal/policy"
)

// GetContextKeysForCustomPolicy returns the condition keys that the documents
// name, sorted, each once as it was first written.
func (m *Manager) GetContextKeysForCustomPolicy(ctx context.Context, caller Caller, policies []string) ([]string, error) {
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:GetContextKeysForCustomPolicy", Resource: "*"}); err != nil {
		return nil, err
	}
	if len(policies) == 0 {
		return nil, constraint("policyInputList", "[]", "have length greater than or equal to 1")
	}
	docs, err := parseInputs(policy.Identity, "PolicyInputList", policies)
	if err != nil {
		return nil, err
	}
	return contextKeys(docs, nil), nil
}

// GetContextKeysForPrincipalPolicy returns the condition keys of the policies
// of a user, with those of its groups, of a group or of a role, of its boundary
// and of the documents given beside them.
func (m *Manager) GetContextKeysForPrincipalPolicy(ctx context.Context, caller Caller, sourceARN string, policies []string) ([]string, error) {
	src, err := m.policySource(ctx, caller, "iam:GetContextKeysForPrincipalPolicy", sourceARN)
	if err != nil {
		return nil, err
	}
	docs, err := parseInputs(policy.Identity, "PolicyInputList", policies)
	if err != nil {
		return nil, err
	}
	return contextKeys(docs, src.documents()), nil
}

func contextKeys(named []policy.Named, first []*policy.Document) []string {
	for _, n := range named {
		first = append(first, n.Doc)
	}
	return policy.ContextKeys(first...)
}
