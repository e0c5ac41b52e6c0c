// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stack reads CloudFormation templates: it turns a template's text,
// parameters and surroundings into an ordered plan of resources, and each
// resource's properties into typed values. It owns the grammar (JSON and YAML,
// sections, intrinsic functions, conditions), the resource types that podid
// manages with their properties and attributes, the dependency graph, the
// capabilities that a template needs and the difference of two templates.
//
// It refuses what it does not implement by name: other resource types, other
// functions, transforms, aliases and nulls. It is pure: it knows no store and
// no caller, and creates nothing; use case stackrun executes the plan.
//
// A template goes three steps. [Parse] checks all that the text alone says.
// [Template.Bind] settles parameters and conditions, and checks what is left.
// [Bound.Properties] and [Bound.Outputs] finish a value once the resources it
// refers to exist. All errors are *fault.Error of kind InvalidParameter with the
// text of AWS' ValidationError where it is known.
package stack

import (
	"fmt"
	"strings"

	"podid/internal/fault"
)

// MaxTemplate is the limit of a template in a request's body, in bytes.
const MaxTemplate = 51200

// Limits of AWS' "CloudFormation quotas" page, and our own on nesting and growth.
const (
	maxResources   = 500
	maxParameters  = 200
	maxMappings    = 200
	maxOutputs     = 200
	maxDescription = 1024
	maxName        = 255
	maxParamValue  = 4096

	maxMessage = 2048      // bytes
	maxDepth   = 64        // values inside of values
	maxWeight  = 256 << 10 // of one resolved value; substitutions can multiply text
	maxSpent   = 8 << 20   // of all values that one pass makes
)

// The reasons of refusals.
const (
	reasonFormat       = "template-format"
	reasonReference    = "template-reference"
	reasonFunction     = "template-function"
	reasonUnsupported  = "template-unsupported"
	reasonParameter    = "template-parameter"
	reasonProperty     = "template-property"
	reasonCircular     = "template-circular-dependency"
	reasonTooLarge     = "template-too-large"
	reasonResourceType = "template-resource-type"
)

// refuse makes an error. Its text names what the template says, which may be the whole of it: what is too long is cut.
func refuse(reason, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return fault.New(fault.InvalidParameter, "%s", message).WithReason(reason)
}
