// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"testing"

	"podid/internal/iam"
)

func TestResourceAccount(t *testing.T) {
	c := iam.Caller{Account: "111122223333"}
	for resource, want := range map[string]string{
		"*":                                                  c.Account,
		"arn:aws:iam::111122223333:role/r":                   c.Account,
		"arn:aws:iam::444455556666:role/r":                   "444455556666",
		"arn:aws:iam::444455556666:policy/p":                 "444455556666",
		"arn:aws:eks:us-west-2:444455556666:cluster/c":       "444455556666",
		"arn:aws:podid::444455556666:account/1":              "444455556666",
		"arn:aws:sts::444455556666:federated-user/bob":       "444455556666",
		"arn:aws:iam::aws:policy/AdministratorAccess":        c.Account, // AWS' own are everybody's
		"arn:aws:s3:::bucket":                                c.Account,
		"arn:aws:dynamodb:us-west-2:444455556666:table/t":    c.Account, // podid knows no policies of it
		"arn:aws:eks:us-west-2:4444:cluster/c":               c.Account,
		"no ARN at all":                                      c.Account,
		"arn:aws:iam::444455556666:role/very:strange/name:x": "444455556666",
	} {
		if got := resourceAccount(c, resource); got != want {
			t.Errorf("resourceAccount(%s) = %s, want %s", resource, got, want)
		}
	}
}
