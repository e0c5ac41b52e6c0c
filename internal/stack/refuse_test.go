// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"strings"
	"testing"
)

const role = `Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {Version: 2012-10-17}}`

// TestParseRefuses has AWS' texts where they are known.
func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "Member must have length greater than or equal to 1"},
		{"too large", strings.Repeat(" ", MaxTemplate+1), "Member must have length less than or equal to 51200"},
		{"not UTF-8", "a: \xff", "not valid UTF-8"},
		{"only a comment", "# nothing", "unsupported structure"},
		{"a list", "[]", "unsupported structure"},
		{"JSON cut off", `{"Resources": {`, "JSON not well-formed. (line 1, column 15)"},
		{"JSON with more behind", "{}\n{}", "JSON not well-formed. (line 2, column 1)"},
		{"JSON key twice", "{\"Description\": \"a\",\n \"Description\": \"b\"}", `duplicate key "Description". (line 2, column 14)`},
		{"JSON null", `{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"Tags":[null]}}}}`, "[/Resources/R/Properties/Tags/0] 'null' values are not allowed in templates"},
		{"JSON too deep", `{"Metadata":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "nested more than 64 deep"},
		{"YAML broken", "a: [", "YAML not well-formed. (line 1)"},
		{"YAML key twice", "Description: a\nDescription: b", `duplicate key "Description". (line 2, column 1)`},
		{"YAML null", "Metadata: {a: ~}", "[/Metadata/a] 'null' values are not allowed in templates"},
		{"YAML two documents", "a: b\n---\nc: d", "more than one document"},
		{"YAML alias", "Metadata: {a: &x [1], b: *x}", "YAML aliases are not allowed"},
		{"YAML merge", "Metadata: {<<: {a: b}}", "YAML aliases are not allowed"},
		{"YAML tag", "Metadata: {a: !!binary aGk=}", "the tag !!binary is not supported"},
		{"YAML key no string", "Metadata: {[a]: b}", "a key must be a string"},
		{"YAML unknown function", "Metadata: {a: !GetAZs x}", "the function Fn::GetAZs is not supported. (line 1, column 15)"},
		{"YAML import", "Metadata: {a: !ImportValue x}", "the function Fn::ImportValue is not supported"},

		{"unknown section", `{"Foo":1,"Bar":2,"Resources":{}}`, "Invalid template property or properties [Foo, Bar]"},
		{"transform", `{"Transform":"AWS::Serverless-2016-10-31"}`, "Transform is not supported"},
		{"version", `{"AWSTemplateFormatVersion":"2011-01-01"}`, "unsupported value for AWSTemplateFormatVersion"},
		{"description no text", `{"Description":1}`, "Description must be a string"},
		{"description too long", `{"Description":"` + strings.Repeat("x", 1025) + `"}`, "exceeds the limit of 1024 bytes"},
		{"no resources", `{}`, "At least one Resources member must be defined."},
		{"resource name", `{"Resources":{"A-B":{"Type":"x"}}}`, "Resource name A-B is non alphanumeric."},
		{"resource without type", `{"Resources":{"R":{}}}`, "[/Resources/R] Every Resources object must contain a Type member."},
		{"resource type", `{"Resources":{"R":{"Type":"AWS::S3::Bucket"},"Q":{"Type":"AWS::EC2::VPC"}}}`, "Unrecognized resource types: [AWS::EC2::VPC, AWS::S3::Bucket]"},
		{"resource attribute", `{"Resources":{"R":{"Type":"AWS::IAM::Role","CreationPolicy":{}}}}`, "Invalid template resource property 'CreationPolicy'"},
		{"deletion policy", `{"Resources":{"R":{"Type":"AWS::IAM::Role","DeletionPolicy":"Snapshot"}}}`, "DeletionPolicy must be one of [Delete, Retain]"},
		{"retain except on create", `{"Resources":{"R":{"Type":"AWS::IAM::Role","DeletionPolicy":"RetainExceptOnCreate"}}}`, "RetainExceptOnCreate is not supported"},
		{"properties no object", `{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":[]}}}`, "[/Resources/R/Properties] must be an object"},
		{"depends on itself", `{"Resources":{"R":{"Type":"AWS::IAM::Role","DependsOn":"R"}}}`, "Circular dependency between resources: [R]"},
		{"depends on nothing", `{"Resources":{"R":{"Type":"AWS::IAM::Role","DependsOn":["X"]}}}`, "Unresolved resource dependencies [X] in the Resources block of the template"},
		{"condition unknown", `{"Resources":{"R":{"Type":"AWS::IAM::Role","Condition":"X"}}}`, "Unresolved condition dependency X"},
		{"a name twice", "Parameters: {R: {Type: String}}\nResources: {R: {" + role + "}}", "R names both a parameter and a resource"},
		{"output without value", `{"Resources":{"R":{"Type":"AWS::IAM::Role"}},"Outputs":{"O":{}}}`, "must contain a Value object"},
		{"output with more", `{"Resources":{"R":{"Type":"AWS::IAM::Role"}},"Outputs":{"O":{"Value":"a","Foo":1}}}`, "Output O is malformed: member Foo"},
		{"output to nothing", `{"Resources":{"R":{"Type":"AWS::IAM::Role"}},"Outputs":{"O":{"Value":{"Ref":"X"}}}}`, "Unresolved resource dependencies [X] in the Outputs block of the template"},
		{"mapping no list of maps", "Mappings: {M: {a: b}}", "Every Mappings member a must be a map"},
		{"mapping of objects", "Mappings: {M: {a: {b: {c: d}}}}", "Every Mappings attribute must be a String or a List"},

		{"parameter type", "Parameters: {P: {Type: AWS::EC2::VPC::Id}}", "Unrecognized parameter type: AWS::EC2::VPC::Id"},
		{"parameter without type", "Parameters: {P: {Default: a}}", "Every Parameters object must contain a Type member."},
		{"parameter attribute", "Parameters: {P: {Type: String, Foo: a}}", "Invalid template parameter property 'Foo'"},
		{"parameter pattern", "Parameters: {P: {Type: String, AllowedPattern: '(?=x)'}}", "not a regular expression of RE2"},
		{"parameter default", "Parameters: {P: {Type: String, Default: b, AllowedValues: [a]}}", "Parameter 'P' must be one of AllowedValues"},
		{"parameter bound", "Parameters: {P: {Type: Number, MinValue: x}}", "Parameter 'P' has a malformed MinValue"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse(tc.text)
			wantRefused(t, err, tc.want)
		})
	}
}

// TestFunctionsRefuse puts a value where a role has its description, or a definition among the conditions.
func TestFunctionsRefuse(t *testing.T) {
	for _, tc := range []struct{ name, value, want string }{
		{"ref of a list", "!Ref [a]", "every Ref object must have a single String value"},
		{"ref to nothing", "!Ref X", "Unresolved resource dependencies [X] in the Resources block"},
		{"ref with more", "{Ref: Other, a: b}", "Ref must be the only key of its object"},
		{"attribute of nothing", "!GetAtt X.Arn", "instance of Fn::GetAtt references undefined resource X"},
		{"attribute unknown", "!GetAtt Other.Foo", "resource Other does not support attribute type Foo in Fn::GetAtt"},
		{"attribute missing", "!GetAtt Other", "every Fn::GetAtt object requires two non-empty parameters"},
		{"sub of a number of things", "!Sub [a]", "Fn::Sub intrinsic functions don't specify expected arguments"},
		{"sub not closed", `!Sub "${a"`, "variable names in Fn::Sub syntax"},
		{"sub of a strange name", `!Sub "${a b}"`, "variable names in Fn::Sub syntax"},
		{"sub to nothing", `!Sub "${X}"`, "Unresolved resource dependencies [X]"},
		{"sub attribute unknown", `!Sub "${Other.Foo}"`, "does not support attribute type Foo"},
		{"sub of a list", `!Sub ["${v}", {v: [a]}]`, "variable v in Fn::Sub expression does not resolve to a string"},
		{"sub of no value", `!Sub "${AWS::NoValue}"`, "does not resolve to a string"},
		{"join without a list", "!Join [a, b]", "every Fn::Join object requires two parameters"},
		{"join of lists", "!Join ['', [[a]]]", "every Fn::Join object requires two parameters"},
		{"select one thing", "!Select [0]", "Fn::Select requires a list argument"},
		{"select by name", "!Select [a, [b]]", "Fn::Select requires a list argument"},
		{"select beyond", "!Select [1, [b]]", "cannot select nonexistent value at index 1"},
		{"select before", "!Select [-1, [b]]", "cannot select nonexistent value at index -1"},
		{"split at nothing", "!Split ['', a]", "every Fn::Split object requires two parameters"},
		{"base64 of a list", "!Base64 [a]", "every Fn::Base64 object must have a String-typed value"},
		{"map unknown", "!FindInMap [X, a, b]", "Mapping named 'X' is not present"},
		{"map key unknown", "!FindInMap [M, a, x]", "Unable to get mapping for M::a::x"},
		{"map key secret", "!FindInMap [M, a, !Ref Secret]", "Unable to get mapping for M::a::****"},
		{"map key of a resource", "!FindInMap [M, a, !Ref Other]", "do not depend on a resource"},
		{"map of two", "!FindInMap [M, a]", "requires three parameters"},
		{"if of two", "!If [Yes, a]", "every Fn::If object requires a list of 3"},
		{"if of nothing", "!If [X, a, b]", "Unresolved condition dependency X"},
		{"equals outside", "!Equals [a, b]", "Fn::Equals can be used in the Conditions block of the template only"},
		{"transform", "{'Fn::Transform': {Name: x}}", "the function Fn::Transform is not supported"},
		{"import", "{'Fn::ImportValue': x}", "the function Fn::ImportValue is not supported"},
		{"a list for a text", "[a]", "[/Resources/R/Properties] Value of property Description must be of type String"},
		{"a resource that is not", "!Ref Not", "Unresolved resource dependencies [Not] in the Resources block"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := bindText(`
Parameters: {Secret: {Type: String, NoEcho: true, Default: hush}}
Mappings: {M: {a: {b: c}}}
Conditions: {Yes: !Equals [a, a], No: !Equals [a, b]}
Resources:
  Other: {`+role+`}
  Not: {Condition: No, `+role+`}
  R:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {}
      Description: `+tc.value, nil)
			wantRefused(t, err, tc.want)
		})
	}
}

func TestConditionsRefuse(t *testing.T) {
	for _, tc := range []struct{ name, conditions, want string }{
		{"no function", "{C: yes}", "must be a condition function"},
		{"no condition function", "{C: !Ref P}", "Ref is not a condition function"},
		{"equals of three", "{C: !Equals [a, b, c]}", "every Fn::Equals object requires a list of 2"},
		{"equals of an object", "{C: !Equals [a, {b: c}]}", "every Fn::Equals object requires a list of 2"},
		{"and of one", "{C: !And [!Equals [a, b]]}", "every Fn::And object requires a list of at least 2 and at most 10"},
		{"not of two", "{C: !Not [!Equals [a, b], !Equals [a, b]]}", "every Fn::Not object requires a list of 1"},
		{"a resource", "{C: !Equals [!Ref R, b]}", "Unresolved dependencies [R]. Cannot reference resources in the Conditions block of the template"},
		{"an attribute", "{C: !Equals [!GetAtt R.Arn, b]}", "Fn::GetAtt references undefined resource R"},
		{"if", "{C: !Equals [!If [C, a, b], b]}", "Fn::If cannot be used in the Conditions block"},
		{"unknown", "{C: !Not [!Condition X]}", "Unresolved condition dependency X in the Conditions block"},
		{"circle", "{A: !Not [!Condition B], B: !Not [!Condition A], C: !Not [!Condition A]}", "Circular dependency between conditions: [A, B]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := bindText("Parameters: {P: {Type: String, Default: x}}\nConditions: "+tc.conditions+"\nResources: {R: {"+role+"}}", nil)
			wantRefused(t, err, tc.want)
		})
	}
}

func bindText(text string, params map[string]string) (*Bound, error) {
	parsed, err := Parse(text)
	if err != nil {
		return nil, err
	}
	return parsed.Bind(params, testEnv())
}

func TestParametersRefuse(t *testing.T) {
	const text = `
Parameters:
  Text: {Type: String, Default: abc, MinLength: 2, MaxLength: 4, AllowedPattern: "[a-z]*"}
  Number: {Type: Number, Default: 5, MinValue: 2, MaxValue: 10}
  Numbers: {Type: List<Number>, Default: "1,2"}
  Told: {Type: CommaDelimitedList, Default: a, AllowedValues: [a, b], ConstraintDescription: a or b}
  Needed: {Type: String, NoEcho: true, MaxLength: 6}
Resources: {R: {` + role + `}}`
	for _, tc := range []struct{ name, key, value, want string }{
		{"missing", "Text", "abc", "Parameters: [Needed] must have values"},
		{"unknown", "Foo", "x", "Parameters: [Foo] do not exist in the template"},
		{"short", "Text", "a", "Parameter 'Text' must contain at least 2 characters"},
		{"long", "Text", "abcde", "Parameter 'Text' must contain at most 4 characters"},
		{"pattern", "Text", "AB", "Parameter 'Text' must match pattern [a-z]*"},
		{"pattern is anchored", "Text", "ab1", "must match pattern"},
		{"no number", "Number", "x", "Parameter 'Number' must be a number"},
		{"not a number", "Number", "NaN", "Parameter 'Number' must be a number"},
		{"small", "Number", "1.5", "Parameter 'Number' must be a number not less than 2"},
		{"great", "Number", "1e3", "Parameter 'Number' must be a number not greater than 10"},
		{"item no number", "Numbers", "1, x", "Parameter 'Numbers' must be a number"},
		{"constraint told", "Told", "a, c", "Parameter 'Told' failed to satisfy constraint: a or b"},
		{"huge", "Needed", strings.Repeat("x", 5000), "Parameter 'Needed' must not be longer than 4096 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			given := map[string]string{tc.key: tc.value}
			if tc.name != "missing" {
				given["Needed"] = tc.value
			}
			if tc.key != "Needed" && given["Needed"] != "" {
				given["Needed"] = "secret"
			}
			_, err := bindText(text, given)
			wantRefused(t, err, tc.want)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error says the secret: %v", err)
			}
		})
	}
}

func TestPropertiesRefuse(t *testing.T) {
	for _, tc := range []struct{ name, kind, properties, want string }{
		{"unknown", TypeRole, "{AssumeRolePolicyDocument: {}, Foo: 1}", "Encountered unsupported property Foo"},
		{"missing", TypeRole, "{}", "Property AssumeRolePolicyDocument cannot be empty."},
		{"no value for a required one", TypeRole, "{AssumeRolePolicyDocument: !Ref AWS::NoValue}", "Property AssumeRolePolicyDocument cannot be empty."},
		{"document a list", TypeRole, "{AssumeRolePolicyDocument: []}", "Value of property AssumeRolePolicyDocument must be an object"},
		{"document no JSON", TypeRole, "{AssumeRolePolicyDocument: '{a'}", "Value of property AssumeRolePolicyDocument must be an object"},
		{"no number", TypeRole, "{AssumeRolePolicyDocument: {}, MaxSessionDuration: 1h}", "Value of property MaxSessionDuration must be of type Integer"},
		{"nought", TypeRole, "{AssumeRolePolicyDocument: {}, MaxSessionDuration: 0}", "Value of property MaxSessionDuration must be of type Integer"},
		{"no list", TypeRole, "{AssumeRolePolicyDocument: {}, ManagedPolicyArns: a}", "Value of property ManagedPolicyArns must be of type List of String"},
		{"list of objects", TypeRole, "{AssumeRolePolicyDocument: {}, ManagedPolicyArns: [{a: b}]}", "Value of property ManagedPolicyArns must be of type List of String"},
		{"tag of more", TypeRole, "{AssumeRolePolicyDocument: {}, Tags: [{Key: a, Value: b, Propagate: c}]}", "Encountered unsupported property Propagate"},
		{"tag of less", TypeRole, "{AssumeRolePolicyDocument: {}, Tags: [{Key: a}]}", "Property Value cannot be empty."},
		{"tags as a map", TypeRole, "{AssumeRolePolicyDocument: {}, Tags: {a: b}}", "Value of property Tags must be of type List"},
		{"inline policy", TypeRole, "{AssumeRolePolicyDocument: {}, Policies: [a]}", "Value of property Policies must be a list of objects"},
		{"policy of nobody", TypePolicy, "{PolicyName: a, PolicyDocument: {}, Roles: []}", "At least one of [Groups,Roles,Users] must be non-empty."},
		{"profile of nobody", TypeInstanceProfile, "{Roles: []}", "Property Roles cannot be empty."},
		{"bool", TypePodIdentityAssociation, "{ClusterName: a, Namespace: b, ServiceAccount: c, RoleArn: d, DisableSessionTags: 'on'}", "Value of property DisableSessionTags must be of type Boolean"},
		{"association's namespace", TypePodIdentityAssociation, "{ClusterName: a, ServiceAccount: c, RoleArn: d}", "Property Namespace cannot be empty."},
		{"provider", TypeOIDCProvider, "{Url: ''}", "Property Url cannot be empty."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := bindText("Resources: {R: {Type: "+tc.kind+", Properties: "+tc.properties+"}}", nil)
			wantRefused(t, err, tc.want)
			wantRefused(t, err, "[/Resources/R/Properties] ")
		})
	}
}

// TestLateRefusals come once resources exist: their values are of the wrong kind, or they are not there.
func TestLateRefusals(t *testing.T) {
	b, err := bindText(`
Resources:
  R: {`+role+`}
  S: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {}, Description: !Select [9, !Split [":", !GetAtt R.Arn]]}}
  T: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: !Ref R}}
Outputs: {O: {Value: !Split [":", !Ref R]}}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(string, string) (string, bool) { return "", false }
	_, err = b.Properties("S", physical)
	wantRefused(t, err, "cannot select nonexistent value at index 9")
	_, err = b.Properties("S", nothing)
	wantRefused(t, err, "resource R has no value for Arn yet")
	_, err = b.Properties("T", nothing)
	wantRefused(t, err, "resource R has no value for Ref yet")
	_, err = b.Properties("T", physical)
	wantRefused(t, err, "Value of property AssumeRolePolicyDocument must be an object")
	_, err = b.Properties("X", physical)
	wantRefused(t, err, "Unresolved resource dependencies [X]")
	_, err = b.Outputs(physical)
	wantRefused(t, err, "must evaluate to a String")
}
