// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
)

const accountsPath = "/podid/v1/accounts"

// TestHoldings: of every table it is known what it means to an account that is
// to be deleted.
func TestHoldings(t *testing.T) {
	if diff := cmp.Diff(controlplane.Schema().Tables(), slices.Sorted(maps.Keys(controlplane.Holdings))); diff != "" {
		t.Errorf("say in holdings what a table's records are (-schema +holdings):\n%s", diff)
	}
}

// TestCreateAccount: who may, what is refused, and that the key is seen once.
func TestCreateAccount(t *testing.T) {
	t.Parallel()
	a := controlplanetest.Start(t, controlplanetest.Options{})
	create := func(p aws.CredentialsProvider, in any) controlplanetest.Answer {
		return rest(t, a, p, "podid", http.MethodPost, accountsPath, in)
	}
	b := a.NewAccount(otherAccount)
	nobody := a.User("nobody", nil)
	one := a.User("one", controlplanetest.Document(allow("podid:CreateAccount", "arn:aws:podid::111122223333:account/777788889999", nil)))
	inB := b.User("one", controlplanetest.Document(allow("podid:*", "*", nil)))
	const notFirst = " because only the first account of the installation may"
	for _, tc := range []struct {
		name    string
		by      aws.CredentialsProvider
		in      any
		status  int
		code    string
		message string // contained; "" with 200
	}{
		{"nobody", nobody, object{"accountId": "777788889999"}, 403, "AccessDeniedException", "user/nobody is not authorized to perform: podid:CreateAccount on resource: arn:aws:podid::111122223333:account/777788889999 because no identity-based policy"},
		{"on another number", one, object{"accountId": "777788889998"}, 403, "AccessDeniedException", "podid:CreateAccount"},
		{"admin of another account", b.Admin, object{"accountId": "777788889999"}, 403, "AccessDeniedException", "arn:aws:podid::444455556666:account/777788889999" + notFirst},
		{"user of another account", inB, object{"accountId": "777788889999"}, 403, "AccessDeniedException", notFirst},
		{"no number", a.Admin, object{}, 400, "InvalidParameterException", `The accountId must be 12 digits, not "".`},
		{"short", a.Admin, object{"accountId": "12345678901"}, 400, "InvalidParameterException", "must be 12 digits"},
		{"letters", a.Admin, object{"accountId": "12345678901a"}, 400, "InvalidParameterException", "must be 12 digits"},
		{"a path", a.Admin, object{"accountId": "../../system"}, 400, "InvalidParameterException", "must be 12 digits"},
		{"zeros", a.Admin, object{"accountId": "000000000000"}, 400, "InvalidParameterException", "stands for no account"},
		{"number as number", a.Admin, object{"accountId": 777788889999}, 400, "", ""},
		{"bad name", a.Admin, object{"accountId": "777788889999", "name": "x\ny"}, 400, "InvalidParameterException", "The name"},
		{"the first", a.Admin, object{"accountId": controlplanetest.Account}, 409, "ResourceInUseException", "Account 111122223333 already exists."},
		{"twice", a.Admin, object{"accountId": otherAccount}, 409, "ResourceInUseException", "Account 444455556666 already exists."},
		{"allowed by number", one, object{"accountId": "777788889999", "name": "Team 7"}, 200, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := create(tc.by, tc.in)
			if x.Status != tc.status || tc.code != "" && x.Code != tc.code || !strings.Contains(x.Message(), tc.message) {
				t.Errorf("%d %s %q, want %d %s %q", x.Status, x.Code, x.Message(), tc.status, tc.code, tc.message)
			}
		})
	}
	e := a.LastAudit("CreateAccount")
	if text := controlplanetest.JSON(t, e); !strings.Contains(text, "777788889999") || !strings.Contains(text, "HIDDEN") || e.RecipientAccountID != controlplanetest.Account {
		t.Errorf("audit: %s", text)
	}
	log, err := os.ReadFile(a.Dir + "/audit/audit.log")
	if err != nil || strings.Contains(string(log), b.Secret) {
		t.Errorf("the admin's secret is in the audit log (%v)", err)
	}
}

// TestGetAccounts: the first account sees all, others themselves, and a number
// that is in use looks to them like one that is not.
func TestGetAccounts(t *testing.T) {
	t.Parallel()
	a := controlplanetest.Start(t, controlplanetest.Options{})
	b := a.NewAccount("000000000001") // lower than the first
	c := a.NewAccount(otherAccount)
	list := func(cp *controlplanetest.ControlPlane) string {
		x := rest(t, a, cp.Admin, "podid", http.MethodGet, accountsPath, nil)
		var ids []string
		accounts, _ := x.Body["accounts"].([]any)
		for _, y := range accounts {
			o, _ := y.(object)
			id, _ := o["accountId"].(string)
			if o["first"] == true {
				id += "*"
			}
			ids = append(ids, id)
		}
		return strings.Join(ids, " ")
	}
	if got := list(a); got != "000000000001 111122223333* 444455556666" {
		t.Errorf("the first account sees %s", got)
	}
	if got := list(c); got != "444455556666" {
		t.Errorf("another account sees %s", got)
	}
	get := func(cp *controlplanetest.ControlPlane, id string) controlplanetest.Answer {
		return rest(t, a, cp.Admin, "podid", http.MethodGet, accountsPath+"/"+id, nil)
	}
	for _, id := range []string{"000000000001", controlplanetest.Account, "999999999999"} {
		get(c, id).Want(t, 404, "ResourceNotFoundException", "No account found with the number "+id+".")
	}
	if x := get(c, otherAccount); x.Status != http.StatusOK {
		t.Errorf("%d %s", x.Status, x.Raw)
	}
	if x := get(a, b.AccountID); x.Status != http.StatusOK || strings.Contains(string(x.Raw), "ecret") {
		t.Errorf("%d %s", x.Status, x.Raw)
	}
	get(a, "12").Want(t, 400, "InvalidParameterException", `The accountId must be 12 digits, not "12".`)
	get(c, "12").Want(t, 400, "InvalidParameterException", `The accountId must be 12 digits, not "12".`)
}

// TestDeleteAccount: only what holds nothing, and for good.
func TestDeleteAccount(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := controlplanetest.Start(t, controlplanetest.Options{})
	b := a.NewAccount(otherAccount)
	remove := func(p aws.CredentialsProvider, id string) controlplanetest.Answer {
		return rest(t, a, p, "podid", http.MethodDelete, accountsPath+"/"+id, nil)
	}
	cl := b.Register("my-cluster", nil)
	cl.Associate("s3-app-sa", b.Role("App", cl.PodTrust()), nil)
	b.Policy("Read", controlplanetest.Document(allow("s3:*", "*", nil)))
	b.User("Alice", nil)
	remove(a.Admin, otherAccount).Want(t, 409, "ResourceInUseException",
		"Account 444455556666 cannot be deleted while it holds: cluster my-cluster, pod identity association my-cluster/s3-app-ns/s3-app-sa, policy Read, role App, user Alice.")
	remove(b.Admin, otherAccount).Want(t, 403, "AccessDeniedException", "")
	remove(a.Admin, controlplanetest.Account).Want(t, 400, "InvalidParameterException", "Account 111122223333 is the first account of the installation: it cannot be deleted.")
	remove(a.Admin, "999999999999").Want(t, 404, "ResourceNotFoundException", "No account found with the number 999999999999.")
	remove(a.Admin, "x").Want(t, 400, "InvalidParameterException", "")
	if _, err := b.STS().GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err != nil {
		t.Fatalf("a refused deletion did something: %v", err)
	}
	empty := a.NewAccount("777788889999")
	root := "arn:aws:iam::777788889999:root"
	trusts := a.Role("trusts", trusting(root, nil))
	if x := remove(a.Admin, empty.AccountID); x.Status != http.StatusOK {
		t.Fatalf("%d %s", x.Status, x.Raw)
	}
	_, err := empty.STS().GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	wantAPIError(t, err, "InvalidClientTokenId", "The security token included in the request is invalid.")
	remove(a.Admin, empty.AccountID).Want(t, 404, "ResourceNotFoundException", "No account found with the number 777788889999.")
	// The number is what other accounts' policies trust: it never comes back.
	again := rest(t, a, a.Admin, "podid", http.MethodPost, accountsPath, object{"accountId": empty.AccountID})
	if again.Status != 409 || !strings.Contains(again.Message(), "its number is not used again, since policies of other accounts may still name it") {
		t.Errorf("%d %s; role %s trusts the old account", again.Status, again.Raw, trusts)
	}
}

// TestAccountsStay: a control plane finds its first account and all others
// again, and another replica serves an account at once.
func TestAccountsStay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	a := controlplanetest.Start(t, controlplanetest.Options{Dir: dir})
	b := a.NewAccount("000000000001")
	b.Role("r", trusting(controlplanetest.Account, nil))
	a.Stop()
	again := controlplanetest.Start(t, controlplanetest.Options{Dir: dir})
	if id, err := again.STS().GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err != nil || *id.Account != controlplanetest.Account {
		t.Errorf("%+v, %v", id, err)
	}
	p := credentials.NewStaticCredentialsProvider(b.AdminID, b.Secret, "")
	if out, err := iam.NewFromConfig(again.Config(p)).ListRoles(ctx, &iam.ListRolesInput{}); err != nil || len(out.Roles) != 1 || *out.Roles[0].Arn != "arn:aws:iam::000000000001:role/r" {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestResetAdminOf: each account's admin can be got back by who holds the data
// directory, and the accounts stay apart.
func TestResetAdminOf(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := controlplanetest.Options{Dir: t.TempDir()}
	a := controlplanetest.Start(t, o)
	b := a.NewAccount(otherAccount)
	locked := controlplanetest.Document(controlplanetest.Statement("Deny", []string{"*"}, "*", nil))
	b.UserPolicy("podid-admin", locked)
	_, err := b.IAM().ListRoles(ctx, &iam.ListRolesInput{})
	wantAPIError(t, err, "AccessDenied", "explicit deny")
	a.Stop()
	for id, want := range map[string]string{otherAccount: o.Dir + "/admin-credentials-" + otherAccount, "999999999999": ""} {
		o.Settings = map[string]string{"PODID_ACCOUNT_ID": id}
		file, err := controlplane.ResetAdmin(ctx, controlplanetest.Config(t, &o))
		if file != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), "there is no account 999999999999; there are 111122223333, 444455556666") {
			t.Errorf("%s: %q, %v", id, file, err)
		}
	}
	o.Settings = nil
	again := controlplanetest.Start(t, o)
	if _, err := again.STS().GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err != nil {
		t.Errorf("the first account's admin: %v", err)
	}
	_, _, p := controlplanetest.ReadCredentials(t, o.Dir+"/admin-credentials-"+otherAccount)
	if _, err := iam.NewFromConfig(again.Config(p)).ListRoles(ctx, &iam.ListRolesInput{}); err != nil {
		t.Error(err)
	}
	old := credentials.NewStaticCredentialsProvider(b.AdminID, b.Secret, "")
	_, err = sts.NewFromConfig(again.Config(old)).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	wantAPIError(t, err, "InvalidClientTokenId", "")
}
