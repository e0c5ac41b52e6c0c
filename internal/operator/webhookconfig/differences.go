// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webhookconfig

import (
	"encoding/base64"
	"fmt"
	"reflect"

	admissionv1 "k8s.io/api/admissionregistration/v1"
)

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// Differences tells what of a configuration is not as the webhook is made
// for. Selectors, time limits and further entries are the installation's own.
func Differences(want, live *admissionv1.MutatingWebhookConfiguration) []string {
	entries := map[string]*admissionv1.MutatingWebhook{}
	for i := range live.Webhooks {
		entries[live.Webhooks[i].Name] = &live.Webhooks[i]
	}
	var out []string
	for i := range want.Webhooks {
		w := &want.Webhooks[i]
		l := entries[w.Name]
		if l == nil {
			out = append(out, "entry "+w.Name+" is missing")
			continue
		}
		for _, f := range []struct {
			name       string
			want, live any
		}{
			{"failurePolicy", w.FailurePolicy, l.FailurePolicy},
			{"reinvocationPolicy", w.ReinvocationPolicy, l.ReinvocationPolicy},
			{"rules", w.Rules, l.Rules},
			{"clientConfig.service", w.ClientConfig.Service, l.ClientConfig.Service},
		} {
			if !reflect.DeepEqual(f.want, f.live) {
				out = append(out, fmt.Sprintf("entry %s has another %s", w.Name, f.name))
			}
		}
	}
	return out
}
