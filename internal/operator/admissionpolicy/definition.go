// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package admissionpolicy

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"podid/internal/operator/podpatch"
)

// Kind is the kind of a namespace's parameters. It is no ConfigMap: an
// API server follows the parameters of built-in kinds with what it shares
// among all policies, and stops that for good when the last policy of one
// plugin that uses the kind goes, whoever's it was.
func Kind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "podid.dev", Version: "v1alpha1", Kind: "PodIdentityInjection"}
}

const resource = "podidentityinjections"

// Definition is what the API server learns the kind of parameters from.
func Definition(owners []metav1.OwnerReference) *unstructured.Unstructured {
	text := func(about string) object { return object{"type": "string", "description": about} }
	entry := object{
		"type": "object", "required": list("kind", "tokenExpirationSeconds", "regionalSTS", "audience"),
		"properties": object{
			"kind":                   object{"type": "string", "enum": list(string(podpatch.PodIdentity), string(podpatch.WebIdentity))},
			"tokenExpirationSeconds": object{"type": "integer", "format": "int64", "minimum": int64(600), "maximum": int64(1) << 32, "description": "Life of tokens where the pod does not say."},
			"regionalSTS":            object{"type": "boolean", "description": "Whether AWS_STS_REGIONAL_ENDPOINTS is set."},
			"audience":               text("Of the token."),
			"roleARN":                text("The role that an annotation names; of web-identity only."),
		},
	}
	version := object{
		"name": Kind().Version, "served": true, "storage": true,
		"schema": object{"openAPIV3Schema": object{
			"type": "object", "description": "Which service accounts of a namespace have an identity, for the MutatingAdmissionPolicy podid-operator. The operator writes it.",
			"properties": object{
				"apiVersion": object{"type": "string"}, "kind": object{"type": "string"}, "metadata": object{"type": "object"},
				"serviceAccounts": object{"type": "object", "description": "By their names.", "additionalProperties": entry},
			},
		}},
	}
	return named(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}, resource+"."+Kind().Group, object{
		"group": Kind().Group, "scope": "Namespaced", "versions": list(version),
		"names": object{"kind": Kind().Kind, "listKind": Kind().Kind + "List", "plural": resource, "singular": "podidentityinjection"},
	}, owners)
}

// parameters is a namespace's object.
func parameters(namespace string, accounts map[string]any, owners []metav1.OwnerReference) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: object{"serviceAccounts": accounts}}
	u.SetGroupVersionKind(Kind())
	u.SetNamespace(namespace)
	u.SetName(Name)
	u.SetLabels(map[string]string{labelManager: manager})
	u.SetOwnerReferences(owners)
	return u
}
