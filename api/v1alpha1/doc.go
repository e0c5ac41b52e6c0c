// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is podid's part of the Kubernetes API, group podid.dev: the
// objects with which a cluster's people ask for pod identity associations, and
// those with which its administrators allow them. It owns their form, their
// defaults and what the API server refuses by itself; what they bring about is
// the operator's. It stands alone, so that anybody may import it. The
// definitions in crds are generated from it.
//
// +kubebuilder:object:generate=true
// +groupName=podid.dev
package v1alpha1

//go:generate go tool -modfile=../../tools/crdgen/go.mod controller-gen object:headerFile=header.txt crd paths=. output:crd:dir=crds
