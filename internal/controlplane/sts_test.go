// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"podid/internal/controlplane/controlplanetest"
)

const roleARN = "arn:aws:iam::111122223333:role/"

// root trusts the account.
func root(more object) map[string]any {
	s := object{"Effect": "Allow", "Principal": object{"AWS": "arn:aws:iam::111122223333:root"}, "Action": []string{"sts:AssumeRole", "sts:TagSession"}}
	for k, v := range more {
		s[k] = v
	}
	return controlplanetest.Document(s)
}

// assumed is the answer of an assumption.
type assumed struct {
	Result struct {
		Credentials struct {
			AccessKeyID                   string `xml:"AccessKeyId"`
			SecretAccessKey, SessionToken string
			Expiration                    time.Time
		}
		AssumedRoleUser struct {
			AssumedRoleID string `xml:"AssumedRoleId"`
			Arn           string
		}
		PackedPolicySize int
	} `xml:"AssumeRoleResult"`
}

func stsAnswer(t *testing.T, a controlplanetest.QueryAnswer) assumed {
	t.Helper()
	var out assumed
	if a.Status != 200 {
		t.Fatalf("no credentials: %d %s", a.Status, a.Raw)
	}
	if err := xml.Unmarshal(a.Raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func stsCredentials(t *testing.T, a controlplanetest.QueryAnswer) aws.CredentialsProvider {
	t.Helper()
	c := stsAnswer(t, a).Result.Credentials
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

func assume(role string, more url.Values) url.Values {
	f := url.Values{"Action": {"AssumeRole"}, "RoleArn": {roleARN + role}, "RoleSessionName": {"me"}}
	for k, v := range more {
		f[k] = v
	}
	return f
}

// tags are form parameters for session tags, in pairs; a key beginning with
// "+" is transitive.
func tags(pairs ...string) url.Values {
	f := url.Values{}
	transitive := 0
	for i := 0; i < len(pairs); i += 2 {
		key, plus := strings.CutPrefix(pairs[i], "+")
		if plus {
			transitive++
			f.Set(fmt.Sprintf("TransitiveTagKeys.member.%d", transitive), key)
		}
		f.Set(fmt.Sprintf("Tags.member.%d.Key", i/2+1), key)
		f.Set(fmt.Sprintf("Tags.member.%d.Value", i/2+1), pairs[i+1])
	}
	return f
}

func TestSTS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	w.Role("any", root(nil))
	w.Role("external", root(object{"Condition": object{"StringEquals": object{"sts:ExternalId": "secret-id"}}, "Action": "sts:AssumeRole"}))
	w.Role("needs-team", root(object{"Condition": object{"StringEquals": object{"aws:RequestTag/team": "blue"}}}))
	w.RolePolicy("any", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"sts:AssumeRole", "sts:TagSession", "iam:GetRole"}, "*", nil)))
	t.Run("refusals", func(t *testing.T) { testAssumeRoleRefusals(t, w) })
	t.Run("chain", func(t *testing.T) { testChain(t, w) })
	t.Run("session policy", func(t *testing.T) { testSessionPolicy(t, w) })
	t.Run("signatures", func(t *testing.T) { testSignatures(t, w) })
	t.Run("presigned", func(t *testing.T) { testPresigned(t, w) })
	t.Run("web identity", func(t *testing.T) { testWebIdentity(t, w) })
	t.Run("captures", func(t *testing.T) { testCaptures(t, w) })
}

func testAssumeRoleRefusals(t *testing.T, w *world) {
	poor := w.User("poor", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"iam:*"}, "*", nil)))
	many := make([]string, 0, 102)
	for i := range 51 {
		many = append(many, fmt.Sprintf("k%d", i), "v")
	}
	const invalid = "ValidationError"
	for name, tc := range map[string]struct {
		caller  aws.CredentialsProvider
		form    url.Values
		status  int
		code    string
		message string
	}{
		"good":                 {w.Admin, assume("any", nil), 200, "", ""},
		"external id":          {w.Admin, assume("external", url.Values{"ExternalId": {"secret-id"}}), 200, "", ""},
		"external id missing":  {w.Admin, assume("external", nil), 403, "AccessDenied", "User: arn:aws:iam::111122223333:user/podid-admin is not authorized to perform: sts:AssumeRole on resource: " + roleARN + "external"},
		"no such role":         {w.Admin, assume("nothing", nil), 403, "AccessDenied", "User: arn:aws:iam::111122223333:user/podid-admin is not authorized to perform: sts:AssumeRole on resource: " + roleARN + "nothing"},
		"no identity policy":   {poor, assume("any", nil), 403, "AccessDenied", "User: arn:aws:iam::111122223333:user/poor is not authorized to perform: sts:AssumeRole on resource: " + roleARN + "any"},
		"tag demanded":         {w.Admin, assume("needs-team", tags("team", "blue")), 200, "", ""},
		"tag other":            {w.Admin, assume("needs-team", tags("team", "red")), 403, "AccessDenied", ""},
		"service trusted only": {w.Admin, assume("s3-app-eks-pod-identity-role", nil), 403, "AccessDenied", ""},
		"duration short":       {w.Admin, assume("any", url.Values{"DurationSeconds": {"899"}}), 400, invalid, ""},
		"duration over role's": {w.Admin, assume("any", url.Values{"DurationSeconds": {"3601"}}), 400, invalid, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		"duration no number":   {w.Admin, assume("any", url.Values{"DurationSeconds": {"1h"}}), 400, "", ""},
		"session name":         {w.Admin, assume("any", url.Values{"RoleSessionName": {"a b"}}), 400, invalid, ""},
		"no session name":      {w.Admin, assume("any", url.Values{"RoleSessionName": nil}), 400, invalid, ""},
		"too many tags":        {w.Admin, assume("any", tags(many...)), 400, invalid, ""},
		"tag key twice":        {w.Admin, assume("any", tags("Team", "a", "team", "b")), 400, "", "Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		"tag key aws:":         {w.Admin, assume("any", tags("aws:team", "a")), 400, "", ""},
		"transitive not there": {w.Admin, assume("any", url.Values{"TransitiveTagKeys.member.1": {"x"}}), 400, "", "The specified transitive tag key must be included in the requested tags."},
		"policy not JSON":      {w.Admin, assume("any", url.Values{"Policy": {"{"}}), 400, "MalformedPolicyDocument", ""},
		"policy too long":      {w.Admin, assume("any", url.Values{"Policy": {strings.Repeat(" ", 2049)}}), 400, "", ""},
		"policy ARN unknown":   {w.Admin, assume("any", url.Values{"PolicyArns.member.1.arn": {"arn:aws:iam::aws:policy/Nothing"}}), 400, "", ""},
		"parameter twice":      {w.Admin, assume("any", url.Values{"RoleSessionName": {"me", "you"}}), 400, "MalformedInput", ""},
		"unsigned":             {nil, assume("any", nil), 403, "MissingAuthenticationToken", "Request is missing Authentication Token"},
		"unknown action":       {w.Admin, url.Values{"Action": {"AssumeRoot"}}, 400, "InvalidAction", "Could not find operation AssumeRoot for version 2011-06-15"},
		"unknown version":      {w.Admin, url.Values{"Action": {"AssumeRole"}, "Version": {"2010-01-01"}}, 400, "InvalidAction", ""},
		"no action":            {w.Admin, url.Values{}, 400, "MissingAction", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.STSQuery(tc.caller, tc.form)
			if tc.status != a.Status || tc.code != "" && a.Code != tc.code || tc.message != "" && a.Message != tc.message {
				t.Errorf("got %d %s %q, want %d %s %q", a.Status, a.Code, a.Message, tc.status, tc.code, tc.message)
			}
		})
	}
}

// testChain: an hour at most, transitive tags inherited, never overridden.
func testChain(t *testing.T, w *world) {
	first := stsCredentials(t, w.STSQuery(w.Admin, assume("any", tags("+team", "blue", "stage", "dev"))))
	w.STSQuery(first, assume("any", url.Values{"DurationSeconds": {"3601"}})).Want(t, 400, "ValidationError",
		"The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	w.STSQuery(first, assume("any", tags("TEAM", "red"))).Want(t, 400, "InvalidParameterValue",
		"One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
	// Inherited: the trust condition on the request tag holds on the second hop.
	second := stsCredentials(t, w.STSQuery(first, assume("needs-team", nil)))
	w.RolePolicy("needs-team", controlplanetest.Document(
		controlplanetest.Statement("Allow", []string{"iam:ListRoles"}, "*", object{"Condition": object{"StringEquals": object{"aws:PrincipalTag/team": "blue"}}}),
		controlplanetest.Statement("Allow", []string{"iam:ListUsers"}, "*", object{"Condition": object{"StringEquals": object{"aws:PrincipalTag/stage": "dev"}}})))
	if a := w.Query(second, "iam", "2010-05-08", url.Values{"Action": {"ListRoles"}}); a.Status != 200 {
		t.Errorf("transitive tag: %d %s", a.Status, a.Raw)
	}
	w.Query(second, "iam", "2010-05-08", url.Values{"Action": {"ListUsers"}}).Want(t, 403, "AccessDenied", "")
	// A tag that is not transitive stays behind; an hour is the default too.
	out := stsAnswer(t, w.STSQuery(first, assume("any", nil)))
	if life := time.Until(out.Result.Credentials.Expiration); life > time.Hour || life < 59*time.Minute {
		t.Errorf("life %s", life)
	}
}

func testSessionPolicy(t *testing.T, w *world) {
	get := url.Values{"Action": {"GetRole"}, "RoleName": {"any"}}
	for name, tc := range map[string]struct {
		more    url.Values
		allowed bool
	}{
		"none":               {nil, true},
		"inline that allows": {url.Values{"Policy": {controlplanetest.JSON(t, controlplanetest.Document(controlplanetest.Statement("Allow", []string{"iam:Get*"}, "*", nil)))}}, true},
		"inline of others":   {url.Values{"Policy": {controlplanetest.JSON(t, controlplanetest.Document(controlplanetest.Statement("Allow", []string{"s3:*"}, "*", nil)))}}, false},
		"managed":            {url.Values{"PolicyArns.member.1.arn": {"arn:aws:iam::aws:policy/ReadOnlyAccess"}}, true},
		"managed of others":  {url.Values{"PolicyArns.member.1.arn": {"arn:aws:iam::aws:policy/AmazonS3FullAccess"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := stsCredentials(t, w.STSQuery(w.Admin, assume("any", tc.more)))
			if a := w.Query(p, "iam", "2010-05-08", get); (a.Status == 200) != tc.allowed {
				t.Errorf("%d %s", a.Status, a.Raw)
			}
		})
	}
}

func testWebIdentity(t *testing.T, w *world) {
	w.Role("web", providerTrust(w.cl, "web"))
	irsa := pod{ServiceAccount: "web", Audience: "sts.amazonaws.com"}
	out, err := webIdentity(w.ControlPlane, roleARN+"web", w.cl.Token(irsa))
	if err != nil {
		t.Fatal(err)
	}
	if *out.SubjectFromWebIdentityToken != "system:serviceaccount:s3-app-ns:web" || *out.Audience != "sts.amazonaws.com" || *out.Provider != w.cl.ProviderARN {
		t.Errorf("answer %+v", out)
	}
	for name, tc := range map[string]struct{ role, token, code, message string }{
		"pod identity's audience": {"web", w.cl.Token(pod{ServiceAccount: "web"}), "InvalidIdentityToken", "Incorrect token audience"},
		"expired":                 {"web", w.cl.Token(pod{ServiceAccount: "web", Audience: "sts.amazonaws.com", Issued: time.Now().Add(-3 * time.Hour), Life: time.Hour}), "ExpiredTokenException", ""},
		"other service account":   {"web", w.cl.Token(pod{ServiceAccount: "x", Audience: "sts.amazonaws.com"}), "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"no such role":            {"nothing", w.cl.Token(irsa), "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"other issuer":            {"web", w.cl.Token(pod{ServiceAccount: "web", Audience: "sts.amazonaws.com", Issuer: "https://x.example.com"}), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://x.example.com"},
		"not a token":             {"web", "hello", "InvalidIdentityToken", ""},
		"alg none":                {"web", unsignedToken(t, w.cl.Claims(irsa)), "InvalidIdentityToken", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := webIdentity(w.ControlPlane, roleARN+tc.role, tc.token)
			wantAPIError(t, err, tc.code, tc.message)
		})
	}
	// No role and no trust are told apart by nobody.
	if strings.Contains(controlplanetest.JSON(t, w.LastAudit("AssumeRoleWithWebIdentity")), w.cl.Token(irsa)) {
		t.Error("a token is in the audit log")
	}
}

// testCaptures sends what the AWS CLI sent, and compares the form of the
// answers with what it read: the same elements in the same places.
func testCaptures(t *testing.T, w *world) {
	w.Role("captured", root(nil))
	for name, tc := range map[string]struct {
		form     url.Values
		captured string
		newer    []string // elements that AWS added since
	}{
		"sts-assume-role": {
			url.Values{
				"Action": {"AssumeRole"}, "RoleArn": {roleARN + "captured"}, "RoleSessionName": {"eks-my-cluster-app1-00000000-0000-4000-8000-000000000000"},
				"Tags.member.1.Key": {"kubernetes-namespace"}, "Tags.member.1.Value": {"ns"}, "TransitiveTagKeys.member.1": {"kubernetes-namespace"},
			},
			`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId/><SecretAccessKey/><SessionToken/><Expiration/></Credentials><AssumedRoleUser><AssumedRoleId/><Arn/></AssumedRoleUser><PackedPolicySize/></AssumeRoleResult><ResponseMetadata><RequestId/></ResponseMetadata></AssumeRoleResponse>`,
			[]string{"/AssumeRoleResponse/AssumeRoleResult/SessionTokenSize", "/AssumeRoleResponse/AssumeRoleResult/SessionTokenUtilization"},
		},
		"sts-get-caller-identity": {
			url.Values{"Action": {"GetCallerIdentity"}},
			`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><UserId/><Account/><Arn/></GetCallerIdentityResult><ResponseMetadata><RequestId/></ResponseMetadata></GetCallerIdentityResponse>`,
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := w.STSQuery(w.Admin, tc.form)
			if a.Status != 200 {
				t.Fatalf("%d %s", a.Status, a.Raw)
			}
			got := slices.DeleteFunc(elements(t, string(a.Raw)), func(e string) bool { return slices.Contains(tc.newer, e) })
			if diff := cmp.Diff(elements(t, tc.captured), got); diff != "" {
				t.Errorf("elements (-captured +podid):\n%s", diff)
			}
		})
	}
}

// elements lists the paths of all elements of a document, sorted, with the
// root's namespace.
func elements(t *testing.T, doc string) []string {
	t.Helper()
	var out, path []string
	for d := xml.NewDecoder(strings.NewReader(doc)); ; {
		tok, err := d.Token()
		if err != nil {
			break
		}
		switch e := tok.(type) {
		case xml.StartElement:
			if len(path) == 0 {
				out = append(out, e.Name.Space)
			}
			path = append(path, e.Name.Local)
			out = append(out, "/"+strings.Join(path, "/"))
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
	slices.Sort(out)
	return out
}
