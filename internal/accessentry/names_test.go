// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package accessentry_test

import (
	"slices"
	"strings"
	"testing"

	"podid/internal/accessentry"
)

func TestUsername(t *testing.T) {
	names := accessentry.Names{SessionName: "ann@example.com", AccountID: account, AccessKeyID: "ASIAX"}
	for _, tc := range []struct{ name, username, want string }{
		{"plain", "ann", "ann"},
		{"session", "dev:{{SessionName}}", "dev:ann-example.com"},
		{"raw", "dev:{{SessionNameRaw}}", "dev:ann@example.com"},
		{"all", "{{AccountID}}:{{AccessKeyID}}:{{SessionName}}{{SessionName}}", "123456789012:ASIAX:ann-example.comann-example.com"},
		{"none for nodes", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := &accessentry.Entry{Username: tc.username}
			if got, _ := e.Identity(names); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
	// A name is put in once: what it holds is not looked at again.
	e := &accessentry.Entry{Username: "dev:{{SessionName}}"}
	if got, _ := e.Identity(accessentry.Names{SessionName: "{{AccountID}}", AccountID: account}); got != "dev:{{AccountID}}" {
		t.Errorf("%q", got)
	}
}

func TestGroups(t *testing.T) {
	e := &accessentry.Entry{Groups: []string{"z", "a"}, Policies: []accessentry.Associated{
		{PolicyARN: edit, Namespaces: []string{"two", "one"}}, {PolicyARN: view},
	}}
	want := []string{
		"a", "podid.dev:cluster:AmazonEKSViewPolicy", "podid.dev:namespace:one:AmazonEKSEditPolicy", "podid.dev:namespace:two:AmazonEKSEditPolicy", "z",
	}
	for range 2 { // and the entry stays as it is
		if _, got := e.Identity(accessentry.Names{}); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	}
	if got := e.PolicyARNs(); !slices.Equal(got, []string{edit, view}) {
		t.Errorf("%q", got)
	}
}

// FuzzUsername: whatever name an entry is allowed to have, nobody becomes
// somebody of Kubernetes' own by choosing a session's name.
func FuzzUsername(f *testing.F) {
	for _, s := range []string{"x:{{SessionName}}", "{{SessionName}}", "{{AccountID}}{{SessionNameRaw}}", "sys{{SessionName}}", "{{AccessKeyID}}:{{SessionName}}", "", "a:{{", "s:{{SessionNameRaw}}:masters"} {
		f.Add(s, "tem")
	}
	h := newHouse(f)
	f.Fuzz(func(t *testing.T, username, session string) {
		e, err := h.Create(t.Context(), me, accessentry.CreateInput{Cluster: "c", PrincipalARN: devARN, Username: username})
		if err != nil {
			return
		}
		if err := h.Delete(t.Context(), me, "c", devARN); err != nil {
			t.Fatal(err)
		}
		session = strings.ReplaceAll(session, ":", "") // STS refuses it in a session's name
		got, groups := e.Identity(accessentry.Names{SessionName: session, AccountID: account, AccessKeyID: "ASIAX"})
		if len(groups) != 0 || strings.HasPrefix(got, "system:") || strings.HasPrefix(got, "eks:") || strings.ContainsAny(e.Username, "\r\n\x00") {
			t.Errorf("%q makes %q of %q", username, got, session)
		}
	})
}
