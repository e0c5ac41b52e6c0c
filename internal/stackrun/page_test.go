// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"fmt"
	"slices"
	"testing"

	"podid/internal/fault"
)

// FuzzPage gives markers of all kinds: a page begins behind its marker, or the
// marker is refused.
func FuzzPage(f *testing.F) {
	items := make([]string, 250)
	for i := range items {
		items[i] = fmt.Sprintf("%04d", i)
	}
	key := func(s string) string { return s }
	_, next, err := page("list", "", items, key)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", next, next[:len(next)-1], "MQBsaXN0AA", "!", "MQBvdGhlcgAwMDAx"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, marker string) {
		part, _, err := page("list", marker, slices.Clone(items), key)
		if err != nil {
			if !fault.Is(err, fault.InvalidParameter) || part != nil {
				t.Errorf("%v with %d items", err, len(part))
			}
			return
		}
		after, _ := readMarker("list", marker)
		if len(part) > pageSize || len(part) > 0 && part[0] <= after {
			t.Errorf("a page of %d behind %q", len(part), after)
		}
	})
}
