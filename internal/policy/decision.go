// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

// Cause is the reason code of a decision.
type Cause uint8

// The causes. The names of String are stable and appear in audit records.
const (
	AllowedByStatement Cause = iota + 1
	AlwaysAllowed            // sts:GetCallerIdentity
	ExplicitDeny
	NoIdentityAllow
	NoBoundaryAllow
	NoSessionAllow
	NoResourceAllow
	NoTrustAllow
	NoSCPAllow
	NoRCPAllow
	RootMayNotAssume
)

// String returns the code's name.
func (c Cause) String() string {
	switch c {
	case AllowedByStatement:
		return "Allowed"
	case AlwaysAllowed:
		return "AlwaysAllowed"
	case ExplicitDeny:
		return "ExplicitDeny"
	case NoIdentityAllow:
		return "NoIdentityAllow"
	case NoBoundaryAllow:
		return "NoBoundaryAllow"
	case NoSessionAllow:
		return "NoSessionAllow"
	case NoResourceAllow:
		return "NoResourceAllow"
	case NoTrustAllow:
		return "NoTrustAllow"
	case NoSCPAllow:
		return "NoSCPAllow"
	case NoRCPAllow:
		return "NoRCPAllow"
	case RootMayNotAssume:
		return "RootMayNotAssume"
	}
	return "Undecided"
}

// MarshalText writes the code's name.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Source is the document and statement that decided. Statement is -1 when it is
// the document as a whole that gave no permission, or when there is none.
type Source struct {
	Document  string `json:"document,omitempty"`
	ARN       string `json:"arn,omitempty"`
	Statement int    `json:"statement"`
	Sid       string `json:"sid,omitempty"`
}

// Decision is the answer to an Input. The zero value denies.
type Decision struct {
	Allowed  bool   `json:"allowed"`
	Explicit bool   `json:"explicitDeny"` // a Deny statement matched
	Cause    Cause  `json:"cause"`
	Source   Source `json:"source"`
	// Open lists the unknown keys that the answer depends on, sorted.
	Open []string `json:"open,omitempty"`
}
