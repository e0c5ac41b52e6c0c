// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package homecluster

import "context"

// Keeper is one keeper's step.
func (c *Config) Keeper() func(context.Context) error { return (&keeper{Config: c}).step }

// Publish is one step.
func (c *Config) Publish(ctx context.Context) error { return c.publish(ctx) }
