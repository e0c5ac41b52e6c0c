// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

// Record is a stack as it is kept. Resources, templates and events have
// records of their own, so that a change writes little.
type Record struct {
	ID      string    `cbor:"1,keyasint"` // ARN
	UID     string    `cbor:"2,keyasint"` // the last part of the ARN
	Name    string    `cbor:"3,keyasint"`
	Status  Status    `cbor:"4,keyasint"`
	Reason  string    `cbor:"5,keyasint,omitempty"`
	Created time.Time `cbor:"6,keyasint"`
	Updated time.Time `cbor:"7,keyasint,omitempty"`
	Deleted time.Time `cbor:"8,keyasint,omitempty"`

	Now Version  `cbor:"9,keyasint"`            // what the stack is, or becomes
	Was *Version `cbor:"10,keyasint,omitempty"` // what it goes back to when the update in progress fails

	DisableRollback       bool   `cbor:"11,keyasint,omitempty"`
	TerminationProtection bool   `cbor:"12,keyasint,omitempty"`
	ChangeSetID           string `cbor:"13,keyasint,omitempty"`

	Run    string    `cbor:"14,keyasint,omitempty"` // the verb that works on the stack; "" for none
	Lease  time.Time `cbor:"15,keyasint,omitempty"` // until when Run is believed to work
	Writes int       `cbor:"16,keyasint"`           // counts the writings of Runs
	Events int       `cbor:"17,keyasint"`           // counts the events
	Change int       `cbor:"18,keyasint"`           // counts the changes: 1 is the creation

	Token   string          `cbor:"19,keyasint,omitempty"` // ClientRequestToken of the last change
	Request cluster.Request `cbor:"20,keyasint,omitempty"` // its input
	Gone    []GoneResource  `cbor:"21,keyasint,omitempty"` // what a deletion has dealt with
}

// Version is what a stack is made from.
type Version struct {
	Template     string                 `cbor:"1,keyasint,omitempty"` // id of its text; "" for a stack that is yet to be made
	Description  string                 `cbor:"2,keyasint,omitempty"`
	Parameters   []byte                 `cbor:"3,keyasint,omitempty"` // sealed
	Shown        []stack.BoundParameter `cbor:"4,keyasint,omitempty"`
	Outputs      []stack.Output         `cbor:"5,keyasint,omitempty"`
	Tags         []iam.Tag              `cbor:"6,keyasint,omitempty"`
	Capabilities []string               `cbor:"7,keyasint,omitempty"`
	Notify       []string               `cbor:"8,keyasint,omitempty"`
	RoleARN      string                 `cbor:"9,keyasint,omitempty"`
	Resources    []string               `cbor:"10,keyasint,omitempty"` // logical ids
}

// GoneResource is a resource that a deletion has removed or left.
type GoneResource struct {
	LogicalID  string    `cbor:"1,keyasint"`
	PhysicalID string    `cbor:"2,keyasint,omitempty"`
	Type       string    `cbor:"3,keyasint"`
	Status     Status    `cbor:"4,keyasint"`
	Updated    time.Time `cbor:"5,keyasint"`
}

func (r *Record) clone() *Record {
	n := *r
	n.Gone = slices.Clone(r.Gone)
	if r.Was != nil {
		was := *r.Was
		n.Was = &was
	}
	return &n
}

// tags are those that rights are judged on: an update's count once it is
// complete.
func (r *Record) tags() []iam.Tag {
	if r.Was != nil {
		return r.Was.Tags
	}
	return r.Now.Tags
}

// good is the version that the stack is known to be in.
func (r *Record) good() *Version {
	if r.Was != nil {
		return r.Was
	}
	return &r.Now
}

// lapsed says whether the verb that works on the stack has ended without
// finishing.
func (r *Record) lapsed(now time.Time) bool { return r.Run != "" && !now.Before(r.Lease) }

const lapsedReason = "The process that worked on the stack has ended."

// shown is the stack's state: that of a verb which ended without finishing is
// the state it would have left by giving up.
func (r *Record) shown(now time.Time) (Status, string) {
	if !r.lapsed(now) {
		return r.Status, r.Reason
	}
	switch r.Status {
	case CreateInProgress:
		return CreateFailed, lapsedReason
	case RollbackInProgress:
		return RollbackFailed, lapsedReason
	case UpdateInProgress:
		return UpdateFailed, lapsedReason
	case UpdateCleanup:
		return UpdateComplete, lapsedReason
	case UpdateRollbackInProgress, UpdateRollbackCleanup:
		return UpdateRollbackFailed, lapsedReason
	case DeleteInProgress:
		return DeleteFailed, lapsedReason
	}
	return r.Status, r.Reason
}

// Resource is a resource of a stack, and what has become of it. Live is there
// once it is made. A change that replaces it keeps the one before as Former;
// one that has changed it in place keeps its properties as Before; one that
// has added it says so by Fresh. These three count for the change of the
// number Change only, while it can be taken back; after that Former is one of
// Left.
type Resource struct {
	LogicalID    string                `cbor:"1,keyasint"`
	Type         string                `cbor:"2,keyasint"`
	Status       Status                `cbor:"3,keyasint"`
	Reason       string                `cbor:"4,keyasint,omitempty"`
	Updated      time.Time             `cbor:"5,keyasint"`
	Dependencies []string              `cbor:"6,keyasint,omitempty"`
	OnDelete     stack.RetentionPolicy `cbor:"7,keyasint,omitempty"`
	OnReplace    stack.RetentionPolicy `cbor:"8,keyasint,omitempty"`

	Live *Thing   `cbor:"9,keyasint,omitempty"`
	Left []*Thing `cbor:"10,keyasint,omitempty"` // replaced ones that are still to be removed

	Change    int       `cbor:"11,keyasint"`
	Former    *Thing    `cbor:"12,keyasint,omitempty"`
	Before    []byte    `cbor:"13,keyasint,omitempty"`
	Fresh     bool      `cbor:"14,keyasint,omitempty"`
	WasMeta   *Resource `cbor:"15,keyasint,omitempty"` // Dependencies, OnDelete and OnReplace before the change
	LastKnown string    `cbor:"16,keyasint,omitempty"` // physical id of what was removed
}

func (r *Resource) clone() *Resource {
	n := *r
	n.Left = slices.Clone(r.Left)
	return &n
}

// size is roughly that of the record; a nil resource has none.
func (r *Resource) size() int {
	if r == nil {
		return 0
	}
	n := len(r.Before)
	for _, t := range append([]*Thing{r.Live, r.Former}, r.Left...) {
		if t == nil {
			continue
		}
		n += len(t.Properties)
	}
	return n
}

// physicalID is what people know the resource by; "" before it is made.
func (r *Resource) physicalID() string {
	if r.Live != nil {
		return r.Live.Attrs[stack.RefAttr]
	}
	return r.LastKnown
}

// join makes the resource part of a change: what an earlier change left is
// not taken back any more.
func (r *Resource) join(change int) {
	if r.Change == change {
		return
	}
	if r.Former != nil {
		r.Left = append(r.Left, r.Former)
	}
	r.Change, r.Former, r.Before, r.Fresh, r.WasMeta = change, nil, nil, false, nil
}

// A Thing is what stands for a resource in IAM or EKS, exactly as far as it
// has been made. It is never changed, but replaced.
type Thing struct {
	Type string `cbor:"1,keyasint"`
	// Name is how its verbs call it: a role's, policy's or profile's name, a
	// managed policy's or provider's ARN, an association's id.
	Name    string `cbor:"2,keyasint"`
	Cluster string `cbor:"3,keyasint,omitempty"` // of an association
	// Properties are those that it has, as JSON.
	Properties []byte `cbor:"4,keyasint,omitempty"`
	// Marks are unique ids: its own under "", and those of roles, users and
	// groups that have parts of it. They prove that it is what the stack made.
	Marks map[string]string `cbor:"5,keyasint,omitempty"`
	// Parts are what the thing has put into others: by role/name, user/name or
	// group/name the SHA-256 of a policy's document, or "" for an attachment.
	Parts map[string]string `cbor:"6,keyasint,omitempty"`
	Attrs map[string]string `cbor:"7,keyasint,omitempty"` // what Fn::GetAtt gives, and Ref under ""
	Made  int               `cbor:"8,keyasint"`           // the number of the change that has made it
}

func (t *Thing) clone() *Thing {
	n := *t
	n.Marks, n.Parts, n.Attrs = maps.Clone(t.Marks), maps.Clone(t.Parts), maps.Clone(t.Attrs)
	return &n
}

func encodeProperties(p stack.Properties) ([]byte, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("write properties: %w", err)
	}
	if len(data) > maxProperties {
		return nil, invalid("resource-too-large", "The properties of a resource of type %s are larger than the limit of %d bytes.", p.ResourceType(), maxProperties)
	}
	return data, nil
}

// have returns the properties of a thing of type T.
func have[T any](t *Thing) (*T, error) {
	p, err := stack.DecodeProperties(t.Type, t.Properties)
	if err != nil {
		return nil, err
	}
	v, ok := any(p).(*T)
	if !ok {
		return nil, fmt.Errorf("a thing of type %s has the properties of another", t.Type)
	}
	return v, nil
}

// Text is a template's text.
type Text struct {
	Body string `cbor:"1,keyasint"`
}

// Tables of this room. The scope is (account, region).
var (
	// Stacks holds those that are not deleted, by name. Index: ARN.
	Stacks = store.NewTable("stack", func(r *Record) []string { return []string{r.ID} })
	// Deleted holds those that are, by time and uid, for KeepDeleted. Index: ARN.
	Deleted = store.NewTable("stack-deleted", func(r *Record) []string { return []string{r.ID} })
	// Resources is by the stack's uid and logical id. Index: physical id.
	Resources = store.NewTable("stack-resource", func(r *Resource) []string { return []string{r.physicalID()} })
	// Templates is by uid and a number.
	Templates = store.NewTable[Text]("stack-template", nil)
	// Events is by uid and the number of the chunk.
	Events = store.NewTable[Chunk]("stack-event", nil)
	// ChangeSets is by uid and name. Index: ARN.
	ChangeSets = store.NewTable("stack-change-set", func(c *ChangeSet) []string { return []string{c.ID} })
)
