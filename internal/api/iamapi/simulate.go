// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"
	"slices"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/iam"
	"podid/internal/policy"
)

// onEntity is the form of what principals' policies are simulated of.
const onEntity = onUser + " or arn:{partition}:iam::{account}:group{path}{name} or " + onRole

func (a api) simulations() []awsquery.Operation {
	return []awsquery.Operation{
		read("SimulateCustomPolicy", onAll, a.simulateCustomPolicy),
		read("SimulatePrincipalPolicy", onEntity, a.simulatePrincipalPolicy, "PolicySourceArn"),
		read("GetContextKeysForCustomPolicy", onAll, a.getContextKeysForCustomPolicy),
		read("GetContextKeysForPrincipalPolicy", onEntity, a.getContextKeysForPrincipalPolicy, "PolicySourceArn"),
	}
}

type wirePosition struct{ Line, Column int }

type wireStatement struct {
	SourcePolicyID   string `xml:"SourcePolicyId"`
	SourcePolicyType string
	StartPosition    wirePosition
	EndPosition      wirePosition
}

type decisionEntry struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

type decisionDetails struct {
	Entry []decisionEntry `xml:"entry"`
}

type boundaryDecision struct{ AllowedByPermissionsBoundary bool }

type organizationsDecision struct{ AllowedByOrganizations bool }

type wireSimulated struct {
	EvalActionName                    string
	EvalResourceName                  string
	EvalDecision                      string
	MatchedStatements                 awsquery.List[wireStatement]
	MissingContextValues              awsquery.List[string]
	OrganizationsDecisionDetail       *organizationsDecision
	PermissionsBoundaryDecisionDetail *boundaryDecision
	EvalDecisionDetails               *decisionDetails
	ResourceSpecificResults           *awsquery.List[wireSimulatedResource]
}

type wireSimulatedResource struct {
	EvalResourceName                  string
	EvalResourceDecision              string
	MatchedStatements                 awsquery.List[wireStatement]
	MissingContextValues              awsquery.List[string]
	EvalDecisionDetails               *decisionDetails
	PermissionsBoundaryDecisionDetail *boundaryDecision
}

func toStatement(m iam.MatchedStatement) wireStatement {
	position := func(p policy.Position) wirePosition { return wirePosition(p) }
	return wireStatement{m.PolicyID, m.Kind, position(m.Start), position(m.End)}
}

// toDetails sorts the kinds, so that answers to equal questions are equal.
func toDetails(parts map[string]string) *decisionDetails {
	if parts == nil {
		return nil
	}
	d := &decisionDetails{}
	for kind, decision := range parts {
		d.Entry = append(d.Entry, decisionEntry{kind, decision})
	}
	slices.SortFunc(d.Entry, func(a, b decisionEntry) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return d
}

func toBoundaryDecision(allowed *bool) *boundaryDecision {
	if allowed == nil {
		return nil
	}
	return &boundaryDecision{*allowed}
}

func toSimulated(s iam.Simulated) wireSimulated {
	w := wireSimulated{
		EvalActionName: s.Action, EvalResourceName: s.Resource, EvalDecision: s.Decision, MatchedStatements: listOf(s.Matched, toStatement),
		MissingContextValues: listOf(s.Missing, same), PermissionsBoundaryDecisionDetail: toBoundaryDecision(s.Boundary), EvalDecisionDetails: toDetails(s.Parts),
	}
	if s.Levels != nil {
		w.OrganizationsDecisionDetail = &organizationsDecision{*s.Levels}
	}
	if s.Each != nil {
		each := listOf(s.Each, toSimulatedResource)
		w.ResourceSpecificResults = &each
	}
	return w
}

func toSimulatedResource(s iam.Simulated) wireSimulatedResource {
	return wireSimulatedResource{
		EvalResourceName: s.Resource, EvalResourceDecision: s.Decision, MatchedStatements: listOf(s.Matched, toStatement),
		MissingContextValues: listOf(s.Missing, same), EvalDecisionDetails: toDetails(s.Parts), PermissionsBoundaryDecisionDetail: toBoundaryDecision(s.Boundary),
	}
}

type simulatedResult struct {
	EvaluationResults awsquery.List[wireSimulated]
	part
}

func toSimulatedResult(l iam.Listing[iam.Simulated]) simulatedResult {
	return simulatedResult{listOf(l.Items, toSimulated), partOf(l)}
}

// simulateInput reads what both simulations take.
func simulateInput(f *awsquery.Form) (iam.SimulateInput, error) {
	in := iam.SimulateInput{
		Policies: f.Strings("PolicyInputList"), Boundary: f.Strings("PermissionsBoundaryPolicyInputList"), Actions: f.Strings("ActionNames"),
		Resources: f.Strings("ResourceArns"), ResourcePolicy: f.Ptr("ResourcePolicy"), ResourceOwner: f.String("ResourceOwner"),
		CallerARN: f.String("CallerArn"), Handling: f.String("ResourceHandlingOption"),
	}
	for _, e := range f.List("ContextEntries") {
		in.Context = append(in.Context, iam.ContextEntry{Key: e.String("ContextKeyName"), Type: e.String("ContextKeyType"), Values: e.Strings("ContextKeyValues")})
	}
	var err error
	in.Page, err = page(f)
	return in, err
}

func (a api) simulateCustomPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	common, err := simulateInput(f)
	in := iam.SimulateCustomInput{SimulateInput: common}
	for _, level := range f.List("OrderedOrganizationPolicyInputList") {
		in.Levels = append(in.Levels, level.Strings("ServiceControlPolicyInputList"))
	}
	if err != nil || f.Err() != nil {
		return nil, f.Err()
	}
	l, err := a.iam.SimulateCustomPolicy(ctx, c.Caller, in)
	if err != nil {
		return nil, err
	}
	return toSimulatedResult(l), nil
}

func (a api) simulatePrincipalPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	common, err := simulateInput(f)
	in := iam.SimulatePrincipalInput{SimulateInput: common, SourceARN: f.String("PolicySourceArn")}
	for _, x := range f.List("PolicyExclusionList") {
		e := iam.PolicyExclusion{Type: x.String("PolicyType"), ARN: x.String("PolicyArn")}
		const inline = "InlinePolicyIdentifier."
		if name, ok := x.Lookup(inline + "PolicyName"); ok {
			e.Inline = &iam.InlineExclusion{Policy: name, HolderKind: x.String(inline + "AttachmentType"), Holder: x.String(inline + "AttachmentName")}
		}
		in.Exclude = append(in.Exclude, e)
	}
	if err != nil || f.Err() != nil {
		return nil, f.Err()
	}
	l, err := a.iam.SimulatePrincipalPolicy(ctx, c.Caller, in)
	if err != nil {
		return nil, err
	}
	return toSimulatedResult(l), nil
}

type contextKeysResult struct{ ContextKeyNames awsquery.List[string] }

func (a api) getContextKeysForCustomPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	policies := f.Strings("PolicyInputList")
	if err := f.Err(); err != nil {
		return nil, err
	}
	keys, err := a.iam.GetContextKeysForCustomPolicy(ctx, c.Caller, policies)
	if err != nil {
		return nil, err
	}
	return contextKeysResult{listOf(keys, same)}, nil
}

func (a api) getContextKeysForPrincipalPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	policies := f.Strings("PolicyInputList")
	if err := f.Err(); err != nil {
		return nil, err
	}
	keys, err := a.iam.GetContextKeysForPrincipalPolicy(ctx, c.Caller, f.String("PolicySourceArn"), policies)
	if err != nil {
		return nil, err
	}
	return contextKeysResult{listOf(keys, same)}, nil
}
