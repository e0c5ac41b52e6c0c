// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/api/iamapi"
	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/reqctx"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

var update = flag.Bool("update", false, "write golden files")

const (
	account  = "111122223333"
	trust    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	identity = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::a b+c/*"}]}`
	s3Read   = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
)

// admit takes every caller for podid-admin.
type admit struct{}

func (admit) Authenticate(context.Context, *http.Request, string, string) (iam.Caller, error) {
	return iam.Caller{
		Kind: iam.CallerUser, Partition: "aws", Account: account, ARN: "arn:aws:iam::111122223333:user/podid-admin",
		User: &iam.User{Name: "podid-admin"},
	}, nil
}

// allow allows everything but what is named.
type allow struct{ deny string }

func (a *allow) Authorize(_ context.Context, c iam.Caller, q iam.Query) error {
	if q.Action == a.deny {
		return fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s on resource: %s", c.ARN, q.Action, q.Resource)
	}
	return nil
}

type recorder struct {
	mu     sync.Mutex
	events []*audit.Event
}

func (*recorder) Ready() error { return nil }

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

func (r *recorder) last() *audit.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[len(r.events)-1]
}

type plain struct{}

func (plain) Seal(b, _ []byte) ([]byte, error) { return b, nil }
func (plain) Open(b, _ []byte) ([]byte, error) { return b, nil }

type server struct {
	http.Handler
	authz *allow
	audit *recorder
}

func newServer() *server {
	s := &server{authz: &allow{}, audit: &recorder{}}
	now := func() time.Time { return time.Date(2026, 11, 22, 10, 11, 12, 0, time.UTC) }
	m := &iam.Manager{
		Store: storetest.NewMemory(store.NewSchema(iam.Roles, iam.Users, iam.Groups, iam.Policies, iam.KeyUses, iam.InstanceProfiles, iam.OIDCProviders, iam.Aliases)), Authz: s.authz, Sealer: plain{}, Now: now,
		Rand: rand.NewChaCha8([32]byte{7}), Partition: "aws", Account: account,
	}
	g := &call.Gate{
		Authn: admit{}, Audit: s.audit, Log: slog.New(slog.DiscardHandler), Now: now, Region: "eu-west-1", Account: account, MaxBody: 1 << 20,
		Observed: func(call.Operation, string, int, time.Duration) {},
	}
	h := awsquery.New(g, iamapi.Service(m))
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(reqctx.With(r.Context(), reqctx.Info{ID: "00000000-0000-4000-8000-000000000000"})))
	})
	return s
}

func newClient(t *testing.T) (*sdk.Client, *server) {
	t.Helper()
	s := newServer()
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return sdk.New(sdk.Options{
		BaseEndpoint: aws.String(web.URL), Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
		RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: copied{&http.Transport{}}},
	}), s
}

// copied sends requests with a body of its own. The SDK closes its body as soon
// as the answer's header is there; when that is before the transport has seen
// the body's end, the transport drops the connection and with it the answer.
type copied struct{ next http.RoundTripper }

func (c copied) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(body))
	return c.next.RoundTrip(out)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// code holds an SDK's error against the code and message.
func code(t *testing.T, err error, want, message string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Fatalf("err = %v, want %s", err, want)
	}
	if e.ErrorCode() != want || e.ErrorMessage() != message {
		t.Errorf("got %s: %s\nwant %s: %s", e.ErrorCode(), e.ErrorMessage(), want, message)
	}
}

func decoded(t *testing.T, s *string) string {
	t.Helper()
	if strings.ContainsAny(*s, "+ \"{") {
		t.Errorf("the document is not encoded as RFC 3986 has it: %s", *s)
	}
	out, err := url.PathUnescape(*s)
	ok(t, err)
	return out
}

func TestSDKRoles(t *testing.T) {
	c, s := newClient(t)
	ctx := t.Context()
	created, err := c.CreateRole(ctx, &sdk.CreateRoleInput{
		RoleName: aws.String("web"), Path: aws.String("/apps/"), AssumeRolePolicyDocument: aws.String(trust), Description: aws.String("the web"),
		MaxSessionDuration: aws.Int32(7200), PermissionsBoundary: aws.String(s3Read), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a b")}},
	})
	ok(t, err)
	if e := s.audit.last(); e.EventName != "CreateRole" || e.RequestParameters.(map[string]string)["roleName"] != "web" || e.ResponseElements == nil || e.ReadOnly {
		t.Errorf("event = %+v", e)
	}
	got, err := c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("web")})
	ok(t, err)
	for _, r := range []*types.Role{created.Role, got.Role} {
		if *r.Arn != "arn:aws:iam::111122223333:role/apps/web" || *r.RoleId != *created.Role.RoleId || *r.MaxSessionDuration != 7200 || *r.Description != "the web" ||
			!r.CreateDate.Equal(time.Date(2026, 11, 22, 10, 11, 12, 0, time.UTC)) || len(r.Tags) != 1 || *r.Tags[0].Value != "a b" ||
			*r.PermissionsBoundary.PermissionsBoundaryArn != s3Read || decoded(t, r.AssumeRolePolicyDocument) != trust {
			t.Errorf("role = %+v", r)
		}
	}
	_, err = c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("web"), AssumeRolePolicyDocument: aws.String(trust)})
	if e := (*types.EntityAlreadyExistsException)(nil); !errors.As(err, &e) {
		t.Errorf("err = %v", err)
	}
	_, err = c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("none")})
	if e := (*types.NoSuchEntityException)(nil); !errors.As(err, &e) {
		t.Errorf("err = %v", err)
	}
	_, err = c.UpdateRole(ctx, &sdk.UpdateRoleInput{RoleName: aws.String("web"), Description: aws.String("")})
	ok(t, err)
	_, err = c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: aws.String("web"), PolicyDocument: aws.String("{")})
	code(t, err, "MalformedPolicyDocument", "Syntax errors in policy.")
	_, err = c.TagRole(ctx, &sdk.TagRoleInput{RoleName: aws.String("web"), Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("")}}})
	ok(t, err)
	_, err = c.TagRole(ctx, &sdk.TagRoleInput{RoleName: aws.String("web"), Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("")}, {Key: aws.String("X"), Value: aws.String("")}}})
	code(t, err, "InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
	_, err = c.UntagRole(ctx, &sdk.UntagRoleInput{RoleName: aws.String("web"), TagKeys: []string{"team"}})
	ok(t, err)
	tags, err := c.ListRoleTags(ctx, &sdk.ListRoleTagsInput{RoleName: aws.String("web")})
	ok(t, err)
	if len(tags.Tags) != 1 || *tags.Tags[0].Key != "x" || tags.IsTruncated {
		t.Errorf("tags = %+v", tags)
	}
	_, err = c.DeleteRolePermissionsBoundary(ctx, &sdk.DeleteRolePermissionsBoundaryInput{RoleName: aws.String("web")})
	ok(t, err)
	_, err = c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: aws.String("web")})
	ok(t, err)
	s.authz.deny = "iam:GetRole"
	_, err = c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("web")})
	code(t, err, "AccessDenied", "User: arn:aws:iam::111122223333:user/podid-admin is not authorized to perform: iam:GetRole on resource: arn:aws:iam::111122223333:role/web")
}

func TestSDKPolicies(t *testing.T) {
	c, _ := newClient(t)
	ctx := t.Context()
	_, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trust)})
	ok(t, err)
	p, err := c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("own"), PolicyDocument: aws.String(identity), Description: aws.String("d")})
	ok(t, err)
	for _, a := range []string{s3Read, *p.Policy.Arn} {
		_, err = c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: aws.String(a)})
		ok(t, err)
	}
	attached, err := c.ListAttachedRolePolicies(ctx, &sdk.ListAttachedRolePoliciesInput{RoleName: aws.String("r")})
	ok(t, err)
	if len(attached.AttachedPolicies) != 2 || *attached.AttachedPolicies[1].PolicyName != "AmazonS3ReadOnlyAccess" {
		t.Errorf("attached = %+v", attached.AttachedPolicies)
	}
	_, err = c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: aws.String("arn:aws:iam::aws:policy/aws-service-role/AmazonEKSServiceRolePolicy")})
	if e := (*types.PolicyNotAttachableException)(nil); !errors.As(err, &e) {
		t.Errorf("err = %v", err)
	}
	got, err := c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: p.Policy.Arn})
	ok(t, err)
	if *got.Policy.AttachmentCount != 1 || !got.Policy.IsAttachable || *got.Policy.DefaultVersionId != "v1" || *got.Policy.Description != "d" {
		t.Errorf("policy = %+v", got.Policy)
	}
	_, err = c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: p.Policy.Arn, PolicyDocument: aws.String(identity), SetAsDefault: true})
	ok(t, err)
	v, err := c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: p.Policy.Arn, VersionId: aws.String("v2")})
	ok(t, err)
	if !v.PolicyVersion.IsDefaultVersion || decoded(t, v.PolicyVersion.Document) != identity {
		t.Errorf("version = %+v", v.PolicyVersion)
	}
	_, err = c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: p.Policy.Arn})
	if e := (*types.DeleteConflictException)(nil); !errors.As(err, &e) {
		t.Errorf("err = %v", err)
	}
	entities, err := c.ListEntitiesForPolicy(ctx, &sdk.ListEntitiesForPolicyInput{PolicyArn: p.Policy.Arn})
	ok(t, err)
	if len(entities.PolicyRoles) != 1 || *entities.PolicyRoles[0].RoleName != "r" || len(entities.PolicyUsers) != 0 {
		t.Errorf("entities = %+v", entities)
	}
	_, err = c.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("in"), PolicyDocument: aws.String(identity)})
	ok(t, err)
	in, err := c.GetRolePolicy(ctx, &sdk.GetRolePolicyInput{RoleName: aws.String("r"), PolicyName: aws.String("in")})
	ok(t, err)
	if decoded(t, in.PolicyDocument) != identity {
		t.Errorf("document = %s", *in.PolicyDocument)
	}
	names, err := c.ListRolePolicies(ctx, &sdk.ListRolePoliciesInput{RoleName: aws.String("r")})
	ok(t, err)
	if !slices.Equal(names.PolicyNames, []string{"in"}) {
		t.Errorf("names = %q", names.PolicyNames)
	}
	worker, err := c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"), VersionId: aws.String("v3")})
	ok(t, err)
	if !strings.Contains(decoded(t, worker.PolicyVersion.Document), "eks-auth:AssumeRoleForPodIdentity") {
		t.Error("AmazonEKSWorkerNodePolicy is another")
	}
}

func TestSDKUsersAndKeys(t *testing.T) {
	c, s := newClient(t)
	ctx := t.Context()
	for _, n := range []string{"podid-admin", "ann"} {
		_, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String(n)})
		ok(t, err)
	}
	me, err := c.GetUser(ctx, &sdk.GetUserInput{})
	ok(t, err)
	if *me.User.UserName != "podid-admin" {
		t.Errorf("user = %+v", me.User)
	}
	k, err := c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: aws.String("ann")})
	ok(t, err)
	if len(*k.AccessKey.SecretAccessKey) != 40 || k.AccessKey.Status != types.StatusTypeActive {
		t.Errorf("key = %s, %s", *k.AccessKey.AccessKeyId, k.AccessKey.Status)
	}
	if e := fmt.Sprintf("%+v %+v", s.audit.last(), s.audit.last().ResponseElements); strings.Contains(e, *k.AccessKey.SecretAccessKey) || s.audit.last().Podid.AccessKeyIDIssued != *k.AccessKey.AccessKeyId {
		t.Errorf("event = %s", e)
	}
	_, err = c.UpdateAccessKey(ctx, &sdk.UpdateAccessKeyInput{UserName: aws.String("ann"), AccessKeyId: k.AccessKey.AccessKeyId, Status: types.StatusTypeInactive})
	ok(t, err)
	keys, err := c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: aws.String("ann")})
	ok(t, err)
	if len(keys.AccessKeyMetadata) != 1 || keys.AccessKeyMetadata[0].Status != types.StatusTypeInactive {
		t.Errorf("keys = %+v", keys.AccessKeyMetadata)
	}
	_, err = c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("ann")})
	code(t, err, "DeleteConflict", "Cannot delete entity, must delete access keys first.")
	_, err = c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: aws.String("ann"), AccessKeyId: k.AccessKey.AccessKeyId})
	ok(t, err)
	_, err = c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("in"), PolicyDocument: aws.String(identity)})
	ok(t, err)
	_, err = c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: aws.String("ann"), PolicyArn: aws.String(s3Read)})
	ok(t, err)
	summary, err := c.GetAccountSummary(ctx, &sdk.GetAccountSummaryInput{})
	ok(t, err)
	if summary.SummaryMap["Users"] != 2 || summary.SummaryMap["AccessKeysPerUserQuota"] != 2 {
		t.Errorf("summary = %v", summary.SummaryMap)
	}
	aliases, err := c.ListAccountAliases(ctx, &sdk.ListAccountAliasesInput{})
	ok(t, err)
	if len(aliases.AccountAliases) != 0 {
		t.Errorf("aliases = %q", aliases.AccountAliases)
	}
}

// TestSDKPaginators: every list that the SDK can page ends, with all items.
func TestSDKPaginators(t *testing.T) {
	c, _ := newClient(t)
	ctx := t.Context()
	for i := range 7 {
		_, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String(fmt.Sprintf("r%d", i)), AssumeRolePolicyDocument: aws.String(trust)})
		ok(t, err)
	}
	n := 0
	for p := sdk.NewListRolesPaginator(c, &sdk.ListRolesInput{MaxItems: aws.Int32(3)}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		ok(t, err)
		n += len(out.Roles)
	}
	if n != 7 {
		t.Errorf("%d roles, want 7", n)
	}
	seen := map[string]bool{}
	for p := sdk.NewListPoliciesPaginator(c, &sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeAws, MaxItems: aws.Int32(10)}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		ok(t, err)
		for _, pol := range out.Policies {
			seen[*pol.Arn] = true
		}
	}
	if len(seen) < 40 || !seen["arn:aws:iam::aws:policy/AdministratorAccess"] {
		t.Errorf("%d policies", len(seen))
	}
}

func post(t *testing.T, s *server, form string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form+"&Version=2010-05-08"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// TestGolden holds answers byte by byte. The steps build on each other.
func TestGolden(t *testing.T) {
	s := newServer()
	q := url.QueryEscape
	for i, tc := range []struct {
		name   string
		form   string
		status int
	}{
		{"create-role", "Action=CreateRole&RoleName=web&Path=%2Fapps%2F&Description=a+%26+b&Tags.member.1.Key=k&Tags.member.1.Value=v&AssumeRolePolicyDocument=" + q(trust), 200},
		{"get-role", "Action=GetRole&RoleName=web", 200},
		{"list-roles", "Action=ListRoles", 200},
		{"update-role", "Action=UpdateRole&RoleName=web&MaxSessionDuration=7200", 200},
		{"create-policy", "Action=CreatePolicy&PolicyName=own&PolicyDocument=" + q(identity), 200},
		{"attach-role-policy", "Action=AttachRolePolicy&RoleName=web&PolicyArn=" + q(s3Read), 200},
		{"list-attached", "Action=ListAttachedRolePolicies&RoleName=web", 200},
		{"list-role-policies-empty", "Action=ListRolePolicies&RoleName=web", 200},
		{"get-policy", "Action=GetPolicy&PolicyArn=" + q("arn:aws:iam::111122223333:policy/own"), 200},
		{"get-policy-version", "Action=GetPolicyVersion&VersionId=v3&PolicyArn=" + q(s3Read), 200},
		{"list-policies", "Action=ListPolicies&MaxItems=2", 200},
		{"create-user", "Action=CreateUser&UserName=ann", 200},
		{"create-access-key", "Action=CreateAccessKey&UserName=ann", 200},
		{"list-access-keys", "Action=ListAccessKeys&UserName=ann", 200},
		{"account-summary", "Action=GetAccountSummary", 200},
		{"delete-conflict", "Action=DeleteRole&RoleName=web", 409},
		{"no-such-role", "Action=GetRole&RoleName=none", 404},
		{"missing-parameter", "Action=GetRole", 400},
		{"bad-number", "Action=ListRoles&MaxItems=many", 400},
		{"bad-tags", "Action=TagRole&RoleName=web&Tags.member.2.Key=k", 400},
		{"bad-marker", "Action=ListRoles&Marker=x", 400},
		{"malformed-policy", "Action=PutRolePolicy&RoleName=web&PolicyName=p&PolicyDocument=%7B", 400},
		{"quota", "Action=PutRolePolicy&RoleName=web&PolicyName=p&PolicyDocument=" + q(strings.Replace(identity, "s3:GetObject", "s3:"+strings.Repeat("G", 10300), 1)), 409},
		{"unknown-operation", "Action=CreateSAMLProvider&Name=g", 400},
		{"create-group", "Action=CreateGroup&GroupName=devs&Path=%2Fteams%2F", 200},
		{"add-user-to-group", "Action=AddUserToGroup&GroupName=devs&UserName=ann", 200},
		{"get-group", "Action=GetGroup&GroupName=devs", 200},
		{"list-groups-for-user", "Action=ListGroupsForUser&UserName=ann", 200},
		{"list-groups", "Action=ListGroups&PathPrefix=%2Fnone%2F", 200},
		{"put-group-policy", "Action=PutGroupPolicy&GroupName=devs&PolicyName=p&PolicyDocument=" + q(identity), 200},
		{"get-group-policy", "Action=GetGroupPolicy&GroupName=devs&PolicyName=p", 200},
		{"attach-group-policy", "Action=AttachGroupPolicy&GroupName=devs&PolicyArn=" + q("arn:aws:iam::111122223333:policy/own"), 200},
		{"list-entities", "Action=ListEntitiesForPolicy&PolicyArn=" + q("arn:aws:iam::111122223333:policy/own"), 200},
		{"delete-group-in-use", "Action=DeleteGroup&GroupName=devs", 409},
		{"update-user", "Action=UpdateUser&UserName=ann&NewUserName=bea", 200},
		{"not-renamed", "Action=UpdateUser&UserName=bea&NewUserName=", 400},
		{"last-used-never", "Action=GetAccessKeyLastUsed&AccessKeyId=none", 400},
		{"list-mfa-devices", "Action=ListMFADevices&UserName=bea", 200},
		{"list-service-credentials", "Action=ListServiceSpecificCredentials&AllUsers=true", 200},
		{"users-and-user", "Action=ListServiceSpecificCredentials&AllUsers=true&UserName=bea", 400},
		{"get-login-profile", "Action=GetLoginProfile&UserName=bea", 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := post(t, s, tc.form)
			if w.Code != tc.status {
				t.Errorf("status %d, want %d", w.Code, tc.status)
			}
			file := filepath.Join("testdata", "golden", fmt.Sprintf("%02d-%s.xml", i+1, tc.name))
			if *update {
				ok(t, os.WriteFile(file, w.Body.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			ok(t, err)
			if got := w.Body.String(); got != string(want) {
				t.Errorf("%s:\ngot:\n%s\nwant:\n%s", file, got, want)
			}
		})
	}
}

// TestOperations: every operation has an action, the form of a resource, and
// refuses a request that lacks what it needs instead of falling over it.
func TestOperations(t *testing.T) {
	s := newServer()
	table := iamapi.Service(&iam.Manager{}).Operations
	if len(table) < 50 {
		t.Errorf("%d operations", len(table))
	}
	for _, op := range table {
		if op.Action != "iam:"+op.Name || op.Resource == "" || op.Service != "iam" || op.Source != "iam.amazonaws.com" || op.Anonymous || op.Exchange {
			t.Errorf("operation = %+v", op.Operation)
		}
		if reads := strings.HasPrefix(op.Name, "Get") || strings.HasPrefix(op.Name, "List") || strings.HasPrefix(op.Name, "Simulate"); reads != op.ReadOnly {
			t.Errorf("%s: read only = %v", op.Name, op.ReadOnly)
		}
		w := post(t, s, "Action="+op.Name)
		if body, _ := io.ReadAll(w.Body); w.Code >= 500 || w.Code == http.StatusOK && !op.ReadOnly && op.Name != "CreateAccessKey" {
			t.Errorf("%s without parameters: %d %s", op.Name, w.Code, body)
		}
	}
}
