// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package irsa

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	listYAML = `apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ServiceAccount
  metadata:
    name: default
    namespace: s3-app-ns
- apiVersion: v1
  kind: ServiceAccount
  metadata:
    annotations:
      eks.amazonaws.com/role-arn: arn:aws:iam::111122223333:role/s3
      eks.amazonaws.com/audience: sts.amazonaws.com
    name: s3-app-sa
    namespace: s3-app-ns
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: x, namespace: s3-app-ns}
`
	manifests = `# two of them
---
kind: ServiceAccount
metadata: {name: b, annotations: {eks.amazonaws.com/role-arn: " arn:aws:iam::111122223333:role/b "}}
--- # and another
kind: ServiceAccount
metadata:
  name: a
  namespace: z
  annotations:
    eks.amazonaws.com/role-arn: arn:aws:iam::111122223333:role/a
    note: |
      text with
       --- in it
---
`
	typedJSON = "{\n\t\"kind\": \"ServiceAccountList\", \"items\": [\n\t{\"metadata\": {\"name\": \"n\", \"namespace\": \"s\", \"annotations\": {\"eks.amazonaws.com/role-arn\": \"r\"}}}]}\n" +
		`{"kind": "ServiceAccount", "metadata": {"name": "n", "namespace": "s", "annotations": {"eks.amazonaws.com/role-arn": "r"}}}`
)

func TestRead(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     Found
	}{
		{"what kubectl writes", listYAML, Found{Plain: 1, Others: 1, Annotated: []ServiceAccount{{"s3-app-ns", "s3-app-sa", "arn:aws:iam::111122223333:role/s3"}}}},
		{"manifests", manifests, Found{Annotated: []ServiceAccount{{"", "b", "arn:aws:iam::111122223333:role/b"}, {"z", "a", "arn:aws:iam::111122223333:role/a"}}}},
		{"JSON with tabs, and the same again", typedJSON, Found{Annotated: []ServiceAccount{{"s", "n", "r"}}}},
		{"an empty annotation is one", `{"kind":"ServiceAccount","metadata":{"name":"n","annotations":{"eks.amazonaws.com/role-arn":""}}}`, Found{Annotated: []ServiceAccount{{"", "n", ""}}}},
		{
			"two roles for one", "kind: ServiceAccount\nmetadata: {name: sa, annotations: {eks.amazonaws.com/role-arn: r1}}\n---\nkind: ServiceAccount\nmetadata: {name: sa, annotations: {eks.amazonaws.com/role-arn: r2}}",
			Found{Annotated: []ServiceAccount{{"", "sa", "r1"}, {"", "sa", "r2"}}},
		},
		{"an empty list", "kind: List\nitems: []\n", Found{Others: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Read(strings.NewReader(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"nothing":          {"", "there is no service account"},
		"comments only":    {"# none\n---\n", "there is no service account"},
		"no kind":          {"a: 1\n", "document 1: it has no kind"},
		"an item's kind":   {"kind: List\nitems: [{}]", "document 1: item 1 has no kind"},
		"no name":          {"kind: ServiceAccount\n", "document 1: a ServiceAccount has no metadata.name"},
		"an item's name":   {"kind: ServiceAccountList\nitems: [{}]", "item 1: the ServiceAccount has no metadata.name"},
		"text":             {"just words\n", "document 1: read object"},
		"no YAML":          {"kind: List\n---\n\t- x: [", "document 2: "},
		"no JSON":          {`{"kind":"List"} {`, "document 2: "},
		"another type":     {`{"kind":"ServiceAccount","metadata":{"name":1}}`, "document 1: read object"},
		"an item's type":   {`{"kind":"List","items":[1]}`, "item 1: read object"},
		"an array of them": {"- kind: ServiceAccount\n", "document 1: read object"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(strings.NewReader(tc.in))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("read %+v, error %v, want %q", got, err, tc.want)
			}
		})
	}
	if _, err := Read(strings.NewReader(strings.Repeat("#", MaxFile+1))); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a file that is too long: %v", err)
	}
}

// FuzzRead holds that reading ends, and that what is found has a name.
func FuzzRead(f *testing.F) {
	f.Add(listYAML)
	f.Add(manifests)
	f.Add(typedJSON)
	f.Fuzz(func(t *testing.T, in string) {
		got, err := Read(strings.NewReader(in))
		if err != nil {
			return
		}
		for _, s := range got.Annotated {
			if s.Name == "" {
				t.Errorf("a service account without a name: %+v", got)
			}
		}
	})
}
