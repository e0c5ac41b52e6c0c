// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package linklocal

import "context"

// Setup is for Linux; here it returns ErrUnsupported.
func Setup(Config) error { return ErrUnsupported }

// Watch is for Linux; here it returns ErrUnsupported.
func Watch(context.Context, Config) error { return ErrUnsupported }
