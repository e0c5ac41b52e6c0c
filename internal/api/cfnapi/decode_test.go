// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cfnapi

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/stackrun"
)

func form(t testing.TB, raw string) *awsquery.Form {
	t.Helper()
	f, err := awsquery.ParseForm(raw)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSource: what a stack is made from, as the SDKs write it.
func TestSource(t *testing.T) {
	got, err := source(form(t, "TemplateBody=%7B%7D&RoleARN=arn&Capabilities.member.1=CAPABILITY_IAM&ResourceTypes.member.1=AWS%3A%3AIAM%3A%3ARole&NotificationARNs="+
		"&Parameters.member.1.ParameterKey=A&Parameters.member.1.ParameterValue=1&Parameters.member.2.ParameterKey=B&Parameters.member.2.UsePreviousValue=true"+
		"&Tags.member.1.Key=k&Tags.member.1.Value=v&DeploymentConfig.Mode=EXPRESS&RollbackConfiguration.MonitoringTimeInMinutes=0&TimeoutInMinutes=5"))
	if err != nil {
		t.Fatal(err)
	}
	want := stackrun.Source{
		Template: "{}", RoleARN: "arn", Capabilities: []string{"CAPABILITY_IAM"}, ResourceTypes: []string{"AWS::IAM::Role"}, NotificationARNs: []string{},
		Parameters: []stackrun.Parameter{{Key: "A", Value: "1"}, {Key: "B", UsePrevious: true}}, Tags: []iam.Tag{{Key: "k", Value: "v"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestTagsOfUpdates: tags that are not sent stay, an empty list removes them.
func TestTagsOfUpdates(t *testing.T) {
	for raw, want := range map[string]string{"UsePreviousTemplate=true": "null", "UsePreviousTemplate=true&Tags=": "[]"} {
		s, err := source(form(t, raw))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(s.Tags); err != nil || string(got) != want {
			t.Errorf("%s: tags %s, %v, want %s", raw, got, err, want)
		}
	}
}

func TestSourceRefuses(t *testing.T) {
	for _, tc := range []struct{ name, form, want string }{
		{"no template", "StackName=s", "Either Template URL or Template Body must be specified."},
		{"two templates", "TemplateBody=x&UsePreviousTemplate=true", "You cannot specify both usePreviousTemplate and Template Body/Template URL."},
		{"a long template", "TemplateBody=" + strings.Repeat("x", stack.MaxTemplate+1), "Member must have length less than or equal to 51200"},
		{"a template of S3", "TemplateURL=https%3A%2F%2Fb.s3.amazonaws.com%2Ft", "TemplateURL is not supported: podid has no S3"},
		{"a stack policy", "TemplateBody=x&StackPolicyBody=%7B%7D", "StackPolicyBody is not supported: podid has no stack policies"},
		{"an import", "TemplateBody=x&ResourcesToImport.member.1.LogicalResourceId=R", "Resource import is not supported"},
		{"an import by name", "TemplateBody=x&ImportExistingResources=true", "Resource import is not supported"},
		{"triggers", "TemplateBody=x&RollbackConfiguration.RollbackTriggers.member.1.Arn=a&RollbackConfiguration.RollbackTriggers.member.1.Type=t", "RollbackConfiguration is not supported"},
		{"rollback disabled elsewhere", "TemplateBody=x&DeploymentConfig.DisableRollback=true", "DeploymentConfig.DisableRollback is not supported"},
		{"a list with a gap", "TemplateBody=x&Tags.member.2.Key=k", "has no member 1"},
		{"a scalar list", "TemplateBody=x&Capabilities=CAPABILITY_IAM", "is a list"},
		{"not a truth value", "TemplateBody=x&UsePreviousTemplate=perhaps", "must be true or false"},
		{"not a truth value in a list", "TemplateBody=x&Parameters.member.1.UsePreviousValue=1", "must be true or false"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := source(form(t, tc.form)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// TestRecorded: audit keeps no template and no value of a parameter, however
// the request writes it.
func TestRecorded(t *testing.T) {
	got := recorded(form(t, "Action=CreateStack&Version=v&StackName=s&TemplateBody=hidden&Parameters.member.1.ParameterKey=A&Parameters.member.1.ParameterValue=hidden"+
		"&Parameters.member.1.UsePreviousValue=false&Parameters.member.01.ParameterValue=hidden&Parameters.1=hidden&Parameters.member.2.ParameterKeys=hidden"))
	want := map[string]string{
		"stackName": "s", "templateBody": audit.Hidden, "parameters.member.1.ParameterKey": "A", "parameters.member.1.ParameterValue": audit.Hidden,
		"parameters.member.1.UsePreviousValue": "false", "parameters.member.01.ParameterValue": audit.Hidden, "parameters.1": audit.Hidden,
		"parameters.member.2.ParameterKeys": audit.Hidden,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRequired(t *testing.T) {
	if err := required(form(t, "StackName=&ChangeSetName=c"), []string{"StackName", "ChangeSetName"}); err != nil {
		t.Errorf("all are there: %v", err)
	}
	err := required(form(t, "x=y"), []string{"StackName", "ChangeSetName"})
	if want := "2 validation errors detected: Value null at 'stackName' failed to satisfy constraint: Member must not be null; Value null at 'changeSetName' failed to satisfy constraint: Member must not be null"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestRefine: the exceptions that only CloudFormation has, and that what is
// not found or in the way is a ValidationError there.
func TestRefine(t *testing.T) {
	fail := func(k fault.Kind, reason string) *fault.Error { return fault.New(k, "text").WithReason(reason) }
	malformed, err := awsquery.ParseForm("a=1&a=2")
	var twice *fault.Error
	if malformed != nil || !errors.As(err, &twice) {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		op     string
		fault  *fault.Error
		code   string // "" leaves it to the table of all services
		status int
	}{
		{"CreateStack", fail(fault.AlreadyExists, stackrun.ReasonStackExists), "AlreadyExistsException", 400},
		{"CreateChangeSet", fail(fault.AlreadyExists, stackrun.ReasonChangeSetExists), "AlreadyExistsException", 400},
		{"CreateStack", fail(fault.LimitExceeded, stackrun.ReasonStackLimit), "LimitExceededException", 400},
		{"CreateChangeSet", fail(fault.LimitExceeded, stackrun.ReasonChangeSetLimit), "LimitExceededException", 400},
		{"CreateStack", fail(fault.InvalidParameter, stackrun.ReasonCapabilities), "InsufficientCapabilitiesException", 400},
		{"CreateStack", fail(fault.InvalidParameter, stackrun.ReasonTokenUsed), "TokenAlreadyExistsException", 400},
		{"DescribeChangeSet", fail(fault.NotFound, stackrun.ReasonChangeSetNotFound), "ChangeSetNotFound", 404},
		{"ExecuteChangeSet", fail(fault.InvalidParameter, stackrun.ReasonChangeSetStatus), "InvalidChangeSetStatus", 400},
		{"DescribeStacks", fail(fault.NotFound, stackrun.ReasonStackNotFound), "ValidationError", 400},
		{"DeleteStack", fail(fault.InvalidRequest, stackrun.ReasonProtected), "ValidationError", 400},
		{"UpdateStack", fail(fault.LimitExceeded, "other"), "ValidationError", 400},
		{"DescribeStacks", twice, "", 0},
		{"DescribeStacks", fail(fault.AccessDenied, "not-authorized"), "", 0},
		{"DescribeStacks", fail(fault.Unavailable, "store-unavailable"), "", 0},
	} {
		x, ok := refine(call.Operation{Name: tc.op}, tc.fault)
		if x.Code != tc.code || x.Status != tc.status || ok != (tc.code != "") {
			t.Errorf("%s, %s: %+v, %v, want %s %d", tc.op, tc.fault.Reason, x, ok, tc.code, tc.status)
		}
	}
}

func TestTimestamp(t *testing.T) {
	at := time.Date(2026, 11, 22, 11, 10, 11, 120_999_999, time.FixedZone("", 3600))
	if got, err := timestamp(at).MarshalText(); err != nil || string(got) != "2026-11-22T10:10:11.120Z" {
		t.Errorf("%s, %v", got, err)
	}
	if optionalTime(time.Time{}) != nil {
		t.Error("a time that has not come is written")
	}
}

// FuzzSource: whatever a form holds, it is read or refused with a fault, and
// nothing of its template or of a parameter's value reaches audit.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{
		"TemplateBody=%7B%7D&Parameters.member.1.ParameterKey=A&Parameters.member.1.ParameterValue=1",
		"UsePreviousTemplate=true&Tags=&Capabilities.member.1=CAPABILITY_NAMED_IAM", "Parameters.member.1=x", "Parameters=x", "Parameters.member.2.ParameterKey=B",
		"TemplateURL=u&StackPolicyBody=p", "RollbackConfiguration.RollbackTriggers.member.1.Arn=a", "ResourcesToImport.member.1.ResourceIdentifier.entry.1.key=k", "",
	} {
		f.Add(seed, "needle")
	}
	f.Fuzz(func(t *testing.T, raw, value string) {
		parsed, err := awsquery.ParseForm(raw)
		if err != nil {
			return
		}
		switch s, err := source(parsed); {
		case err != nil && fault.As(err).Kind == fault.Internal:
			t.Errorf("error is no fault: %v", err)
		case err == nil && s.PreviousTemplate && s.Template != "":
			t.Error("two templates")
		}
		secret := "secret-" + value
		with, err := awsquery.ParseForm(raw + "&TemplateBody=" + url.QueryEscape(secret) + "&Parameters.member.1.ParameterValue=" + url.QueryEscape(secret))
		if err != nil {
			return
		}
		for k, v := range recorded(with) {
			if v == secret && !strings.Contains(raw, "secret-") {
				t.Errorf("audit has %s of %s", v, k)
			}
		}
	})
}
