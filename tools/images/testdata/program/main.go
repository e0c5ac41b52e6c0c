// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command program is what the test puts into an image: a static binary with a module linked to it.
package main

import (
	"fmt"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	n := 0
	for range bundle.Roots() {
		n++
	}
	fmt.Println(n)
}
