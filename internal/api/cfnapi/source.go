// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cfnapi

import (
	"podid/internal/api/awsquery"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/stackrun"
)

const noS3 = "podid has no S3 to read it from; send the template in TemplateBody"

// source reads what CreateStack, UpdateStack and CreateChangeSet have in
// common.
func source(f *awsquery.Form) (stackrun.Source, error) {
	s := stackrun.Source{
		Template: f.String("TemplateBody"), PreviousTemplate: isTrue(f, "UsePreviousTemplate"), RoleARN: f.String("RoleARN"),
		Capabilities: f.Strings("Capabilities"), NotificationARNs: f.Strings("NotificationARNs"), ResourceTypes: f.Strings("ResourceTypes"),
	}
	for _, p := range f.List("Parameters") {
		s.Parameters = append(s.Parameters, stackrun.Parameter{
			Key: p.String("ParameterKey"), Value: p.String("ParameterValue"), UsePrevious: isTrue(p, "UsePreviousValue"),
		})
	}
	if list := f.List("Tags"); list != nil {
		s.Tags = make([]iam.Tag, len(list))
		for i, t := range list {
			s.Tags[i] = iam.Tag{Key: t.String("Key"), Value: t.String("Value")}
		}
	}
	if err := f.Err(); err != nil {
		return stackrun.Source{}, err
	}
	if err := unsupported(f); err != nil {
		return stackrun.Source{}, err
	}
	return s, templateGiven(f, s)
}

// templateGiven refuses a template that is absent or given twice, and one that
// is too long, before anything looks into it.
func templateGiven(f *awsquery.Form, s stackrun.Source) error {
	_, body := f.Lookup("TemplateBody")
	switch {
	case body && s.PreviousTemplate:
		return fault.New(fault.InvalidParameter, "You cannot specify both usePreviousTemplate and Template Body/Template URL.").WithReason("template-twice")
	case !body && !s.PreviousTemplate:
		return fault.New(fault.InvalidParameter, "Either Template URL or Template Body must be specified.").WithReason("template-missing")
	}
	return bodySize(s.Template)
}

func bodySize(template string) error {
	if len(template) > stack.MaxTemplate {
		return fault.New(fault.InvalidParameter, "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to %d", stack.MaxTemplate).
			WithReason("template-too-large")
	}
	return nil
}

// unsupported refuses what would change how a stack is made and is not there.
// What is only about other resource types, waiting or monitoring (timeouts,
// validation before deployment, DeploymentConfig) changes nothing here.
func unsupported(f *awsquery.Form) error {
	if err := absent(f, noS3, "TemplateURL"); err != nil {
		return err
	}
	if err := absent(f, "podid has no stack policies; who may change what is said by IAM policies", "StackPolicyBody", "StackPolicyURL", "StackPolicyDuringUpdateBody", "StackPolicyDuringUpdateURL"); err != nil {
		return err
	}
	if len(f.List("ResourcesToImport")) > 0 || isTrue(f, "ImportExistingResources") {
		return fault.New(fault.InvalidParameter, "Resource import is not supported: a stack never adopts what it did not make.").WithReason("not-supported")
	}
	if len(f.List("RollbackConfiguration.RollbackTriggers")) > 0 {
		return fault.New(fault.InvalidParameter, "RollbackConfiguration is not supported: podid has no alarms that could trigger a rollback.").WithReason("not-supported")
	}
	if isTrue(f, "RetainExceptOnCreate") {
		return fault.New(fault.InvalidParameter, "RetainExceptOnCreate is not supported: a resource whose DeletionPolicy is Retain stays when its stack is rolled back.").WithReason("not-supported")
	}
	if isTrue(f, "DeploymentConfig.DisableRollback") {
		return fault.New(fault.InvalidParameter, "DeploymentConfig.DisableRollback is not supported: use DisableRollback.").WithReason("not-supported")
	}
	return f.Err()
}
