// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"time"

	"podid/internal/cli/clients"
)

// retiredKey is a key that the API server has no more, in JSON and YAML.
type retiredKey struct {
	KeyID string    `json:"keyId"`
	Until time.Time `json:"until"`
}

func newRetired(keys []clients.RetiredKey) []retiredKey {
	var out []retiredKey
	for _, k := range keys {
		out = append(out, retiredKey{k.KeyID, clients.Epoch(k.Until)})
	}
	return out
}

func retiredText(keys []retiredKey) string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.KeyID + " until " + k.Until.Format(time.RFC3339)
	}
	return strings.Join(out, ", ")
}
