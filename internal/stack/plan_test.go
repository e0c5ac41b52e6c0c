// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ids(b *Bound) []string {
	var names []string
	for _, r := range b.Order() {
		names = append(names, r.LogicalID)
	}
	return names
}

// TestOrder has roles whose descriptions or DependsOn name others.
func TestOrder(t *testing.T) {
	for _, tc := range []struct {
		name      string
		resources map[string]string
		want      string // the order, or what is refused
	}{
		{"by name", map[string]string{"C": "", "A": "", "B": ""}, "A B C"},
		{"needs first", map[string]string{"A": "!Ref C", "B": "!GetAtt A.Arn", "C": ""}, "C A B"},
		{"ready ones by name", map[string]string{"A": "!Ref Z", "M": "", "Z": ""}, "M Z A"},
		{"inside of a text", map[string]string{"A": "!Sub '${C.Arn}-${B}'", "B": "", "C": ""}, "B C A"},
		{"inside of a variable", map[string]string{"A": "!Sub ['${v}', {v: !Ref B}]", "B": ""}, "B A"},
		{"a branch not taken asks for nothing", map[string]string{"A": "!If [Yes, x, !Ref B]", "B": ""}, "A B"},
		{"a circle through a branch not taken", map[string]string{"A": "!If [Yes, x, !Ref B]", "B": "!Ref A"}, "A B"},
		{"a circle through a branch", map[string]string{"A": "!If [Yes, !Ref B, x]", "B": "!Ref A"}, "Circular dependency between resources: [A, B]"},
		{"two", map[string]string{"A": "!Ref B", "B": "!Ref A", "C": "!Ref A", "D": ""}, "Circular dependency between resources: [A, B]"},
		{"three and what they need", map[string]string{"A": "!Ref B", "B": "!Ref C", "C": "!Join ['', [!Ref A, !Ref D]]", "D": ""}, "Circular dependency between resources: [A, B, C]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := "Conditions: {Yes: !Equals [a, a]}\nResources:\n"
			for id, description := range tc.resources {
				if description == "" {
					description = "none"
				}
				text += fmt.Sprintf("  %s: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {}, Description: %s}}\n", id, description)
			}
			b, err := bindText(text, nil)
			if strings.HasPrefix(tc.want, "Circular") {
				wantRefused(t, err, tc.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(ids(b), " "); got != tc.want {
				t.Errorf("order %s, want %s", got, tc.want)
			}
		})
	}
}

// TestDependsOnNothing has a DependsOn of a resource that the conditions leave out.
func TestDependsOnNothing(t *testing.T) {
	b, err := bindText("Conditions: {No: !Equals [a, b]}\nResources:\n  A: {DependsOn: B, "+role+"}\n  B: {Condition: No, "+role+"}", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(b); !cmp.Equal(got, []string{"A"}) {
		t.Errorf("order %v", got)
	}
	_, err = bindText("Conditions: {No: !Equals [a, b]}\nResources: {B: {Condition: No, "+role+"}}", nil)
	wantRefused(t, err, "At least one Resources member must be defined.")
}

// TestGrowth has a template that says little and means much.
func TestGrowth(t *testing.T) {
	for _, leaf := range []string{"x", "!Ref Other"} {
		value := leaf
		for range 20 {
			value = "!Sub ['" + strings.Repeat("${a}", 10) + "', {a: " + value + "}]"
		}
		_, err := bindText("Resources:\n  Other: {"+role+"}\n  R: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {}, Description: "+value+"}}", nil)
		wantRefused(t, err, "larger than the limit")
	}
	// Conditions that ask one another twice are each found out once.
	text := "Conditions:\n  C0: !Equals [a, a]\n"
	for i := range 100 {
		text += fmt.Sprintf("  C%d: !And [!Condition C%d, !Condition C%d]\n", i+1, i, i)
	}
	if _, err := bindText(text+"Resources: {R: {Condition: C100, "+role+"}}", nil); err != nil {
		t.Error(err)
	}
}

func TestCompare(t *testing.T) {
	yes, no := true, false
	base := func() *Role {
		return &Role{
			RoleName: "r", AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":["a","b"]}`,
			ManagedPolicyArns: []string{"a", "b"}, Tags: []Tag{{"k", "v"}, {"l", "w"}},
			Policies: []InlinePolicy{{"p", `{"a":1,"b":2}`}},
		}
	}
	for _, tc := range []struct {
		name          string
		before, after Properties
		want          Update
	}{
		{"the same", base(), base(), Update{}},
		{"another order", base(), with(base(), func(r *Role) {
			r.AssumeRolePolicyDocument = `{"Statement":["a","b"],"Version":"2012-10-17"}`
			r.ManagedPolicyArns = []string{"b", "a"}
			r.Tags = []Tag{{"l", "w"}, {"k", "v"}}
			r.Policies = []InlinePolicy{{"p", `{"b":2,"a":1}`}}
		}), Update{}},
		{"another order in a document", base(), with(base(), func(r *Role) {
			r.AssumeRolePolicyDocument = `{"Version":"2012-10-17","Statement":["b","a"]}`
		}), Update{Changed: []string{"AssumeRolePolicyDocument"}}},
		{"in place", base(), with(base(), func(r *Role) { r.Description, r.Tags = "d", nil }), Update{Changed: []string{"Description", "Tags"}}},
		{"name", base(), with(base(), func(r *Role) { r.RoleName = "" }), Update{Changed: []string{"RoleName"}, Replace: true}},
		{"path", base(), with(base(), func(r *Role) { r.Path = "/x/" }), Update{Changed: []string{"Path"}, Replace: true}},
		{"type", base(), &Policy{}, Update{Changed: []string{"Type"}, Replace: true}},
		{"false is said", &PodIdentityAssociation{}, &PodIdentityAssociation{DisableSessionTags: &no}, Update{Changed: []string{"DisableSessionTags"}}},
		{"true", &PodIdentityAssociation{DisableSessionTags: &no}, &PodIdentityAssociation{DisableSessionTags: &yes}, Update{Changed: []string{"DisableSessionTags"}}},
		{"session policy", &PodIdentityAssociation{Policy: `{"a":[1]}`}, &PodIdentityAssociation{Policy: `{ "a": [1] }`}, Update{}},
		{"namespace", &PodIdentityAssociation{Namespace: "a"}, &PodIdentityAssociation{Namespace: "b"}, Update{Changed: []string{"Namespace"}, Replace: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Compare(tc.before, tc.after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func with(r *Role, change func(*Role)) *Role { change(r); return r }

func TestDecodeProperties(t *testing.T) {
	b := bind(t, read(t, "full.yaml"), map[string]string{"Environment": "prod"})
	for _, r := range b.Order() {
		p, err := b.Properties(r.LogicalID, physical)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeProperties(p.ResourceType(), data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := DecodeProperties(TypeRole, []byte(`{"Foo":1}`)); err == nil {
		t.Error("an unknown property was read")
	}
	_, err := DecodeProperties("AWS::S3::Bucket", nil)
	wantRefused(t, err, "Unrecognized resource types: [AWS::S3::Bucket]")
}

func TestDiff(t *testing.T) {
	const before = `
Parameters: {Name: {Type: String, Default: one}}
Resources:
  Gone: {` + role + `}
  Policy: {Type: AWS::IAM::Policy, Properties: {PolicyName: p, PolicyDocument: {}, Roles: [!Ref Role]}}
  Profile: {Type: AWS::IAM::InstanceProfile, Properties: {InstanceProfileName: !Sub "${Role}-x", Roles: [!Ref Role]}}
  Role: {Type: AWS::IAM::Role, Properties: {RoleName: !Ref Name, AssumeRolePolicyDocument: {a: b}}}
`
	old := bind(t, before, nil)
	for _, tc := range []struct {
		name, after string
		params      map[string]string
		want        []string
	}{
		{"nothing", before, nil, nil},
		{"a document", strings.Replace(before, "{a: b}", "{a: c}", 1), nil, []string{"Modify Role False AssumeRolePolicyDocument/Never/Static/"}},
		{"a retention policy alone", strings.Replace(before, "Gone: {", "Gone: {DeletionPolicy: Retain, ", 1), nil, nil},
		{
			"a name", before,
			map[string]string{"Name": "two"},
			[]string{
				"Modify Role True RoleName/Always/Static/",
				"Modify Policy False Roles/Never/Dynamic/Role",
				"Modify Profile Conditional InstanceProfileName/Conditionally/Dynamic/Role Roles/Never/Dynamic/Role",
			},
		},
		{"gone and come", strings.Replace(before, "Gone:", "New:", 1), nil, []string{"Add New ", "Remove Gone "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changes, err := Diff(old, bind(t, tc.after, tc.params))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range changes {
				line := c.Action + " " + c.LogicalID + " " + c.Replacement
				for _, d := range c.Details {
					line += " " + d.Property + "/" + d.RequiresRecreation + "/" + d.Evaluation + "/" + d.CausingEntity
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	retyped := strings.Replace(before, "Gone: {"+role+"}", "Gone: {Type: AWS::IAM::InstanceProfile, Properties: {Roles: [a]}}", 1)
	_, err := Diff(old, bind(t, retyped, nil))
	wantRefused(t, err, "modifies resource type of the following resources: [Gone]")

	changes, err := Diff(nil, old)
	if err != nil || len(changes) != 4 || slices.ContainsFunc(changes, func(c Change) bool { return c.Action != Add }) {
		t.Errorf("from nothing: %+v, %v", changes, err)
	}
}

// TestSameInBothLanguages has a template's short and long forms, in YAML and in JSON.
func TestSameInBothLanguages(t *testing.T) {
	short := bind(t, `
Conditions: {C: !Not [!Equals [!Ref AWS::Region, x]], D: !Or [!Condition C, !Condition C]}
Resources:
  Other: {`+role+`}
  R:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: 2012-10-17, Number: 5, Octal: 007, Yes: true}
      Description: !If [D, !Sub "${Other.Arn}", !Base64 x]
      Path: !GetAtt Other.Arn`, nil)
	long := bind(t, `{"Conditions":{"C":{"Fn::Not":[{"Fn::Equals":[{"Ref":"AWS::Region"},"x"]}]},"D":{"Fn::Or":[{"Condition":"C"},{"Condition":"C"}]}},
"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"Path":{"Fn::GetAtt":["Other","Arn"]},"Description":{"Fn::If":["D",{"Fn::Sub":"${Other.Arn}"},{"Fn::Base64":"x"}]},
"AssumeRolePolicyDocument":{"Yes":true,"Octal":"007","Number":5,"Version":"2012-10-17"}}},
"Other":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":{"Version":"2012-10-17"}}}}}`, nil)
	changes, err := Diff(short, long)
	if err != nil || len(changes) > 0 {
		t.Errorf("%+v, %v", changes, err)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, name := range []string{"eksctl-role.json", "eksctl-inline.json", "full.yaml"} {
		f.Add(read(f, name))
	}
	f.Add("Resources: {R: {" + role + "}}\nOutputs: {O: {Value: !Join [',', !Split [':', !GetAtt R.Arn]]}}")
	f.Add(`{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"RoleName":{"Fn::Select":["0",{"Ref":"AWS::NotificationARNs"}]}}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := Parse(text)
		if err != nil {
			return
		}
		parsed.Capabilities()
		b, err := parsed.Bind(nil, testEnv())
		if err != nil {
			return
		}
		made := map[string]bool{}
		for _, r := range b.Order() {
			for _, on := range r.Dependencies {
				if !made[on] {
					t.Fatalf("%s comes before %s, which it depends on", r.LogicalID, on)
				}
			}
			// What a resource asks for is made before it.
			p, err := b.Properties(r.LogicalID, func(id, attr string) (string, bool) {
				if !made[id] {
					t.Fatalf("%s asks for %s, which it does not depend on", r.LogicalID, id)
				}
				return physical(id, attr)
			})
			made[r.LogicalID] = true
			if err != nil {
				continue
			}
			if u := Compare(p, p); len(u.Changed) > 0 {
				t.Fatalf("differs from itself in %v", u.Changed)
			}
		}
		_, _ = b.Outputs(physical) // an error is an answer
		if changes, err := Diff(b, b); err != nil || len(changes) > 0 {
			t.Fatalf("differs from itself: %v, %v", changes, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"eksctl-role.json", "full.yaml"} {
		b.Run(name, func(b *testing.B) {
			text := read(b, name)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBind(b *testing.B) {
	parsed, err := Parse(read(b, "full.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		bound, err := parsed.Bind(nil, testEnv())
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range bound.Order() {
			if _, err := bound.Properties(r.LogicalID, physical); err != nil {
				b.Fatal(err)
			}
		}
	}
}
