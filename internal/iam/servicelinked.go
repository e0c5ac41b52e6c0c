// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"strings"
)

// Service-linked roles belong to services of AWS, which make and use them
// themselves. No such service runs here, so there is none of them.

// serviceLinkedPath begins the path of service-linked roles.
const serviceLinkedPath = "/aws-service-role/"

// CreateServiceLinkedRole refuses: there is no service that could use the
// role (iam:CreateServiceLinkedRole).
func (m *Manager) CreateServiceLinkedRole(ctx context.Context, caller Caller, service string) error {
	if err := checkLength("aWSServiceName", service, 1, 128); err != nil {
		return err
	}
	q := Query{
		Action: "iam:CreateServiceLinkedRole", Resource: m.arn("role", serviceLinkedPath+service+"/", "*"),
		Keys: []ConditionKey{{Name: "iam:AWSServiceName", Values: []string{service}}},
	}
	if err := m.Authz.Authorize(ctx, caller, q); err != nil {
		return err
	}
	return badInput("service-linked-role", "Service-linked roles are made for services of AWS, and %.128s does not run here. Make an ordinary role with CreateRole instead.", service)
}

// checkNotServiceLinked refuses an ordinary role in the place of a
// service-linked one.
func checkNotServiceLinked(path, name string) error {
	if strings.HasPrefix(path, serviceLinkedPath) {
		return badInput("service-linked-role", "The path %s is reserved for service-linked roles, which podid does not have. Choose another path.", serviceLinkedPath)
	}
	if strings.HasPrefix(strings.ToLower(name), "awsservicerole") {
		return badInput("service-linked-role", "Role names that begin with AWSServiceRole are reserved for service-linked roles, which podid does not have. Choose another name.")
	}
	return nil
}
