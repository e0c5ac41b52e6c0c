// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"podid/internal/controlplane/controlplanetest"
)

const otherAccount = "444455556666"

// trusting is a trust policy for AWS principals with conditions (nil = none).
func trusting(principal any, conditions object) map[string]any {
	s := object{"Effect": "Allow", "Principal": object{"AWS": principal}, "Action": []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"}}
	if conditions != nil {
		s["Condition"] = conditions
	}
	return controlplanetest.Document(s)
}

// assumeRole assumes a role and returns the session's credentials.
func assumeRole(t *testing.T, cp *controlplanetest.ControlPlane, p aws.CredentialsProvider, in *sts.AssumeRoleInput) (aws.CredentialsProvider, error) {
	t.Helper()
	if in.RoleSessionName == nil {
		in.RoleSessionName = aws.String("s1")
	}
	out, err := sts.NewFromConfig(cp.Config(p)).AssumeRole(context.Background(), in)
	if err != nil {
		return nil, err
	}
	k := out.Credentials
	return credentials.NewStaticCredentialsProvider(*k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken), nil
}

// TestCrossAccountAssumeRole: the trust policy there and an identity policy
// here, both; and what conditions see.
func TestCrossAccountAssumeRole(t *testing.T) {
	t.Parallel()
	a := controlplanetest.Start(t, controlplanetest.Options{})
	b := a.NewAccount(otherAccount)
	root := "arn:aws:iam::" + controlplanetest.Account + ":root"
	may := controlplanetest.Document(allow("sts:*", "*", nil))
	equals := func(key, value string) object { return object{"StringEquals": object{key: value}} }
	for _, tc := range []struct {
		name      string
		principal any
		condition object
		identity  map[string]any // nil = none
		in        sts.AssumeRoleInput
		ok        bool
	}{
		{"account number", controlplanetest.Account, nil, may, sts.AssumeRoleInput{}, true},
		{"root", root, nil, may, sts.AssumeRoleInput{}, true},
		{"user", "arn:aws:iam::" + controlplanetest.Account + ":user/caller", nil, may, sts.AssumeRoleInput{}, true},
		{"another user", "arn:aws:iam::" + controlplanetest.Account + ":user/podid-admin", nil, may, sts.AssumeRoleInput{}, false},
		{"everybody", "*", nil, may, sts.AssumeRoleInput{}, true},
		{"own account only", "arn:aws:iam::" + otherAccount + ":root", nil, may, sts.AssumeRoleInput{}, false},
		{"user trusted, no identity policy", "arn:aws:iam::" + controlplanetest.Account + ":user/caller", nil, nil, sts.AssumeRoleInput{}, false},
		{"everybody, no identity policy", "*", nil, nil, sts.AssumeRoleInput{}, false},
		{"identity policy on another role", root, nil, controlplanetest.Document(allow("sts:AssumeRole", "arn:aws:iam::"+controlplanetest.Account+":role/*", nil)), sts.AssumeRoleInput{}, false},
		{"identity policy denies", root, nil, controlplanetest.Document(allow("sts:*", "*", nil), controlplanetest.Statement("Deny", []string{"sts:AssumeRole"}, "*", nil)), sts.AssumeRoleInput{}, false},
		{"identity by ResourceAccount", root, nil, controlplanetest.Document(allow("sts:*", "*", equals("aws:ResourceAccount", otherAccount))), sts.AssumeRoleInput{}, true},
		{"identity by own ResourceAccount", root, nil, controlplanetest.Document(allow("sts:*", "*", equals("aws:ResourceAccount", controlplanetest.Account))), sts.AssumeRoleInput{}, false},
		{"trust by PrincipalAccount", "*", equals("aws:PrincipalAccount", controlplanetest.Account), may, sts.AssumeRoleInput{}, true},
		{"trust by another PrincipalAccount", "*", equals("aws:PrincipalAccount", otherAccount), may, sts.AssumeRoleInput{}, false},
		{"trust by PrincipalArn", root, equals("aws:PrincipalArn", "arn:aws:iam::"+controlplanetest.Account+":user/caller"), may, sts.AssumeRoleInput{}, true},
		{"trust by SourceAccount, which a user has not", root, equals("aws:SourceAccount", controlplanetest.Account), may, sts.AssumeRoleInput{}, false},
		{"external id", root, equals("sts:ExternalId", "e-1"), may, sts.AssumeRoleInput{ExternalId: aws.String("e-1")}, true},
		{"wrong external id", root, equals("sts:ExternalId", "e-1"), may, sts.AssumeRoleInput{ExternalId: aws.String("e-2")}, false},
		{"no external id", root, equals("sts:ExternalId", "e-1"), may, sts.AssumeRoleInput{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			role := strings.NewReplacer(" ", "-", ",", "").Replace(tc.name)
			caller := a.User("caller", nil)
			defer a.DeleteUser("caller")
			if tc.identity != nil {
				a.UserPolicy("caller", tc.identity)
			}
			tc.in.RoleArn = aws.String(b.Role(role, trusting(tc.principal, tc.condition)))
			p, err := assumeRole(t, a, caller, &tc.in)
			if !tc.ok {
				wantAPIError(t, err, "AccessDenied", "User: arn:aws:iam::111122223333:user/caller is not authorized to perform: sts:AssumeRole on resource: "+*tc.in.RoleArn)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			id, err := sts.NewFromConfig(a.Config(p)).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
			if err != nil || *id.Account != otherAccount || *id.Arn != "arn:aws:sts::"+otherAccount+":assumed-role/"+role+"/s1" {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
	t.Run("no role there", func(t *testing.T) {
		_, err := assumeRole(t, a, a.Admin, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + otherAccount + ":role/nothing")})
		wantAPIError(t, err, "AccessDenied", "User: arn:aws:iam::111122223333:user/podid-admin is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::444455556666:role/nothing")
	})
	t.Run("session policies of another account", func(t *testing.T) { testForeignSessionPolicy(t, a, b, root) })
	t.Run("tags", func(t *testing.T) { testTagsAcross(t, a, b) })
	t.Run("boundary and session policy", func(t *testing.T) { testBoundsAcross(t, a, b) })
	t.Run("audit", func(t *testing.T) {
		role := b.Role("audited", trusting(root, nil))
		if _, err := assumeRole(t, a, a.Admin, &sts.AssumeRoleInput{RoleArn: &role}); err != nil {
			t.Fatal(err)
		}
		if e := a.LastAudit("AssumeRole"); e.RecipientAccountID != controlplanetest.Account || len(e.Resources) != 1 || e.Resources[0].AccountID != otherAccount {
			t.Errorf("%+v", e)
		}
		if _, err := b.IAM().ListRoles(context.Background(), &iam.ListRolesInput{}); err != nil {
			t.Fatal(err)
		}
		if e := a.LastAudit("ListRoles"); e.RecipientAccountID != otherAccount || e.UserIdentity.AccountID != otherAccount {
			t.Errorf("%+v", e)
		}
	})
}

// testForeignSessionPolicy: managed session policies are of the role's
// account, and whether they exist is for those whom the role lets in.
func testForeignSessionPolicy(t *testing.T, a, b *controlplanetest.ControlPlane, root string) {
	role, closed := b.Role("with-policies", trusting(root, nil), "arn:aws:iam::aws:policy/AdministratorAccess"), b.Role("closed", trusting(otherAccount, nil))
	here, there := a.Policy("limit", controlplanetest.Document(allow("iam:ListRoles", "*", nil))), b.Policy("limit", controlplanetest.Document(allow("iam:ListRoles", "*", nil)))
	with := func(role, policy string) error {
		_, err := assumeRole(t, a, a.Admin, &sts.AssumeRoleInput{RoleArn: &role, PolicyArns: []ststypes.PolicyDescriptorType{{Arn: &policy}}})
		return err
	}
	if err := with(role, there); err != nil {
		t.Error(err)
	}
	if err := with(role, here); err == nil {
		t.Error("a policy of the caller's account bounds a session of another")
	}
	denied := "is not authorized to perform: sts:AssumeRole on resource: " + closed
	wantAPIError(t, with(closed, there), "AccessDenied", denied)
	wantAPIError(t, with(closed, there+"-not"), "AccessDenied", denied)
}

// testBoundsAcross: what bounds the caller here bounds him there, whom the
// trust policy names notwithstanding.
func testBoundsAcross(t *testing.T, a, b *controlplanetest.ControlPlane) {
	ctx := context.Background()
	caller := a.Role("bounded", trusting(controlplanetest.Account, nil), "arn:aws:iam::aws:policy/AdministratorAccess")
	there := b.Role("there", trusting([]string{caller, "arn:aws:sts::" + controlplanetest.Account + ":assumed-role/bounded/s1"}, nil))
	try := func(sessionPolicy *string) error {
		p, err := assumeRole(t, a, a.Admin, &sts.AssumeRoleInput{RoleArn: &caller, Policy: sessionPolicy})
		if err != nil {
			t.Fatal(err)
		}
		_, err = assumeRole(t, a, p, &sts.AssumeRoleInput{RoleArn: &there})
		return err
	}
	const denied = "is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::444455556666:role/there"
	if err := try(nil); err != nil {
		t.Error(err)
	}
	wantAPIError(t, try(aws.String(controlplanetest.JSON(t, controlplanetest.Document(allow("s3:*", "*", nil))))), "AccessDenied", denied)
	if err := try(aws.String(controlplanetest.JSON(t, controlplanetest.Document(allow("sts:AssumeRole", there, nil))))); err != nil {
		t.Error(err)
	}
	boundary := a.Policy("only-s3", controlplanetest.Document(allow("s3:*", "*", nil)))
	if _, err := a.IAM().PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: aws.String("bounded"), PermissionsBoundary: &boundary}); err != nil {
		t.Fatal(err)
	}
	wantAPIError(t, try(nil), "AccessDenied", denied)
}

// testTagsAcross: tags set here reach there, as request tags and principal
// tags, and stay on the way on.
func testTagsAcross(t *testing.T, a, b *controlplanetest.ControlPlane) {
	first := a.Role("first", trusting(controlplanetest.Account, nil), "arn:aws:iam::aws:policy/AdministratorAccess")
	want := object{"StringEquals": object{"aws:RequestTag/team": "blue", "aws:PrincipalTag/team": "blue"}, "ForAllValues:StringEquals": object{"sts:TransitiveTagKeys": []string{"team"}}}
	trust := func(principal string) map[string]any {
		tagged, identified := allow("sts:TagSession", "", want), allow("sts:SetSourceIdentity", "", object{"StringEquals": object{"sts:SourceIdentity": "alice"}})
		tagged["Action"] = []string{"sts:AssumeRole", "sts:TagSession"}
		for _, s := range []map[string]any{tagged, identified} {
			delete(s, "Resource")
			s["Principal"] = object{"AWS": principal}
		}
		return controlplanetest.Document(tagged, identified)
	}
	second := b.Role("second", trust(first), "arn:aws:iam::aws:policy/AdministratorAccess")
	third := a.Role("third", trust(second))
	tagged := func(key string, transitive bool) aws.CredentialsProvider {
		in := &sts.AssumeRoleInput{RoleArn: &first, Tags: []ststypes.Tag{{Key: &key, Value: aws.String("blue")}}, SourceIdentity: aws.String("alice")}
		if transitive {
			in.TransitiveTagKeys = []string{key}
		}
		p, err := assumeRole(t, a, a.Admin, in)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p, err := assumeRole(t, a, tagged("team", true), &sts.AssumeRoleInput{RoleArn: &second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = assumeRole(t, a, p, &sts.AssumeRoleInput{RoleArn: &third}); err != nil {
		t.Error(err)
	}
	const denied = "is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::444455556666:role/second"
	_, err = assumeRole(t, a, tagged("team", false), &sts.AssumeRoleInput{RoleArn: &second})
	wantAPIError(t, err, "AccessDenied", denied)
	_, err = assumeRole(t, a, tagged("other", true), &sts.AssumeRoleInput{RoleArn: &second})
	wantAPIError(t, err, "AccessDenied", denied)
	_, err = assumeRole(t, a, tagged("team", true), &sts.AssumeRoleInput{RoleArn: &second, Tags: []ststypes.Tag{{Key: aws.String("TEAM"), Value: aws.String("red")}}})
	if err == nil {
		t.Error("an inherited tag was overwritten")
	}
}

// TestMadeAgain: a trust policy there that names a principal here by its ARN
// means that principal and none that is made again under its name.
func TestMadeAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := controlplanetest.Start(t, controlplanetest.Options{})
	b := a.NewAccount(otherAccount)
	admin := "arn:aws:iam::aws:policy/AdministratorAccess"
	caller := a.Role("caller", trusting(controlplanetest.Account, nil), admin)
	a.User("caller", controlplanetest.Document(allow("sts:*", "*", nil)))
	user := "arn:aws:iam::" + controlplanetest.Account + ":user/caller"
	target := b.Role("target", trusting([]string{caller, user}, nil))
	early := "arn:aws:iam::" + controlplanetest.Account + ":role/not-yet"
	waiting := b.Role("waiting", trusting(early, nil))
	as := func(role, target string) error {
		p, err := assumeRole(t, a, a.Admin, &sts.AssumeRoleInput{RoleArn: &role})
		if err != nil {
			t.Fatal(err)
		}
		_, err = assumeRole(t, a, p, &sts.AssumeRoleInput{RoleArn: &target})
		return err
	}
	shown := func() string {
		out, err := b.IAM().GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("target")})
		if err != nil {
			t.Fatal(err)
		}
		return unescaped(t, *out.Role.AssumeRolePolicyDocument)
	}
	if err := as(caller, target); err != nil {
		t.Fatal(err)
	}
	if text := shown(); !strings.Contains(text, caller) || !strings.Contains(text, user) || strings.Contains(text, "AROA") {
		t.Errorf("trust policy %s", text)
	}
	a.DeleteRole("caller")
	if text := shown(); strings.Contains(text, caller) || !strings.Contains(text, "AROA") {
		t.Errorf("trust policy %s does not show the id of the role that is gone", text)
	}
	a.Role("caller", trusting(controlplanetest.Account, nil), admin)
	wantAPIError(t, as(caller, target), "AccessDenied", "is not authorized to perform: sts:AssumeRole on resource: "+target)
	a.DeleteUser("caller")
	again := a.User("caller", controlplanetest.Document(allow("sts:*", "*", nil)))
	_, err := assumeRole(t, a, again, &sts.AssumeRoleInput{RoleArn: &target})
	wantAPIError(t, err, "AccessDenied", "is not authorized to perform: sts:AssumeRole on resource: "+target)
	// What the owner writes anew means the principal of now.
	text := controlplanetest.JSON(t, trusting(caller, nil))
	if _, err := b.IAM().UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("target"), PolicyDocument: &text}); err != nil {
		t.Fatal(err)
	}
	if err := as(caller, target); err != nil {
		t.Error(err)
	}
	// An ARN that named nobody says nothing of the other account and means who
	// comes to bear it.
	a.Role("not-yet", trusting(controlplanetest.Account, nil), admin)
	if err := as(early, waiting); err != nil {
		t.Error(err)
	}
	// Unique ids are shown to their owner and taken from him, from nobody else.
	role, err := a.IAM().GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("caller")})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{*role.Role.RoleId, "AROAAAAAAAAAAAAAAAAAA"} {
		text := controlplanetest.JSON(t, trusting(id, nil))
		_, err = b.IAM().UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("target"), PolicyDocument: &text})
		wantAPIError(t, err, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"`+id+`"`)
	}
}

// TestTargetInAnotherAccount: the first role is of the cluster's account, the
// target role of another, which sees the six tags or the external id.
func TestTargetInAnotherAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	b := w.NewAccount(otherAccount)
	first := w.Role("first", w.cl.PodTrust(), "arn:aws:iam::aws:policy/AdministratorAccess")
	weak := w.Role("weak", w.cl.PodTrust())
	external := "us-west-2/111122223333/my-cluster/s3-app-ns/"
	byTags := b.Role("by-tags", trusting([]string{first, weak}, object{"StringEquals": object{
		"aws:RequestTag/eks-cluster-arn": w.cl.ARN(), "aws:RequestTag/kubernetes-namespace": "s3-app-ns", "aws:PrincipalAccount": controlplanetest.Account,
	}}), "arn:aws:iam::aws:policy/AdministratorAccess")
	byID := b.Role("by-id", trusting(first, object{"StringEquals": object{"sts:ExternalId": external + "by-id"}}))
	elsewhere := b.Role("elsewhere", trusting(first, object{"StringEquals": object{"aws:RequestTag/kubernetes-namespace": "other"}}))
	for _, tc := range []struct {
		name, first, target string
		noTags              bool
		want                string // role of the session; "" = refused
	}{
		{"by-tags", first, byTags, false, "by-tags"},
		{"tags-off", first, byTags, true, ""},
		{"by-id", first, byID, true, "by-id"},
		{"id-with-tags", first, byID, false, ""},
		{"first-may-not", weak, byTags, false, ""},
		{"not-trusted", first, elsewhere, false, ""},
		{"no-role", first, "arn:aws:iam::" + otherAccount + ":role/none", false, ""},
		{"no-account", first, "arn:aws:iam::999999999999:role/none", false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.cl.Associate(tc.name, tc.first, func(in *eks.CreatePodIdentityAssociationInput) {
				in.TargetRoleArn, in.DisableSessionTags = &tc.target, &tc.noTags
			})
			x := explained(t, w, object{"namespace": "s3-app-ns", "serviceAccount": tc.name, "actions": []object{{"action": "s3:GetObject", "resource": "*"}}})
			a := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: tc.name}))
			if tc.want == "" {
				a.Want(t, http.StatusBadRequest, "AccessDeniedException", denied)
				if x.Body["wouldIssue"] != false || !strings.Contains(string(x.Raw), `"target-role-refused"`) || strings.Contains(string(x.Raw), "AROA") || strings.Contains(string(x.Raw), `"other"`) {
					t.Errorf("explain: %s", x.Raw)
				}
				return
			}
			id, err := sts.NewFromConfig(w.Config(a.Credentials(t))).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
			if err != nil || *id.Account != otherAccount || !strings.HasPrefix(*id.Arn, "arn:aws:sts::"+otherAccount+":assumed-role/"+tc.want+"/eks-my-cluster-") {
				t.Errorf("%+v, %v", id, err)
			}
			if x.Body["wouldIssue"] != true || strings.Contains(string(x.Raw), "AdministratorAccess") && strings.Contains(string(x.Raw), otherAccount+":policy") {
				t.Errorf("explain: %s", x.Raw)
			}
		})
	}
}

// TestSameClusterName: two accounts with a cluster of the same name, the same
// service account and a role of the same name.
func TestSameClusterName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	b := w.NewAccount(otherAccount)
	other := b.Register("my-cluster", nil)
	role := b.Role("s3-app-eks-pod-identity-role", other.PodTrust())
	made := other.Associate("s3-app-sa", role, nil)
	node := other.Node(other.NodeRole(), "node-1")
	who := func(a controlplanetest.Answer) string {
		id, err := sts.NewFromConfig(w.Config(a.Credentials(t))).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
		if err != nil {
			t.Fatal(err)
		}
		return *id.Account
	}
	if id := who(w.cl.Exchange(w.node, w.cl.Token(pod{}))); id != controlplanetest.Account {
		t.Error(id)
	}
	if id := who(other.Exchange(node, other.Token(pod{}))); id != otherAccount {
		t.Error(id)
	}
	// A path names a cluster of the caller's account: tokens of the other are
	// strangers there.
	w.cl.Exchange(w.node, other.Token(pod{})).Want(t, http.StatusBadRequest, "InvalidTokenException", "")
	other.Exchange(node, w.cl.Token(pod{})).Want(t, http.StatusBadRequest, "InvalidTokenException", "")
	w.cl.Exchange(node, w.cl.Token(pod{})).Want(t, http.StatusBadRequest, "InvalidTokenException", "")
	// A session key is worth nothing with another's token.
	own, err := w.node.Retrieve(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	their, err := node.Retrieve(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	mixed := credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.SecretAccessKey, their.SessionToken)
	w.cl.Exchange(mixed, w.cl.Token(pod{})).Want(t, http.StatusForbidden, "UnrecognizedClientException", "")
	// Roles are of the caller's account, associations of his clusters.
	_, err = b.EKS().CreatePodIdentityAssociation(context.Background(), &eks.CreatePodIdentityAssociationInput{
		ClusterName: aws.String("my-cluster"), Namespace: aws.String("n"), ServiceAccount: aws.String("s"), RoleArn: &w.role,
	})
	wantAPIError(t, err, "AccessDeniedException", "Cross-account pass role is not allowed.")
	_, err = w.EKS().DescribePodIdentityAssociation(context.Background(), &eks.DescribePodIdentityAssociationInput{ClusterName: aws.String("my-cluster"), AssociationId: made.AssociationId})
	wantAPIError(t, err, "ResourceNotFoundException", "No association found for id: "+*made.AssociationId)
	// A web identity belongs to the account of the role that it asks for.
	token := other.Token(pod{Namespace: "podid-system", ServiceAccount: "podid-agent", Audience: controlplanetest.NodeAudience})
	_, err = w.STS().AssumeRoleWithWebIdentity(context.Background(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: &w.nodeRole, RoleSessionName: aws.String("x1"), WebIdentityToken: &token})
	if err == nil {
		t.Error("a node of another account's cluster got the node role")
	}
	_, err = w.STS().AssumeRoleWithWebIdentity(context.Background(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String("arn:aws:iam::999999999999:role/podid-node-my-cluster"), RoleSessionName: aws.String("x1"), WebIdentityToken: &token,
	})
	wantAPIError(t, err, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for "+controlplanetest.Issuer)
}

// unescaped is a policy document as IAM's answers carry it, read.
func unescaped(t *testing.T, document string) string {
	t.Helper()
	text, err := url.QueryUnescape(document)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
