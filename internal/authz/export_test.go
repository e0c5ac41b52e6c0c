// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authz

// Remembered is how many permissions are held.
func (a *Authorizer) Remembered() int { return a.permissions.Len() }

// RememberedBounds is how many callers' bounds are held.
func (a *Authorizer) RememberedBounds() int { return a.bounds.Len() }
