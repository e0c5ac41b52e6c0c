// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"time"

	"podid/internal/iam"
	"podid/internal/stack"
)

// Status is the state of a stack, or of a resource in it, in CloudFormation's
// words.
type Status string

// The states of stacks. Resources have those of creation, update and deletion.
const (
	CreateInProgress         Status = "CREATE_IN_PROGRESS"
	CreateComplete           Status = "CREATE_COMPLETE"
	CreateFailed             Status = "CREATE_FAILED"
	RollbackInProgress       Status = "ROLLBACK_IN_PROGRESS"
	RollbackComplete         Status = "ROLLBACK_COMPLETE"
	RollbackFailed           Status = "ROLLBACK_FAILED"
	UpdateInProgress         Status = "UPDATE_IN_PROGRESS"
	UpdateCleanup            Status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
	UpdateComplete           Status = "UPDATE_COMPLETE"
	UpdateFailed             Status = "UPDATE_FAILED"
	UpdateRollbackInProgress Status = "UPDATE_ROLLBACK_IN_PROGRESS"
	UpdateRollbackCleanup    Status = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
	UpdateRollbackComplete   Status = "UPDATE_ROLLBACK_COMPLETE"
	UpdateRollbackFailed     Status = "UPDATE_ROLLBACK_FAILED"
	DeleteInProgress         Status = "DELETE_IN_PROGRESS"
	DeleteComplete           Status = "DELETE_COMPLETE"
	DeleteFailed             Status = "DELETE_FAILED"
	DeleteSkipped            Status = "DELETE_SKIPPED" // resources only: retained
	ReviewInProgress         Status = "REVIEW_IN_PROGRESS"
)

// Parameter is a parameter of a request.
type Parameter struct {
	Key, Value  string
	UsePrevious bool // the value that the stack has; Value is ignored
}

// Source is what a stack is made or updated from.
type Source struct {
	Template         string
	PreviousTemplate bool // UsePreviousTemplate: the stack's own
	Parameters       []Parameter
	Capabilities     []string
	Tags             []iam.Tag // for updates: nil leaves the stack's, empty removes them
	RoleARN          string    // "" is the role that the stack has, or none: then all is done as the caller
	NotificationARNs []string  // shown; nothing is sent
	ResourceTypes    []string  // types that the caller allows; nil allows all
}

// CreateInput is what a new stack is made of.
type CreateInput struct {
	Source

	Name                  string
	OnFailure             string // "", ROLLBACK, DELETE or DO_NOTHING
	DisableRollback       bool   // DO_NOTHING; not both
	TerminationProtection bool
	Token                 string // ClientRequestToken: the same token and input give the same stack
}

// UpdateInput is what a stack becomes.
type UpdateInput struct {
	Source

	Name            string // or ARN
	DisableRollback bool
	Token           string
}

// DeleteInput says which stack goes.
type DeleteInput struct {
	Name    string // or ARN
	RoleARN string
	Retain  []string // logical ids that stay; for stacks in DELETE_FAILED only
	Force   bool     // FORCE_DELETE_STACK: what cannot be deleted stays; for stacks in DELETE_FAILED only
	Token   string
}

// ContinueInput says which failed rollback of an update goes on.
type ContinueInput struct {
	Name    string // or ARN
	RoleARN string
	Skip    []string // logical ids to be left as they are
	Token   string
}

// StackInfo is a stack as it is described.
type StackInfo struct {
	ID, Name, Description string
	Status                Status
	Reason                string
	Created               time.Time
	Updated, Deleted      time.Time // zero for never
	Parameters            []stack.BoundParameter
	Outputs               []stack.Output
	Tags                  []iam.Tag
	Capabilities          []string
	NotificationARNs      []string
	RoleARN               string
	ChangeSetID           string // that the stack was last made or updated by
	DisableRollback       bool
	TerminationProtection bool
}

// Event is one thing that happened to a stack.
type Event struct {
	ID         string    `cbor:"1,keyasint"`
	StackID    string    `cbor:"-"`
	StackName  string    `cbor:"-"`
	LogicalID  string    `cbor:"2,keyasint"`           // the stack's name when it is about the stack
	PhysicalID string    `cbor:"3,keyasint,omitempty"` // the stack's ARN when it is about the stack
	Type       string    `cbor:"4,keyasint"`           // AWS::CloudFormation::Stack when it is about the stack
	Status     Status    `cbor:"5,keyasint"`
	Reason     string    `cbor:"6,keyasint,omitempty"`
	Token      string    `cbor:"7,keyasint,omitempty"` // ClientRequestToken of the request that led to it
	Time       time.Time `cbor:"8,keyasint"`
}

// ResourceInfo is a resource of a stack.
type ResourceInfo struct {
	StackID, StackName    string
	LogicalID, PhysicalID string
	Type                  string
	Status                Status
	Reason                string
	Updated               time.Time
}

// Summary is what a template says about itself.
type Summary struct {
	Description        string
	Metadata           string // JSON
	Parameters         []stack.ParameterDecl
	Capabilities       []string
	CapabilitiesReason string
	ResourceTypes      []string
}

// The types of change sets.
const (
	ChangeSetCreate = "CREATE"
	ChangeSetUpdate = "UPDATE"
)

// ChangeSetInput is what a change set is made of.
type ChangeSetInput struct {
	Source

	Stack       string // name, or ARN
	Name        string
	Type        string // "" is UPDATE
	Description string
	Token       string
	// OnStackFailure is "", ROLLBACK, DELETE or DO_NOTHING.
	OnStackFailure string
}

// ChangeSetInfo is a change set as it is described.
type ChangeSetInfo struct {
	ID, Name, StackID, StackName string
	Description                  string
	Type                         string
	Status                       string // CREATE_COMPLETE or FAILED
	Reason                       string
	Execution                    string // AVAILABLE, UNAVAILABLE, EXECUTE_COMPLETE, EXECUTE_FAILED or OBSOLETE
	Created                      time.Time
	Parameters                   []stack.BoundParameter
	Tags                         []iam.Tag
	Capabilities                 []string
	NotificationARNs             []string
	OnStackFailure               string
	Changes                      []Change
}

// Change is one line of a change set.
type Change struct {
	stack.Change

	PhysicalID string // "" for what is added
}

// ExecuteInput says which change set is executed.
type ExecuteInput struct {
	ChangeSet       string // name, or ARN
	Stack           string // name or ARN; not wanted beside a change set's ARN
	DisableRollback bool
	Token           string
}
