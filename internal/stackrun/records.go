// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"time"

	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

// Record is a stack as it is kept. Resources, templates and events have
// records of their own, so that a change writes little.
type Record struct {
	ID          string    `cbor:"1,keyasint"` // ARN
	UID         string    `cbor:"2,keyasint"` // the last part of the ARN
	Name        string    `cbor:"3,keyasint"`
	Description string    `cbor:"4,keyasint,omitempty"`
	Status      Status    `cbor:"5,keyasint"`
	Reason      string    `cbor:"6,keyasint,omitempty"`
	Created     time.Time `cbor:"7,keyasint"`
	Updated     time.Time `cbor:"8,keyasint,omitempty"`
	Deleted     time.Time `cbor:"9,keyasint,omitempty"`

	Now  Version  `cbor:"10,keyasint"`           // what the stack is, or becomes
	Was  *Version `cbor:"11,keyasint,omitempty"` // what an update in progress started from
	Tags Tags     `cbor:"12,keyasint,omitempty"` // those that rights are judged on: of the last version that was complete

	DisableRollback       bool   `cbor:"13,keyasint,omitempty"`
	OnFailure             string `cbor:"14,keyasint,omitempty"`
	TerminationProtection bool   `cbor:"15,keyasint,omitempty"`
	ChangeSetID           string `cbor:"16,keyasint,omitempty"`

	Run        string    `cbor:"17,keyasint,omitempty"` // the verb that works on the stack; "" for none
	Lease      time.Time `cbor:"18,keyasint,omitempty"` // until when Run is believed to work
	Events     int       `cbor:"19,keyasint"`           // number of events so far
	Generation int       `cbor:"20,keyasint"`           // counts the changes; part of the templates' keys

	Token   string         `cbor:"21,keyasint,omitempty"` // ClientRequestToken of the last change
	Request []byte         `cbor:"22,keyasint,omitempty"` // SHA-256 of its input
	Gone    []GoneResource `cbor:"23,keyasint,omitempty"` // what a deletion has dealt with
}

// Version is what a stack is made from.
type Version struct {
	Template     string                 `cbor:"1,keyasint"`           // id of its text
	Parameters   []byte                 `cbor:"2,keyasint,omitempty"` // sealed
	Shown        []stack.BoundParameter `cbor:"3,keyasint,omitempty"`
	Outputs      []stack.Output         `cbor:"4,keyasint,omitempty"`
	Tags         Tags                   `cbor:"5,keyasint,omitempty"`
	Capabilities []string               `cbor:"6,keyasint,omitempty"`
	Notification []string               `cbor:"7,keyasint,omitempty"`
	RoleARN      string                 `cbor:"8,keyasint,omitempty"`
	Description  string                 `cbor:"9,keyasint,omitempty"`
}

// Tags are a stack's tags, each key once.
type Tags []iam.Tag

// GoneResource is a resource that a deletion has removed or left.
type GoneResource struct {
	LogicalID  string    `cbor:"1,keyasint"`
	PhysicalID string    `cbor:"2,keyasint,omitempty"`
	Type       string    `cbor:"3,keyasint"`
	Status     Status    `cbor:"4,keyasint"`
	Reason     string    `cbor:"5,keyasint,omitempty"`
	Updated    time.Time `cbor:"6,keyasint"`
}

// Tables of this room. The scope is (account, region).
var (
	// Stacks holds those that are not deleted, by name. Index: ARN.
	Stacks = store.NewTable("stack", func(r *Record) []string { return []string{r.ID} })
	// Deleted holds those that are, by time and uid, for KeepDeleted. Index: ARN.
	Deleted = store.NewTable("stack-deleted", func(r *Record) []string { return []string{r.ID} })
)

// Resource is a resource that a stack has made.
type Resource struct {
	LogicalID  string    `cbor:"1,keyasint"`
	Type       string    `cbor:"2,keyasint"`
	PhysicalID string    `cbor:"3,keyasint,omitempty"`
	Status     Status    `cbor:"4,keyasint"`
	Reason     string    `cbor:"5,keyasint,omitempty"`
	Updated    time.Time `cbor:"6,keyasint"`
}

// Text is a template's text.
type Text struct {
	Body string `cbor:"1,keyasint"`
}

// EventChunk is a row of a stack's events.
type EventChunk struct {
	Events []Event `cbor:"1,keyasint"`
}

// ChangeSet is a change set as it is kept.
type ChangeSet struct {
	ID string `cbor:"1,keyasint"` // ARN
}

// The tables of what stacks have, by the stack's uid.
var (
	// Resources is by uid and logical id. Index: physical id.
	Resources = store.NewTable("stack-resource", func(r *Resource) []string { return []string{r.PhysicalID} })
	// Templates is by uid and generation.
	Templates = store.NewTable[Text]("stack-template", nil)
	// Events is by uid and the number of the chunk.
	Events = store.NewTable[EventChunk]("stack-event", nil)
	// ChangeSets is by uid and name. Index: ARN.
	ChangeSets = store.NewTable("stack-change-set", func(c *ChangeSet) []string { return []string{c.ID} })
)
