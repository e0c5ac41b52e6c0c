// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package wellknown

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPolicies(t *testing.T) {
	for _, tc := range []struct {
		name    string
		inline  []string
		managed []string
	}{
		{"imageBuilder", nil, []string{"arn:aws-cn:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"}},
		{"autoScaler", []string{"PolicyAutoScaling"}, nil},
		{"awsLoadBalancerController", []string{"PolicyAWSLoadBalancerController"}, nil},
		{"externalDNS", []string{"PolicyExternalDNSChangeSet", "PolicyExternalDNSHostedZones"}, nil},
		{"certManager", []string{"PolicyCertManagerChangeSet", "PolicyCertManagerGetChange", "PolicyCertManagerHostedZones"}, nil},
		{"ebsCSIController", nil, []string{"arn:aws-cn:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"}},
		{"efsCSIController", []string{"PolicyEFSCSIController"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s Set
			if err := s.Add(strings.ToUpper(tc.name), true); err != nil {
				t.Fatal(err)
			}
			got, err := s.Policies("aws-cn")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range got.Inline {
				names = append(names, p.Name)
				var doc struct {
					Statement []struct{ Effect, Resource, Action any }
				}
				if err := json.Unmarshal(p.Document, &doc); err != nil || len(doc.Statement) == 0 {
					t.Errorf("%s: %v", p.Name, err)
				}
				for i, st := range doc.Statement {
					if st.Effect != "Allow" || st.Resource == nil || st.Action == nil {
						t.Errorf("%s: statement %d is %+v", p.Name, i, st)
					}
				}
				if text := string(p.Document); strings.Contains(text, "${") || strings.Contains(text, "arn:aws:") {
					t.Errorf("%s is not of the partition: %s", p.Name, text)
				}
			}
			if d := cmp.Diff(tc.inline, names); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.managed, got.Managed); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAdd(t *testing.T) {
	var s Set
	if err := s.Add("certManager", false); err != nil || s != nil {
		t.Errorf("unwanted: got %v, %v", s, err)
	}
	if err := s.Add("route66", false); err == nil || !strings.Contains(err.Error(), `"route66" is no well-known policy: there are imageBuilder, autoScaler`) {
		t.Errorf("unknown: got %v", err)
	}
	for _, name := range []string{"externalDNS", "autoScaler"} {
		if err := s.Add(name, true); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"autoScaler", "externalDNS"}, s.List()); d != "" {
		t.Error(d)
	}
	if got, err := Set(nil).Policies("aws"); err != nil || got.Inline != nil || got.Managed != nil {
		t.Errorf("none: got %v, %v", got, err)
	}
}

// TestDocuments holds that every document belongs to a name.
func TestDocuments(t *testing.T) {
	s := Set{}
	for _, name := range Names() {
		s[name] = true
	}
	got, err := s.Policies("aws")
	if err != nil {
		t.Fatal(err)
	}
	files, err := documents.ReadDir("policies")
	if err != nil || len(files) != len(got.Inline) {
		t.Errorf("%d files, %d documents, %v", len(files), len(got.Inline), err)
	}
}
