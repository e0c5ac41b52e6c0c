// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package shards_test

import (
	"slices"
	"testing"

	"podid/internal/operator/feed"
	"podid/internal/operator/lastknown/shards"
)

// FuzzDecode: whatever a Secret holds, reading it ends, and what it tells can be kept again.
func FuzzDecode(f *testing.F) {
	good, err := shards.Encode(slices.Values([]feed.Association{{Namespace: "n", ServiceAccount: "s", ID: "a-1", Revision: 7}}), shards.MaxSize)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[0])
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var is []feed.Association
		if shards.Decode(data, func(a feed.Association) error { is = append(is, a); return nil }) != nil {
			return
		}
		again, err := shards.Encode(slices.Values(is), shards.MaxSize)
		if err != nil || len(again) == 0 {
			t.Fatal(err)
		}
	})
}
