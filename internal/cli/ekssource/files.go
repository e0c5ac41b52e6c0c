// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package ekssource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// MaxFile bounds one file of answers, in bytes: the details of a large account
// have some ten megabytes.
const MaxFile = 128 << 20

// Names of files whose answers do not say what they are about: the name of the
// role or policy follows, and .json.
const (
	attachedFile = "list-attached-role-policies-"
	inlineFile   = "list-role-policies-"
	versionFile  = "get-policy-version-"
)

// FromFiles reads a cluster from the answers of `aws … --output json` in the
// *.json files of dir and below it: eks list-pod-identity-associations and
// describe-pod-identity-association, and iam get-account-authorization-details
// or get-role, list-role-policies, get-role-policy, list-attached-role-policies,
// get-policy and get-policy-version. Files are known by what they hold. A file
// may have several answers one after the other. An answer of which a part is
// missing (NextToken) and one of another kind are refused.
func FromFiles(dir fs.FS, cluster string) (*Snapshot, error) {
	a := &answers{roles: map[string]*roleAnswers{}, policies: map[string]*policyAnswers{}, listed: map[string]associationAnswer{}, described: map[string]associationAnswer{}, clusters: map[string]string{}}
	files := 0
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".json" {
			return err
		}
		files++
		if err := a.readFile(dir, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if files == 0 {
		return nil, errors.New("there is no file *.json")
	}
	return a.snapshot(cluster)
}

func (a *answers) readFile(dir fs.FS, name string) (err error) {
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return err
	}
	if len(text) > MaxFile {
		return fmt.Errorf("more than %d bytes", MaxFile)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	for n := 1; ; n++ {
		var doc json.RawMessage
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("answer %d: %w", n, err)
		}
		if err := a.add(path.Base(name), doc); err != nil {
			return fmt.Errorf("answer %d: %w", n, err)
		}
	}
}

// add takes one answer, by the members that it has.
func (a *answers) add(file string, doc json.RawMessage) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(doc, &members); err != nil {
		return err
	}
	var in anyAnswer
	if err := json.Unmarshal(doc, &in); err != nil {
		return err
	}
	if in.NextToken != nil || in.Marker != nil || in.IsTruncated {
		return errors.New("a part of it is missing (it has a NextToken): ask again without --max-items")
	}
	known := false
	for _, take := range []func(string, *anyAnswer) (bool, error){a.addAssociations, a.addRoles, a.addRoleLists, a.addPolicies} {
		took, err := take(file, &in)
		if err != nil {
			return err
		}
		known = known || took
	}
	if !known {
		return fmt.Errorf("not an answer that is read here; it has the members %s", strings.Join(slices.Sorted(maps.Keys(members)), ", "))
	}
	return nil
}

func (a *answers) addAssociations(_ string, in *anyAnswer) (bool, error) {
	if in.Cluster != nil {
		a.clusters[in.Cluster.Name] = in.Cluster.Arn
	}
	for _, x := range in.Associations {
		a.listed[x.AssociationID] = x
	}
	if in.Association != nil {
		a.described[in.Association.AssociationID] = *in.Association
	}
	return in.Cluster != nil || in.Associations != nil || in.Association != nil, nil
}

func (a *answers) addRoles(_ string, in *anyAnswer) (bool, error) {
	for _, d := range in.RoleDetailList {
		r := a.role(d.RoleName)
		r.know(d)
		r.attached, r.attachedKnown = arns(d.AttachedManagedPolicies), true
		r.inlineNames, r.inlineKnown = nil, true
		for _, p := range d.RolePolicyList {
			r.inlineNames = append(r.inlineNames, p.PolicyName)
			r.inline[p.PolicyName] = string(p.PolicyDocument)
		}
	}
	if in.Role != nil {
		a.role(in.Role.RoleName).know(*in.Role)
	}
	return in.RoleDetailList != nil || in.Role != nil, nil
}

// addRoleLists takes answers about a role whose name may be in the file's name
// only.
func (a *answers) addRoleLists(file string, in *anyAnswer) (bool, error) {
	if in.AttachedPolicies != nil {
		name, err := subject(file, attachedFile, "ROLE")
		if err != nil {
			return true, err
		}
		r := a.role(name)
		r.attached, r.attachedKnown = arns(in.AttachedPolicies), true
	}
	if in.PolicyNames != nil {
		name, err := subject(file, inlineFile, "ROLE")
		if err != nil {
			return true, err
		}
		r := a.role(name)
		r.inlineNames, r.inlineKnown = in.PolicyNames, true
	}
	if in.RoleName != "" && in.PolicyName != "" {
		a.role(in.RoleName).inline[in.PolicyName] = string(in.PolicyDocument)
		return true, nil
	}
	return in.AttachedPolicies != nil || in.PolicyNames != nil, nil
}

func (a *answers) addPolicies(file string, in *anyAnswer) (bool, error) {
	for _, d := range in.Policies {
		if d.PolicyVersionList == nil {
			return true, fmt.Errorf("policy %s has no PolicyVersionList: list-policies has no documents, get-account-authorization-details does", d.PolicyName)
		}
		p := a.policy(d.PolicyName)
		p.policyAnswer, p.known = d, true
		for _, v := range d.PolicyVersionList {
			if v.IsDefaultVersion {
				p.version = &v
			}
		}
	}
	if in.Policy != nil {
		p := a.policy(in.Policy.PolicyName)
		p.policyAnswer, p.known = *in.Policy, true
	}
	if in.PolicyVersion != nil {
		name, err := subject(file, versionFile, "POLICY")
		if err != nil {
			return true, err
		}
		a.policy(name).version = in.PolicyVersion
	}
	return in.Policies != nil || in.Policy != nil || in.PolicyVersion != nil, nil
}

// subject is the role or policy that a file's name says it is about.
func subject(file, prefix, placeholder string) (string, error) {
	name, ok := strings.CutPrefix(strings.TrimSuffix(file, ".json"), prefix)
	if !ok || name == "" {
		return "", fmt.Errorf("the answer does not say what it is about: name the file %s%s.json", prefix, placeholder)
	}
	return name, nil
}
