// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cfnapi

import (
	"time"

	"podid/internal/api/awsquery"
	"podid/internal/iam"
	"podid/internal/stack"
)

// timestamp is a time as CloudFormation writes it, to the millisecond: what
// happens to a stack happens within one second, in an order.
type timestamp time.Time

// MarshalText writes 2006-01-02T15:04:05.000Z.
func (t timestamp) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z"), nil
}

// optionalTime is nil for a time that has not come.
func optionalTime(t time.Time) *timestamp {
	if t.IsZero() {
		return nil
	}
	w := timestamp(t)
	return &w
}

// listOf is a list that is there when it is empty, optional one that is not.
func listOf[T, W any](items []T, wire func(T) W) awsquery.List[W] {
	out := awsquery.List[W]{Member: make([]W, len(items))}
	for i, item := range items {
		out.Member[i] = wire(item)
	}
	return out
}

func optional[T, W any](items []T, wire func(T) W) *awsquery.List[W] {
	if len(items) == 0 {
		return nil
	}
	l := listOf(items, wire)
	return &l
}

func same(s string) string { return s }

type wireTag struct{ Key, Value string }

func toTag(t iam.Tag) wireTag { return wireTag(t) }

type wireParameter struct{ ParameterKey, ParameterValue string }

func toParameter(p stack.BoundParameter) wireParameter { return wireParameter{p.Key, p.Value} }

type wireOutput struct {
	OutputKey   string
	OutputValue string
	Description string `xml:",omitempty"`
	ExportName  string `xml:",omitempty"`
}

func toOutput(o stack.Output) wireOutput {
	return wireOutput{OutputKey: o.Key, OutputValue: o.Value, Description: o.Description, ExportName: o.ExportName}
}

// drift is never looked for.
type drift struct{ StackDriftStatus string }

type resourceDrift struct{ StackResourceDriftStatus string }

const notChecked = "NOT_CHECKED"

// stackID is the answer of operations that name a stack.
type stackID struct {
	StackID string `xml:"StackId"`
}
