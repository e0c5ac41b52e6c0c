// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wellknown owns the policies that eksctl attaches by a name, such as
// externalDNS: which documents and which of AWS' managed policies each stands
// for. A name that eksctl does not know is refused. It knows no control plane;
// the CLI attaches to a new role what it says.
package wellknown

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed policies/*.json
var documents embed.FS

// Set is a choice of names, in the shape of eksctl's wellKnownPolicies.
type Set map[string]bool

// Policies are what a name stands for.
type Policies struct {
	Inline  []Inline // documents, put into the role
	Managed []string // AWS' managed policies: what follows policy/ in the ARN
}

// Inline is a document with the name that it gets in a role.
type Inline struct {
	Name     string
	Document json.RawMessage
}

// table has eksctl's names, in its order, with the documents of each. The
// documents come from the pages that docs/configfile.md names.
func table() []entry {
	return []entry{
		{"imageBuilder", nil, []string{"AmazonEC2ContainerRegistryPowerUser"}},
		{"autoScaler", []string{"PolicyAutoScaling"}, nil},
		{"awsLoadBalancerController", []string{"PolicyAWSLoadBalancerController"}, nil},
		{"externalDNS", []string{"PolicyExternalDNSChangeSet", "PolicyExternalDNSHostedZones"}, nil},
		{"certManager", []string{"PolicyCertManagerChangeSet", "PolicyCertManagerGetChange", "PolicyCertManagerHostedZones"}, nil},
		{"ebsCSIController", nil, []string{"service-role/AmazonEBSCSIDriverPolicy"}},
		{"efsCSIController", []string{"PolicyEFSCSIController"}, nil},
	}
}

type entry struct {
	name    string
	inline  []string
	managed []string
}

// Names lists all names.
func Names() []string {
	var out []string
	for _, e := range table() {
		out = append(out, e.name)
	}
	return out
}

// Add chooses a name, in any case as eksctl's flag does; wanted false takes
// no policy but must be a name all the same.
func (s *Set) Add(name string, wanted bool) error {
	for _, e := range table() {
		if !strings.EqualFold(e.name, name) {
			continue
		}
		if wanted {
			if *s == nil {
				*s = Set{}
			}
			(*s)[e.name] = true
		}
		return nil
	}
	return fmt.Errorf("%q is no well-known policy: there are %s", name, strings.Join(Names(), ", "))
}

// List is the chosen names in order.
func (s Set) List() []string {
	return slices.DeleteFunc(Names(), func(name string) bool { return !s[name] })
}

// Policies are what the choice stands for in a partition: aws, aws-cn.
func (s Set) Policies(partition string) (Policies, error) {
	var out Policies
	for _, e := range table() {
		if !s[e.name] {
			continue
		}
		for _, name := range e.inline {
			text, err := fs.ReadFile(documents, "policies/"+name+".json")
			if err != nil {
				return Policies{}, fmt.Errorf("read well-known policy: %w", err)
			}
			text = bytes.ReplaceAll(text, []byte("${Partition}"), []byte(partition))
			var small bytes.Buffer
			if err := json.Compact(&small, text); err != nil {
				return Policies{}, fmt.Errorf("read well-known policy %s: %w", name, err)
			}
			out.Inline = append(out.Inline, Inline{name, small.Bytes()})
		}
		for _, name := range e.managed {
			out.Managed = append(out.Managed, "arn:"+partition+":iam::aws:policy/"+name)
		}
	}
	return out, nil
}
