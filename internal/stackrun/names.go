// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/uuid"
)

var (
	// nameRE is the form of the names of stacks and change sets.
	nameRE  = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]*$`)
	tokenRE = regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9]*$`)
	arnRE   = regexp.MustCompile(`^arn:[-a-zA-Z0-9:/._+]+$`)
)

const (
	maxName        = 128
	maxNameOrARN   = 1600
	maxToken       = 128
	maxDescription = 1024
	maxMarker      = 1024
)

func (m *Manager) scope() store.Scope { return store.Scope{Account: m.Account, Region: m.Region} }

func (m *Manager) now() time.Time { return m.Now().UTC().Truncate(time.Millisecond) }

func (m *Manager) newUID() (string, error) { return uuid.New(m.Rand) }

// arnOf formats an ARN of CloudFormation.
func (m *Manager) arnOf(resource string) string {
	return arn.ARN{Partition: m.Partition, Service: "cloudformation", Region: m.Region, Account: m.Account, Resource: resource}.String()
}

// stackARN ends in the stack's uid; "*" stands for that of one which there is not.
func (m *Manager) stackARN(name, uid string) string { return m.arnOf("stack/" + name + "/" + uid) }

// The faults of this room, in AWS' words where they are known.

func invalid(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason(reason)
}

// constraint is a refusal of a value by CloudFormation's model.
func constraint(member, value, rule string, args ...any) *fault.Error {
	return invalid("invalid-"+strings.ToLower(member), "1 validation error detected: Value '%.256s' at '%s' failed to satisfy constraint: Member must %s", value, member, fmt.Sprintf(rule, args...))
}

func noStack(id string) error {
	return fault.New(fault.NotFound, "Stack with id %.256s does not exist", id).WithReason(ReasonStackNotFound)
}

// noStackToChange is noStack in the words of verbs that change stacks, or are
// about their events and change sets.
func noStackToChange(id string) error {
	return fault.New(fault.NotFound, "Stack [%.256s] does not exist", id).WithReason(ReasonStackNotFound)
}

func checkName(member, name string) error {
	switch {
	case name == "":
		return constraint(member, name, "have length greater than or equal to 1")
	case len(name) > maxName:
		return constraint(member, name, "have length less than or equal to %d", maxName)
	case !nameRE.MatchString(name):
		return constraint(member, name, "satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*")
	}
	return nil
}

// checkNameOrARN judges what names a stack or change set that there is.
func checkNameOrARN(member, name string) error {
	if isARN(name) {
		if len(name) > maxNameOrARN {
			return constraint(member, name, "have length less than or equal to %d", maxNameOrARN)
		}
		if !arnRE.MatchString(name) {
			return constraint(member, name, "satisfy regular expression pattern: ([a-zA-Z][-a-zA-Z0-9]*)|(arn:[-a-zA-Z0-9:/._+]*)")
		}
		return nil
	}
	return checkName(member, name)
}

func isARN(s string) bool { return strings.HasPrefix(s, "arn:") }

func checkToken(token string) error {
	if len(token) > maxToken || token != "" && !tokenRE.MatchString(token) {
		return constraint("clientRequestToken", token, "satisfy regular expression pattern: [a-zA-Z0-9][-a-zA-Z0-9]* of at most %d characters", maxToken)
	}
	return nil
}

// find returns the stack of the name or ARN. Deleted stacks are found by ARN.
func (m *Manager) find(r store.Reader, id string) (rec *Record, ok bool) {
	if !isARN(id) {
		return Stacks.Get(r, m.scope(), id)
	}
	if _, rec, ok = Stacks.FindIndex(r, m.scope(), id); ok {
		return rec, true
	}
	_, rec, ok = Deleted.FindIndex(r, m.scope(), id)
	return rec, ok
}

// authorize asks for action on a stack, which may not exist, and returns it as
// it was judged (nil when there is none) with the view that it was found in:
// what any replica has acknowledged.
func (m *Manager) authorize(ctx context.Context, caller iam.Caller, action, id string, keys ...iam.ConditionKey) (*store.View, *Record, error) {
	if err := checkNameOrARN("stackName", id); err != nil {
		return nil, nil, err
	}
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, nil, cluster.StoreFault("authorize "+action, err)
	}
	rec, ok := m.find(v, id)
	resource := id
	switch {
	case ok:
		resource = rec.ID
		keys = append(keys, resourceKeys(rec.tags())...)
	case !isARN(id):
		resource = m.stackARN(id, "*")
	}
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "cloudformation:" + action, Resource: resource, Keys: keys}); err != nil {
		return nil, nil, err
	}
	return v, rec, nil
}

// asJudged refuses a stack that is not the one, with the tags and the role,
// that a caller's right was judged on.
func asJudged(judged, now *Record) error {
	if judged.ID != now.ID || !slices.Equal(judged.tags(), now.tags()) || judged.good().RoleARN != now.good().RoleARN {
		return cluster.ChangedMeanwhile("stack")
	}
	return nil
}

// resourceKeys are the condition keys of the tags that a stack has.
func resourceKeys(tags []iam.Tag) []iam.ConditionKey {
	out := make([]iam.ConditionKey, 0, len(tags))
	for _, t := range tags {
		out = append(out, iam.ConditionKey{Name: "aws:ResourceTag/" + t.Key, Values: []string{t.Value}})
	}
	return out
}

// sourceKeys are the condition keys of what a request brings.
func sourceKeys(src *Source) []iam.ConditionKey {
	var out []iam.ConditionKey
	if len(src.Tags) > 0 {
		names := iam.ConditionKey{Name: "aws:TagKeys", Multi: true}
		for _, t := range src.Tags {
			names.Values = append(names.Values, t.Key)
			out = append(out, iam.ConditionKey{Name: "aws:RequestTag/" + t.Key, Values: []string{t.Value}})
		}
		out = append(out, names)
	}
	if src.RoleARN != "" {
		out = append(out, iam.ConditionKey{Name: "cloudformation:RoleArn", Values: []string{src.RoleARN}})
	}
	if len(src.ResourceTypes) > 0 {
		out = append(out, iam.ConditionKey{Name: "cloudformation:ResourceTypes", Values: src.ResourceTypes, Multi: true})
	}
	return out
}

// page cuts a list whose items are in the order of their keys. The marker
// names the last item returned, so that what comes and goes between pages
// neither hides nor repeats others; a marker of another list is refused.
func page[T any](list, after string, items []T, key func(T) string) (part []T, next string, err error) {
	if after != "" {
		last, ok := readMarker(list, after)
		if !ok {
			return nil, "", invalid("next-token", "The provided NextToken is invalid.")
		}
		items = slices.DeleteFunc(slices.Clone(items), func(x T) bool { return key(x) <= last })
	}
	if len(items) <= pageSize {
		return items, "", nil
	}
	items = items[:pageSize]
	return items, base64.RawURLEncoding.EncodeToString([]byte("1\x00" + list + "\x00" + key(items[pageSize-1]))), nil
}

func readMarker(list, marker string) (after string, ok bool) {
	if len(marker) > maxMarker {
		return "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(marker)
	if err != nil {
		return "", false
	}
	return strings.CutPrefix(string(b), "1\x00"+list+"\x00")
}
