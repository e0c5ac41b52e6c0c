// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package association

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"podid/internal/arn"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/policy"
)

const (
	idAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	idLength   = len("a-") + 17
)

var (
	labelRE     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	subdomainRE = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

func invalid(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason(reason)
}

// newID draws an id; rejection keeps the letters equally likely.
func newID(r io.Reader) (string, error) {
	out := []byte("a-")
	var buf [32]byte
	const fair = 256 - 256%len(idAlphabet)
	for {
		if _, err := io.ReadFull(r, buf[:]); err != nil {
			return "", fmt.Errorf("read random association id: %w", err)
		}
		for _, b := range buf {
			if int(b) >= fair {
				continue
			}
			if out = append(out, idAlphabet[int(b)%len(idAlphabet)]); len(out) == idLength {
				return string(out), nil
			}
		}
	}
}

// validate judges the input by itself and returns the role it names.
func (in *CreateInput) validate(partition string) (arn.Role, error) {
	if err := required("namespace", in.Namespace); err != nil {
		return arn.Role{}, err
	}
	if len(in.Namespace) > 63 || !labelRE.MatchString(in.Namespace) {
		return arn.Role{}, invalid("namespace", "The namespace %.80q is not valid: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit.", in.Namespace)
	}
	if err := required("serviceAccount", in.ServiceAccount); err != nil {
		return arn.Role{}, err
	}
	if len(in.ServiceAccount) > 253 || !subdomainRE.MatchString(in.ServiceAccount) {
		return arn.Role{}, invalid("service-account", "The serviceAccount %.260q is not valid: up to 253 of a-z, 0-9, '-' and '.', each part beginning and ending with a letter or digit.", in.ServiceAccount)
	}
	if err := required("roleArn", in.RoleARN); err != nil {
		return arn.Role{}, err
	}
	role, err := parseRole(in.RoleARN, partition)
	if err != nil {
		return arn.Role{}, err
	}
	if err := checkRest(in.TargetRoleARN, in.Policy, in.Token, partition); err != nil {
		return arn.Role{}, err
	}
	if in.Policy != "" && !in.DisableSessionTags {
		return arn.Role{}, policyNeedsNoTags()
	}
	return role, cluster.CheckTags(in.Tags)
}

// validate judges the input by itself. Its role is judged where it is passed.
func (in *UpdateInput) validate(partition string) error {
	if in.RoleARN == nil && in.TargetRoleARN == nil && in.Policy == nil && in.DisableSessionTags == nil {
		return invalid("no-change", "The update changes nothing: give roleArn, targetRoleArn, policy or disableSessionTags.")
	}
	target, policyText := "", ""
	if in.TargetRoleARN != nil {
		target = *in.TargetRoleARN
	}
	if in.Policy != nil {
		policyText = *in.Policy
	}
	return checkRest(target, policyText, in.Token, partition)
}

func checkRest(target, policyText, token, partition string) error {
	if target != "" {
		if _, err := parseRole(target, partition); err != nil {
			return invalid("target-role-arn", "The targetRoleArn %.200q is not the ARN of a role in the partition %s.", target, partition).Because(err)
		}
	}
	if err := checkPolicy(policyText); err != nil {
		return err
	}
	return cluster.CheckToken(token)
}

func required(name, value string) error {
	if value == "" {
		return fault.New(fault.MissingParameter, "The parameter %s is required.", name).WithReason(strings.ToLower(name) + "-missing")
	}
	return nil
}

func parseRole(s, partition string) (arn.Role, error) {
	r, err := arn.ParseRole(s)
	if err != nil || r.Partition != partition {
		return arn.Role{}, invalid("role-arn", "The roleArn %.200q is not the ARN of a role in the partition %s.", s, partition).Because(err)
	}
	return r, nil
}

// checkPolicy judges a session policy; the empty one is none.
func checkPolicy(text string) error {
	if text == "" {
		return nil
	}
	if n := utf8.RuneCountInString(text); n > policy.SessionPolicyMax {
		return invalid("policy-size", "The policy has %d characters; at most %d are allowed.", n, policy.SessionPolicyMax)
	}
	if _, err := policy.Parse(policy.SessionPolicy, text); err != nil {
		msg := err.Error()
		if bad := (*policy.MalformedError)(nil); errors.As(err, &bad) {
			msg = bad.Message
		}
		return invalid("policy-malformed", "The policy is not a valid session policy: %s", msg).Because(err)
	}
	return nil
}

func policyNeedsNoTags() error {
	return invalid("policy-session-tags", "A policy can only be used when disableSessionTags is true.")
}
