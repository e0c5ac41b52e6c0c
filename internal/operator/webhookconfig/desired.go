// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webhookconfig

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Names and labels of the configuration.
const (
	Name           = "podid-operator" // of the configuration and of the Service
	LabelInjection = "podid.dev/injection"
	Required       = "required" // of a namespace or a pod: no pod without a review
	Disabled       = "disabled" // of a namespace: no review
	labelSkip      = "eks.amazonaws.com/skip-pod-identity-webhook"
	labelNamespace = "kubernetes.io/metadata.name"
)

// Entries of the configuration. A pod is reviewed by one of them at the most.
const (
	EntryUsual             = "pods.webhook.podid.dev"                // failurePolicy Ignore
	EntryRequiredNamespace = "required-namespaces.webhook.podid.dev" // failurePolicy Fail
	EntryRequiredPod       = "required-pods.webhook.podid.dev"       // failurePolicy Fail
)

// Options are what installations differ in.
type Options struct {
	Namespace      string   // the operator's own
	Excluded       []string // further namespaces without reviews
	TimeoutSeconds int32    // 0 is 5
	CertManager    string   // NAMESPACE/NAME of a Certificate whose authority cert-manager is to write in; "" for none
}

func selects(key string, op metav1.LabelSelectorOperator, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: values}
}

// Desired is the configuration as the chart renders it, but for the
// authorities, which the operator writes in.
//
// The rule is one of two: review and let through if that fails, or review and
// refuse. What opts in to the second is a namespace or a pod, and an entry's
// selectors can only both be asked for, while its match conditions do not see
// a namespace's labels: so the second kind takes two entries. They exclude
// each other.
func Desired(o Options) *admissionv1.MutatingWebhookConfiguration {
	const (
		in, notIn = metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn
	)
	excluded := selects(labelNamespace, notIn, append([]string{"kube-system", o.Namespace}, o.Excluded...)...)
	asks := selects(labelSkip, metav1.LabelSelectorOpDoesNotExist)
	usual := []metav1.LabelSelectorRequirement{excluded, selects(LabelInjection, notIn, Disabled, Required)}
	out := &admissionv1.MutatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: Name},
		Webhooks: []admissionv1.MutatingWebhook{
			o.entry(EntryUsual, admissionv1.Ignore, usual, asks, selects(LabelInjection, notIn, Required)),
			o.entry(EntryRequiredNamespace, admissionv1.Fail, []metav1.LabelSelectorRequirement{excluded, selects(LabelInjection, in, Required)}, asks),
			o.entry(EntryRequiredPod, admissionv1.Fail, usual, asks, selects(LabelInjection, in, Required)),
		},
	}
	if o.CertManager != "" {
		out.Annotations = map[string]string{"cert-manager.io/inject-ca-from": o.CertManager}
	}
	return out
}

func (o Options) entry(name string, failure admissionv1.FailurePolicyType, namespaces []metav1.LabelSelectorRequirement, pods ...metav1.LabelSelectorRequirement) admissionv1.MutatingWebhook {
	port, path, timeout := int32(443), "/mutate", o.TimeoutSeconds
	if timeout == 0 {
		timeout = 5
	}
	// On a dry run nothing is written; else a namespace may get its ConfigMap of authorities.
	effects, again, match, scope := admissionv1.SideEffectClassNoneOnDryRun, admissionv1.IfNeededReinvocationPolicy, admissionv1.Equivalent, admissionv1.NamespacedScope
	return admissionv1.MutatingWebhook{
		Name:         name,
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: o.Namespace, Name: Name, Path: &path, Port: &port}},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: &scope},
		}},
		FailurePolicy: &failure, MatchPolicy: &match,
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: namespaces}, ObjectSelector: &metav1.LabelSelector{MatchExpressions: pods},
		SideEffects: &effects, TimeoutSeconds: &timeout, AdmissionReviewVersions: []string{"v1", "v1beta1"}, ReinvocationPolicy: &again,
	}
}
