// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/fault"
)

func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

func testEnv() Env {
	return Env{
		Partition: "aws", Account: "111122223333", Region: "eu-central-1", StackName: "demo",
		StackID: "arn:aws:cloudformation:eu-central-1:111122223333:stack/demo/1", NotificationARNs: []string{"arn:aws:sns:a", "arn:aws:sns:b"},
	}
}

// physical answers as made resources do: an ARN with colons for each attribute.
func physical(id, attr string) (string, bool) {
	if attr == RefAttr {
		return "arn:aws:iam::111122223333:ref/" + id, true
	}
	return "arn:aws:iam::111122223333:" + attr + "/" + id, true
}

// shown writes the whole plan for people.
func shown(t *testing.T, b *Bound) string {
	t.Helper()
	var out strings.Builder
	for _, r := range b.Order() {
		fmt.Fprintf(&out, "%s %s after %v, delete: %s, replaced: %s\n", r.LogicalID, r.Type, r.Dependencies, r.DeletionPolicy, r.UpdateReplacePolicy)
		p, err := b.Properties(r.LogicalID, physical)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.MarshalIndent(p, "  ", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "  %s\n", data)
	}
	outputs, err := b.Outputs(physical)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outputs {
		fmt.Fprintf(&out, "output %+v\n", o)
	}
	for _, p := range b.Parameters() {
		fmt.Fprintf(&out, "parameter %s=%s\n", p.Key, p.Value)
	}
	fmt.Fprintf(&out, "needs %v\n", b.Capabilities())
	return out.String()
}

// TestGolden has eksctl's own templates, as its binary sends them, and one that uses everything.
func TestGolden(t *testing.T) {
	for _, tc := range []struct {
		name, template string
		params         map[string]string
	}{
		{"eksctl-role", "eksctl-role.json", nil},
		{"eksctl-inline", "eksctl-inline.json", nil},
		{"full-dev", "full.yaml", nil},
		{"full-prod", "full.yaml", map[string]string{"Environment": "prod", "Policies": "one", "Hours": "12"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := bind(t, read(t, tc.template), tc.params)
			got := shown(t, b)
			file := filepath.Join("testdata", tc.name+".golden")
			if updating() {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func bind(t testing.TB, text string, params map[string]string) *Bound {
	t.Helper()
	parsed, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := parsed.Bind(params, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSummary asks what is known before parameters are.
func TestSummary(t *testing.T) {
	parsed, err := Parse(read(t, "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := parsed.Description(); got != "Everything that a template may hold" {
		t.Errorf("Description: %q", got)
	}
	if got := parsed.Metadata(); got != `{"Owner":"platform"}` {
		t.Errorf("Metadata: %q", got)
	}
	if got, want := parsed.Resources(), []string{"App", "Association", "Extra", "Managed", "Profile", "Provider"}; !cmp.Equal(got, want) {
		t.Errorf("Resources: %v", got)
	}
	if got := parsed.ResourceTypes(); len(got) != 6 {
		t.Errorf("ResourceTypes: %v", got)
	}
	n := parsed.Capabilities()
	if !cmp.Equal(n.Capabilities, []string{CapabilityNamedIAM}) || !strings.HasPrefix(n.Reason, "The following resource(s) require capabilities: [AWS::IAM::InstanceProfile, ") {
		t.Errorf("Capabilities: %+v", n)
	}
	decls := parsed.Parameters()
	if len(decls) != 6 || decls[5].Key != "Secret" || !decls[5].NoEcho || decls[1].AllowedValues[1] != "prod" {
		t.Errorf("Parameters: %+v", decls)
	}
}

func TestCapabilities(t *testing.T) {
	association := `{"Resources":{"A":{"Type":"AWS::EKS::PodIdentityAssociation","Properties":{"ClusterName":"c","Namespace":"n","ServiceAccount":"s","RoleArn":"r"}}}}`
	for _, tc := range []struct {
		name, template string
		given          []string
		missing        []string
	}{
		{"custom name", read(t, "eksctl-role.json"), []string{CapabilityIAM}, []string{CapabilityNamedIAM}},
		{"custom name given", read(t, "eksctl-role.json"), []string{CapabilityNamedIAM}, nil},
		{"the name of an inline policy is no custom name", read(t, "eksctl-inline.json"), []string{CapabilityIAM}, nil},
		{"named is more", read(t, "eksctl-inline.json"), []string{CapabilityNamedIAM}, nil},
		{"nothing given", read(t, "eksctl-inline.json"), nil, []string{CapabilityIAM}},
		{"a name that is no value", read(t, "full.yaml"), []string{CapabilityIAM}, nil},
		{"an association is no IAM resource", association, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := bind(t, tc.template, nil).Capabilities().Missing(tc.given); !cmp.Equal(got, tc.missing) {
				t.Errorf("missing %v, want %v", got, tc.missing)
			}
		})
	}
}

// TestNothingPrints shows that a bound template tells its secrets to nobody who prints it.
func TestNothingPrints(t *testing.T) {
	b := bind(t, read(t, "full.yaml"), nil)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, b); strings.Contains(s, "s3cret") {
			t.Errorf("%s: %s", format, s)
		}
	}
	if b.Values()["Secret"] != "s3cret" || b.LogValue().String() != "stack demo" {
		t.Error("Values or LogValue")
	}
}

func wantRefused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("not refused, want %q", want)
	}
	f := fault.As(err)
	if f.Kind != fault.InvalidParameter || f.Reason == "" {
		t.Errorf("kind %v, reason %q of %v", f.Kind, f.Reason, err)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("refused with %q, want %q", err, want)
	}
}
