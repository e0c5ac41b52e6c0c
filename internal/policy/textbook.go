// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import "encoding/json"

// PodIdentityService is the principal that trust policies for pods name.
const PodIdentityService = "pods.eks.amazonaws.com"

// TextbookTrust returns the trust policy that AWS' guide gives for a role of
// pods, limited to one account and one cluster against the confused deputy.
func TextbookTrust(sourceAccount, clusterARN string) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"AllowEksAuthToAssumeRoleForPodIdentity","Effect":"Allow",` +
		`"Principal":{"Service":"` + PodIdentityService + `"},"Action":["sts:AssumeRole","sts:TagSession"],` +
		`"Condition":{"StringEquals":{"aws:SourceAccount":` + quote(sourceAccount) +
		`},"ArnEquals":{"aws:SourceArn":` + quote(clusterARN) + `}}}]}`
}

func quote(s string) string {
	out, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return `""`
	}
	return string(out)
}
