// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package resident

// ReleaseText is for Linux.
func ReleaseText() error { return nil }
