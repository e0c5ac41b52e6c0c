// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"slices"
	"strings"
)

// singleKeys are the global keys with one value, and those of STS and IAM that
// concern roles. A key that ends in a slash is followed by a tag's key.
// Source: AWS' reference of global condition context keys, and the service
// authorization reference of STS and IAM.
var singleKeys = []string{
	"aws:CurrentTime", "aws:EpochTime", "aws:FederatedProvider", "aws:MultiFactorAuthAge", "aws:MultiFactorAuthPresent",
	"aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalIsAWSService", "aws:PrincipalOrgID", "aws:PrincipalServiceName",
	"aws:PrincipalTag/", "aws:PrincipalType", "aws:referer", "aws:RequestedRegion", "aws:RequestTag/", "aws:ResourceAccount",
	"aws:ResourceOrgID", "aws:ResourceTag/", "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn", "aws:SourceIdentity",
	"aws:SourceIp", "aws:SourceOrgID", "aws:SourceVpc", "aws:SourceVpcArn", "aws:SourceVpce", "aws:TokenIssueTime", "aws:UserAgent",
	"aws:userid", "aws:username", "aws:ViaAWSService", "aws:VpceAccount", "aws:VpceOrgID", "aws:VpcSourceIp", "aws:AssumedRoot",
	"aws:CalledViaFirst", "aws:CalledViaLast", "aws:Ec2InstanceSourcePrivateIPv4", "aws:Ec2InstanceSourceVpc", "aws:ChatbotSourceArn",
	"aws:SignInSessionArn", "aws:IsMcpServiceAction", "aws:ViaAWSMCPService", "aws:CalledViaAWSMCP",
	"sts:ExternalId", "sts:RoleSessionName", "sts:SourceIdentity", "sts:AWSServiceName", "sts:DurationSeconds", "sts:RequestContext/",
	"iam:PassedToService", "iam:AssociatedResourceArn", "iam:PermissionsBoundary", "iam:PolicyARN", "iam:ResourceTag/", "iam:AWSServiceName",
	"iam:OrganizationsPolicyId", "iam:FIDO-certification", "iam:FIDO-FIPS-140-2-certification", "iam:RegisterSecurityKey",
}

// multiKeys are the known keys with several values.
var multiKeys = []string{
	"aws:CalledVia", "aws:PrincipalOrgPaths", "aws:PrincipalServiceNamesList", "aws:ResourceOrgPaths", "aws:SourceOrgPaths",
	"aws:TagKeys", "aws:VpceOrgPaths", "sts:TransitiveTagKeys", "sts:RequestContextProviders", "dynamodb:Attributes",
	"dynamodb:LeadingKeys",
}

// podTags are the keys of the tags that Pod Identity gives a session.
var podTags = []string{
	"eks-cluster-arn", "eks-cluster-name", "kubernetes-namespace", "kubernetes-service-account", "kubernetes-pod-name", "kubernetes-pod-uid",
}

// tagPrefixes are of keys that have a tag's key behind them.
var tagPrefixes = []string{"aws:principaltag/", "aws:requesttag/", "aws:resourcetag/"}

// isMulti reports whether a key may hold several values.
func isMulti(folded string) bool {
	return hasKey(multiKeys, folded) || strings.HasSuffix(folded, ":amr") || strings.HasSuffix(folded, ":groups")
}

func hasKey(keys []string, folded string) bool {
	return slices.ContainsFunc(keys, func(k string) bool {
		k = strings.ToLower(k)
		return k == folded || strings.HasSuffix(k, "/") && strings.HasPrefix(folded, k) && len(folded) > len(k)
	})
}

// isKnown reports whether the key is in the tables.
func isKnown(folded string) bool { return hasKey(singleKeys, folded) || hasKey(multiKeys, folded) }

// suggestion returns what a key that is not known was meant to be: one whose
// prefix was forgotten, or that is spelt nearly the same. "" when there is none.
func suggestion(key string) string {
	folded := strings.ToLower(key)
	name, tag, tagged := strings.Cut(folded, "/")
	best, least := "", 3
	for _, k := range slices.Concat(singleKeys, multiKeys) {
		known := strings.ToLower(k)
		plain := strings.TrimSuffix(known, "/")
		if strings.HasSuffix(k, "/") != tagged {
			if name == plain {
				return k + "<key>"
			}
			continue
		}
		_, bare, _ := strings.Cut(plain, ":")
		found := k
		if tagged {
			found += key[len(key)-len(tag):]
		}
		if !strings.Contains(name, ":") && name == bare {
			return found
		}
		if d := distance(name, plain); d < least && d > 0 {
			best, least = found, d
		}
	}
	return best
}

// podTagSuggestion is suggestion for the key of a pod's tag.
func podTagSuggestion(folded string) string {
	for _, prefix := range tagPrefixes[:2] {
		tag, ok := strings.CutPrefix(folded, prefix)
		if !ok || slices.Contains(podTags, tag) {
			continue
		}
		plain := strings.NewReplacer("_", "-", "/", "-", ".", "-").Replace(tag)
		for _, known := range podTags {
			if plain == known || distance(plain, known) <= 2 || plain == strings.ReplaceAll(known, "-", "") ||
				strings.ReplaceAll(plain, "-", "") == strings.ReplaceAll(known, "-", "") {
				return known
			}
		}
	}
	return ""
}

// distance counts the characters that have to be put in, taken out, changed or
// swapped with their neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > len(b)+3 || len(b) > len(a)+3 {
		return 9
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
