// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package ekssource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// anyAnswer has the members of all answers that are read.
type anyAnswer struct {
	NextToken, Marker *string
	IsTruncated       bool

	Cluster      *struct{ Name, Arn string }
	Associations []associationAnswer
	Association  *associationAnswer

	Role           *roleAnswer
	RoleDetailList []roleAnswer

	AttachedPolicies     []attachment
	PolicyNames          []string
	RoleName, PolicyName string
	PolicyDocument       document

	Policy        *policyAnswer
	Policies      []policyAnswer
	PolicyVersion *policyVersion
}

type associationAnswer struct {
	AssociationID, AssociationARN          string
	ClusterName, Namespace, ServiceAccount string
	RoleARN, TargetRoleARN                 string
	Policy                                 string
	DisableSessionTags                     bool
	Tags                                   map[string]string
	OwnerARN                               string
}

type tag struct{ Key, Value string }

type attachment struct{ PolicyArn string }

// roleAnswer is a role of get-role or of get-account-authorization-details.
type roleAnswer struct {
	RoleName, Arn, Path      string
	Description              string
	MaxSessionDuration       int32
	AssumeRolePolicyDocument document
	PermissionsBoundary      *struct{ PermissionsBoundaryArn string }
	Tags                     []tag
	AttachedManagedPolicies  []attachment
	RolePolicyList           []struct {
		PolicyName     string
		PolicyDocument document
	}
}

type policyAnswer struct {
	PolicyName, Arn, Path string
	Description           string
	DefaultVersionID      string
	Tags                  []tag
	PolicyVersionList     []policyVersion
}

type policyVersion struct {
	VersionID        string
	IsDefaultVersion bool
	Document         document
}

// document is a policy as the AWS CLI shows it, an object, or as IAM sends it,
// a URL-encoded string.
type document string

// UnmarshalJSON implements json.Unmarshaler.
func (d *document) UnmarshalJSON(text []byte) error {
	if !bytes.HasPrefix(text, []byte(`"`)) {
		*d = document(text)
		return nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if strings.HasPrefix(strings.TrimSpace(s), "{") {
		*d = document(s)
		return nil
	}
	decoded, err := url.PathUnescape(s)
	if err != nil {
		return fmt.Errorf("decode policy document: %w", err)
	}
	*d = document(decoded)
	return nil
}

// answers gathers what the files say. Roles and policies are by name, which an
// account has once.
type answers struct {
	listed, described map[string]associationAnswer // by association id
	clusters          map[string]string            // ARN by name
	roles             map[string]*roleAnswers
	policies          map[string]*policyAnswers
}

type roleAnswers struct {
	roleAnswer
	known                      bool
	attached                   []string
	inlineNames                []string
	inline                     map[string]string
	attachedKnown, inlineKnown bool
}

type policyAnswers struct {
	policyAnswer
	known   bool
	version *policyVersion
}

func (a *answers) role(name string) *roleAnswers {
	if a.roles[name] == nil {
		a.roles[name] = &roleAnswers{inline: map[string]string{}}
	}
	return a.roles[name]
}

func (a *answers) policy(name string) *policyAnswers {
	if a.policies[name] == nil {
		a.policies[name] = &policyAnswers{}
	}
	return a.policies[name]
}

// know takes over an answer; get-role says two things more than the details.
func (r *roleAnswers) know(in roleAnswer) {
	if in.Description == "" {
		in.Description = r.Description
	}
	if in.MaxSessionDuration == 0 {
		in.MaxSessionDuration = r.MaxSessionDuration
	}
	r.roleAnswer, r.known = in, true
}

func arns(list []attachment) []string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.PolicyArn
	}
	return out
}

// snapshot puts the answers about one cluster together.
func (a *answers) snapshot(cluster string) (*Snapshot, error) {
	s := &Snapshot{Cluster: cluster, ClusterARN: a.clusters[cluster], Roles: map[string]*Role{}, Policies: map[string]*Policy{}}
	others := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(a.all())) {
		x, full := a.described[id]
		if !full {
			x = a.listed[id]
		}
		if x.ClusterName != cluster {
			others[x.ClusterName] = true
			continue
		}
		out := x.association()
		if !full {
			out.Missing = []string{"eks describe-pod-identity-association --association-id " + id}
		}
		of, err := clusterOf(x.AssociationARN, cluster)
		if err != nil {
			return nil, fmt.Errorf("association %s: %w", id, err)
		}
		if s.ClusterARN == "" {
			s.ClusterARN = of
		}
		if of != s.ClusterARN {
			return nil, fmt.Errorf("association %s is of %s, not of %s: the files are of several accounts or regions", id, of, s.ClusterARN)
		}
		s.Associations = append(s.Associations, out)
	}
	if len(s.Associations) == 0 {
		return nil, noneOf(cluster, others)
	}
	s.Account = AccountOf(s.ClusterARN)
	s.Sort()
	for _, x := range s.Associations {
		if x.RoleARN != "" && AccountOf(x.RoleARN) == s.Account {
			s.Roles[x.RoleARN] = a.roleOf(x.RoleARN)
		}
	}
	for _, arn := range s.Needed() {
		s.Policies[arn] = a.policyOf(arn)
	}
	return s, nil
}

func (a *answers) all() map[string]associationAnswer {
	out := maps.Clone(a.listed)
	maps.Copy(out, a.described)
	return out
}

func noneOf(cluster string, others map[string]bool) error {
	if len(others) == 0 {
		return fmt.Errorf("there is no association in the files: eks list-pod-identity-associations --cluster-name %s has them", cluster)
	}
	return fmt.Errorf("there is no association of cluster %s in the files, but of %s", cluster, strings.Join(slices.Sorted(maps.Keys(others)), ", "))
}

func (x associationAnswer) association() Association {
	return Association{
		ID: x.AssociationID, Namespace: x.Namespace, ServiceAccount: x.ServiceAccount, RoleARN: x.RoleARN, TargetRoleARN: x.TargetRoleARN,
		Policy: x.Policy, DisableSessionTags: x.DisableSessionTags, Tags: x.Tags, OwnerARN: x.OwnerARN,
	}
}

func (a *answers) roleOf(arn string) *Role {
	out := &Role{ARN: arn, Name: NameOf(arn), Path: PathOf(arn)}
	in := a.roles[out.Name]
	switch {
	case in == nil || !in.known:
		out.Missing = []string{"iam get-role --role-name " + out.Name}
		return out
	case in.Arn != arn:
		out.Missing = []string{"role " + arn + " (the files have " + in.Arn + ")"}
		return out
	}
	out.Description, out.MaxSession, out.Trust, out.Attached = in.Description, in.MaxSessionDuration, string(in.AssumeRolePolicyDocument), in.attached
	if in.PermissionsBoundary != nil {
		out.BoundaryARN = in.PermissionsBoundary.PermissionsBoundaryArn
	}
	out.Tags = byKey(in.Tags)
	if !in.attachedKnown {
		out.Missing = append(out.Missing, "iam list-attached-role-policies --role-name "+out.Name)
	}
	if !in.inlineKnown {
		out.Missing = append(out.Missing, "iam list-role-policies --role-name "+out.Name)
	}
	for _, name := range in.inlineNames {
		text, ok := in.inline[name]
		if !ok {
			out.Missing = append(out.Missing, "iam get-role-policy --role-name "+out.Name+" --policy-name "+name)
			continue
		}
		out.Inline = append(out.Inline, Document{name, text})
	}
	return out
}

func (a *answers) policyOf(arn string) *Policy {
	out := &Policy{ARN: arn, Name: NameOf(arn), Path: PathOf(arn)}
	in := a.policies[out.Name]
	switch {
	case in == nil || !in.known || in.Arn != arn:
		out.Missing = []string{"iam get-policy --policy-arn " + arn}
	case in.version == nil || in.version.VersionID != in.DefaultVersionID:
		out.Missing = []string{"iam get-policy-version --policy-arn " + arn + " --version-id " + in.DefaultVersionID}
	default:
		out.Description, out.Document, out.Tags = in.Description, string(in.version.Document), byKey(in.Tags)
	}
	return out
}

func byKey(list []tag) map[string]string {
	out := map[string]string{}
	for _, t := range list {
		out[t.Key] = t.Value
	}
	return out
}
