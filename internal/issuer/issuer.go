// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package issuer owns the choice of who issues an account's credentials:
// podid's own STS (embedded), or an AWS-shaped STS elsewhere, asked with the
// server's credentials (awssts) or with tokens that podid signs (webidentity). The
// choice is a record of the account, so every replica follows it at once. The
// Router takes each order, and each check of a role, to the issuer chosen. What
// all issuers say of a pod in the same way (session tags, external id, life)
// stands here too. It refuses settings that could send signed requests in the
// clear, and lets only callers of the first account choose: the credentials
// that another STS is asked with are the server's own.
package issuer

import (
	"time"

	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/session"
	"podid/internal/store"
)

// Lifetimes of issued credentials, by AWS' documentation of EKS Pod Identity:
// 6 hours with one role, 59 minutes through a target role.
const (
	Lifetime       = 6 * time.Hour
	TargetLifetime = 59 * time.Minute
)

// Unauthorized is what EKS Auth says of a role that may not be assumed,
// whatever the reason.
const Unauthorized = "Unauthorized Exception! EKS does not have permissions to assume the associated role."

// Kind names an issuer.
type Kind string

// The kinds of issuers.
const (
	Embedded Kind = "embedded" // podid's own IAM and STS; the default
	AWSSTS   Kind = "awssts"   // AssumeRole at AWS, or at what speaks as AWS does
	// WebIdentity is AssumeRoleWithWebIdentity there, with a token of podid's.
	WebIdentity Kind = "webidentity"
)

// Choice is the record of an account's issuer. An account without one has the
// embedded issuer.
type Choice struct {
	Kind     Kind      `cbor:"1,keyasint"`
	AWS      AWS       `cbor:"2,keyasint,omitempty"` // of AWSSTS and WebIdentity
	Modified time.Time `cbor:"3,keyasint"`
}

// AWS says which STS is asked and how. The base credentials, which the roles
// have to trust, are found by the SDK's default chain in the server's process.
type AWS struct {
	STSEndpoint string `cbor:"1,keyasint,omitempty"` // "" is AWS' own of the region
	IAMEndpoint string `cbor:"2,keyasint,omitempty"` // "" follows STSEndpoint
	Region      string `cbor:"3,keyasint,omitempty"`
	Profile     string `cbor:"4,keyasint,omitempty"` // of the server's shared AWS files; "" is the default chain
	ExternalID  string `cbor:"5,keyasint,omitempty"` // sent with the first role, where session tags are not disabled
	CA          string `cbor:"6,keyasint,omitempty"` // PEM certificates trusted beside the system's
	Rate        int    `cbor:"7,keyasint,omitempty"` // requests per second; 0 is DefaultRate
	Audience    string `cbor:"8,keyasint,omitempty"` // of WebIdentity's tokens; "" is DefaultAudience
}

// DefaultRate is what AWS documents for AssumeRole: 600 requests a second of
// one account and region.
const DefaultRate = 600

// DefaultAudience is the audience that AWS' own tools register.
const DefaultAudience = "sts.amazonaws.com"

// Choices is the table. Each account has one record at most.
var Choices = store.NewTable[Choice]("issuer", nil)

const choiceID = "choice"

func scope(account string) store.Scope { return store.Scope{Account: account, Region: store.Global} }

// Find returns the account's choice; Embedded when nothing was chosen.
func Find(r store.Reader, account string) Choice {
	if c, ok := Choices.Get(r, scope(account), choiceID); ok {
		return *c
	}
	return Choice{Kind: Embedded}
}

// PodTags are the six session tags in AWS' order, all transitive.
func PodTags(c *cluster.Cluster, clusterARN string, p exchange.Pod) []session.Tag {
	return []session.Tag{
		{Key: "eks-cluster-arn", Value: clusterARN, Transitive: true},
		{Key: "eks-cluster-name", Value: c.Name, Transitive: true},
		{Key: "kubernetes-namespace", Value: p.Namespace, Transitive: true},
		{Key: "kubernetes-service-account", Value: p.ServiceAccount, Transitive: true},
		{Key: "kubernetes-pod-name", Value: p.Name, Transitive: true},
		{Key: "kubernetes-pod-uid", Value: p.UID, Transitive: true},
	}
}

// UnknownKeys lists the condition keys that depend on a pod that is not known.
func UnknownKeys(p exchange.Pod) []string {
	var out []string
	if p.Name == "" {
		out = append(out, "aws:RequestTag/kubernetes-pod-name", "aws:PrincipalTag/kubernetes-pod-name", "sts:RoleSessionName")
	}
	if p.UID == "" {
		out = append(out, "aws:RequestTag/kubernetes-pod-uid", "aws:PrincipalTag/kubernetes-pod-uid")
	}
	return out
}
