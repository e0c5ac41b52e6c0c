// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"strings"
	"testing"
)

// doc wraps a statement in a document of the current version.
func doc(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func message(err error) string {
	var m *MalformedError
	if errors.As(err, &m) {
		return m.Message
	}
	if err != nil {
		return "other: " + err.Error()
	}
	return ""
}

func TestParseManagedRefuses(t *testing.T) {
	const allow = `"Effect":"Allow",`
	const list = allow + `"Action":"s3:ListBucket",`
	const bucket = `"Resource":"arn:aws:s3:::b"`
	withResource := func(r string) string { return doc(`{` + list + `"Resource":` + r + `}`) }
	withCondition := func(c string) string { return doc(`{` + list + bucket + `,"Condition":` + c + `}`) }
	tests := []struct{ name, text, want string }{
		{"no JSON", `This is no JSON`, msgSyntax},
		{"empty", ``, msgSyntax},
		{"text after the document", doc(`{`+list+bucket+`}`) + `{}`, msgSyntax},
		{"comma after the last member", `{"Version":"2012-10-17",}`, msgSyntax},
		{"deep nesting", strings.Repeat(`[`, 200) + strings.Repeat(`]`, 200), msgSyntax},
		{"member given twice", `{"Version":"2012-10-17","Version":"2012-10-17","Statement":{` + list + bucket + `}}`, msgSyntax},
		{"condition operator given twice", withCondition(`{"StringEquals":{"a":"b"},"StringEquals":{"a":"c"}}`), msgSyntax},
		{"no version", `{"Statement":{` + list + bucket + `}}`, msgVersion},
		{"old version", `{"Version":"2008-10-17","Statement":{` + list + bucket + `}}`, msgVersion},
		{"old version before a bad date", `{"Statement":{` + list + bucket + `,"Condition":{"DateGreaterThan":{"a":"x"}}}}`, msgVersion},
		{"future version", `{"Version":"2013-10-17","Statement":{` + list + bucket + `}}`, msgSyntax},
		{"no statement", `{"Version":"2012-10-17"}`, msgSyntax},
		{"no statements in the list", `{"Version":"2012-10-17","Statement":[]}`, msgSyntax},
		{"statement is text", `{"Version":"2012-10-17","Statement":["x"]}`, msgSyntax},
		{"extra member", `{"Version":"2012-10-17","Extra":1,"Statement":{` + list + bucket + `}}`, msgSyntax},
		{"extra element", doc(`{` + list + bucket + `,"Extra":1}`), msgSyntax},
		{"element in other case", doc(`{"effect":"Allow","Action":"s3:*",` + bucket + `}`), msgSyntax},
		{"Id is no string", `{"Version":"2012-10-17","Id":{},"Statement":{` + list + bucket + `}}`, msgSyntax},
		{"effect unknown", doc(`{"Effect":"Perhaps","Action":"s3:*",` + bucket + `}`), msgSyntax},
		{"effect missing", doc(`{"Action":"s3:*",` + bucket + `}`), msgSyntax},
		{"effect in other case", doc(`{"Effect":"denY","Action":"s3:*",` + bucket + `}`), msgLegacy},
		{"effect in other case, no action", doc(`{"Effect":"allow",` + bucket + `}`), msgLegacy},
		{"action without vendor", doc(`{` + allow + `"Action":"ListBucket",` + bucket + `}`), msgActionPrefix},
		{"action without vendor, no resource", doc(`{` + allow + `"Action":"ListBucket"}`), msgActionPrefix},
		{"empty NotAction", doc(`{` + allow + `"NotAction":"",` + bucket + `}`), msgActionPrefix},
		{"vendor with a space", doc(`{` + allow + `"Action":"a a:List",` + bucket + `}`), "Vendor a a is not valid"},
		{"two colons", doc(`{` + allow + `"Action":"s3:List:Bucket",` + bucket + `}`), msgActionColons},
		{"two colons, and a bad resource", doc(`{` + allow + `"Action":"s:3:List","Resource":"x"}`), `Resource x must be in ARN format or "*".`},
		{"no actions", doc(`{` + allow + bucket + `}`), msgNoActions},
		{"empty actions", doc(`{` + allow + `"Action":[],` + bucket + `}`), msgNoActions},
		{"neither actions nor resources", doc(`{` + allow + `"Sid":"a"}`), msgNoActions},
		{"no resources", doc(`{` + allow + `"Action":"s3:*"}`), msgNoResources},
		{"empty resources", withResource(`[]`), msgNoResources},
		{"both Action and NotAction", doc(`{` + list + bucket + `,"NotAction":"s3:x"}`), msgSyntax},
		{"both Resource and NotResource", doc(`{` + list + bucket + `,"NotResource":[]}`), msgSyntax},
		{"action is an object", doc(`{` + allow + `"Action":{},` + bucket + `}`), msgSyntax},
		{"action is a number", doc(`{` + allow + `"Action":7,` + bucket + `}`), msgSyntax},
		{"action is a list of lists", doc(`{` + allow + `"Action":[[]],` + bucket + `}`), msgSyntax},
		{"resource no ARN", withResource(`"no arn"`), `Resource no arn must be in ARN format or "*".`},
		{"resource empty", withResource(`""`), `Resource  must be in ARN format or "*".`},
		{"resource does not begin with arn", withResource(`"urn:aws:s3:::b"`), `Resource urn:aws:s3:::b must be in ARN format or "*".`},
		{"partition unknown", withResource(`"arn:error:s3:::b"`), `Partition "error" is not valid for resource "arn:error:s3:::b".`},
		{"partition unknown, parts missing", withResource(`"a:b:c"`), `Partition "b" is not valid for resource "arn:b:c:*:*:*".`},
		{"partition left out", withResource(`"aws:s3:::b"`), `Partition "s3" is not valid for resource "arn:s3:::b:*".`},
		{"vendor left out", withResource(`"arn:aws"`), "Resource vendor must be fully qualified and cannot contain regexes."},
		{"five parts", withResource(`"arn:aws:s3::b"`), msgLegacy},
		{"vendor empty", withResource(`"arn:aws::::b"`), msgLegacy},
		{"five parts in NotResource", doc(`{` + list + `"NotResource":"arn:aws:s3::b"}`), msgLegacy},
		{"IAM path", withResource(`"arn:aws:iam:::b"`), `IAM resource path must either be "*" or start with ` + iamPaths + `.`},
		{"IAM region", withResource(`"arn:aws:iam:us-east-1::user/b"`), "IAM resource arn:aws:iam:us-east-1::user/b cannot contain region information."},
		{"S3 region", withResource(`"arn:aws:s3:us-east-1::b"`), "Resource arn:aws:s3:us-east-1::b can not contain region information."},
		{"principal in an identity policy", doc(`{` + list + bucket + `,"Principal":"*"}`), msgNoPrincipalHere},
		{"sid is an object", doc(`{"Sid":{},` + list + bucket + `}`), msgSyntax},
		{"sid with a blank", doc(`{"Sid":"a b",` + list + bucket + `}`), msgSidCharacters},
		{"sid with a blank comes after a bad date", doc(`{"Sid":"a b",` + list + bucket + `,"Condition":{"DateLessThan":{"a":"x"}}}`), msgLegacy},
		{"sid twice", doc(`{"Sid":"a",`+list+bucket+`}`, `{"Sid":"a","Effect":"Allow"}`), msgSid},
		{"condition is a list", withCondition(`[]`), msgSyntax},
		{"condition is text", withCondition(`"a"`), msgSyntax},
		{"operator holds text", withCondition(`{"StringEquals":"b"}`), msgSyntax},
		{"operator holds a list", withCondition(`{"StringEquals":[]}`), msgSyntax},
		{"value is an object", withCondition(`{"StringEquals":{"a":{}}}`), msgSyntax},
		{"value is null", withCondition(`{"StringEquals":{"a":null}}`), msgSyntax},
		{"operator unknown", withCondition(`{"StringResembles":{"a":"b"}}`), msgSyntax},
		{"operator that others invented", withCondition(`{"StringLikeIgnoreCase":{"a":"b"}}`), msgSyntax},
		{"two colons after ForAnyValue", withCondition(`{"ForAnyValue::StringEquals":{"a":"b"}}`), msgSyntax},
		{"NullIfExists", withCondition(`{"NullIfExists":{"a":"true"}}`), msgSyntax},
		{"no date", withCondition(`{"DateGreaterThan":{"a":"soon"}}`), msgLegacy},
		{"date with a short month and no day", withCondition(`{"DateLessThanEquals":{"a":"234-13"}}`), msgLegacy},
		{"date with a zone of one digit", withCondition(`{"DateLessThanEquals":{"a":"2016-12-13t2:00:00.593194+1"}}`), msgLegacy},
		{"date with ten digits of a second", withCondition(`{"DateLessThanEquals":{"a":"2016-12-13t2:00:00.1999999999+10:59"}}`), msgLegacy},
		{"epoch beyond 64 bits", withCondition(`{"DateLessThan":{"a":"9223372036854775808"}}`), msgLegacy},
		{"a bad date comes before a bad partition", doc(`{` + list + `"Resource":"arn:error:s3:::b","Condition":{"DateLessThan":{"a":"x"}}}`), msgLegacy},
		{"a bad date comes before a missing action", doc(`{` + allow + `"Condition":{"DateLessThan":{"a":"x"}}}`), msgLegacy},
		{"too long", doc(`{`+list+bucket+`}`) + strings.Repeat(" ", TextMax), msgSyntax},
		{"not UTF-8", "\"\xff\"", msgSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseManaged(tt.text)
			if got := message(err); got != tt.want {
				t.Errorf("message %q, want %q (%v)", got, tt.want, err)
			}
		})
	}
}

func TestParseManagedAccepts(t *testing.T) {
	const list = `"Effect":"Allow","Action":"s3:ListBucket",`
	const bucket = `"Resource":"arn:aws:s3:::b"`
	withCondition := func(c string) string { return doc(`{` + list + bucket + `,"Condition":` + c + `}`) }
	tests := []struct{ name, text string }{
		{"statement without a list", `{"Version":"2012-10-17","Statement":{` + list + bucket + `}}`},
		{"Id", `{"Version":"2012-10-17","Id":"x","Statement":{` + list + bucket + `}}`},
		{"resource list with a star", doc(`{` + list + `"Resource":["arn:aws:s3:::b","*"]}`)},
		{"all actions", doc(`{"Effect":"Allow","Action":"*",` + bucket + `}`)},
		{"odd action", doc(`{"Effect":"Allow","Action":"iam: x y ",` + bucket + `}`)},
		{"vendor with a dot and a dash", doc(`{"Effect":"Allow","Action":["a-b:c","a.b:c"],` + bucket + `}`)},
		{"NotAction and NotResource", doc(`{"Effect":"Allow","NotAction":"s3:x","NotResource":"*"}`)},
		{"three parts", doc(`{` + list + `"Resource":"arn:aws:anything"}`)},
		{"unknown vendor with region", doc(`{` + list + `"Resource":"arn:aws:x:us-east-1::b"}`)},
		{"other partition", doc(`{` + list + `"Resource":"arn:aws-cn:s3:::b"}`)},
		{"S3 access point", doc(`{` + list + `"Resource":"arn:aws:s3:us-west-2:123456789012:accesspoint/a"}`)},
		{"variable in an IAM path", doc(`{` + list + `"Resource":"arn:aws:iam::*:user/${aws:username}"}`)},
		{"variable alone in an IAM path", doc(`{` + list + `"Resource":"arn:aws:iam::*:${aws:PrincipalTag/path}"}`)},
		{"empty sid twice", doc(`{"Sid":"",`+list+bucket+`}`, `{"Sid":"",`+list+bucket+`}`)},
		{"empty condition", withCondition(`{}`)},
		{"operator without keys", withCondition(`{"DateGreaterThan":{}}`)},
		{"unknown operator without keys", withCondition(`{"x":{},"y":{}}`)},
		{"key without values", withCondition(`{"DateGreaterThan":{"a":[]}}`)},
		{"set operator with IfExists", withCondition(`{"ForAnyValue:StringEqualsIfExists":{"a":"b"}}`)},
		{"numbers and booleans", withCondition(`{"NumericLessThan":{"a":5},"Bool":{"b":[true]}}`)},
		{"date with fraction and zone", withCondition(`{"DateLessThanEquals":{"a":"2016-12-13T21:20:37.593194+00:00"}}`)},
		{"date with zone in hours", withCondition(`{"DateLessThanEquals":{"a":"2016-12-13t2:00:00.593194+23"}}`)},
		{"negative epoch", withCondition(`{"DateLessThan":{"a":"-292275054"}}`)},
		{"year and T", withCondition(`{"DateGreaterThan":{"a":"01T"}}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ParseManaged(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if d.Text() != tt.text || d.Kind() != Identity || d.Version() != VersionCurrent {
				t.Errorf("document is %v %v", d.Kind(), d.Version())
			}
		})
	}
}

func TestParseTrust(t *testing.T) {
	statement := func(principal, rest string) string {
		return doc(`{"Effect":"Allow","Principal":` + principal + `,` + rest + `}`)
	}
	const assume = `"Action":"sts:AssumeRole"`
	const pods = `{"Service":"pods.eks.amazonaws.com"}`
	tests := []struct{ name, text, want string }{
		{"service", statement(pods, assume), ""},
		{"everybody", statement(`"*"`, assume), ""},
		{"old version", `{"Statement":{"Effect":"Allow","Principal":"*",` + assume + `}}`, ""},
		{"account, root, user, role, sessions, ids", statement(`{"AWS":["111122223333","arn:aws:iam::111122223333:root","arn:aws:iam::111122223333:user/a/b",`+
			`"arn:aws-cn:iam::111122223333:role/x","arn:aws:sts::111122223333:assumed-role/x/s","arn:aws:sts::111122223333:federated-user/f","AROAABCDEFGHIJKLMNOPQ"]}`, assume), ""},
		{"federated", statement(`{"Federated":["arn:aws:iam::111122223333:oidc-provider/h/id","cognito-identity.amazonaws.com"]}`, assume), ""},
		{"canonical user", statement(`{"CanonicalUser":"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}`, assume), ""},
		{"all trust actions", statement(pods, `"Action":["sts:AssumeRole*","sts:TagSession","sts:SetSourceIdentity","sts:SetContext","sts:assumerolewithsaml"]`), ""},
		{"NotAction", statement(pods, `"NotAction":"sts:TagSession"`), ""},
		{"NotPrincipal", doc(`{"Effect":"Deny","NotPrincipal":` + pods + `,` + assume + `}`), ""},
		{"no principal", doc(`{"Effect":"Allow",` + assume + `}`), msgTrustPrincipal},
		{"empty principal", statement(`{}`, assume), msgTrustPrincipal},
		{"both principals", statement(pods, `"NotPrincipal":"*",`+assume), msgSyntax},
		{"principal is a list", statement(`["*"]`, assume), msgSyntax},
		{"principal is other text", statement(`"x"`, assume), msgSyntax},
		{"resource", statement(pods, assume+`,"Resource":"*"`), msgTrustResource},
		{"foreign action", statement(pods, `"Action":"s3:GetObject"`), msgTrustAction},
		{"other action of STS", statement(pods, `"Action":"sts:GetCallerIdentity"`), msgTrustAction},
		{"wildcard in a role", statement(`{"AWS":"arn:aws:iam::111122223333:role/*"}`, assume), `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/*"`},
		{"wildcard in a service", statement(`{"Service":"*.amazonaws.com"}`, assume), `Invalid principal in policy: "SERVICE":"*.amazonaws.com"`},
		{"group", statement(`{"AWS":"arn:aws:iam::111122223333:group/g"}`, assume), `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:group/g"`},
		{"session without a name", statement(`{"AWS":"arn:aws:sts::111122223333:assumed-role/x"}`, assume), `Invalid principal in policy: "AWS":"arn:aws:sts::111122223333:assumed-role/x"`},
		{"short account", statement(`{"AWS":"1111"}`, assume), `Invalid principal in policy: "AWS":"1111"`},
		{"unknown kind", statement(`{"Everyone":"x"}`, assume), `Invalid principal in policy: "Everyone":"x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(Trust, tt.text)
			if got := message(err); got != tt.want {
				t.Errorf("message %q, want %q (%v)", got, tt.want, err)
			}
		})
	}
}

func TestParseOrganisationPolicies(t *testing.T) {
	tests := []struct {
		name string
		kind DocumentKind
		text string
		want string
	}{
		{"SCP", SCP, doc(`{"Effect":"Allow","Action":"*","Resource":"*"}`), ""},
		{"SCP with a principal", SCP, doc(`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`), msgPolicyType},
		{"RCP", RCP, doc(`{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"s3:*","NotResource":"arn:aws:s3:::b"}`), ""},
		{"RCPFullAWSAccess", RCP, doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`), ""},
		{"RCP that allows some", RCP, doc(`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`), msgPolicyType},
		{"RCP that allows on a condition", RCP, doc(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"Bool":{"a":"true"}}}`), msgPolicyType},
		{"RCP for all services", RCP, doc(`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`), msgPolicyType},
		{"RCP with NotAction", RCP, doc(`{"Effect":"Deny","Principal":"*","NotAction":"s3:*","Resource":"*"}`), msgPolicyType},
		{"RCP with NotPrincipal", RCP, doc(`{"Effect":"Deny","NotPrincipal":"*","Action":"s3:*","Resource":"*"}`), msgPolicyType},
		{"RCP without a principal", RCP, doc(`{"Effect":"Deny","Action":"s3:*","Resource":"*"}`), msgPolicyType},
		{"RCP with a narrow principal", RCP, doc(`{"Effect":"Deny","Principal":{"AWS":"111122223333"},"Action":"s3:*","Resource":"*"}`), msgPolicyType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.kind, tt.text)
			if got := message(err); got != tt.want {
				t.Errorf("message %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDocumentReports(t *testing.T) {
	d, err := Parse(Trust, doc(
		`{"Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:role/x","AROAABCDEFGHIJKLMNOPQ"]},"Action":["sts:AssumeRole","sts:Tag*"],`+
			`"Condition":{"StringEquals":{"aws:SourceOrgId":"${aws:ResourceOrgId}","AWS:sourceorgid":"x"},"ArnLike":{"aws:SourceArn":"arn:aws:eks:*:${aws:PrincipalAccount}:cluster/*"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(d.Keys(), " "), "aws:SourceOrgId aws:ResourceOrgId aws:SourceArn aws:PrincipalAccount"; got != want {
		t.Errorf("keys %q, want %q", got, want)
	}
	if got, want := strings.Join(d.Actions(), " "), "sts:AssumeRole sts:Tag*"; got != want {
		t.Errorf("actions %q, want %q", got, want)
	}
	if got, want := strings.Join(d.Principals(), " "), "arn:aws:iam::111122223333:role/x AROAABCDEFGHIJKLMNOPQ"; got != want {
		t.Errorf("principals %q, want %q", got, want)
	}
	if got := Size("{ \"a\":\n\t\"é b\" }"); got != 10 {
		t.Errorf("size %d, want 10", got)
	}
}
