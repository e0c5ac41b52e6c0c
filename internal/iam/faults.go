// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"errors"

	"podid/internal/fault"
	"podid/internal/policy"
	"podid/internal/store"
)

// The faults of this room, in AWS' words.

func noRole(name string) error {
	return fault.New(fault.NotFound, "The role with name %s cannot be found.", name).WithReason("role-not-found")
}

func noUser(name string) error {
	return fault.New(fault.NotFound, "The user with name %s cannot be found.", name).WithReason("user-not-found")
}

func noGroup(name string) error {
	return fault.New(fault.NotFound, "The group with name %s cannot be found.", name).WithReason("group-not-found")
}

func noPolicy(policyARN string) error {
	return fault.New(fault.NotFound, "Policy %s was not found.", policyARN).WithReason("policy-not-found")
}

func notAttachable(policyARN string) error {
	return fault.New(fault.NotFound, "Policy %s does not exist or is not attachable.", policyARN).WithReason("policy-not-found")
}

// notOurs refuses to change AWS' own policies, whatever the caller may do.
func notOurs(caller Caller, action, policyARN string) error {
	return fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s on resource: policy %s", caller.ARN, action, policyARN).
		WithReason("aws-managed-policy")
}

func noVersion(policyARN, version string) error {
	return fault.New(fault.NotFound, "Policy %s version %s does not exist or is not attachable.", policyARN, version).WithReason("policy-version-not-found")
}

func noInline(kind, name string) error {
	return fault.New(fault.NotFound, "The %s policy with name %s cannot be found.", kind, name).WithReason("policy-not-found")
}

func noAccessKey(keyID string) error {
	return fault.New(fault.NotFound, "The Access Key with id %s cannot be found.", keyID).WithReason("access-key-not-found")
}

func overQuota(quota Quota, limit int) error {
	return fault.New(fault.LimitExceeded, "Cannot exceed quota for %s: %d", quota, limit).WithReason("quota-exceeded")
}

func conflict(message string) error {
	return fault.New(fault.DeleteConflict, "%s", message).WithReason("delete-conflict")
}

// malformed turns the parser's refusal into a fault.
func malformed(err error) error {
	var bad *policy.MalformedError
	if !errors.As(err, &bad) {
		return err
	}
	return fault.New(fault.MalformedPolicy, "%s", bad.Message).WithReason("malformed-policy").WithDetail(bad.Cause)
}

// storeFault turns an engine's error into a fault; faults stay as they are.
func storeFault(err error) error {
	var f *fault.Error
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case errors.Is(err, store.ErrConflict):
		return fault.New(fault.Unavailable, "The request was rejected because multiple requests to change this object were submitted simultaneously.").
			WithReason("concurrent-modification").Because(err)
	case errors.Is(err, store.ErrUnknown):
		return fault.New(fault.Unavailable, "The store broke off; the change may have taken effect.").WithReason("store-outcome-unknown").Because(err)
	case errors.Is(err, store.ErrUnavailable):
		return fault.New(fault.Unavailable, "The store cannot be written.").WithReason("store-unavailable").Because(err)
	}
	return err
}
