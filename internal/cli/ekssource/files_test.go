// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package ekssource

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const (
	arnRole   = "arn:aws:iam::444455556666:role/team/app"
	arnPolicy = "arn:aws:iam::444455556666:policy/team/read"
	listed    = `{"associations":[{"clusterName":"prod","namespace":"ns","serviceAccount":"sa","associationArn":"arn:aws:eks:eu-west-1:444455556666:podidentityassociation/prod/a-1","associationId":"a-1"}]}`
	described = `{"association":{"clusterName":"prod","namespace":"ns","serviceAccount":"sa","roleArn":"` + arnRole + `","associationArn":"arn:aws:eks:eu-west-1:444455556666:podidentityassociation/prod/a-1",` +
		`"associationId":"a-1","tags":{"team":"red"},"createdAt":"2026-01-02T03:04:05+00:00","modifiedAt":1.7e9,"disableSessionTags":true,"policy":"{}","ownerArn":"arn:aws:eks:eu-west-1:444455556666:addon/prod/x/y"}}`
	getRole = `{"Role":{"Path":"/team/","RoleName":"app","RoleId":"AROA1","Arn":"` + arnRole + `","CreateDate":"2026-01-02T03:04:05+00:00","AssumeRolePolicyDocument":{"Statement": []},` +
		`"Description":"d","MaxSessionDuration":7200,"Tags":[{"Key":"k","Value":"v"}],"PermissionsBoundary":{"PermissionsBoundaryType":"Policy","PermissionsBoundaryArn":"arn:aws:iam::aws:policy/B"}}}`
	attached = `{"AttachedPolicies":[{"PolicyName":"read","PolicyArn":"` + arnPolicy + `"},{"PolicyName":"S3","PolicyArn":"arn:aws:iam::aws:policy/S3"}]}`
	names    = `{"PolicyNames":["in"]}`
	inline   = `{"RoleName":"app","PolicyName":"in","PolicyDocument":{"Version":"2012-10-17"}}`
	policy   = `{"Policy":{"PolicyName":"read","PolicyId":"ANPA1","Arn":"` + arnPolicy + `","Path":"/team/","DefaultVersionId":"v2","Description":"p","Tags":[]}}`
	version  = `{"PolicyVersion":{"Document":"%7B%22a%22%3A1%7D","VersionId":"v2","IsDefaultVersion":true}}`
	details  = `{"RoleDetailList":[{"Path":"/team/","RoleName":"app","Arn":"` + arnRole + `","AssumeRolePolicyDocument":{"Statement": []},"Tags":[{"Key":"k","Value":"v"}],
		"RolePolicyList":[{"PolicyName":"in","PolicyDocument":{"Version":"2012-10-17"}}],"AttachedManagedPolicies":[{"PolicyName":"read","PolicyArn":"` + arnPolicy + `"},{"PolicyName":"S3","PolicyArn":"arn:aws:iam::aws:policy/S3"}],
		"PermissionsBoundary":{"PermissionsBoundaryType":"Policy","PermissionsBoundaryArn":"arn:aws:iam::aws:policy/B"}}],
		"UserDetailList":[],"GroupDetailList":[],"Policies":[{"PolicyName":"read","Arn":"` + arnPolicy + `","Path":"/team/","DefaultVersionId":"v2","PolicyVersionList":[{"VersionId":"v1","Document":{}},{"VersionId":"v2","IsDefaultVersion":true,"Document":{"a":1}}]}]}`
)

func dir(files map[string]string) fs.FS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

func whole() *Snapshot {
	return &Snapshot{
		Account: "444455556666", Cluster: "prod", ClusterARN: "arn:aws:eks:eu-west-1:444455556666:cluster/prod",
		Associations: []Association{{
			ID: "a-1", Namespace: "ns", ServiceAccount: "sa", RoleARN: arnRole, Policy: "{}", DisableSessionTags: true,
			Tags: map[string]string{"team": "red"}, OwnerARN: "arn:aws:eks:eu-west-1:444455556666:addon/prod/x/y",
		}},
		Roles: map[string]*Role{arnRole: {
			ARN: arnRole, Name: "app", Path: "/team/", Description: "d", MaxSession: 7200, Trust: `{"Statement": []}`, BoundaryARN: "arn:aws:iam::aws:policy/B",
			Attached: []string{arnPolicy, "arn:aws:iam::aws:policy/S3"}, Inline: []Document{{"in", `{"Version":"2012-10-17"}`}}, Tags: map[string]string{"k": "v"},
		}},
		Policies: map[string]*Policy{arnPolicy: {ARN: arnPolicy, Name: "read", Path: "/team/", Description: "p", Document: `{"a":1}`, Tags: map[string]string{}}},
	}
}

func TestFromFiles(t *testing.T) {
	noDescriptions := func(s *Snapshot) {
		s.Roles[arnRole].Description, s.Roles[arnRole].MaxSession, s.Policies[arnPolicy].Description = "", 0, ""
	}
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  func(*Snapshot)
	}{
		{"an answer a file", map[string]string{
			"list.json": listed, "a/1.json": described, "role.json": getRole, "list-attached-role-policies-app.json": attached, "x/list-role-policies-app.json": names,
			"inline.json": inline, "p.json": policy, "get-policy-version-read.json": version, "notes.txt": "not read",
		}, func(*Snapshot) {}},
		{"details of the account", map[string]string{"eks.json": listed + described, "iam.json": details}, noDescriptions},
		{"details and get-role", map[string]string{"eks.json": described, "1.json": getRole, "2.json": details}, func(s *Snapshot) { s.Policies[arnPolicy].Description = "" }},
		{"get-role and details", map[string]string{"eks.json": described, "1.json": details, "2.json": getRole}, func(s *Snapshot) { s.Policies[arnPolicy].Description = "" }},
		{"nothing but the list", map[string]string{"eks.json": listed}, func(s *Snapshot) {
			s.Associations = []Association{{ID: "a-1", Namespace: "ns", ServiceAccount: "sa", Missing: []string{"eks describe-pod-identity-association --association-id a-1"}}}
			s.Roles, s.Policies = map[string]*Role{}, map[string]*Policy{}
		}},
		{"no role", map[string]string{"eks.json": described}, func(s *Snapshot) {
			s.Roles[arnRole] = &Role{ARN: arnRole, Name: "app", Path: "/team/", Missing: []string{"iam get-role --role-name app"}}
			s.Policies = map[string]*Policy{}
		}},
		{"a role of the name elsewhere", map[string]string{"eks.json": described, "r.json": strings.ReplaceAll(getRole, "role/team/", "role/")}, func(s *Snapshot) {
			s.Roles[arnRole] = &Role{ARN: arnRole, Name: "app", Path: "/team/", Missing: []string{"role " + arnRole + " (the files have arn:aws:iam::444455556666:role/app)"}}
			s.Policies = map[string]*Policy{}
		}},
		{"lists of the role", map[string]string{"eks.json": described, "r.json": getRole}, func(s *Snapshot) {
			r := s.Roles[arnRole]
			r.Attached, r.Inline = nil, nil
			r.Missing = []string{"iam list-attached-role-policies --role-name app", "iam list-role-policies --role-name app"}
			s.Policies = map[string]*Policy{}
		}},
		{"documents", map[string]string{"eks.json": described, "r.json": getRole, "list-attached-role-policies-app.json": attached, "list-role-policies-app.json": names, "p.json": policy}, func(s *Snapshot) {
			s.Roles[arnRole].Inline, s.Roles[arnRole].Missing = nil, []string{"iam get-role-policy --role-name app --policy-name in"}
			s.Policies[arnPolicy] = &Policy{ARN: arnPolicy, Name: "read", Path: "/team/", Missing: []string{"iam get-policy-version --policy-arn " + arnPolicy + " --version-id v2"}}
		}},
		{"policies", map[string]string{"eks.json": described, "r.json": getRole, "list-attached-role-policies-app.json": attached, "list-role-policies-app.json": names, "i.json": inline}, func(s *Snapshot) {
			s.Policies[arnPolicy] = &Policy{ARN: arnPolicy, Name: "read", Path: "/team/", Missing: []string{"iam get-policy --policy-arn " + arnPolicy}}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := FromFiles(dir(tc.files), "prod")
			if err != nil {
				t.Fatal(err)
			}
			want := whole()
			tc.want(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFromFilesRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no file":             {map[string]string{"a.yaml": listed}, "there is no file *.json"},
		"no association":      {map[string]string{"a.json": getRole}, "there is no association in the files"},
		"another cluster":     {map[string]string{"a.json": strings.ReplaceAll(listed, "prod", "test")}, "there is no association of cluster prod in the files, but of test"},
		"no JSON":             {map[string]string{"a.json": listed + "{"}, "a.json: answer 2: "},
		"no object":           {map[string]string{"a.json": "[]"}, "a.json: answer 1: "},
		"another type":        {map[string]string{"a.json": `{"Role":1}`}, "a.json: answer 1: "},
		"a part of a list":    {map[string]string{"a.json": `{"associations":[],"nextToken":"x"}`}, "a part of it is missing"},
		"a part of IAM's":     {map[string]string{"a.json": `{"RoleDetailList":[],"IsTruncated":true}`}, "a part of it is missing"},
		"another answer":      {map[string]string{"a.json": `{"Users":[],"Account":"1"}`}, "not an answer that is read here; it has the members Account, Users"},
		"policies of a list":  {map[string]string{"a.json": `{"Policies":[{"PolicyName":"p"}]}`}, "policy p has no PolicyVersionList"},
		"attached to what":    {map[string]string{"a.json": attached}, "name the file list-attached-role-policies-ROLE.json"},
		"policies of what":    {map[string]string{"a.json": names}, "name the file list-role-policies-ROLE.json"},
		"version of what":     {map[string]string{"get-policy-version-.json": version}, "name the file get-policy-version-POLICY.json"},
		"a document's coding": {map[string]string{"a.json": `{"RoleName":"r","PolicyName":"p","PolicyDocument":"%zz"}`}, "decode policy document"},
		"two accounts":        {map[string]string{"a.json": described, "b.json": strings.NewReplacer("444455556666", "111122223333", "a-1", "a-2").Replace(described)}, "the files are of several accounts or regions"},
		"no ARN":              {map[string]string{"a.json": strings.ReplaceAll(described, "podidentityassociation", "x")}, "is not the ARN of an association of cluster prod"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FromFiles(dir(tc.files), "prod")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%+v, %v, want %q", got, err, tc.want)
			}
		})
	}
	if _, err := FromFiles(brokenFS{}, "prod"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a directory that cannot be read: %v", err)
	}
}

type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return nil, fs.ErrPermission }

func TestNames(t *testing.T) {
	for _, tc := range []struct{ arn, account, path, name string }{
		{arnRole, "444455556666", "/team/", "app"},
		{"arn:aws:iam::444455556666:role/app", "444455556666", "/", "app"},
		{"arn:aws:iam::aws:policy/service-role/X", "aws", "/service-role/", "X"},
		{"x", "", "/", "x"},
	} {
		if a, p, n := AccountOf(tc.arn), PathOf(tc.arn), NameOf(tc.arn); a != tc.account || p != tc.path || n != tc.name {
			t.Errorf("%s: %q %q %q", tc.arn, a, p, n)
		}
	}
	if OfAWS(arnPolicy) || !OfAWS("arn:aws-cn:iam::aws:policy/X") || OfAWS("x") {
		t.Error("AWS' own policies are those of account aws")
	}
}

// FuzzFromFiles holds that reading ends, and that what is known is of one
// account.
func FuzzFromFiles(f *testing.F) {
	f.Add(described+getRole+policy, "a.json")
	f.Add(described+details, "iam.json")
	f.Add(attached, "list-attached-role-policies-app.json")
	f.Fuzz(func(t *testing.T, text, name string) {
		if !fs.ValidPath(name) || name == "." {
			return
		}
		s, err := FromFiles(dir(map[string]string{name: text, "eks.json": described}), "prod")
		if err != nil {
			return
		}
		for arn := range s.Roles {
			if AccountOf(arn) != s.Account {
				t.Errorf("role %s of another account than %s", arn, s.Account)
			}
		}
	})
}
