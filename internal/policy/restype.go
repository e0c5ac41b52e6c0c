// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import "strings"

// wildType says whether the word for a resource's type, with which the last part
// of most ARNs begins, holds a wildcard in a pattern.
type wildType uint8

const (
	typePlain wildType = iota
	typeWild           // a wildcard in all of the last part: its end is not known
	typeWildDelimited
)

// wildTypeOf looks at the last part of a pattern. A part of stars alone names
// every type, and is plain.
func wildTypeOf(part string) wildType {
	word := part
	at := strings.IndexAny(part, ":/")
	if at >= 0 {
		word = part[:at]
	}
	switch {
	case strings.Trim(part, "*") == "" || strings.Contains(word, "${") || !strings.ContainsAny(word, "*?"):
		return typePlain
	case at >= 0:
		return typeWildDelimited
	}
	return typeWild
}

// typeNamed reports whether the pattern, which matches resource, names its type
// as AWS asks for: "You can't use a wildcard in the portion of the ARN that
// specifies the resource type". Where the word has no visible end it may be the
// name of a resource, except in IAM, whose resources all have types.
func (p *arnPattern) typeNamed(resource string) bool {
	if p.typed == typePlain {
		return true
	}
	parts := strings.SplitN(resource, ":", arnParts)
	if len(parts) < arnParts || strings.HasPrefix(parts[arnParts-1], "/") {
		return true
	}
	if p.typed == typeWild {
		return parts[2] != "iam"
	}
	return typeless(parts[2])
}

// typeless lists the services whose ARNs have a name of the customer's, or a kind
// that is no type, where others have the type; from the resource types in the
// Service Authorization Reference. Of Auto Scaling, whose ARNs have two types,
// AWS' own policies for node groups leave the first to a star.
func typeless(service string) bool {
	switch service {
	case "s3", "s3express", "execute-api", "codepipeline", "sns", "sqs", "autoscaling", "wafv2", "aws-marketplace",
		"kinesis", "mapcredits", "neptune-db", "servicequotas", "ssm-sap", "backup", "glue":
		return true
	}
	return false
}
