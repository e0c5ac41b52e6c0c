// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// Page says which part of a list is wanted.
type Page struct {
	Marker   string // as the part before returned it; "" for the first part
	MaxItems *int32 // 1..1000; nil stands for 100
}

// Listing is a part of a list. Marker is empty on the last part.
type Listing[T any] struct {
	Items  []T
	Marker string
}

// page cuts a list whose items are in the order of their keys. The marker
// names the last item returned, not a place, so that items which come and go
// between parts neither hide nor repeat others. list names what is listed: a
// marker of another list is refused.
func page[T any](list string, p Page, items []T, key func(T) string) (Listing[T], error) {
	limit := defaultItems
	if p.MaxItems != nil {
		limit = int(*p.MaxItems)
		if limit < 1 {
			return Listing[T]{}, constraint("maxItems", strconv.Itoa(limit), "have value greater than or equal to 1")
		}
		if limit > maxItems {
			return Listing[T]{}, constraint("maxItems", strconv.Itoa(limit), "have value less than or equal to %d", maxItems)
		}
	}
	if p.Marker != "" {
		after, ok := readMarker(list, p.Marker)
		if !ok {
			return Listing[T]{}, invalid("marker", "Invalid Marker.")
		}
		for len(items) > 0 && key(items[0]) <= after {
			items = items[1:]
		}
	}
	if len(items) <= limit {
		return Listing[T]{Items: items}, nil
	}
	items = items[:limit]
	return Listing[T]{items, writeMarker(list, key(items[limit-1]))}, nil
}

func writeMarker(list, after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("1\x00" + list + "\x00" + after))
}

func readMarker(list, marker string) (after string, ok bool) {
	if len(marker) > maxMarker || strings.ContainsAny(marker, "\r\n") { // the decoder would skip line ends
		return "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(marker)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(b), "1\x00"+list+"\x00")
}
