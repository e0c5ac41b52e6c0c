// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cfnapi owns the wire form of CloudFormation: it reads forms, calls
// the verbs of stackrun and writes stacks, events, resources and change sets
// in the shape of AWS' service model. It decides nothing about stacks: rules,
// rights and quotas are in the verbs. It refuses by name what a request asks
// for and podid does not have (templates from S3, stack policies, rollback
// triggers, imports, nested stacks), so that nothing is left out in silence,
// and it keeps templates and the values of parameters out of the audit log.
// Operations that are not in the table are unknown here and answered with
// InvalidAction. Source: CloudFormation API Reference, version 2010-05-15.
package cfnapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/stackrun"
)

// Forms of the ARN that an action is checked on.
const (
	onStack = "arn:${Partition}:cloudformation:${Region}:${Account}:stack/${StackName}/${Id}"
	onAll   = "*"
)

type api struct{ stacks *stackrun.Manager }

type handler func(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error)

// Service is the table of operations, for awsquery.New.
func Service(m *stackrun.Manager) awsquery.Service {
	a := api{m}
	var ops []awsquery.Operation
	for _, table := range [][]awsquery.Operation{a.changes(), a.descriptions(), a.resources(), a.templates(), a.changeSets()} {
		ops = append(ops, table...)
	}
	return awsquery.Service{
		Name: "cloudformation", Version: "2010-05-15", Namespace: "http://cloudformation.amazonaws.com/doc/2010-05-15/", Refine: refine, Operations: ops,
	}
}

// refine names what only CloudFormation names, and what it names in its own
// way: almost every refusal is a ValidationError with status 400.
func refine(op call.Operation, f *fault.Error) (awsquery.Exception, bool) {
	switch f.Reason {
	case stackrun.ReasonStackExists, stackrun.ReasonChangeSetExists:
		return bad("AlreadyExistsException")
	case stackrun.ReasonStackLimit, stackrun.ReasonChangeSetLimit:
		return bad("LimitExceededException")
	case stackrun.ReasonCapabilities:
		return bad("InsufficientCapabilitiesException")
	case stackrun.ReasonTokenUsed:
		return bad("TokenAlreadyExistsException")
	case stackrun.ReasonChangeSetNotFound:
		return awsquery.Exception{Code: "ChangeSetNotFound", Status: http.StatusNotFound}, true
	case stackrun.ReasonChangeSetStatus:
		return bad("InvalidChangeSetStatus")
	case stackrun.ReasonOperationStatus:
		if strings.HasSuffix(op.Name, "ChangeSet") {
			return bad("OperationInProgressException")
		}
	}
	switch f.Kind {
	case fault.NotFound, fault.AlreadyExists, fault.DeleteConflict, fault.LimitExceeded, fault.MalformedPolicy, fault.MissingParameter:
		return bad("ValidationError")
	case fault.InvalidRequest:
		if !awsquery.IsMalformed(f) {
			return bad("ValidationError")
		}
	}
	return awsquery.Exception{}, false
}

func bad(code string) (awsquery.Exception, bool) {
	return awsquery.Exception{Code: code, Status: http.StatusBadRequest}, true
}

// read and write describe operations; need names the parameters that must be
// there.
func read(name, resource string, h handler, need ...string) awsquery.Operation {
	return operation(name, resource, true, h, need)
}

func write(name string, h handler, need ...string) awsquery.Operation {
	return operation(name, onStack, false, h, need)
}

func operation(name, resource string, readOnly bool, h handler, need []string) awsquery.Operation {
	return awsquery.Operation{
		Operation: call.Operation{
			Service: "cloudformation", Source: "cloudformation.amazonaws.com", Name: name, Action: "cloudformation:" + name, Resource: resource, ReadOnly: readOnly,
		},
		Handle: func(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
			c.Event.RequestParameters = recorded(f)
			if err := required(f, need); err != nil {
				return nil, err
			}
			return h(ctx, c, f)
		},
	}
}

// recorded is the request as audit keeps it. Whether a parameter is NoEcho is
// not known before its template is read, so no value is kept; a template may
// be as large as all the rest of a day's log.
func recorded(f *awsquery.Form) map[string]string {
	p := f.Parameters(audit.Hidden, "TemplateBody")
	for name := range p {
		if strings.HasPrefix(name, "parameters.") && !strings.HasSuffix(name, ".ParameterKey") && !strings.HasSuffix(name, ".UsePreviousValue") {
			p[name] = audit.Hidden
		}
	}
	return p
}

// required refuses a request that lacks parameters, naming all of them.
func required(f *awsquery.Form, need []string) error {
	var missing []string
	for _, p := range need {
		if _, ok := f.Lookup(p); !ok {
			missing = append(missing, "Value null at '"+strings.ToLower(p[:1])+p[1:]+"' failed to satisfy constraint: Member must not be null")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	errors := "errors"
	if len(missing) == 1 {
		errors = "error"
	}
	return fault.New(fault.InvalidParameter, "%d validation %s detected: %s", len(missing), errors, strings.Join(missing, "; ")).WithReason("missing-parameter")
}

// oneOf refuses a scalar that is none of the values; "" stands for one that
// was not sent.
func oneOf(f *awsquery.Form, name string, values ...string) (string, error) {
	v, sent := f.Lookup(name)
	if !sent || slices.Contains(values, v) {
		return v, nil
	}
	return "", fault.New(fault.InvalidParameter, "1 validation error detected: Value '%.128s' at '%s' failed to satisfy constraint: Member must satisfy enum value set: [%s]",
		v, strings.ToLower(name[:1])+name[1:], strings.Join(values, ", ")).WithReason("invalid-value")
}

// absent refuses parameters that ask for what podid does not have. Empty ones
// ask for nothing.
func absent(f *awsquery.Form, why string, names ...string) error {
	for _, n := range names {
		if f.String(n) != "" {
			return fault.New(fault.InvalidParameter, "%s is not supported: %s", n, why).WithReason("not-supported")
		}
	}
	return nil
}

// isTrue reads a truth value that is false when it was not sent.
func isTrue(f *awsquery.Form, name string) bool {
	b := f.Bool(name)
	return b != nil && *b
}
