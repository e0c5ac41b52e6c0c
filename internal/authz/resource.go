// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"podid/internal/arn"
	"podid/internal/iam"
)

// resourceAccount is the account that owns what a query is about. A verb of
// podid acts in the caller's account; a caller who names something of another
// account by its ARN needs a policy of that resource beside his own (IAM User
// Guide, "Cross-account policy evaluation logic"), and nothing that podid
// serves has one but a role, whose trust sts asks. So he is refused, whether it
// exists or not. Of other services' resources podid knows no policies, and
// judges them as the caller's own.
func resourceAccount(c iam.Caller, resource string) string {
	if resource == "*" {
		return c.Account
	}
	a, err := arn.Parse(resource)
	if err != nil || !arn.IsAccount(a.Account) {
		return c.Account
	}
	switch a.Service {
	case "iam", "sts", "eks", "eks-auth", "podid":
		return a.Account
	}
	return c.Account
}
