// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webhookconfig_test

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"podid/internal/operator/kubetest"
	"podid/internal/operator/webhookconfig"
)

var update = flag.Bool("update", false, "write the golden file")

func desired() *admissionv1.MutatingWebhookConfiguration {
	return webhookconfig.Desired(webhookconfig.Options{Namespace: "podid-system"})
}

// TestDesired: the file is what the chart renders with its defaults.
func TestDesired(t *testing.T) {
	got, err := yaml.Marshal(desired())
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/desired.yaml"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(want, got) {
		t.Errorf("%v\n%s", err, got)
	}
	if o := webhookconfig.Desired(webhookconfig.Options{Namespace: "n", CertManager: "n/c"}); o.Annotations["cert-manager.io/inject-ca-from"] != "n/c" {
		t.Error(o.Annotations)
	}
}

// entries are those that review a pod.
func entries(t *testing.T, c *admissionv1.MutatingWebhookConfiguration, namespace, pod map[string]string) []string {
	t.Helper()
	var out []string
	for _, w := range c.Webhooks {
		n, err := metav1.LabelSelectorAsSelector(w.NamespaceSelector)
		if err != nil {
			t.Fatal(err)
		}
		p, err := metav1.LabelSelectorAsSelector(w.ObjectSelector)
		if err != nil {
			t.Fatal(err)
		}
		if n.Matches(labels.Set(namespace)) && p.Matches(labels.Set(pod)) {
			out = append(out, w.Name)
		}
	}
	return out
}

// TestSelectors: every pod is reviewed once or not at all, and refused on failure exactly where somebody asked for it.
func TestSelectors(t *testing.T) {
	c := desired()
	policy := map[string]admissionv1.FailurePolicyType{}
	for _, w := range c.Webhooks {
		policy[w.Name] = *w.FailurePolicy
	}
	values := []string{"", "required", "disabled", "else"}
	for _, name := range []string{"app", "kube-system", "podid-system"} {
		for _, ns := range values {
			for _, pod := range values {
				for _, skip := range []bool{false, true} {
					namespace, labels := map[string]string{"kubernetes.io/metadata.name": name}, map[string]string{}
					if ns != "" {
						namespace[webhookconfig.LabelInjection] = ns
					}
					if pod != "" {
						labels[webhookconfig.LabelInjection] = pod
					}
					if skip {
						labels["eks.amazonaws.com/skip-pod-identity-webhook"] = ""
					}
					got := entries(t, c, namespace, labels)
					switch reviewed := name == "app" && ns != "disabled" && !skip; {
					case !reviewed && len(got) != 0, reviewed && len(got) != 1:
						t.Errorf("%v %v: reviewed by %v", namespace, labels, got)
					case reviewed && (policy[got[0]] == admissionv1.Fail) != (ns == "required" || pod == "required"):
						t.Errorf("%v %v: failurePolicy %s", namespace, labels, policy[got[0]])
					}
				}
			}
		}
	}
}

type authorities struct{ text atomic.Pointer[string] }

func (a *authorities) get() []byte {
	if text := a.text.Load(); text != nil {
		return []byte(*text)
	}
	return nil
}

func (a *authorities) set(text string) { a.text.Store(&text) }

// trusted are the authorities of that text.
func trusted(text string) *authorities {
	a := &authorities{}
	a.set(text)
	return a
}

func start(t *testing.T, c client.WithWatch, a *authorities, foreign bool) (*webhookconfig.Keeper, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewRegistry()
	k, err := webhookconfig.New(webhookconfig.Config{Client: c, Authorities: a.get, Foreign: foreign, Desired: desired(), Metrics: r, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return k, r
}

// bundles are the entries' authorities.
func bundles(t *testing.T, c client.Client) []string {
	t.Helper()
	live := &admissionv1.MutatingWebhookConfiguration{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: webhookconfig.Name}, live); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, w := range live.Webhooks {
		out = append(out, string(w.ClientConfig.CABundle))
	}
	return out
}

func state(t *testing.T, r *prometheus.Registry, want string) func() bool {
	t.Helper()
	return func() bool {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "podid_operator_webhook_configuration" && m.GetLabel()[0].GetValue() == want && m.GetGauge().GetValue() == 1 {
					return true
				}
			}
		}
		return false
	}
}

func TestKeeper(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("writes and repairs authorities", func(t *testing.T) {
		config := desired()
		url := "https://elsewhere.example/"
		config.Webhooks = append(config.Webhooks, *config.Webhooks[0].DeepCopy())
		config.Webhooks[3].Name, config.Webhooks[3].ClientConfig = "own.example.com", admissionv1.WebhookClientConfig{URL: &url}
		api, a := kubetest.New(t, interceptor.Funcs{}, config), &authorities{}
		k, r := start(t, api, a, false)
		kubetest.Eventually(t, "it is found right", state(t, r, "right"))
		a.set("ca-1")
		k.Wake()
		want := func(ca string) func() bool {
			return func() bool { return slices.Equal(bundles(t, api), []string{ca, ca, ca, ""}) }
		}
		kubetest.Eventually(t, "authorities are written", want("ca-1"))
		live := &admissionv1.MutatingWebhookConfiguration{}
		if err := api.Get(t.Context(), client.ObjectKey{Name: webhookconfig.Name}, live); err != nil {
			t.Fatal(err)
		}
		if d := webhookconfig.Differences(desired(), live); len(d) > 0 {
			t.Error(d)
		}
		live.Webhooks[1].ClientConfig.CABundle = nil
		if err := api.Update(t.Context(), live); err != nil {
			t.Fatal(err)
		}
		kubetest.Eventually(t, "drift is repaired", want("ca-1"))
	})
	t.Run("tells what differs", func(t *testing.T) {
		config := desired()
		fail := admissionv1.Fail
		config.Webhooks = config.Webhooks[:2]
		config.Webhooks[0].FailurePolicy = &fail
		if d := webhookconfig.Differences(desired(), config); len(d) != 2 {
			t.Error(d)
		}
		api := kubetest.New(t, interceptor.Funcs{}, config)
		_, r := start(t, api, trusted("ca"), false)
		kubetest.Eventually(t, "it tells", state(t, r, "different"))
		kubetest.Eventually(t, "authorities are written", func() bool { return slices.Equal(bundles(t, api), []string{"ca", "ca"}) })
	})
	t.Run("makes none", func(t *testing.T) {
		api := kubetest.New(t, interceptor.Funcs{})
		_, r := start(t, api, trusted("ca"), false)
		kubetest.Eventually(t, "it tells", state(t, r, "absent"))
		if err := api.Create(t.Context(), desired()); err != nil {
			t.Fatal(err)
		}
		kubetest.Eventually(t, "the new one is trusted", func() bool { return bundles(t, api)[0] == "ca" })
	})
	t.Run("leaves cert-manager's", func(t *testing.T) {
		api := kubetest.New(t, interceptor.Funcs{}, desired())
		_, r := start(t, api, trusted("ca"), true)
		kubetest.Eventually(t, "it is found right", state(t, r, "right"))
		if got := bundles(t, api); got[0] != "" {
			t.Error(got)
		}
	})
}
