// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authz

// Remembered is how many permissions are held.
func (a *Authorizer) Remembered() int {
	vp := a.permissions.now.Load()
	if vp == nil {
		return 0
	}
	vp.mu.RLock()
	defer vp.mu.RUnlock()
	return len(vp.allowed)
}
