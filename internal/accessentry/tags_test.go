// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"podid/internal/accessentry"
	"podid/internal/fault"
	"podid/internal/iam"
)

// Tags change, with the time of the change, and nothing else of the entry
// does. Entries before and after it in the list stay as they are.
func TestTags(t *testing.T) {
	h := newHouse(t)
	dev := h.create(t, accessentry.CreateInput{PrincipalARN: devARN, Groups: []string{"g"}, Tags: map[string]string{"team": "a"}})
	ann := h.create(t, accessentry.CreateInput{PrincipalARN: annARN})
	h.now = h.now.Add(time.Minute)
	for _, step := range []struct {
		what string
		do   func() error
		want map[string]string
	}{
		{"add and replace", func() error {
			return h.Tag(t.Context(), me, "c", dev.ARN, map[string]string{"team": "b", "more": ""})
		}, map[string]string{"team": "b", "more": ""}},
		{"remove, and what is not there", func() error { return h.Untag(t.Context(), me, "c", dev.ARN, []string{"team", "none"}) }, map[string]string{"more": ""}},
		{"remove the last", func() error { return h.Untag(t.Context(), me, "c", dev.ARN, []string{"more"}) }, map[string]string{}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(step.what, err)
		}
		if got, err := h.Tags(t.Context(), me, "c", dev.ARN); err != nil || !maps.Equal(got, step.want) {
			t.Errorf("%s: %v %v", step.what, got, err)
		}
		want := *dev
		want.Tags, want.Modified = step.want, h.now
		if diff := cmp.Diff(&want, h.devEntry(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
	}
	if err := h.Tag(t.Context(), me, "c", ann.ARN, map[string]string{"who": "ann"}); err != nil {
		t.Fatal(err)
	}
	if got := h.devEntry().Tags; len(got) != 0 {
		t.Errorf("another entry's tags are %v", got)
	}
}

// Every call asks on the entry's ARN, with the tags that it brings and those
// that the entry has.
func TestTagsAsk(t *testing.T) {
	h := newHouse(t)
	e := h.create(t, accessentry.CreateInput{PrincipalARN: devARN, Tags: map[string]string{"team": "a"}})
	have := iam.ConditionKey{Name: "aws:ResourceTag/team", Values: []string{"a"}}
	h.gate.asked = nil
	if _, err := h.Tags(t.Context(), me, "c", e.ARN); err != nil {
		t.Fatal(err)
	}
	if err := h.Untag(t.Context(), me, "c", e.ARN, []string{"none"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Tag(t.Context(), me, "c", e.ARN, map[string]string{"env": "x"}); err != nil {
		t.Fatal(err)
	}
	want := []iam.Query{
		{Action: "eks:ListTagsForResource", Resource: e.ARN, Keys: []iam.ConditionKey{have}},
		{Action: "eks:UntagResource", Resource: e.ARN, Keys: []iam.ConditionKey{{Name: "aws:TagKeys", Values: []string{"none"}, Multi: true}, have}},
		{Action: "eks:TagResource", Resource: e.ARN, Keys: []iam.ConditionKey{
			{Name: "aws:RequestTag/env", Values: []string{"x"}}, {Name: "aws:TagKeys", Values: []string{"env"}, Multi: true}, have,
		}},
	}
	if diff := cmp.Diff(want, h.gate.asked); diff != "" {
		t.Error(diff)
	}
}

// An entry is meant by all of its ARN; whoever may not ask is not told that
// there is none.
func TestTagsOfNone(t *testing.T) {
	h := newHouse(t)
	h.register(t, "other")
	gone := h.create(t, accessentry.CreateInput{PrincipalARN: devARN})
	if err := h.Delete(t.Context(), me, "c", devARN); err != nil {
		t.Fatal(err)
	}
	e := h.create(t, accessentry.CreateInput{PrincipalARN: devARN, Tags: map[string]string{"team": "a"}})
	before := h.records()
	for _, tc := range []struct{ name, cluster, arn, reason string }{
		{"deleted and made again", "c", gone.ARN, "access-entry-not-found"},
		{"another id", "c", e.ARN[:len(e.ARN)-1] + "x", "access-entry-not-found"},
		{"no id", "c", strings.TrimRight(e.ARN, "0123456789abcdef-"), "access-entry-not-found"},
		{"another case", "c", strings.Replace(e.ARN, "/dev/", "/Dev/", 1), "access-entry-not-found"},
		{"a user of that name", "c", strings.Replace(e.ARN, "/role/", "/user/", 1), "access-entry-not-found"},
		{"another account", "c", strings.Replace(e.ARN, "/role/"+account, "/role/210987654321", 1), "access-entry-not-found"},
		{"another cluster", "other", strings.Replace(e.ARN, "/c/", "/other/", 1), "access-entry-not-found"},
		{"no cluster", "none", strings.Replace(e.ARN, "/c/", "/none/", 1), "cluster-not-found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for action, verb := range map[string]func() error{
				"eks:TagResource":         func() error { return h.Tag(t.Context(), me, tc.cluster, tc.arn, map[string]string{"team": "b"}) },
				"eks:UntagResource":       func() error { return h.Untag(t.Context(), me, tc.cluster, tc.arn, []string{"team"}) },
				"eks:ListTagsForResource": func() error { _, err := h.Tags(t.Context(), me, tc.cluster, tc.arn); return err },
			} {
				h.gate.deny, h.gate.asked = "", nil
				refused(t, verb(), fault.NotFound, tc.reason)
				if len(h.gate.asked) != 1 || h.gate.asked[0].Action != action || h.gate.asked[0].Resource != tc.arn {
					t.Errorf("%s asked %+v", action, h.gate.asked)
				}
				h.gate.deny = action
				refused(t, verb(), fault.AccessDenied, "denied")
			}
			if after := h.records(); after != before {
				t.Errorf("before:\n%s\nnow:\n%s", before, after)
			}
		})
	}
}

func TestTagsRefuse(t *testing.T) {
	h := newHouse(t)
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint("k", i)] = "v"
	}
	e := h.create(t, accessentry.CreateInput{PrincipalARN: devARN, Tags: many})
	before := h.records()
	tag := func(tags map[string]string) error { return h.Tag(t.Context(), me, "c", e.ARN, tags) }
	refused(t, tag(nil), fault.MissingParameter, "tags-missing")
	refused(t, tag(map[string]string{"aws:x": "y"}), fault.InvalidParameter, "tag-reserved")
	refused(t, tag(map[string]string{"": "y"}), fault.InvalidParameter, "tag-key")
	refused(t, tag(map[string]string{"one": "more"}), fault.InvalidParameter, "tag-count")
	refused(t, h.Untag(t.Context(), me, "c", e.ARN, nil), fault.MissingParameter, "tags-missing")
	refused(t, h.Untag(t.Context(), me, "c", e.ARN, slices.Repeat([]string{"k0"}, 51)), fault.InvalidParameter, "tag-count")
	if after := h.records(); after != before {
		t.Errorf("before:\n%s\nnow:\n%s", before, after)
	}
	if err := tag(map[string]string{"k0": "w"}); err != nil {
		t.Errorf("a new value of one of 50: %v", err)
	}
}
