// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cfnapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/fault"
	"podid/internal/stack"
	"podid/internal/stackrun"
)

// templates are the operations on templates' texts.
func (a api) templates() []awsquery.Operation {
	return []awsquery.Operation{
		read("GetTemplate", onStack, a.getTemplate),
		read("GetTemplateSummary", onStack+" or "+onAll, a.getTemplateSummary),
		read("ValidateTemplate", onAll, a.validateTemplate),
	}
}

func (a api) getTemplate(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	if _, err := oneOf(f, "TemplateStage", "Original", "Processed"); err != nil {
		return nil, err
	}
	if f.String("StackName") == "" && f.String("ChangeSetName") == "" {
		return nil, required(f, []string{"StackName"})
	}
	text, err := a.stacks.GetTemplate(ctx, c.Caller, f.String("StackName"), f.String("ChangeSetName"))
	if err != nil {
		return nil, err
	}
	// There are no transforms, so what is processed is the original.
	return struct {
		TemplateBody    string
		StagesAvailable awsquery.List[string]
	}{text, awsquery.List[string]{Member: []string{"Original", "Processed"}}}, nil
}

// declared is what both operations say of a parameter of the template.
type declared struct {
	ParameterKey string
	DefaultValue *string
	NoEcho       bool
	Description  string `xml:",omitempty"`
}

func toDeclared(p stack.ParameterDecl) declared {
	d := declared{ParameterKey: p.Key, NoEcho: p.NoEcho, Description: p.Description}
	if p.HasDefault {
		d.DefaultValue = &p.Default
	}
	return d
}

type declaration struct {
	declared

	ParameterType        string
	ParameterConstraints struct {
		AllowedValues *awsquery.List[string]
	}
}

func toDeclaration(p stack.ParameterDecl) declaration {
	d := declaration{declared: toDeclared(p), ParameterType: p.Type}
	d.ParameterConstraints.AllowedValues = optional(p.AllowedValues, same)
	return d
}

// needs is the end of both answers.
type needs struct {
	Capabilities       *awsquery.List[string]
	CapabilitiesReason string `xml:",omitempty"`
	DeclaredTransforms awsquery.List[string]
}

func needsOf(s *stackrun.Summary) needs {
	return needs{Capabilities: optional(s.Capabilities, same), CapabilitiesReason: s.CapabilitiesReason}
}

func (a api) validateTemplate(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	if err := absent(f, noS3, "TemplateURL"); err != nil {
		return nil, err
	}
	text, sent := f.Lookup("TemplateBody")
	if !sent {
		return nil, fault.New(fault.InvalidParameter, "Either Template URL or Template Body must be specified.").WithReason("template-missing")
	}
	if err := bodySize(text); err != nil {
		return nil, err
	}
	s, err := a.stacks.ValidateTemplate(ctx, c.Caller, text)
	if err != nil {
		return nil, err
	}
	return struct {
		Description string `xml:",omitempty"`
		Parameters  awsquery.List[declared]
		needs
	}{s.Description, listOf(s.Parameters, toDeclared), needsOf(s)}, nil
}

func (a api) getTemplateSummary(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	if err := absent(f, noS3, "TemplateURL"); err != nil {
		return nil, err
	}
	if err := absent(f, "podid has no stack sets", "StackSetName"); err != nil {
		return nil, err
	}
	text, name := f.String("TemplateBody"), f.String("StackName")
	switch {
	case text == "" && name == "":
		return nil, fault.New(fault.InvalidParameter, "Either StackName, StackSetName, Template URL, or Template Body must be specified.").WithReason("template-missing")
	case text != "" && name != "":
		return nil, fault.New(fault.InvalidParameter, "You may specify only one of StackName, StackSetName, Template URL and Template Body.").WithReason("template-twice")
	}
	if err := bodySize(text); err != nil {
		return nil, err
	}
	s, err := a.stacks.GetTemplateSummary(ctx, c.Caller, name, text)
	if err != nil {
		return nil, err
	}
	return struct {
		Description   string `xml:",omitempty"`
		Metadata      string `xml:",omitempty"`
		Parameters    awsquery.List[declaration]
		ResourceTypes awsquery.List[string]
		Version       string
		needs
	}{s.Description, s.Metadata, listOf(s.Parameters, toDeclaration), listOf(s.ResourceTypes, same), "2010-09-09", needsOf(s)}, nil
}
