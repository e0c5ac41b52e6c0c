// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stackrun owns CloudFormation's stacks: their records, events and
// change sets, and the verbs that turn templates into IAM resources and pod
// identity associations. Each resource is made, changed and removed by the
// verbs of packages iam and association as the caller, called via
// CloudFormation (or as the stack's role), who is asked for every one of them,
// on rollback and deletion too.
//
// A verb is done when it returns: the stack's status is final by then. Every
// action on a resource commits in one transaction with the stack's record of
// it, so that the record is exact whenever a process ends. While a verb runs it
// holds a lease on the record; every write renews it and is refused once
// another has taken over. A stack whose lease has run out is shown as failed,
// and the next verb that changes it (with the rights of its own caller)
// takes back what was begun, or deletes it.
//
// It refuses to touch what the stack did not make: what exists is never
// adopted, and what was replaced under the same name is left alone. It refuses
// a second change while one runs, templates that need capabilities that were
// not given, and stacks beyond the quota.
package stackrun

import (
	"context"
	"io"
	"time"

	"podid/internal/association"
	"podid/internal/iam"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/sts"
)

// Service is CloudFormation as iam:PassRole and trust policies name it.
const Service = "cloudformation.amazonaws.com"

// Limits. Sources: CloudFormation API Reference and "CloudFormation quotas";
// those on events and change sets are podid's own.
const (
	DefaultLimit  = 2000 // stacks of an account and region
	MaxEvents     = 1000 // remembered of a stack, the latest
	MaxChangeSets = 50   // of a stack: more displace the oldest that cannot be executed
	MaxDeleted    = 2000 // deleted stacks that are remembered
	KeepDeleted   = 90 * 24 * time.Hour

	maxTags   = 50
	maxReason = 1024 // bytes
	pageSize  = 100

	// Records are values of the store, which takes 1.5 MiB at once.
	maxProperties = 128 << 10 // bytes of a resource's properties
	maxParameters = 64 << 10  // bytes of all parameters of a stack
	maxOutputs    = 64 << 10  // bytes of all outputs of a stack
)

// The reasons of faults that have an exception of their own in CloudFormation's
// API. All others are ValidationError, AccessDenied and the like by their kind.
const (
	ReasonStackNotFound     = "stack-not-found"         // ValidationError: Stack with id X does not exist
	ReasonStackExists       = "stack-exists"            // AlreadyExistsException
	ReasonStackLimit        = "stack-limit"             // LimitExceededException
	ReasonCapabilities      = "capabilities-missing"    // InsufficientCapabilitiesException
	ReasonTokenUsed         = "token-used"              // TokenAlreadyExistsException
	ReasonChangeSetNotFound = "change-set-not-found"    // ChangeSetNotFoundException
	ReasonChangeSetExists   = "change-set-exists"       // AlreadyExistsException
	ReasonChangeSetStatus   = "change-set-status"       // InvalidChangeSetStatus
	ReasonChangeSetLimit    = "change-set-limit"        // LimitExceededException
	ReasonOperationStatus   = "stack-busy"              // ValidationError, but OperationInProgressException for change sets
	ReasonProtected         = "termination-protection"  // ValidationError
	ReasonNoUpdates         = "no-updates"              // ValidationError: No updates are to be performed.
	ReasonResourceNotFound  = "stack-resource-notfound" // ValidationError
)

// Authorizer decides whether a caller may. Nil means yes; a refusal is a
// fault of kind AccessDenied.
type Authorizer interface {
	Authorize(ctx context.Context, c iam.Caller, q iam.Query) error
}

// RoleSessions makes sessions of roles for services that roles trust.
type RoleSessions interface {
	Permit(ctx context.Context, r store.Reader, g *sts.Grant) error
	NewSession(g *sts.Grant) *session.Session
}

// Manager holds the verbs on stacks of an account and region. All fields are
// required but Limit.
type Manager struct {
	Store        store.Store
	Authz        Authorizer
	IAM          *iam.Manager         // of the same account and store
	Associations *association.Manager // of the same account, region and store
	Sessions     RoleSessions         // for RoleARN
	Sealer       iam.Sealer           // keeps parameters
	Now          func() time.Time
	Rand         io.Reader // safe for concurrent use
	Partition    string
	Account      string
	Region       string
	Limit        int // stacks; 0 is DefaultLimit
}
