// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

type object = map[string]any

// awsPolicyJSON is a policy as the AWS CLI prints it; change edits it.
func awsPolicyJSON(name, version string, change func(object)) object {
	number := strings.TrimPrefix(version, "v")
	p := object{
		"PolicyName": name, "PolicyId": "ANPAJ2P4NXCHAT7NDPNR4", "Arn": "arn:aws:iam::aws:policy/" + name, "Path": "/", "DefaultVersionId": version,
		"AttachmentCount": 0, "IsAttachable": true, "CreateDate": "2020-01-02T03:04:05+00:00", "UpdateDate": "2024-01-02T03:04:05+00:00",
		"PolicyVersionList": []object{{
			"Document":  object{"Version": "2012-10-17", "Statement": []object{{"Effect": "Allow", "Action": "s3:Get" + number, "Resource": "*"}}},
			"VersionId": version, "IsDefaultVersion": true, "CreateDate": "2024-01-02T03:04:05+00:00",
		}},
	}
	if change != nil {
		change(p)
	}
	return p
}

func pageJSON(t testing.TB, policies ...object) []byte {
	t.Helper()
	raw, err := json.MarshalIndent(object{"UserDetailList": []any{}, "GroupDetailList": []any{}, "RoleDetailList": []any{}, "Policies": policies}, "", "    ")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (h *house) importFile(t testing.TB, dry bool, file []byte) (*iam.ImportResult, error) {
	t.Helper()
	h.First = account
	return h.ImportManagedPolicies(t.Context(), admin, dry, func() (io.Reader, error) { return bytes.NewReader(file), nil })
}

const oddPolicy = "arn:aws:iam::aws:policy/OddPolicy"

func TestImport(t *testing.T) {
	h := newHouse(t)
	h.mustRole(t, "r")
	refused(t, h.AttachRolePolicy(t.Context(), admin, "r", oddPolicy), fault.NotFound, "Policy "+oddPolicy+" does not exist or is not attachable.")
	first := append(pageJSON(t, awsPolicyJSON("OddPolicy", "v2", nil)), pageJSON(t, awsPolicyJSON("AmazonS3ReadOnlyAccess", "v9", nil))...)
	dry, err := h.importFile(t, true, first)
	ok(t, err)
	if !dry.DryRun || dry.Policies != 2 || !slices.Equal(dry.Added, []string{"OddPolicy"}) || !slices.Equal(dry.Updated, []string{"AmazonS3ReadOnlyAccess"}) {
		t.Errorf("dry = %+v", dry)
	}
	if _, found := iam.FindPolicy(h.store.View(), account, oddPolicy); found {
		t.Fatal("a dry run imports")
	}
	done, err := h.importFile(t, false, first)
	ok(t, err)
	if done.DryRun || done.Total != dry.Total || len(done.Added) != 1 || len(done.Updated) != 1 {
		t.Errorf("done = %+v", done)
	}
	ok(t, h.AttachRolePolicy(t.Context(), admin, "r", oddPolicy))
	ref, err := iam.ManagedPolicy(h.store.View(), s3Read)
	ok(t, err)
	if !strings.Contains(ref.Document, "s3:Get9") {
		t.Errorf("the embedded document counts: %s", ref.Document)
	}
	p, found := iam.FindPolicy(h.store.View(), account, s3Read)
	if !found || p.ID != "ANPAJ2P4NXCHAT7NDPNR4" || len(p.Versions) < 2 || p.NextVersion != 10 {
		t.Errorf("policy = %+v: the embedded version is gone", p)
	}
	if _, found := iam.FindPolicy(h.store.View(), account, "arn:aws:iam::aws:policy/AdministratorAccess"); !found {
		t.Error("the embedded policies are gone")
	}
	again, err := h.importFile(t, false, first)
	ok(t, err)
	if again.Unchanged != 2 || len(again.Added)+len(again.Updated) != 0 {
		t.Errorf("again = %+v", again)
	}
	// Attached, and another version.
	next, err := h.importFile(t, false, pageJSON(t, awsPolicyJSON("OddPolicy", "v3", nil)))
	ok(t, err)
	if !slices.Equal(next.Updated, []string{"OddPolicy"}) || next.Total != done.Total {
		t.Errorf("next = %+v", next)
	}
	r, _ := iam.FindRole(h.store.View(), account, "r")
	refs, err := iam.PoliciesOfRole(h.store.View(), r)
	ok(t, err)
	if len(refs) != 1 || !strings.Contains(refs[0].Document, "s3:Get3") {
		t.Errorf("policies = %+v", refs)
	}
	versions, err := h.ListPolicyVersions(t.Context(), admin, oddPolicy, iam.Page{})
	ok(t, err)
	if len(versions.Items) != 2 || versions.Items[0].ID != "v3" || !versions.Items[0].Default || versions.Items[1].ID != "v2" {
		t.Errorf("versions = %+v", versions.Items)
	}
	if ref, err = iam.ManagedPolicy(h.store.View(), s3Read); err != nil || !strings.Contains(ref.Document, "s3:Get9") {
		t.Errorf("a policy that is not in the file is gone: %s, %v", ref.Document, err)
	}
	n := 0
	for range iam.AWSPolicies.List(h.store.View(), store.Scope{Account: store.System, Region: store.Global}, "", "") {
		n++
	}
	if n != 2 {
		t.Errorf("%d records, want 2: old generations stay", n)
	}
	listed, err := h.ListPolicies(t.Context(), admin, iam.ListPoliciesInput{Scope: "AWS", OnlyAttached: true})
	ok(t, err)
	if len(listed.Items) != 1 || listed.Items[0].Name != "OddPolicy" || listed.Items[0].Attachments != 1 {
		t.Errorf("attached = %+v", listed.Items)
	}
}

func TestImportRefuses(t *testing.T) {
	one := func(change func(object)) func(testing.TB) []byte {
		return func(t testing.TB) []byte {
			return pageJSON(t, awsPolicyJSON("Good", "v1", nil), awsPolicyJSON("OddPolicy", "v2", change))
		}
	}
	set := func(key string, value any) func(testing.TB) []byte { return one(func(p object) { p[key] = value }) }
	version := func(change func(object)) func(testing.TB) []byte {
		return one(func(p object) { change(p["PolicyVersionList"].([]object)[0]) })
	}
	text := func(s string) func(testing.TB) []byte { return func(testing.TB) []byte { return []byte(s) } }
	for _, tc := range []struct {
		name string
		file func(testing.TB) []byte
		want string
	}{
		{"nothing", text(""), "the file has no policies"},
		{"no policies", text(`{"Policies":[]}`), "the file has no policies"},
		{"not JSON", text("hello"), "document 1 of the file, near byte "},
		{"half", text(`{"Policies":[]}{"Policies":[`), "document 2 of the file"},
		{"other output", text(`{"PolicyGroups":[]}`), "document 1 of the file has no member Policies"},
		{"a list", text(`[]`), "is not what get-account-authorization-details prints"},
		{"name", set("PolicyName", "a b"), `policy "a b": PolicyName "a b" is no name of a policy`},
		{"path", set("Path", "x"), `policy "OddPolicy": Path "x" is no path`},
		{"own policy", set("Arn", "arn:aws:iam::111122223333:policy/OddPolicy"), `policy "OddPolicy": Arn is "arn:aws:iam::111122223333:policy/OddPolicy"`},
		{"other partition", set("Arn", "arn:aws-cn:iam::aws:policy/OddPolicy"), "in this partition"},
		{"id", set("PolicyId", "AROAX"), `PolicyId "AROAX" is no id of a policy`},
		{"no date", set("CreateDate", nil), "CreateDate or UpdateDate is missing"},
		{"default version", set("DefaultVersionId", "v7"), `DefaultVersionId "v7" is none of its 1 versions`},
		{"no versions", set("PolicyVersionList", []object{}), "none of its 0 versions"},
		{"version", version(func(v object) { v["VersionId"] = "2" }), `VersionId "2" is no version`},
		{"default of another", version(func(v object) { v["IsDefaultVersion"] = false }), "version v2 says IsDefaultVersion false"},
		{"no document", version(func(v object) { delete(v, "Document") }), "version v2: it has no document"},
		{"bad document", version(func(v object) {
			v["Document"] = object{"Version": "2012-10-17", "Statement": object{"Effect": "Allow"}}
		}), `policy "OddPolicy": version v2: `},
		{"document no JSON", version(func(v object) { v["Document"] = "hello" }), "version v2: read document"},
		{"twice", func(t testing.TB) []byte {
			return pageJSON(t, awsPolicyJSON("OddPolicy", "v1", nil), awsPolicyJSON("OddPolicy", "v2", nil))
		}, `policy "OddPolicy": it is in the file twice, and differs`},
		{"many faults", func(t testing.TB) []byte {
			var all []object
			for i := range 30 {
				all = append(all, awsPolicyJSON(fmt.Sprint("P", i), "v1", func(p object) { p["Path"] = "x" }))
			}
			return pageJSON(t, all...)
		}, "more."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t)
			_, err := h.importFile(t, false, tc.file(t))
			if f := fault.As(err); f.Kind != fault.InvalidParameter || f.Reason != "import-refused" || !strings.Contains(f.Message, tc.want) || !strings.HasPrefix(f.Message, "Nothing is imported") {
				t.Errorf("err = %v, want …%s…", err, tc.want)
			}
			if _, found := iam.FindPolicy(h.store.View(), account, "arn:aws:iam::aws:policy/Good"); found {
				t.Error("a part of the file is imported")
			}
		})
	}
}

// TestImportAsksFirst: the file is not even read for who may not, and only the
// first account may.
func TestImportAsksFirst(t *testing.T) {
	h := newHouse(t)
	unread := func() (io.Reader, error) {
		t.Error("the file was read")
		return nil, errors.New("read")
	}
	h.First = account
	h.asked.deny["podid:ImportManagedPolicies"] = true
	_, err := h.ImportManagedPolicies(t.Context(), admin, false, unread)
	if !fault.Is(err, fault.AccessDenied) || h.asked.last().Resource != "arn:aws:iam::aws:policy/*" {
		t.Errorf("err = %v, asked %+v", err, h.asked.last())
	}
	h.asked.deny = map[string]bool{}
	h.First = "444455556666"
	_, err = h.ImportManagedPolicies(t.Context(), admin, false, unread)
	refused(t, err, fault.AccessDenied, "User: arn:aws:iam::111122223333:user/podid-admin is not authorized to perform: podid:ImportManagedPolicies on resource: arn:aws:iam::aws:policy/* because only the first account of the installation may")
}

// TestImportOfAnotherFile: a file that turns out, at its end, not to be the one
// that was signed changes nothing, and that is said before all that is wrong
// with it.
func TestImportOfAnotherFile(t *testing.T) {
	unsigned := fault.New(fault.SignatureMismatch, "not the one")
	for name, file := range map[string][]byte{
		"whole": pageJSON(t, awsPolicyJSON("OddPolicy", "v1", nil)), "half": []byte(`{"Policies":[`), "no JSON": []byte(`hello`), "empty": nil,
		"other output": []byte(`{}`), "faulty": pageJSON(t, awsPolicyJSON("OddPolicy", "v1", func(p object) { p["Path"] = "x" })),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.First = account
			_, err := h.ImportManagedPolicies(t.Context(), admin, false, func() (io.Reader, error) {
				return io.MultiReader(bytes.NewReader(file), iotest.ErrReader(unsigned)), nil
			})
			if !errors.Is(err, unsigned) {
				t.Errorf("err = %v", err)
			}
			if n := len(listAWS(t, h)); n != len(listAWS(t, newHouse(t))) {
				t.Errorf("%d policies of AWS", n)
			}
		})
	}
}

// TestImportEncodedDocuments: some tools print documents as they are on the
// wire.
func TestImportEncodedDocuments(t *testing.T) {
	h := newHouse(t)
	for i, doc := range []string{
		`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:Get0", "Resource": "*"}}`,
		`%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3AGet1%22%2C%22Resource%22%3A%22%2A%22%7D%7D`,
	} {
		_, err := h.importFile(t, false, pageJSON(t, awsPolicyJSON("OddPolicy", "v1", func(p object) { p["PolicyVersionList"].([]object)[0]["Document"] = doc })))
		ok(t, err)
		want := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get%d","Resource":"*"}}`, i)
		if ref, err := iam.ManagedPolicy(h.store.View(), oddPolicy); err != nil || ref.Document != want {
			t.Errorf("document = %s, %v", ref.Document, err)
		}
	}
}

// TestImportManyPolicies: as many as AWS has go in over several transactions
// and are there at once.
func TestImportManyPolicies(t *testing.T) {
	h := newHouse(t)
	var all []object
	for i := range 300 {
		all = append(all, awsPolicyJSON(fmt.Sprintf("Policy%03d", i), "v1", nil))
	}
	out, err := h.importFile(t, false, pageJSON(t, all...))
	ok(t, err)
	if len(out.Added) != 300 {
		t.Errorf("added %d", len(out.Added))
	}
	set, found := iam.PolicySets.Get(h.store.View(), store.Scope{Account: store.System, Region: store.Global}, "current")
	if !found || set.Policies != 300 || !set.Imported.Equal(h.now.Truncate(time.Second)) {
		t.Errorf("set = %+v", set)
	}
}

func FuzzImport(f *testing.F) {
	f.Add(pageJSON(f, awsPolicyJSON("OddPolicy", "v2", nil)))
	f.Add([]byte(`{"Policies":null}{"Policies":[{}]}`))
	f.Add([]byte(`{"Policies":[{"PolicyName":"a","PolicyVersionList":[{"Document":"%"}]}]}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		h := newHouse(t)
		out, err := h.importFile(t, false, file)
		if err != nil {
			if fault.As(err).Reason != "import-refused" {
				t.Fatalf("err = %v", err)
			}
			return
		}
		for _, name := range slices.Concat(out.Added, out.Updated) {
			if !slices.ContainsFunc(listAWS(t, h), func(p iam.PolicyInfo) bool { return p.Name == name && p.Document() != "" }) {
				t.Fatalf("%s is not there", name)
			}
		}
		again, err := h.importFile(t, false, file)
		if err != nil || len(again.Added)+len(again.Updated) != 0 {
			t.Fatalf("again: %+v, %v", again, err)
		}
	})
}

func listAWS(t *testing.T, h *house) []iam.PolicyInfo {
	t.Helper()
	most := int32(1000)
	l, err := h.ListPolicies(t.Context(), admin, iam.ListPoliciesInput{Scope: "AWS", Page: iam.Page{MaxItems: &most}})
	ok(t, err)
	return l.Items
}
