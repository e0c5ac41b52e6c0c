// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package iamapi owns the wire form of Identity and Access Management: it
// reads forms, calls the verbs of iam and writes their results in the shape
// of AWS' service model, with policy documents percent-encoded and lists in
// parts. It decides nothing: rules, quotas and authorisation are in the
// verbs. Operations that are not in the table are unknown here and answered
// with InvalidAction. Source: IAM API Reference, version 2010-05-08.
package iamapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
)

// Forms of the ARN that an action is checked on.
const (
	onRole   = "arn:{partition}:iam::{account}:role{path}{name}"
	onUser   = "arn:{partition}:iam::{account}:user{path}{name}"
	onGroup  = "arn:{partition}:iam::{account}:group{path}{name}"
	onPolicy = "arn:{partition}:iam::{account}:policy{path}{name}"
	onAll    = "*"
)

type api struct{ iam *iam.Manager }

type handler func(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error)

// Service is the table of operations, for awsquery.New.
func Service(m *iam.Manager) awsquery.Service {
	a := api{m}
	var ops []awsquery.Operation
	for _, table := range [][]awsquery.Operation{a.roles(), a.rolePolicies(), a.policies(), a.users(), a.userPolicies(), a.keys(), a.userCredentials(), a.groups(), a.instanceProfiles(), a.oidcProviders(), a.simulations(), a.account()} {
		ops = append(ops, table...)
	}
	return awsquery.Service{
		Name: "iam", Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/", Refine: refine, Operations: ops,
	}
}

// refine names what only IAM names.
func refine(_ call.Operation, f *fault.Error) (awsquery.Exception, bool) {
	switch {
	case f.Reason == "concurrent-modification":
		return awsquery.Exception{Code: "ConcurrentModification", Status: http.StatusConflict}, true
	case f.Reason == "policy-not-attachable":
		return awsquery.Exception{Code: "PolicyNotAttachable", Status: http.StatusBadRequest}, true
	case iam.IsPolicyEvaluation(f):
		return awsquery.Exception{
			Code: "PolicyEvaluation", Status: http.StatusInternalServerError,
			Text: "The request failed because a provided policy could not be successfully evaluated.",
		}, true
	case f.Kind == fault.InvalidRequest && !awsquery.IsMalformed(f):
		return awsquery.Exception{Code: "InvalidInput", Status: http.StatusBadRequest}, true
	}
	return awsquery.Exception{}, false
}

// read and write describe operations; need names the parameters that must be
// there.
func read(name, resource string, h handler, need ...string) awsquery.Operation {
	return operation(name, resource, true, h, need)
}

func write(name, resource string, h handler, need ...string) awsquery.Operation {
	return operation(name, resource, false, h, need)
}

func operation(name, resource string, readOnly bool, h handler, need []string) awsquery.Operation {
	return awsquery.Operation{
		Operation: call.Operation{
			Service: "iam", Source: "iam.amazonaws.com", Name: name, Action: "iam:" + name, Resource: resource, ReadOnly: readOnly,
		},
		Handle: func(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
			// No parameter of IAM's operations here is a secret.
			c.Event.RequestParameters = f.Parameters(audit.Hidden)
			for _, p := range need {
				if _, ok := f.Lookup(p); !ok {
					return nil, fault.New(fault.InvalidParameter, "1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", memberName(p)).
						WithReason("missing-parameter")
				}
			}
			return h(ctx, c, f)
		},
	}
}

// memberName is how IAM's refusals name a parameter: roleName.
func memberName(p string) string { return strings.ToLower(p[:1]) + p[1:] }

// page reads the parameters of lists.
func page(f *awsquery.Form) (iam.Page, error) {
	p := iam.Page{Marker: f.String("Marker"), MaxItems: f.Int32("MaxItems")}
	return p, f.Err()
}

func tags(f *awsquery.Form) ([]iam.Tag, error) {
	var out []iam.Tag
	for _, t := range f.List("Tags") {
		out = append(out, iam.Tag{Key: t.String("Key"), Value: t.String("Value")})
	}
	return out, f.Err()
}

func tagKeys(f *awsquery.Form) ([]string, error) {
	keys := f.Strings("TagKeys")
	return keys, f.Err()
}

// document percent-encodes a policy document as RFC 3986 has it.
func document(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// part is the end of a list's answer.
type part struct {
	IsTruncated bool
	Marker      string `xml:",omitempty"`
}

func partOf[T any](l iam.Listing[T]) part { return part{l.Marker != "", l.Marker} }

func listOf[T, W any](items []T, wire func(T) W) awsquery.List[W] {
	out := awsquery.List[W]{Member: make([]W, len(items))}
	for i, item := range items {
		out.Member[i] = wire(item)
	}
	return out
}

func same(s string) string { return s }

type wireTag struct{ Key, Value string }

func toTag(t iam.Tag) wireTag { return wireTag(t) }

type tagsResult struct {
	Tags awsquery.List[wireTag]
	part
}

func toTags(l iam.Listing[iam.Tag]) tagsResult { return tagsResult{listOf(l.Items, toTag), partOf(l)} }

func optionalTags(t []iam.Tag) *awsquery.List[wireTag] {
	if len(t) == 0 {
		return nil
	}
	l := listOf(t, toTag)
	return &l
}

type boundary struct {
	Type string `xml:"PermissionsBoundaryType"`
	ARN  string `xml:"PermissionsBoundaryArn"`
}

func toBoundary(arn string) *boundary {
	if arn == "" {
		return nil
	}
	return &boundary{"PermissionsBoundaryPolicy", arn}
}

type attachedPolicy struct {
	PolicyName string
	PolicyARN  string `xml:"PolicyArn"`
}

type attachedResult struct {
	AttachedPolicies awsquery.List[attachedPolicy]
	part
}

func toAttached(l iam.Listing[iam.AttachedPolicy]) attachedResult {
	return attachedResult{listOf(l.Items, func(p iam.AttachedPolicy) attachedPolicy { return attachedPolicy{p.Name, p.ARN} }), partOf(l)}
}

type namesResult struct {
	PolicyNames awsquery.List[string]
	part
}

func toNames(l iam.Listing[string]) namesResult {
	return namesResult{listOf(l.Items, same), partOf(l)}
}
