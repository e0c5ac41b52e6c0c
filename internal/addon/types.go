// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package addon owns EKS add-ons as podid knows them: records that own pod
// identity associations, and the state of podid's own agent, which stands as
// the add-on eks-pod-identity-agent. podid installs no software: a record says
// what somebody wanted, and its status is ACTIVE; only the agent's status is
// observed. Every verb takes the caller and asks the Authorizer itself, and
// asks anew for each association and role that it changes. It refuses add-ons
// and versions outside of its catalog, and service accounts that an add-on
// does not have.
package addon

import (
	"time"

	"podid/internal/cluster"
	"podid/internal/store"
)

// Agent is the add-on that stands for podid's node agent.
const Agent = "eks-pod-identity-agent"

// Status is an add-on's state, in EKS' words.
type Status string

// The states that podid gives.
const (
	Active   Status = "ACTIVE"
	Degraded Status = "DEGRADED"
	Deleting Status = "DELETING"
)

// Addon is the record of an add-on of a cluster.
type Addon struct {
	ClusterUID            string            `cbor:"1,keyasint"`
	ClusterName           string            `cbor:"2,keyasint"`
	Name                  string            `cbor:"3,keyasint"`
	ARN                   string            `cbor:"4,keyasint"`
	Version               string            `cbor:"5,keyasint"`
	Namespace             string            `cbor:"6,keyasint"`
	ServiceAccountRoleARN string            `cbor:"7,keyasint,omitempty"` // for IRSA; podid only remembers it
	ConfigurationValues   string            `cbor:"8,keyasint,omitempty"`
	Tags                  map[string]string `cbor:"9,keyasint,omitempty"`
	Created               time.Time         `cbor:"10,keyasint"`
	Modified              time.Time         `cbor:"11,keyasint"`
	Request               cluster.Request   `cbor:"12,keyasint"`           // that made it
	Updates               []Update          `cbor:"13,keyasint,omitempty"` // the latest, oldest first
}

// Update is one UpdateAddon; it was done when it was answered.
type Update struct {
	ID      string          `cbor:"1,keyasint"`
	Params  []Param         `cbor:"2,keyasint,omitempty"`
	Created time.Time       `cbor:"3,keyasint"`
	Request cluster.Request `cbor:"4,keyasint"`
}

// Param is one change of an update: AddonVersion, ServiceAccountRoleArn…
type Param struct {
	Type  string `cbor:"1,keyasint"`
	Value string `cbor:"2,keyasint"`
}

// maxUpdates is how many updates an add-on remembers.
const maxUpdates = 20

// Addons is the table, by cluster unique id and name.
var Addons = store.NewTable[Addon]("addon", nil)

func key(clusterUID, name string) string { return clusterUID + "/" + name }

// Issue is what is wrong with an add-on.
type Issue struct {
	Code        string // EKS' AddonIssueCode
	Message     string
	ResourceIDs []string
}

// State is an add-on as it is described.
type State struct {
	*Addon
	Status       Status
	Issues       []Issue
	Associations []string // ARNs of those that it owns
}
