// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/policy"
)

// Limits of simulations: lengths are those of the IAM service model.
const (
	minActionName  = 3
	maxActionName  = 128
	minContextKey  = 5
	maxContextKey  = 256
	maxResourceARN = 2048
	minSourceARN   = 20
	// maxSimulations bounds actions times resources of a call: podid's own
	// limit, as every pair is decided by itself.
	maxSimulations = 2000
)

var actionRE = regexp.MustCompile(`^[A-Za-z0-9-]+:[A-Za-z0-9]+$`)

// badSimulation is IAM's InvalidInput.
func badSimulation(reason, format string, args ...any) error {
	return fault.New(fault.InvalidRequest, format, args...).WithReason("simulation-" + reason)
}

// noEntity is IAM's refusal of an ARN that names no user, group or role.
func noEntity(text string) error {
	return badSimulation("entity-arn-invalid", "Invalid Entity Arn: %.300s does not clearly define entity type and name.", text)
}

// parseInput compiles a document of the caller's.
func parseInput(kind policy.DocumentKind, name, text string) (policy.Named, error) {
	if err := checkLength(strings.ToLower(name[:1])+name[1:], text, 1, maxDocument); err != nil {
		return policy.Named{}, err
	}
	doc, err := policy.Parse(kind, text)
	var bad *policy.MalformedError
	if errors.As(err, &bad) {
		return policy.Named{}, fault.New(fault.InvalidRequest, "The policy in %s is invalid: %s", name, bad.Message).WithReason("simulation-policy-malformed").WithDetail(bad.Cause)
	}
	if err != nil {
		return policy.Named{}, fmt.Errorf("parse %s: %w", name, err)
	}
	return policy.Named{Name: name, Doc: doc}, nil
}

func parseInputs(kind policy.DocumentKind, list string, texts []string) ([]policy.Named, error) {
	out := make([]policy.Named, 0, len(texts))
	for i, text := range texts {
		n, err := parseInput(kind, fmt.Sprintf("%s.%d", list, i+1), text)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// prepare checks the input and builds the request. src is nil where documents
// are all there is; then the account is that of the caller who simulates.
func (s *simulation) prepare(src *policySource, partition, account string) error {
	for _, check := range []func() error{s.checkActions, s.checkResources, s.checkHandling} {
		if err := check(); err != nil {
			return err
		}
	}
	extra, err := parseInputs(policy.Identity, "PolicyInputList", s.in.Policies)
	if err != nil {
		return err
	}
	if src != nil {
		s.base.Identity, s.base.Boundary = src.identity(), src.boundary()
	}
	s.base.Identity = append(s.base.Identity, extra...)
	if len(s.in.Boundary) > 1 {
		return badSimulation("boundaries", "PermissionsBoundaryPolicyInputList can have only one policy.")
	}
	boundary, err := parseInputs(policy.Boundary, "PermissionsBoundaryPolicyInputList", s.in.Boundary)
	if err != nil {
		return err
	}
	if len(boundary) == 1 {
		s.base.Boundary = &boundary[0]
	}
	if err := s.setCaller(src, partition, account); err != nil {
		return err
	}
	if err := s.setOwner(); err != nil {
		return err
	}
	return s.setContext()
}

func (s *simulation) checkActions() error {
	if len(s.in.Actions) == 0 {
		return constraint("actionNames", "[]", "have length greater than or equal to 1")
	}
	for i, name := range s.in.Actions {
		if err := checkLength(fmt.Sprintf("actionNames.%d.member", i+1), name, minActionName, maxActionName); err != nil {
			return err
		}
		if !actionRE.MatchString(name) {
			return badSimulation("action-invalid", "Invalid input actions: %s. An action is a service prefix, a colon and the name of one operation.", name)
		}
	}
	if n := len(s.in.Actions) * max(1, len(s.in.Resources)); n > maxSimulations {
		return badSimulation("too-large", "The request asks for %d simulations (actions times resources); at most %d are done in one call.", n, maxSimulations)
	}
	return nil
}

func (s *simulation) checkResources() error {
	for i, r := range s.in.Resources {
		if err := checkLength(fmt.Sprintf("resourceArns.%d.member", i+1), r, 1, maxResourceARN); err != nil {
			return err
		}
		if r == "*" {
			if len(s.in.Resources) > 1 {
				return badSimulation("resource-invalid", "Invalid input resources: * stands for all resources and must stand alone.")
			}
			continue
		}
		a, err := arn.Parse(r)
		if err != nil {
			return badSimulation("resource-invalid", "Invalid input resources: %.300s is not an ARN.", r)
		}
		if s.in.ResourcePolicy != nil && a.Service == "iam" && strings.HasPrefix(a.Resource, "role/") {
			return badSimulation("role-resource-policy", "Simulation of resource-based policies isn't supported for IAM roles.")
		}
	}
	return nil
}

// scenarios are the kinds of resources that each scenario of EC2 needs.
var scenarios = map[string][]string{
	"EC2-VPC-InstanceStore":        {"instance", "image", "security-group", "network-interface"},
	"EC2-VPC-InstanceStore-Subnet": {"instance", "image", "security-group", "network-interface", "subnet"},
	"EC2-VPC-EBS":                  {"instance", "image", "security-group", "network-interface", "volume"},
	"EC2-VPC-EBS-Subnet":           {"instance", "image", "security-group", "network-interface", "subnet", "volume"},
}

func (s *simulation) checkHandling() error {
	option := s.in.Handling
	if option == "" {
		return nil
	}
	kinds, ok := scenarios[option]
	if !ok {
		return badSimulation("resource-handling-invalid", "ResourceHandlingOption %.64q is none of EC2-VPC-InstanceStore, EC2-VPC-InstanceStore-Subnet, EC2-VPC-EBS and EC2-VPC-EBS-Subnet.", option)
	}
	for _, kind := range kinds {
		if !slices.ContainsFunc(s.in.Resources, func(r string) bool {
			a, err := arn.Parse(r)
			return err == nil && a.Service == "ec2" && strings.HasPrefix(a.Resource, kind+"/")
		}) {
			return badSimulation("resource-missing", "ResourceHandlingOption %s needs a resource of the type %s.", option, kind)
		}
	}
	return nil
}

// setCaller makes the principal of the simulated requests and its keys. Users
// and roles are named by resource policies; a group is not, and stands for its
// account, as does a simulation without a caller.
func (s *simulation) setCaller(src *policySource, partition, account string) error {
	entity := entityARN{Partition: partition, Account: account}
	if src != nil {
		entity = src.entity
	}
	if s.in.CallerARN != "" {
		if err := checkLength("callerArn", s.in.CallerARN, 1, maxResourceARN); err != nil {
			return err
		}
		var ok bool
		if entity, ok = parseEntity(s.in.CallerARN); !ok {
			return noEntity(s.in.CallerARN)
		}
	}
	switch entity.Kind {
	case "user":
		p := policy.UserPrincipal(entity.String())
		if src != nil && src.entity == entity {
			p = p.WithID(src.id)
		}
		s.base.Principal = p
		s.keys.SetCaller(p)
	case "role":
		s.base.Principal = policy.SessionPrincipal(entity.String(), arn.AssumedRole(entity.Partition, entity.Account, entity.Name, ""))
		s.keys.SetCaller(s.base.Principal)
	default:
		s.base.Principal = policy.UserPrincipal(arn.IAM(entity.Partition, entity.Account, "user", "/", ""))
		s.keys.Set("aws:PrincipalAccount", entity.Account)
	}
	if src != nil && src.entity == entity {
		for _, t := range src.tags {
			s.keys.SetTag("aws:PrincipalTag/", t.Key, t.Value)
		}
	}
	return nil
}

// setOwner finds the account of resources that name none, and the resource
// policy, which belongs to it.
func (s *simulation) setOwner() error {
	s.owner = s.base.Principal.Account()
	if o := s.in.ResourceOwner; o != "" {
		if err := checkLength("resourceOwner", o, 1, maxResourceARN); err != nil {
			return err
		}
		a, err := arn.Parse(o)
		switch {
		case arn.IsAccount(o):
			s.owner = o
		case err == nil && a.Service == "iam" && a.Region == "" && a.Resource == "root" && arn.IsAccount(a.Account):
			s.owner = a.Account
		default:
			return badSimulation("resource-owner-invalid", "ResourceOwner %.300q is neither an account ID nor arn:aws:iam::account-ID:root.", o)
		}
	}
	if s.in.ResourcePolicy == nil {
		return nil
	}
	n, err := parseInput(policy.Resource, "ResourcePolicy", *s.in.ResourcePolicy)
	s.base.ResourcePolicy = &n
	return err
}

func (s *simulation) ownerOf(resource string) string {
	if a, err := arn.Parse(resource); err == nil && arn.IsAccount(a.Account) {
		return a.Account
	}
	return s.owner
}

// setContext sets the keys given, over those that follow from the caller.
func (s *simulation) setContext() error {
	s.given = map[string]bool{}
	for i, e := range s.in.Context {
		member := fmt.Sprintf("contextEntries.%d.member.contextKeyName", i+1)
		if err := checkLength(member, e.Key, minContextKey, maxContextKey); err != nil {
			return err
		}
		folded := strings.ToLower(e.Key)
		if s.given[folded] {
			return badSimulation("context-twice", "The context key %s is given twice.", e.Key)
		}
		s.given[folded] = true
		kind, list := strings.CutSuffix(e.Type, "List")
		valid, ok := valueTypes[kind]
		if !ok {
			return constraint(fmt.Sprintf("contextEntries.%d.member.contextKeyType", i+1), e.Type,
				"satisfy enum value set: [string, stringList, numeric, numericList, boolean, booleanList, ip, ipList, binary, binaryList, date, dateList]")
		}
		if !list && len(e.Values) != 1 {
			return badSimulation("context-value-invalid", "The context key %s is of type %s and needs one value, not %d.", e.Key, e.Type, len(e.Values))
		}
		for _, v := range e.Values {
			if !valid(v) {
				return badSimulation("context-value-invalid", "The value %.200q of the context key %s is not of type %s.", v, e.Key, e.Type)
			}
		}
		if list {
			s.keys.SetMulti(e.Key, e.Values...)
		} else {
			s.keys.Set(e.Key, e.Values[0])
		}
	}
	return nil
}

// valueTypes check values as the operators of the type will read them.
var valueTypes = map[string]func(string) bool{
	"string":  func(string) bool { return true },
	"numeric": policy.IsNumber,
	"boolean": func(v string) bool { return strings.EqualFold(v, "true") || strings.EqualFold(v, "false") },
	"date":    policy.IsDate,
	"ip":      func(v string) bool { a, err := netip.ParseAddr(v); return err == nil && a.Zone() == "" },
	"binary":  func(v string) bool { _, err := base64.StdEncoding.DecodeString(v); return err == nil },
}
