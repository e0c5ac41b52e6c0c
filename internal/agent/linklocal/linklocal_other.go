// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package linklocal

// Setup is for Linux; here it returns ErrUnsupported.
func Setup(Config) error { return ErrUnsupported }
