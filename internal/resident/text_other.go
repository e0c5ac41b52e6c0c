// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

// releaseText is for Linux.
func releaseText() error { return nil }
