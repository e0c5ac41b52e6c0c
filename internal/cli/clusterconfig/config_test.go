// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfig

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "rewrite golden files")

func read(t *testing.T, text string) *Set {
	t.Helper()
	s := &Set{}
	if err := s.Read("file", []byte(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReadEksctl reads a file as eksctl's users write it, with parts that
// have nothing to do with associations.
func TestReadEksctl(t *testing.T) {
	text, err := os.ReadFile("testdata/eksctl.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := read(t, string(text))
	want := &Set{
		Clusters: []*ClusterConfig{{
			Name: "my-cluster", Region: "us-west-2",
			Associations: []*Association{
				{
					Namespace: "backend", ServiceAccountName: "reader", RoleName: "backend-reader", CreateServiceAccount: true,
					PermissionPolicyARNs: []string{"arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"},
					WellKnownPolicies:    map[string]bool{"externalDNS": true, "ebsCSIController": true},
					Tags:                 map[string]string{"team": "data", "on-call": "yes"},
				},
				{
					Namespace: "backend", ServiceAccountName: "writer", PermissionPolicyName: "objects",
					PermissionPolicy:       Document(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject"],"Resource":"*","Condition":{"Bool":{"aws:SecureTransport":true},"NumericLessThan":{"s3:max-keys":10}}}]}`),
					PermissionsBoundaryARN: "arn:aws:iam::111122223333:policy/edge",
				},
				{
					Namespace: "batch", ServiceAccountName: "nightly", RoleARN: "arn:aws:iam::111122223333:role/hop",
					TargetRoleARN: "arn:aws:iam::444455556666:role/reports", DisableSessionTags: true,
					Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`,
				},
			},
		}},
		Ignored: []string{"file:44: iam.serviceAccounts", "file:47: addons"},
	}
	if d := cmp.Diff(want, s, cmpopts.IgnoreTypes(Place{})); d != "" {
		t.Error(d)
	}
}

const head = "apiVersion: eksctl.io/v1alpha5\nkind: ClusterConfig\nmetadata: {name: c}\niam:\n  podIdentityAssociations:\n"

func TestReadRefuses(t *testing.T) {
	iam := "apiVersion: podid.dev/v1alpha1\nkind: IAMConfig\n"
	trust := "  trustPolicy: {Statement: []}\n"
	for _, tc := range []struct{ name, text, want string }{
		{"nothing", "", "file holds no ClusterConfig and no IAMConfig"},
		{"no YAML", "a: b: c", "read file: yaml: "},
		{"a list at the top", "- a", "file:1:  must be an object"},
		{"another kind", "apiVersion: v1\nkind: Pod", `file:1: "Pod" of "v1" is no kind that is known here`},
		{"an unknown member at the top", "apiVersion: eksctl.io/v1alpha5\nkind: ClusterConfig\nmetadata: {name: c}\nmetdata: {}", "file:4: unknown field metdata"},
		{"an unknown member of an association", head + "  - namespace: n\n    serviceAccountName: s\n    roleARN: r\n    rolearn: x", "file:9: unknown field iam.podIdentityAssociations[0].rolearn; it is written roleARN"},
		{"a member twice", head + "  - namespace: n\n    namespace: m", "file:7: iam.podIdentityAssociations[0].namespace is given twice"},
		{"a number for a string", head + "  - namespace: 5", "file:6: iam.podIdentityAssociations[0].namespace must be a string"},
		{"no list", "apiVersion: eksctl.io/v1alpha5\nkind: ClusterConfig\nmetadata: {name: c}\niam: {podIdentityAssociations: {}}", "file:4: iam.podIdentityAssociations must be a list"},
		{"no cluster", "apiVersion: eksctl.io/v1alpha5\nkind: ClusterConfig\n", "file:1: metadata.name, the cluster, is needed"},
		{"no service account", head + "  - namespace: n", "file:6: an association needs namespace and serviceAccountName"},
		{"no role", head + "  - {namespace: n, serviceAccountName: s}", "file:6: n/s: roleARN, or permissionPolicy"},
		{"a role and policies", head + "  - {namespace: n, serviceAccountName: s, roleARN: r, permissionPolicyARNs: [p], permissionsBoundaryARN: b}", "n/s: permissionPolicyARNs, permissionsBoundaryARN belongs to a role to be made"},
		{"two roles", head + "  - {namespace: n, serviceAccountName: s, roleARN: a:role/r, roleName: q}", "roleARN and roleName name different roles"},
		{"a service account twice", head + "  - {namespace: n, serviceAccountName: s, roleName: r}\n  - {namespace: n, serviceAccountName: s, roleName: q}", "file:7: n/s has an association already, at line 6"},
		{"a policy name alone", head + "  - {namespace: n, serviceAccountName: s, roleName: r, permissionPolicyName: x}", "permissionPolicyName needs permissionPolicy"},
		{"a session policy with tags", head + "  - {namespace: n, serviceAccountName: s, roleName: r, policy: '{}'}", "policy needs disableSessionTags: true"},
		{"a session policy that is no JSON", head + "  - {namespace: n, serviceAccountName: s, roleName: r, policy: '{', disableSessionTags: true}", "policy is not JSON"},
		{"an unknown well-known policy", head + "  - {namespace: n, serviceAccountName: s, wellKnownPolicies: {route66: false}}", `"route66" is no well-known policy: there are imageBuilder`},
		{"a quoted boolean", head + "  - {namespace: n, serviceAccountName: s, roleName: r, createServiceAccount: 'true'}", "createServiceAccount must be true or false"},
		{"a document as text", head + "  - {namespace: n, serviceAccountName: s, permissionPolicy: '{}'}", "permissionPolicy must be a policy document, an object"},
		{"no JSON number", head + "  - {namespace: n, serviceAccountName: s, permissionPolicy: {a: .inf}}", "permissionPolicy.a is no number of JSON"},
		{"a strange tag", head + "  - {namespace: n, serviceAccountName: s, permissionPolicy: {a: !!binary aa}}", "has a tag that JSON does not know"},
		{"an account of words", iam + "metadata: {account: mine}", "file:3: metadata.account must be 12 digits"},
		{"a role without trust", iam + "roles:\n- name: r", "file:4: a role needs name and trustPolicy"},
		{"a role twice", iam + "roles:\n- name: r\n" + trust + "- name: R\n" + trust, "file:6: role R is given twice"},
		{"a path without an end", iam + "roles:\n- name: r\n  path: /a\n" + trust, `path "/a" must begin and end with /`},
		{"a session of words", iam + "roles:\n- name: r\n  maxSessionDuration: 1h\n" + trust, "maxSessionDuration must be a number"},
		{"an inline policy twice", iam + "roles:\n- name: r\n" + trust + "  inlinePolicies: [{name: a, document: {}}, {name: a, document: {}}]", "inline policy a is given twice"},
		{"an inline policy without a name", iam + "roles:\n- name: r\n" + trust + "  inlinePolicies: [{document: {}}]", "roles[0].inlinePolicies[0] needs name and document"},
		{"a managed policy without a document", iam + "policies:\n- name: r", "a policy needs name and document"},
		{"an alias to itself", head + "  - {namespace: n, serviceAccountName: s, permissionPolicy: &a {x: *a}}", "is nested too deeply"},
		{"a merge of a string", head + "  - {<<: 'x'}", "<< must name an object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := (&Set{}).Read("file", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// TestReadAllFaults tells all faults of a file, and adds nothing of it.
func TestReadAllFaults(t *testing.T) {
	s := &Set{}
	err := s.Read("file", []byte(head+"  - {namespace: n, serviceAccountName: 1}\n  - {nmaespace: n}\n"))
	if err == nil || strings.Count(err.Error(), "\n") < 2 || len(s.Clusters) != 0 {
		t.Errorf("got %v and %d clusters", err, len(s.Clusters))
	}
}

// TestReadAliases bounds what aliases multiply to.
func TestReadAliases(t *testing.T) {
	text := head + "  - namespace: n\n    serviceAccountName: s\n    permissionPolicy:\n      a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		prev, this := string(rune('0'+i-1)), string(rune('0'+i))
		text += "      a" + this + ": &a" + this + " [" + strings.TrimSuffix(strings.Repeat("*a"+prev+", ", 10), ", ") + "]\n"
	}
	err := (&Set{}).Read("file", []byte(text))
	if err == nil || !strings.Contains(err.Error(), "more than 500000 values, aliases counted") {
		t.Errorf("got %v", err)
	}
}

func TestReadMerge(t *testing.T) {
	s := read(t, "apiVersion: v1\nkind: List\nitems:\n- apiVersion: eksctl.io/v1alpha5\n  kind: ClusterConfig\n  metadata: {name: c}\n  iam:\n    podIdentityAssociations:\n"+
		"    - &base {namespace: n, serviceAccountName: one, roleName: r}\n    - {<<: *base, serviceAccountName: two}\n")
	if got := s.Clusters[0].Associations[1]; got.Subject() != "n/two" || got.RoleName != "r" {
		t.Errorf("got %+v", got)
	}
}

// everything has each member of each kind, and strings that YAML readers
// could misread.
func everything() *Set {
	return &Set{
		Clusters: []*ClusterConfig{
			{Name: "empty"},
			{Name: "my-cluster", Region: "us-west-2", Associations: []*Association{{
				Namespace: "123", ServiceAccountName: "s", CreateServiceAccount: true, RoleName: "r",
				PermissionPolicyARNs: []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"}, PermissionPolicyName: "p",
				PermissionPolicy:  Document(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"Bool":{"a":true},"Null":{"b":null},"N":{"c":1.5,"d":-3}}}],"Z":{},"A":[]}`),
				WellKnownPolicies: map[string]bool{"certManager": true}, PermissionsBoundaryARN: "arn:aws:iam::111122223333:policy/b",
				Tags: map[string]string{"on": "yes", "null": "", "n": "~", "time": "2026-01-01", "colon": "a: b", "hash": "a #b", "lines": "a\nb", "wide": "ü\u2028😀", "quote": `"'\`, "0": "0x1F", "tab": "\t", "star": "*x", "dash": "-"},
			}, {
				Namespace: "n", ServiceAccountName: "t", RoleARN: "arn:aws:iam::111122223333:role/a/b", TargetRoleARN: "arn:aws:iam::444455556666:role/x",
				DisableSessionTags: true, Policy: `{"Statement": []}`,
			}}},
		},
		IAM: []*IAMConfig{{
			Account:  "011122223333",
			Policies: []*ManagedPolicy{{Name: "p", Path: "/a/", Description: "what it is", Document: Document(`{"Statement":[]}`), Tags: map[string]string{"a": "b"}}},
			Roles: []*Role{{
				Name: "r", Path: "/", Description: "d", MaxSessionDuration: 7200, TrustPolicy: Document(`{"Statement":[]}`), PermissionPolicyARNs: []string{"x"},
				InlinePolicies: []InlinePolicy{{"i", Document(`{"Statement":[{"Sid":"<&>"}]}`)}}, PermissionsBoundaryARN: "b", Tags: map[string]string{"a": "b"},
			}},
		}},
	}
}

func TestRoundTrip(t *testing.T) {
	for name, write := range map[string]func(*Set) ([]byte, error){"yaml": (*Set).YAML, "json": (*Set).JSON} {
		t.Run(name, func(t *testing.T) {
			text, err := write(everything())
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "everything."+name)
			if *update {
				if err := os.WriteFile(golden, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(text)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(everything(), read(t, string(text)), cmpopts.IgnoreTypes(Place{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// FuzzRead holds that no file makes the reader fall, and that what it takes
// it writes and takes again.
func FuzzRead(f *testing.F) {
	text, err := everything().YAML()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(head + "  - {namespace: n, serviceAccountName: s, permissionPolicy: {a: " + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + "}}\n"))
	f.Add([]byte(head + "  - {<<: [{namespace: n}], serviceAccountName: &a s, roleName: *a}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &Set{}
		if s.Read("file", text) != nil {
			return
		}
		again, err := s.YAML()
		if err != nil {
			t.Fatalf("write what was read: %v", err)
		}
		back := &Set{}
		if err := back.Read("file", again); err != nil {
			t.Fatalf("read what was written: %v\n%s", err, again)
		}
		back.Ignored = s.Ignored
		if d := cmp.Diff(s, back, cmpopts.IgnoreTypes(Place{}), cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
	})
}
