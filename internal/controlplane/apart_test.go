// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"encoding/base32"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"podid/internal/api/awsquery"
	"podid/internal/api/restjson"
	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
)

// aim is what calls name: objects by name, and objects by ARN or id, which may
// be of another account.
type aim struct {
	own           string // account of the caller
	names         string // prefix of the names
	account, mark string // of what ARNs name, and the prefix of its name
	keyID         string
	associationID string
	updateID      string // of an add-on
	stackUID      string // the end of a stack's ARN
	clusterARN    bool   // of /tags: else an association's
}

func (x aim) arn(kind, name string) string {
	return "arn:aws:iam::" + x.account + ":" + kind + "/" + x.mark + name
}

// form has every parameter that an operation may need. What an operation
// needs and is not here fails the test of all routes.
func (x aim) form(t *testing.T, action string) url.Values {
	return url.Values{
		"Action": {action}, "RoleName": {x.names + "-role"}, "UserName": {x.names + "-user"}, "GroupName": {x.names + "-group"}, "PolicyName": {x.names + "-policy"},
		"InstanceProfileName": {x.names + "-profile"},
		// An alias is unique among all accounts, with AWS as here: that one is
		// taken is no secret.
		"AccountAlias": {x.names + "-" + x.own}, "PolicyArn": {x.arn("policy", "-policy")}, "PermissionsBoundary": {x.arn("policy", "-policy")}, "PolicySourceArn": {x.arn("role", "-role")}, "RoleArn": {x.arn("role", "-role")},
		"OpenIDConnectProviderArn": {x.arn("oidc-provider", ".example.com")}, "Url": {"https://" + x.names + ".example.com"}, "ClientID": {"c"},
		"PolicyDocument":           {`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`},
		"AssumeRolePolicyDocument": {controlplanetest.JSON(t, x.trust())}, "AccessKeyId": {x.keyID}, "Status": {"Inactive"}, "VersionId": {"v1"},
		"RoleSessionName": {"me"}, "Tags.member.1.Key": {"k"}, "Tags.member.1.Value": {"v"}, "TagKeys.member.1": {"k"}, "Description": {"d"},
		"Name": {"bob"}, "AWSServiceName": {"ec2.amazonaws.com"}, "ThumbprintList.member.1": {strings.Repeat("ab", 20)}, "ClientIDList.member.1": {"c"},
		"WebIdentityToken": {"e30.eyJpc3MiOiJodHRwczovL25vYm9keS5leGFtcGxlLmNvbSJ9.e30"}, "EncodedMessage": {"bWVzc2FnZQ"},
		"ActionNames.member.1": {"s3:GetObject"}, "PolicyInputList.member.1": {`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`},
		"JobId": {"00000000-0000-4000-8000-000000000000"}, "SerialNumber": nil, "MaxSessionDuration": {"3600"},
		"StackName": {x.stack()}, "ChangeSetName": {x.names + "-changes"}, "LogicalResourceId": {"R"}, "EnableTerminationProtection": {"false"},
		"TemplateBody": {stackTemplate(t, action)}, "Capabilities.member.1": {"CAPABILITY_IAM"},
	}
}

// stack is a stack by name where clusters are named, else by ARN.
func (x aim) stack() string {
	if x.clusterARN {
		return x.names + "-stack"
	}
	return "arn:aws:cloudformation:us-west-2:" + x.account + ":stack/" + x.mark + "-stack/" + x.stackUID
}

// stackTemplate is a template of a role; that of changes is another one.
func stackTemplate(t *testing.T, action string) string {
	more := object{}
	if action != "CreateStack" {
		more["MaxSessionDuration"] = 7200
	}
	return *template(t, object{"R": roleResource(more)}, nil)
}

// trust is of pods and of the account itself.
func (x aim) trust() map[string]any {
	return controlplanetest.Document(
		object{"Effect": "Allow", "Principal": object{"Service": podService}, "Action": []string{"sts:AssumeRole", "sts:TagSession"}},
		object{"Effect": "Allow", "Principal": object{"AWS": x.account}, "Action": "sts:AssumeRole"},
	)
}

// path fills a route's pattern.
func (x aim) path(t *testing.T, r restjson.Route) string {
	t.Helper()
	tagged := "arn:aws:eks:us-west-2:" + x.account + ":podidentityassociation/" + x.mark + "-cluster/" + x.associationID
	if x.clusterARN {
		tagged = "arn:aws:eks:us-west-2:" + x.account + ":cluster/" + x.mark + "-cluster"
	}
	out := strings.NewReplacer(
		"{name}", x.names+"-cluster", "{clusterName}", x.names+"-cluster", "{associationId}", x.associationID, "{accountId}", x.account,
		"{addonName}", "snapshot-controller", "{updateId}", x.updateID, "{principalArn}", url.PathEscape(x.arn("role", "-role")), "{policyArn}", url.PathEscape(viewPolicy),
		"{resourceArn}", url.PathEscape(tagged),
	).Replace(r.Pattern)
	if strings.ContainsAny(out, "{}") {
		t.Errorf("%s: say what %s means across accounts", r.Operation.Name, r.Pattern)
	}
	switch r.Operation.Name {
	case "UntagResource":
		out += "?tagKeys=a"
	case "DescribeUpdate", "ListUpdates":
		out += "?addonName=snapshot-controller"
	case "DescribeAddonConfiguration":
		out += "?addonName=vpc-cni&addonVersion=v1.20.4-eksbuild.2"
	}
	return out
}

// body is a good body, with what it names of another account.
func (x aim) body(t *testing.T, name string, cl *controlplanetest.Cluster) any {
	switch name {
	case "CreatePodIdentityAssociation":
		return object{"namespace": "ns-" + x.names, "serviceAccount": "new", "roleArn": x.arn("role", "-role")}
	case "UpdatePodIdentityAssociation":
		return object{"roleArn": x.arn("role", "-role")}
	case "RegisterCluster":
		return object{
			"name": x.names + "-cluster", "issuer": controlplanetest.Issuer, "jwks": controlplanetest.JWKS(t, "k", cl.Key),
			"connectorConfig": object{"provider": "OTHER", "roleArn": x.arn("role", "-role")}, // EKS' operation of the name
		}
	case "CreateAccessEntry":
		return object{"principalArn": x.arn("role", "-role")}
	case "RevokeSessions":
		return object{"role": x.arn("role", "-role")}
	case "CreateAccount":
		return object{"accountId": "777788889999"}
	case "Explain":
		return object{"namespace": "s3-app-ns", "serviceAccount": "s3-app-sa"}
	}
	return restBody(name, cl)
}

// side is an account and what it aims at.
type side struct {
	*controlplanetest.ControlPlane
	aim
	cl *controlplanetest.Cluster
}

// furnish makes one object of each kind under the prefix.
func furnish(t *testing.T, cp *controlplanetest.ControlPlane, prefix string) side {
	t.Helper()
	s := side{ControlPlane: cp, aim: aim{own: cp.AccountID, names: prefix, mark: prefix, account: cp.AccountID, keyID: "AKIAIOSFODNN7EXAMPLE", clusterARN: true}}
	for _, action := range []string{
		"CreatePolicy", "CreateRole", "CreateUser", "CreateGroup", "CreateInstanceProfile", "CreateOpenIDConnectProvider", "CreateAccountAlias",
		"PutRolePolicy", "PutUserPolicy", "PutGroupPolicy", "AttachRolePolicy", "AttachUserPolicy", "AttachGroupPolicy", "AddUserToGroup",
		"AddRoleToInstanceProfile", "CreateAccessKey",
	} {
		a := cp.Query(cp.Admin, "iam", "2010-05-08", s.form(t, action))
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d %s %s", action, a.Status, a.Code, a.Message)
		}
		if m := regexp.MustCompile(`<AccessKeyId>(\w+)</AccessKeyId>`).FindSubmatch(a.Raw); m != nil {
			s.keyID = string(m[1])
		}
	}
	s.cl = cp.Register(prefix+"-cluster", nil)
	rest(t, cp, cp.Admin, "eks", http.MethodPost, "/clusters/"+prefix+"-cluster/access-entries", object{"principalArn": s.arn("role", "-role")}).Want(t, http.StatusOK, "", "")
	rest(t, cp, cp.Admin, "eks", http.MethodPost, "/clusters/"+prefix+"-cluster/addons", object{"addonName": "snapshot-controller"}).Want(t, http.StatusOK, "", "")
	up := rest(t, cp, cp.Admin, "eks", http.MethodPost, "/clusters/"+prefix+"-cluster/addons/snapshot-controller/update", object{"resolveConflicts": "NONE"})
	up.Want(t, http.StatusOK, "", "")
	if m := regexp.MustCompile(`"id":"([^"]+)"`).FindSubmatch(up.Raw); m != nil {
		s.updateID = string(m[1])
	}
	s.associationID = *s.cl.Associate("s3-app-sa", s.arn("role", "-role"), nil).AssociationId
	for _, action := range []string{"CreateStack", "CreateChangeSet"} {
		a := cp.Query(cp.Admin, "cloudformation", "2010-05-15", s.form(t, action))
		a.Want(t, http.StatusOK, "", "")
		if m := regexp.MustCompile(`<StackId>[^<]*/([^/<]+)</StackId>`).FindSubmatch(a.Raw); m != nil {
			s.stackUID = string(m[1])
		}
	}
	return s
}

// operation is one operation of whatever protocol.
type operation struct {
	name     string // service and name
	readOnly bool
	call     func(t *testing.T, s side) (status int, code, message, raw string)
}

// operations lists all there are; those that take away come last.
func operations() []operation {
	routes, services := controlplane.Surface()
	var out []operation
	for _, r := range routes {
		out = append(out, operation{r.Operation.Service + ":" + r.Operation.Name, r.Operation.ReadOnly, func(t *testing.T, s side) (int, string, string, string) {
			a := rest(t, s.ControlPlane, s.Admin, r.Operation.Service, r.Method, s.path(t, r), s.body(t, r.Operation.Name, s.cl))
			return a.Status, a.Code, a.Message(), string(a.Raw)
		}})
	}
	for _, v := range services {
		for _, op := range v.Operations {
			out = append(out, operation{v.Name + ":" + op.Name, op.ReadOnly, queryOperation(v, op)})
		}
	}
	slices.SortStableFunc(out, func(a, b operation) int {
		return strings.Compare(strconv.FormatBool(takesAway(a.name)), strconv.FormatBool(takesAway(b.name)))
	})
	return out
}

func queryOperation(v awsquery.Service, op awsquery.Operation) func(*testing.T, side) (int, string, string, string) {
	return func(t *testing.T, s side) (int, string, string, string) {
		var p aws.CredentialsProvider
		if !op.Anonymous {
			p = s.Admin
		}
		form := s.form(t, op.Name)
		if op.Name == "GetTemplateSummary" {
			form.Del("TemplateBody") // a template is given or a stack is named
		}
		a := s.Query(p, v.Name, v.Version, form)
		return a.Status, a.Code, a.Message, string(a.Raw)
	}
}

func takesAway(name string) bool {
	return regexp.MustCompile(`:(Delete|Remove|Detach|Untag|Deregister|Disassociate)`).MatchString(name)
}

// notAnswered are reading operations that have no good answer, for anybody.
var notAnswered = []string{"podid:CreateToken", "iam:GetLoginProfile", "sts:DecodeAuthorizationMessage", "iam:GetServiceLinkedRoleDeletionStatus"}

// Revisions are those of the whole store.
var volatile = regexp.MustCompile(`(?i)<RequestId>[^<]*</RequestId>|"requestId":"[^"]*"|"revision":\d+`)

// look asks all that only reads.
func look(t *testing.T, s side) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, op := range operations() {
		if !op.readOnly || slices.Contains(notAnswered, op.name) {
			continue
		}
		status, code, message, raw := op.call(t, s)
		if status != http.StatusOK {
			t.Errorf("%s of account %s on its own: %d %s %s; furnish makes what it needs", op.name, s.AccountID, status, code, message)
		}
		if out[op.name] = volatile.ReplaceAllString(raw, ""); op.name == "eks-auth:AssumeRoleForPodIdentity" {
			out[op.name] = "credentials"
		}
	}
	return out
}

// random are parts of answers that differ from call to call.
var random = regexp.MustCompile(`-R-[A-Z2-7]{12}|podid-review\.OWN\.[\w-]+|A[A-Z]{3}[A-Z2-7]{16,17}|a-[a-z0-9]{17}|[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|20\d\d-\d\d-\d\d[T ][0-9:.]+(Z| \+0000 UTC)?|\b1\d{9}(\.\d+)?\b|"n":"[^"]*"|[A-Za-z0-9+/]{40,}={0,2}`)

// normal leaves in an answer what must not depend on another account.
func (s side) normal(text string) string {
	text = strings.NewReplacer(s.AccountID, "OWN", s.account, "ACCOUNT", s.mark, "MARK", s.keyID, "RANDOM", s.associationID, "RANDOM").Replace(text)
	return random.ReplaceAllString(volatile.ReplaceAllString(text, ""), "RANDOM")
}

// fakeKeyID is an access key id of an account that nobody holds.
func fakeKeyID(t *testing.T, account string) string {
	t.Helper()
	n, err := strconv.ParseUint(account, 10, 40)
	if err != nil {
		t.Fatal(err)
	}
	return "AKIA" + base32.StdEncoding.EncodeToString([]byte{byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 1, 2, 3, 4, 5})
}

// TestAccountsApart tries every operation of every service from another
// account, whose objects have the same names. Three accounts make the same
// calls: one names objects of the first account that there are, one such as
// there are not, one those of an account that there is not. All get the same
// answers, nothing of the first account is in a list, and nothing of it changes.
func TestAccountsApart(t *testing.T) {
	t.Parallel()
	first := controlplanetest.Start(t, controlplanetest.Options{Tokens: noTokens{}})
	mine, hidden := furnish(t, first, "mine"), furnish(t, first, "xone")
	const nobody, none, noUpdate = "999999999999", "a-00000000000000000", "00000000-0000-4000-8000-000000000000"
	sides := []side{
		{aim: aim{account: first.AccountID, mark: "xone", keyID: hidden.keyID, associationID: hidden.associationID, updateID: hidden.updateID, stackUID: hidden.stackUID}},
		{aim: aim{account: first.AccountID, mark: "xtwo", keyID: fakeKeyID(t, first.AccountID), associationID: none, updateID: noUpdate, stackUID: noUpdate}},
		{aim: aim{account: nobody, mark: "xone", keyID: fakeKeyID(t, nobody), associationID: none, updateID: noUpdate, stackUID: noUpdate}},
	}
	for i, id := range []string{"222233334441", "222233334442", "222233334443"} {
		sides[i].ControlPlane, sides[i].own = first.NewAccount(id), id
	}
	session, err := assumeRole(t, first, first.Admin, &sts.AssumeRoleInput{RoleArn: aws.String(mine.arn("role", "-role"))})
	if err != nil {
		t.Fatal(err)
	}
	before := [2]map[string]string{look(t, mine), look(t, hidden)}
	for i := range sides {
		own := furnish(t, sides[i].ControlPlane, "mine")
		sides[i].cl = own.cl
		for name, raw := range look(t, own) {
			if strings.Contains(raw, first.AccountID) || strings.Contains(raw, "xone") {
				t.Errorf("%s of account %s shows another account: %s", name, own.AccountID, raw)
			}
		}
	}
	for _, pass := range []struct {
		name string
		aim  func(side) side
	}{
		{"their names", func(s side) side { s.names, s.clusterARN = s.mark, true; return s }},
		{"own names, their ARNs", func(s side) side { s.names = "mine"; return s }},
	} {
		for _, op := range operations() {
			var want string
			for i := range sides {
				s := pass.aim(sides[i])
				status, code, message, raw := op.call(t, s)
				if strings.Contains(message, "must not be null") || code == "MissingParameter" {
					t.Errorf("%s: %s: give the parameter in aim.form", op.name, message)
				}
				got := s.normal(strconv.Itoa(status) + " " + code + " " + raw)
				if i == 0 {
					want = got
				} else if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, %s: the answer tells what there is in another account (-there +not):\n%s", op.name, pass.name, diff)
				}
			}
		}
	}
	for i, s := range []side{mine, hidden} {
		if diff := cmp.Diff(before[i], look(t, s)); diff != "" {
			t.Errorf("objects %s of the first account changed:\n%s", s.names, diff)
		}
	}
	if _, err := sts.NewFromConfig(first.Config(session)).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Errorf("a session of the first account ended: %v", err)
	}
}
