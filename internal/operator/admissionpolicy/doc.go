// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package admissionpolicy is the way to inject pods without a webhook: where
// the API server has MutatingAdmissionPolicy, it does itself what podpatch
// does. The package owns the policy, its binding, the kind of its parameters,
// and in each namespace that has a service account with an identity one object
// of that kind, which says of each such service account what its pods get. The
// leader keeps them all as they should be.
//
// The table of podpatch's tests is evaluated by a real API server too; what
// differs is in docs/operations/webhook.md. It refuses to run where the API
// server has no such policies. Parameters grant nothing: who writes some of
// their own gives pods variables and a token, and the control plane goes by
// the association that there is, or is not.
//
// RBAC: mutatingadmissionpolicies, mutatingadmissionpolicybindings and
// customresourcedefinitions create, and get and patch of the ones named
// podid-operator and podidentityinjections.podid.dev; podidentityinjections
// get, list, watch, create, update and delete; namespaces list, watch.
package admissionpolicy
