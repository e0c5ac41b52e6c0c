// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/controlplane/controlplanetest"
)

// TestUsersAndGroups: what groups give and take counts at the next call, and a
// user who is renamed stays who he is.
func TestUsersAndGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	t.Run("groups", func(t *testing.T) { testGroupsDecide(t, w) })
	t.Run("renamed", func(t *testing.T) { testRenamedUser(t, w) })
	t.Run("recreated role", func(t *testing.T) { testRecreatedRole(t, w) })
	t.Run("recreated user", func(t *testing.T) { testRecreatedUser(t, w) })
	t.Run("recreated pod role", func(t *testing.T) { testRecreatedPodRole(t, w) })
}

func testGroupsDecide(t *testing.T, w *world) {
	ctx, c := t.Context(), w.IAM()
	member := w.User("member", nil)
	may := func(what string, want int) {
		t.Helper()
		if a := rest(t, w.ControlPlane, member, "eks", http.MethodGet, "/clusters", nil); a.Status != want {
			t.Errorf("%s: %d %s", what, a.Status, a.Raw)
		}
	}
	group := func(name string) *string {
		t.Helper()
		must(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: &name}))(t)
		must(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: &name, UserName: aws.String("member")}))(t)
		return &name
	}
	put := func(g *string, effect string) {
		t.Helper()
		must(c.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: g, PolicyName: aws.String("p"), PolicyDocument: aws.String(
			controlplanetest.JSON(t, controlplanetest.Document(controlplanetest.Statement(effect, []string{"eks:ListClusters"}, "*", nil))))}))(t)
	}
	may("without groups", 403)
	readers := group("readers")
	may("in a group without policies", 403)
	put(readers, "Allow")
	may("allowed by the group", 200)
	barred := group("barred")
	put(barred, "Deny")
	rest(t, w.ControlPlane, member, "eks", http.MethodGet, "/clusters", nil).Want(t, 403, "AccessDeniedException",
		"User: "+userARN+"member is not authorized to perform: eks:ListClusters on resource: * with an explicit deny in an identity-based policy")
	must(c.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: barred, UserName: aws.String("member")}))(t)
	may("barred no more", 200)
	must(c.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: readers, PolicyName: aws.String("p")}))(t)
	may("the policy is deleted", 403)
	must(c.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: readers, PolicyArn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")}))(t)
	may("a managed policy is attached", 200)
	must(c.UpdateGroup(ctx, &iam.UpdateGroupInput{GroupName: readers, NewGroupName: aws.String("lookers")}))(t)
	may("the group is renamed", 200)
	// A group of the old name is another group.
	must(c.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: aws.String("lookers"), UserName: aws.String("member")}))(t)
	must(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: readers}))(t)
	put(readers, "Allow")
	may("a member of what was called so", 403)
}

func testRenamedUser(t *testing.T, w *world) {
	ctx, c := t.Context(), w.IAM()
	p := w.User("before", controlplanetest.Document(allow("iam:GetUser", userARN+"p/after", nil)))
	rename := &iam.UpdateUserInput{UserName: aws.String("before"), NewUserName: aws.String("after"), NewPath: aws.String("/p/")}
	for _, may := range []string{userARN + "before", userARN + "p/after"} { // one is not enough
		helper := w.User("renames-"+controlplanetest.Name(may), controlplanetest.Document(allow("iam:UpdateUser", may, nil)))
		wantAPIError(t, refusal(iam.NewFromConfig(w.Config(helper)).UpdateUser(ctx, rename)), "AccessDenied", "is not authorized to perform: iam:UpdateUser on resource: "+userARN)
	}
	must(c.UpdateUser(ctx, rename))(t)
	me := must(sts.NewFromConfig(w.Config(p)).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}))(t)
	if *me.Arn != userARN+"p/after" {
		t.Errorf("the caller is %s", *me.Arn)
	}
	own := must(iam.NewFromConfig(w.Config(p)).GetUser(ctx, &iam.GetUserInput{}))(t)
	if *own.User.UserId != *me.UserId || *own.User.UserName != "after" {
		t.Errorf("user = %+v", own.User)
	}
	// Who gets the old name has neither his key nor his rights.
	must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("before")}))(t)
	if again := must(sts.NewFromConfig(w.Config(p)).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}))(t); *again.UserId != *me.UserId {
		t.Errorf("the caller is %s", *again.Arn)
	}
}

// trustingOne is a trust policy for one principal of the account.
func trustingOne(arn string) map[string]any {
	return controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"AWS": arn}, "Action": "sts:AssumeRole"})
}

// shownTrust is a role's trust policy as its owner sees it.
func shownTrust(t *testing.T, w *world, role string) string {
	t.Helper()
	return *must(w.IAM().GetRole(t.Context(), &iam.GetRoleInput{RoleName: &role}))(t).Role.AssumeRolePolicyDocument
}

// testRecreatedRole: a trust policy that names a role does not name another
// that is made later under its name.
func testRecreatedRole(t *testing.T, w *world) {
	w.Role("caller", root(nil))
	w.Role("vault", trustingOne(roleARN+"caller"))
	enter := func() controlplanetest.QueryAnswer {
		return w.STSQuery(stsCredentials(t, w.STSQuery(w.Admin, assume("caller", nil))), assume("vault", nil))
	}
	if a := enter(); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	old := stsCredentials(t, w.STSQuery(w.Admin, assume("caller", nil)))
	must(w.IAM().DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: aws.String("caller")}))(t)
	w.Role("caller", root(nil))
	enter().Want(t, 403, "AccessDenied", "")
	w.STSQuery(old, assume("vault", nil)).Want(t, 403, "InvalidClientTokenId", badToken)
	if shown := shownTrust(t, w, "vault"); strings.Contains(shown, "role%2Fcaller") || !strings.Contains(shown, "AROA") {
		t.Errorf("the trust policy shows %s", shown)
	}
	w.Trust("vault", trustingOne(roleARN+"caller")) // named anew
	if a := enter(); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
}

// testRecreatedUser is testRecreatedRole for users. Neither do keys, policies
// and groups come back.
func testRecreatedUser(t *testing.T, w *world) {
	ctx, c, name := t.Context(), w.IAM(), aws.String("guest")
	p := w.User("guest", nil)
	w.Role("guarded", trustingOne(userARN+"guest"))
	must(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("guests")}))(t)
	must(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: aws.String("guests"), UserName: name}))(t)
	if a := w.STSQuery(p, assume("guarded", nil)); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	key := must(p.Retrieve(ctx))(t)
	must(c.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: aws.String("guests"), UserName: name}))(t)
	must(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: &key.AccessKeyID}))(t)
	must(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name}))(t)
	again := w.User("guest", nil)
	w.STSQuery(again, assume("guarded", nil)).Want(t, 403, "AccessDenied", "")
	whoami(w.ControlPlane, p).Want(t, 403, "InvalidClientTokenId", badToken)
	if l := must(c.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: name}))(t); len(l.Groups) != 0 {
		t.Errorf("groups = %+v", l.Groups)
	}
	if shown := shownTrust(t, w, "guarded"); !strings.Contains(shown, "AIDA") {
		t.Errorf("the trust policy shows %s", shown)
	}
}

// testRecreatedPodRole: an association names its role by ARN, as AWS' does.
// What the old role trusted and allowed is not the new one's: pods get what
// the new role's own trust policy gives them.
func testRecreatedPodRole(t *testing.T, w *world) {
	w.Role("pods", podTrust(nil), "arn:aws:iam::aws:policy/ReadOnlyAccess")
	w.cl.Associate("pods", roleARN+"pods", nil)
	token := w.cl.Token(pod{ServiceAccount: "pods"})
	p := w.cl.Exchange(w.node, token).Credentials(t)
	c := w.IAM()
	must(c.DetachRolePolicy(t.Context(), &iam.DetachRolePolicyInput{RoleName: aws.String("pods"), PolicyArn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")}))(t)
	must(c.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: aws.String("pods")}))(t)
	w.cl.Exchange(w.node, token).Want(t, 400, "AccessDeniedException", denied)
	w.Role("pods", root(nil)) // does not trust pods
	w.cl.Exchange(w.node, token).Want(t, 400, "AccessDeniedException", denied)
	whoami(w.ControlPlane, p).Want(t, 403, "InvalidClientTokenId", badToken)
	w.Trust("pods", podTrust(nil))
	fresh := w.cl.Exchange(w.node, token).Credentials(t)
	rest(t, w.ControlPlane, fresh, "eks", http.MethodGet, "/clusters", nil).Want(t, 403, "AccessDeniedException", "")
	whoami(w.ControlPlane, p).Want(t, 403, "InvalidClientTokenId", badToken)
}

// TestLastUsedStays: the use of a key is written before the control plane
// stops, and known to the next.
func TestLastUsedStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := controlplanetest.Start(t, controlplanetest.Options{Dir: dir})
	p := first.User("eve", controlplanetest.Document(allow("eks:ListClusters", "*", nil)))
	if a := rest(t, first, p, "eks", http.MethodGet, "/clusters", nil); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	key := must(p.Retrieve(context.Background()))(t)
	// What did not prove that it has the key did not use it.
	forged := credentials.NewStaticCredentialsProvider(key.AccessKeyID, "another secret", "")
	whoami(first, forged).Want(t, 403, "SignatureDoesNotMatch", "")
	first.Stop()
	next := controlplanetest.Start(t, controlplanetest.Options{Dir: dir})
	out := must(next.IAM().GetAccessKeyLastUsed(t.Context(), &iam.GetAccessKeyLastUsedInput{AccessKeyId: &key.AccessKeyID}))(t)
	if u := out.AccessKeyLastUsed; u.LastUsedDate == nil || *u.ServiceName != "eks" || *u.Region != controlplanetest.Region || *out.UserName != "eve" {
		t.Errorf("last use = %+v", u)
	}
}

// TestQuotaSetting: an installation raises or lowers what AWS' support would.
func TestQuotaSetting(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{Settings: map[string]string{"PODID_IAM_QUOTA": "GroupsPerAccount=1,GroupsPerUser=20"}})
	ctx, c := t.Context(), cp.IAM()
	must(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("one")}))(t)
	wantAPIError(t, refusal(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("two")})), "LimitExceeded", "Cannot exceed quota for GroupsPerAccount: 1")
}
