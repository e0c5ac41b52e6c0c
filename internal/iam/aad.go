// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import "podid/internal/store"

// KeyAAD is what the sealed secret of an access key is bound to: the record
// of its user and the key's id, so that neither can be moved to another.
func KeyAAD(s store.Scope, userRecordID, accessKeyID string) []byte {
	return []byte(Users.Key(s, userRecordID) + "#" + accessKeyID)
}
