// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"podid/internal/api/call"
	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
)

var update = flag.Bool("update", false, "write docs/compat/actions.md anew")

const actionsFile = "../../docs/compat/actions.md"

const actionsHead = `# IAM actions

Every operation and the action that its caller needs. The check is inside the operation, whichever way it is reached.
This file is written by ` + "`go test ./internal/controlplane -run TestActionsDocument -update`" + `; a test compares it with the tables.

Further actions are checked inside operations:

| action | on | when |
|---|---|---|
| ` + "`iam:PassRole`" + ` | the role | CreatePodIdentityAssociation; UpdatePodIdentityAssociation whenever it names roleArn; CreateAddon and UpdateAddon for each role in podIdentityAssociations that is new to its service account. ` + "`iam:PassedToService`" + ` is pods.eks.amazonaws.com, ` + "`iam:AssociatedResourceArn`" + ` the cluster |
| ` + "`iam:PassRole`" + ` | the role | CreateAddon and UpdateAddon with serviceAccountRoleArn, with ` + "`iam:PassedToService`" + ` eks.amazonaws.com |
| ` + "`eks:CreatePodIdentityAssociation`, `eks:UpdatePodIdentityAssociation`, `eks:DeletePodIdentityAssociation`" + ` | the cluster or the association | CreateAddon, UpdateAddon and DeleteAddon, for each association that they make, change or delete |
| ` + "`iam:PassRole`" + ` | the role | AddRoleToInstanceProfile, with ` + "`iam:PassedToService`" + ` ec2.amazonaws.com |
| those of IAM and EKS for each resource | the resource | CreateStack, UpdateStack, DeleteStack, ContinueUpdateRollback and ExecuteChangeSet, as the caller or as a session of the stack's role |
| ` + "`iam:PassRole`" + ` | the role | whatever names RoleARN for a stack, with ` + "`iam:PassedToService`" + ` cloudformation.amazonaws.com |
| ` + "`sts:TagSession`" + ` | the role | an assumption with session tags, given or inherited |
| ` + "`sts:SetSourceIdentity`" + ` | the role | an assumption with a source identity |
| ` + "`iam:PassRole`" + ` | the role | EKS' RegisterCluster, with ` + "`iam:PassedToService`" + ` ssm.amazonaws.com |
| ` + "`podid:ExchangeForAnyNode`" + ` | the cluster | AssumeRoleForPodIdentity for a pod of another node than the caller's, or by a caller without one |

`

// shaped puts the resource's form into the words of the IAM User Guide.
func shaped(op call.Operation) string {
	r := op.Resource
	if r == "role ARN" {
		return "the role"
	}
	if r == "" || r == "*" {
		return "`*`"
	}
	parts := strings.Split(r, " or ")
	for i, p := range parts {
		parts[i] = "`" + strings.NewReplacer("{partition}", "${Partition}", "{account}", "${Account}", "{path}{name}", "/${Name}").Replace(p) + "`"
	}
	return strings.Join(parts, " or ")
}

func actionsDocument() string {
	routes, services := controlplane.Surface()
	var b strings.Builder
	b.WriteString(actionsHead)
	b.WriteString("## REST\n\n| service | operation | request | action | on |\n|---|---|---|---|---|\n")
	for _, r := range routes {
		fmt.Fprintf(&b, "| %s | %s | `%s %s` | `%s` | %s |\n", r.Operation.Service, r.Operation.Name, r.Method, r.Pattern, r.Operation.Action, shaped(r.Operation))
	}
	b.WriteString("\nCreateToken is served by `podid dev` only, which holds its clusters' issuer keys.\n")
	b.WriteString("`POST /podid/v1/clusters/{name}/activation` (ActivateCluster) needs no action: the activation code proves the caller. ")
	b.WriteString("`PUT /podid/v1/clusters/{name}/keys` (PutClusterKeys) neither: the cluster's enrolment key does. ")
	b.WriteString("`POST /podid/v1/clusters/{name}/token-review` (ReviewToken) neither: the API server's bearer token does.\n")
	b.WriteString("\n## Query (`POST /`)\n\n| service | operation | action | on |\n|---|---|---|---|\n")
	for _, s := range services {
		for _, op := range s.Operations {
			action := "`" + op.Action + "`"
			switch {
			case op.Action == "none":
				action = "none: everybody may"
			case op.Anonymous:
				action += " in the role's trust policy; the token proves the caller"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.Name, op.Name, action, shaped(op.Operation))
		}
	}
	return b.String()
}

// TestActionsDocument: the document names what the tables name.
func TestActionsDocument(t *testing.T) {
	want := actionsDocument()
	if strings.Contains(want, "$$") || strings.Contains(want, "{path}") {
		t.Error("a resource is not in the words of the IAM User Guide")
	}
	if *update {
		if err := os.WriteFile(actionsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(actionsFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is out of date, run with -update:\n%s", actionsFile, diff)
	}
}

// TestEveryRouteHasAnAction: no operation without an action, and each of
// podid's own is podid: and its name, on a resource.
func TestEveryRouteHasAnAction(t *testing.T) {
	routes, services := controlplane.Surface()
	check := func(op call.Operation) {
		prefix := op.Service + ":"
		if op.Action == "none" && (op.Name == "GetCallerIdentity" || op.Name == "GetSessionToken") {
			return
		}
		if op.Action != prefix+op.Name || op.Resource == "" || op.Source == "" {
			t.Errorf("%s %s: action %q on %q", op.Service, op.Name, op.Action, op.Resource)
		}
	}
	for _, r := range routes {
		check(r.Operation)
		if strings.HasPrefix(r.Pattern, "/podid/v1/") != (r.Operation.Service == "podid") {
			t.Errorf("%s %s belongs to the service %s", r.Method, r.Pattern, r.Operation.Service)
		}
	}
	for _, s := range services {
		for _, op := range s.Operations {
			check(op.Operation)
		}
	}
}

// TestEveryRouteAsks: a caller without any policy is refused by every
// operation, with its action named; nobody at all is not let in.
func TestEveryRouteAsks(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{Tokens: noTokens{}})
	cl := cp.Register("my-cluster", nil)
	nobody := cp.User("nobody", nil)
	routes, services := controlplane.Surface()
	for _, r := range routes {
		t.Run(r.Operation.Service+"/"+r.Operation.Name, func(t *testing.T) {
			path := strings.NewReplacer("{name}", cl.Name, "{clusterName}", cl.Name, "{principalArn}", url.PathEscape("arn:aws:iam::111122223333:role/r"), "{policyArn}", url.PathEscape(viewPolicy), "{associationId}", "a-12345678901234567", "{addonName}", "vpc-cni", "{updateId}", "u", "{resourceArn}", url.PathEscape(cl.ARN())).Replace(r.Pattern)
			if r.Operation.Name == "UntagResource" {
				path += "?tagKeys=a"
			}
			status := http.StatusForbidden
			if r.Operation.Service == "eks-auth" {
				status = http.StatusBadRequest
			}
			rest(t, cp, nil, "", r.Method, path, restBody(r.Operation.Name, cl)).Want(t, 403, "MissingAuthenticationTokenException", "")
			a := rest(t, cp, nobody, r.Operation.Service, r.Method, path, restBody(r.Operation.Name, cl))
			a.Want(t, status, "AccessDeniedException", "")
			if !strings.Contains(a.Message(), "user/nobody is not authorized to perform: "+r.Operation.Action+" on resource: ") {
				t.Errorf("message %q does not name %s", a.Message(), r.Operation.Action)
			}
		})
	}
	for _, s := range services {
		for _, op := range s.Operations {
			if op.Anonymous || op.Action == "none" {
				continue
			}
			t.Run(s.Name+"/"+op.Name, func(t *testing.T) { testQueryAsks(t, cp, nobody, s.Name, s.Version, op.Operation) })
		}
	}
}

func testQueryAsks(t *testing.T, cp *controlplanetest.ControlPlane, nobody aws.CredentialsProvider, service, version string, op call.Operation) {
	form := url.Values{
		"Action": {op.Name}, "RoleName": {"r"}, "UserName": {"podid-admin"}, "GroupName": {"g"}, "PolicyName": {"p"}, "PolicyArn": {"arn:aws:iam::111122223333:policy/p"},
		"PolicyDocument": {`{"Version":"2012-10-17","Statement":[]}`}, "AssumeRolePolicyDocument": {controlplanetest.JSON(t, podTrust(nil))},
		"AccessKeyId": {"AKIAIOSFODNN7EXAMPLE"}, "Status": {"Inactive"}, "VersionId": {"v1"}, "RoleArn": {"arn:aws:iam::111122223333:role/r"}, "RoleSessionName": {"me"},
		"PermissionsBoundary": {"arn:aws:iam::aws:policy/AdministratorAccess"}, "Tags.member.1.Key": {"k"}, "Tags.member.1.Value": {"v"}, "TagKeys.member.1": {"k"}, "Description": {"d"},
		"InstanceProfileName": {"i"}, "OpenIDConnectProviderArn": {"arn:aws:iam::111122223333:oidc-provider/idp.example.com"}, "Url": {"https://idp.example.com"}, "ClientID": {"c"},
		"PolicySourceArn": {"arn:aws:iam::111122223333:user/podid-admin"}, "EncodedMessage": {"m"}, "AccountAlias": {"alias"}, "Name": {"bob"}, "AWSServiceName": {"ec2.amazonaws.com"},
		"StackName": {"app"}, "ChangeSetName": {"changes"}, "LogicalResourceId": {"R"}, "EnableTerminationProtection": {"true"}, "TemplateBody": {stackTemplate(t, op.Name)},
	}
	if op.Name == "GetTemplateSummary" {
		form.Del("TemplateBody") // a template is given or a stack is named
	}
	cp.Query(nil, service, version, form).Want(t, 403, "MissingAuthenticationToken", "")
	if service != "sts" {
		// A policy's document may be wrong: who may not, does not learn it.
		form.Set("PolicyDocument", "{")
	}
	a := cp.Query(nobody, service, version, form)
	a.Want(t, 403, "AccessDenied", "")
	actions := []string{op.Action, strings.Replace(op.Action, "UpdateRoleDescription", "UpdateRole", 1)}
	if !slices.ContainsFunc(actions, func(s string) bool {
		return strings.Contains(a.Message, "user/nobody is not authorized to perform: "+s+" on resource: ")
	}) {
		t.Errorf("message %q does not name %s", a.Message, op.Action)
	}
}

// viewPolicy is the ARN of an access policy.
const viewPolicy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"

// restBody is a good body for an operation.
func restBody(name string, cl *controlplanetest.Cluster) any {
	switch name {
	case "CreatePodIdentityAssociation":
		return object{"namespace": "a", "serviceAccount": "b", "roleArn": "arn:aws:iam::111122223333:role/r"}
	case "UpdatePodIdentityAssociation":
		return object{"disableSessionTags": true}
	case "TagResource":
		return object{"tags": object{"a": "b"}}
	case "AssumeRoleForPodIdentity":
		return object{"token": cl.Token(pod{})}
	case "RegisterCluster":
		return object{
			"name": "x", "issuer": "https://x", "jwks": object{},
			"connectorConfig": object{"provider": "OTHER", "roleArn": "arn:aws:iam::111122223333:role/r"}, // EKS' operation of the name
		}
	case "CreateAccessEntry":
		return object{"principalArn": "arn:aws:iam::111122223333:role/r"}
	case "UpdateAccessEntry":
		return object{"kubernetesGroups": []string{"g"}}
	case "AssociateAccessPolicy":
		return object{"policyArn": viewPolicy, "accessScope": object{"type": "cluster"}}
	case "CreateAddon":
		return object{"addonName": "snapshot-controller"}
	case "RevokeSessions":
		return object{"role": "r"}
	case "UpdateCluster":
		return object{"nodeBinding": "off"}
	case "SetAccountIssuer":
		return object{"issuer": "embedded"}
	case "Explain", "CreateToken":
		return object{"namespace": "a", "serviceAccount": "b"}
	}
	return nil
}
