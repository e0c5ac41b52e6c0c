// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
)

// AWS' messages for refused documents.
const (
	msgSyntax          = "Syntax errors in policy."
	msgVersion         = "Policy document must be version 2012-10-17 or greater."
	msgLegacy          = "The policy failed legacy parsing"
	msgSid             = "Statement IDs (SID) in a single policy must be unique."
	msgSidCharacters   = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
	msgNoActions       = "Policy statement must contain actions."
	msgNoResources     = "Policy statement must contain resources."
	msgActionPrefix    = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	msgActionColons    = "Actions/Condition can contain only one colon."
	msgTrustResource   = "Has prohibited field Resource."
	msgTrustPrincipal  = "Missing required field Principal"
	msgTrustAction     = "AssumeRole policy may only specify STS AssumeRole actions."
	msgNoPrincipalHere = "Policy document should not specify a principal."
	msgPolicyType      = "The provided policy document does not meet the requirements of the specified policy type."
)

// validate checks the content in AWS' order; current asks for version 2012-10-17.
func (d *rawDocument) validate(current bool) error {
	if current && d.version != VersionCurrent {
		return &MalformedError{Message: msgVersion}
	}
	checks := []func() error{
		d.checkLegacy, d.checkSids, d.checkActionsExist, d.checkNoResources,
		d.checkResources, d.checkActions, d.checkResourcesExist, d.checkPrincipalsExist,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// each runs a check over the statements until one fails.
func (d *rawDocument) each(check func(s *rawStatement) error) error {
	for i := range d.statements {
		if err := check(&d.statements[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkLegacy holds what AWS reports without saying what it is: the case of
// Effect, dates, and the shape of resources.
func (d *rawDocument) checkLegacy() error {
	return d.each(func(s *rawStatement) error {
		if s.effect != "Allow" && s.effect != "Deny" {
			return &MalformedError{Message: msgLegacy, Cause: "Effect is written Allow or Deny"}
		}
		for _, c := range s.conditions {
			op, _ := parseOperator(c.operator)
			for _, v := range c.values {
				if _, ok := parseInstant(v); op.family == famDate && !ok {
					return &MalformedError{Message: msgLegacy, Cause: fmt.Sprintf("condition %s %s: no date", c.operator, c.key)}
				}
			}
		}
		for _, r := range s.resources {
			if !legacyResource(r, d.variables()) {
				return &MalformedError{Message: msgLegacy, Cause: fmt.Sprintf("resource %q has too few parts or an empty vendor", r)}
			}
		}
		return nil
	})
}

func (d *rawDocument) variables() bool { return d.version == VersionCurrent }

// legacyResource refuses ARNs with an empty vendor, and those of fewer than six
// parts in which one is empty and none a wildcard.
func legacyResource(r string, variables bool) bool {
	parts := splitPattern(r, variables)
	if len(parts) < 4 || !knownPartition(parts[1]) {
		return true
	}
	if parts[2] == "" {
		return false
	}
	return len(parts) == arnParts || !strings.Contains(r, "::") || strings.ContainsAny(r, "*?")
}

// checkSids takes what sids are made of before whether they are unique. Documents
// on other resources than roles may have blanks in them.
func (d *rawDocument) checkSids() error {
	seen := map[string]bool{}
	if err := d.each(func(s *rawStatement) error {
		if d.kind != Resource && !alphanumeric(s.sid) {
			return &MalformedError{Message: msgSidCharacters, Cause: "Sid " + s.sid}
		}
		return nil
	}); err != nil {
		return err
	}
	return d.each(func(s *rawStatement) error {
		if s.hasSid && s.sid != "" && seen[s.sid] {
			return &MalformedError{Message: msgSid, Cause: "Sid " + s.sid}
		}
		seen[s.sid] = true
		return nil
	})
}

func (d *rawDocument) checkActionsExist() error {
	return d.each(func(s *rawStatement) error {
		if len(s.actions) == 0 {
			return &MalformedError{Message: msgNoActions}
		}
		return nil
	})
}

// checkNoResources: a trust policy stands on its role and names no resource.
func (d *rawDocument) checkNoResources() error {
	return d.each(func(s *rawStatement) error {
		if d.kind == Trust && s.hasResource {
			return &MalformedError{Message: msgTrustResource}
		}
		return nil
	})
}

// checkResourcesExist is reported after bad resources and bad actions of any
// statement, as AWS does it.
func (d *rawDocument) checkResourcesExist() error {
	return d.each(func(s *rawStatement) error {
		if d.kind != Trust && len(s.resources) == 0 {
			return &MalformedError{Message: msgNoResources}
		}
		return nil
	})
}

func (d *rawDocument) checkResources() error {
	return d.each(func(s *rawStatement) error {
		for _, r := range s.resources {
			if message := resourceFault(r, d.variables()); message != "" {
				return &MalformedError{Message: message}
			}
		}
		return nil
	})
}

const iamPaths = "user/, federated-user/, role/, group/, instance-profile/, mfa/, server-certificate/, " +
	"policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/"

// resourceFault returns AWS' message for a resource that it does not take.
func resourceFault(r string, variables bool) string {
	if r == "*" {
		return ""
	}
	parts := splitPattern(r, variables)
	if len(parts) < 2 {
		return fmt.Sprintf(`Resource %s must be in ARN format or "*".`, r)
	}
	if !knownPartition(parts[1]) {
		full := append([]string{"arn"}, parts[1:]...)
		for len(full) < arnParts {
			full = append(full, "*")
		}
		return fmt.Sprintf(`Partition "%s" is not valid for resource "%s".`, parts[1], strings.Join(full, ":"))
	}
	if parts[0] != "arn" {
		return fmt.Sprintf(`Resource %s must be in ARN format or "*".`, r)
	}
	if len(parts) == 2 && !strings.ContainsAny(parts[1], "*?") {
		return "Resource vendor must be fully qualified and cannot contain regexes."
	}
	if len(parts) < arnParts {
		return ""
	}
	switch {
	case parts[2] == "iam" && parts[3] != "" && parts[3] != "*" && !strings.Contains(parts[3], "$"):
		return fmt.Sprintf("IAM resource %s cannot contain region information.", r)
	case parts[2] == "s3" && parts[3] != "" && parts[3] != "*" && !strings.Contains(parts[3], "$") && parts[4] == "":
		return fmt.Sprintf("Resource %s can not contain region information.", r)
	case parts[2] == "iam" && !iamResourcePath(parts[5]):
		return fmt.Sprintf(`IAM resource path must either be "*" or start with %s.`, iamPaths)
	}
	return ""
}

func iamResourcePath(path string) bool {
	if strings.ContainsAny(path, "*?$") || path == "root" {
		return true
	}
	for _, p := range strings.Split(iamPaths, ", ") {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

func knownPartition(p string) bool {
	return p == "aws" || strings.HasPrefix(p, "aws-") || strings.ContainsAny(p, "*?$")
}

func (d *rawDocument) checkActions() error {
	return d.each(func(s *rawStatement) error {
		if err := checkActionPrefixes(s.actions); err != nil {
			return err
		}
		if d.kind != Trust {
			return nil
		}
		for _, a := range s.actions {
			if !trustAction(a) {
				return &MalformedError{Message: msgTrustAction, Cause: "action " + a}
			}
		}
		return nil
	})
}

func checkActionPrefixes(actions []string) error {
	for _, a := range actions {
		if a == "*" {
			continue
		}
		vendor, rest, found := strings.Cut(a, ":")
		switch {
		case !found || vendor == "" || rest == "":
			return &MalformedError{Message: msgActionPrefix, Cause: "action " + a}
		case strings.Contains(rest, ":"):
			return &MalformedError{Message: msgActionColons, Cause: "action " + a}
		case vendor != "*" && strings.IndexFunc(vendor, badVendorRune) >= 0:
			return &MalformedError{Message: fmt.Sprintf("Vendor %s is not valid", vendor)}
		}
	}
	return nil
}

func badVendorRune(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '.'
}

// trustAction reports whether an action pattern may stand in a trust policy: it
// must be able to match one of the actions that assume a role or shape its session.
func trustAction(a string) bool {
	if a == "*" {
		return true
	}
	p := compilePattern(a, patternStyle{wildcards: true, foldCase: true})
	for _, known := range [...]string{
		ActionAssumeRole, ActionAssumeRoleWithWebIdentity, "sts:AssumeRoleWithSAML",
		ActionTagSession, ActionSetSourceIdentity, "sts:SetContext",
	} {
		if p.match(known, nil) == yes {
			return true
		}
	}
	return false
}

// checkPrincipalsExist: documents on resources name principals, others must not.
func (d *rawDocument) checkPrincipalsExist() error {
	return d.each(func(s *rawStatement) error {
		switch {
		case d.kind == RCP:
			return s.checkRCP()
		case d.kind == SCP && s.principal != nil:
			return &MalformedError{Message: msgPolicyType, Cause: "Principal is not allowed"}
		case d.kind.attachedToResource() && s.principal == nil:
			return &MalformedError{Message: msgTrustPrincipal}
		case !d.kind.attachedToResource() && s.principal != nil:
			return &MalformedError{Message: msgNoPrincipalHere}
		}
		return nil
	})
}

// checkRCP: resource control policies deny what they name of a service to
// everybody. Only RCPFullAWSAccess, which AWS attaches itself, allows.
func (s *rawStatement) checkRCP() error {
	refuse := func(cause string) error { return &MalformedError{Message: msgPolicyType, Cause: cause} }
	all := slices.Contains(s.actions, "*")
	switch {
	case s.principal == nil || s.notPrincipal || !lonePrincipalStar(s.principal):
		return refuse(`Principal must be "*"`)
	case s.notAction:
		return refuse("NotAction is not allowed")
	case s.effect == "Allow" && (!all || s.notResource || !slices.Contains(s.resources, "*") || len(s.conditions) > 0):
		return refuse("Effect must be Deny")
	case s.effect == "Deny" && all:
		return refuse(`Action must name a service, and not be "*" alone`)
	}
	return nil
}

func lonePrincipalStar(n *node) bool {
	if n.kind == nodeString {
		return n.text == "*"
	}
	if len(n.members) != 1 || n.members[0] != "AWS" {
		return false
	}
	values, ok := n.items[0].strings(false)
	return ok && len(values) == 1 && values[0] == "*"
}
