// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"testing"

	"podid/internal/store"
	"podid/internal/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return storetest.NewMemory(storetest.Schema()) })
}

func TestMemoryReplicas(t *testing.T) {
	storetest.RunReplicas(t, func(*testing.T) (a, b store.Store) {
		m := storetest.NewMemory(storetest.Schema())
		return m, m
	})
}
