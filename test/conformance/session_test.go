// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"testing"
	"time"
)

func TestField(t *testing.T) {
	in := M{"Association": M{"tags": M{"team": "data"}}, "list": []any{M{"a": 1.0}}}
	for _, tc := range []struct {
		path string
		want any
	}{
		{"association.Tags.team", "data"}, {"list.0.A", 1.0}, {"list.1.a", nil}, {"list.-1", nil}, {"list.x", nil}, {"none.at.all", nil}, {"association.tags.team.more", nil},
	} {
		if got := field(in, tc.path); !same(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.path, got, tc.want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, tc := range []struct {
		name      string
		got, want any
		same      bool
	}{
		{"numbers", 1.0, 1, true},
		{"nothing and an empty map", nil, M{}, true},
		{"an empty list and nothing", []any{}, nil, true},
		{"a text and nothing", "", nil, false},
		{"nothing and a text", nil, "a", false},
		{"false is not nothing", nil, false, false},
		{"maps", M{"a": "b"}, map[string]string{"a": "b"}, true},
		{"other maps", M{"a": "b"}, M{"a": "c"}, false},
		{"a map with more", M{"a": "b", "c": "d"}, M{"a": "b"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := same(tc.got, tc.want); got != tc.same {
				t.Errorf("same(%v, %v) = %v", tc.got, tc.want, got)
			}
		})
	}
}

func TestMoment(t *testing.T) {
	want := time.Date(2026, 11, 23, 4, 0, 0, 5e8, time.UTC)
	for _, in := range []any{"2026-11-23T04:00:00.5Z", "2026-11-23T05:00:00.500000+01:00", float64(want.UnixMilli()) / 1000} {
		if got, err := moment(in); err != nil || !got.Equal(want) {
			t.Errorf("moment(%v) = %v, %v", in, got, err)
		}
	}
	for _, in := range []any{nil, "", "yesterday", "1700862734.922", true} {
		if got, err := moment(in); err == nil {
			t.Errorf("moment(%v) = %v", in, got)
		}
	}
}

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		err    error
		absent bool
	}{
		{nil, false},
		{errors.New("lost"), false},
		{&refusal{Code: "AccessDenied"}, false},
		{&refusal{Code: "ResourceNotFoundException"}, false},
		{&refusal{Code: "UnknownOperationException"}, true},
		{&refusal{Code: "InvalidAction"}, true},
		{&refusal{Code: lacking}, true},
	} {
		if got := errors.Is(classify(tc.err), errAbsent); got != tc.absent {
			t.Errorf("%v: absent = %v", tc.err, got)
		}
	}
}

func TestDocument(t *testing.T) {
	const plain = `{"Version": "2012-10-17", "Statement": []}`
	for _, got := range []any{plain, "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D", M{"Version": "2012-10-17", "Statement": []any{}}} {
		if err := sameDocument(got, plain); err != nil {
			t.Error(err)
		}
	}
	if err := sameDocument(`{"Version": "2008-10-17"}`, plain); err == nil {
		t.Error("another document is taken for the same")
	}
}

func TestKebab(t *testing.T) {
	for in, want := range map[string]string{
		"CreatePodIdentityAssociation": "create-pod-identity-association", "CreateOpenIDConnectProvider": "create-open-id-connect-provider",
		"AssumeRoleWithWebIdentity": "assume-role-with-web-identity", "GetRole": "get-role",
	} {
		if got := kebab(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}
