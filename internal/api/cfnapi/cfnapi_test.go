// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cfnapi_test

import (
	"context"
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
	"regexp"
	"strings"
	"testing"
	"time"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/api/cfnapi"
	"podid/internal/association"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/reqctx"
	"podid/internal/stackrun"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

var update = flag.Bool("update", false, "write golden files")

const account = "111122223333"

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

type recorder struct{ events []*audit.Event }

func (*recorder) Ready() error { return nil }

func (r *recorder) Record(_ context.Context, e *audit.Event) error {
	r.events = append(r.events, e)
	return nil
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
	now := func() time.Time { return time.Date(2026, 11, 22, 10, 11, 12, 345e6, time.UTC) }
	db := storetest.NewMemory(store.NewSchema(
		iam.Roles, iam.Users, iam.Groups, iam.Policies, iam.KeyUses, iam.InstanceProfiles, iam.OIDCProviders, iam.Aliases, cluster.Clusters,
		association.Associations, association.Requests,
		stackrun.Stacks, stackrun.Deleted, stackrun.Resources, stackrun.Templates, stackrun.Events, stackrun.ChangeSets,
	))
	random := rand.NewChaCha8([32]byte{7})
	m := &stackrun.Manager{
		Store: db, Authz: s.authz, Sealer: plain{}, Now: now, Rand: random, Partition: "aws", Account: account, Region: "eu-west-1",
		IAM:          &iam.Manager{Store: db, Authz: s.authz, Sealer: plain{}, Now: now, Rand: random, Partition: "aws", Account: account},
		Associations: &association.Manager{Store: db, Authz: s.authz, Now: now, Rand: random, Partition: "aws", Account: account, Region: "eu-west-1"},
	}
	g := &call.Gate{
		Authn: admit{}, Audit: s.audit, Log: slog.New(slog.DiscardHandler), Now: now, Region: "eu-west-1", Account: account, MaxBody: 256 << 10,
		Observed: func(call.Operation, string, int, time.Duration) {},
	}
	h := awsquery.New(g, cfnapi.Service(m))
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(reqctx.With(r.Context(), reqctx.Info{ID: "00000000-0000-4000-8000-000000000000"})))
	})
	return s
}

func (s *server) post(t *testing.T, form string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(form+"&Version=2010-05-15"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=A/20261122/eu-west-1/cloudformation/aws4_request, SignedHeaders=host, Signature=0")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

const (
	trust     = `{Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Service: pods.eks.amazonaws.com}, Action: [sts:AssumeRole, sts:TagSession]}]}`
	resources = `
Description: a & b
Parameters:
  Secret: {Type: String, NoEcho: true, Default: hidden}
  Team: {Type: String, Default: web, AllowedValues: [web, ops], Description: whose}
Resources:
  Role1: {Type: AWS::IAM::Role, Properties: {RoleName: %s, Description: !Ref Team, MaxSessionDuration: %d, AssumeRolePolicyDocument: ` + trust + `}}
Outputs:
  Role1: {Value: !GetAtt Role1.Arn, Description: its <ARN>, Export: {Name: arn}}
`
)

// ids are the random ends of ARNs.
var ids = regexp.MustCompile(`/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// TestGolden compares whole answers, and what audit keeps of the calls.
func TestGolden(t *testing.T) {
	s := newServer()
	body := func(name string, duration int) string {
		return "&TemplateBody=" + url.QueryEscape(fmt.Sprintf(resources, name, duration))
	}
	const named = "&Capabilities.member.1=CAPABILITY_NAMED_IAM"
	for i, tc := range []struct {
		name   string
		form   string
		status int
	}{
		{"create", "Action=CreateStack&StackName=app&Tags.member.1.Key=k&Tags.member.1.Value=v&Parameters.member.1.ParameterKey=Secret&Parameters.member.1.ParameterValue=hidden" + named + body("web", 3600), 200},
		{"describe", "Action=DescribeStacks&StackName=app", 200},
		{"list", "Action=ListStacks&StackStatusFilter.member.1=CREATE_COMPLETE", 200},
		{"list-none", "Action=ListStacks&StackStatusFilter.member.1=DELETE_FAILED", 200},
		{"events", "Action=DescribeStackEvents&StackName=app", 200},
		{"resource", "Action=DescribeStackResource&StackName=app&LogicalResourceId=Role1", 200},
		{"resources", "Action=DescribeStackResources&StackName=app", 200},
		{"list-resources", "Action=ListStackResources&StackName=app", 200},
		{"template", "Action=GetTemplate&StackName=app", 200},
		{"summary", "Action=GetTemplateSummary&StackName=app", 200},
		{"validate", "Action=ValidateTemplate" + body("web", 3600), 200},
		{"change-set", "Action=CreateChangeSet&StackName=app&ChangeSetName=c1&Description=d" + named + body("web", 7200), 200},
		{"describe-change-set", "Action=DescribeChangeSet&StackName=app&ChangeSetName=c1", 200},
		{"change-set-without-changes", "Action=CreateChangeSet&StackName=app&ChangeSetName=c2&UsePreviousTemplate=true" + named, 200},
		{"describe-change-set-without-changes", "Action=DescribeChangeSet&StackName=app&ChangeSetName=c2", 200},
		{"list-change-sets", "Action=ListChangeSets&StackName=app", 200},
		{"execute-change-set", "Action=ExecuteChangeSet&StackName=app&ChangeSetName=c1", 200},
		{"delete-change-set", "Action=DeleteChangeSet&StackName=app&ChangeSetName=c2", 200},
		{"update", "Action=UpdateStack&StackName=app" + named + body("web2", 7200), 200},
		{"describe-updated", "Action=DescribeStacks&StackName=app", 200},
		{"no-updates", "Action=UpdateStack&StackName=app" + named + body("web2", 7200), 400},
		{"protect", "Action=UpdateTerminationProtection&StackName=app&EnableTerminationProtection=true", 200},
		{"delete-protected", "Action=DeleteStack&StackName=app", 400},
		{"unprotect", "Action=UpdateTerminationProtection&StackName=app&EnableTerminationProtection=false", 200},
		{"continue-complete", "Action=ContinueUpdateRollback&StackName=app", 400},
		{"delete", "Action=DeleteStack&StackName=app", 200},
		{"describe-deleted", "Action=DescribeStacks&StackName=app", 400},
		{"delete-none", "Action=DeleteStack&StackName=none", 200},
		{"capabilities", "Action=CreateStack&StackName=app" + body("web", 3600), 400},
		{"unknown-type", "Action=CreateStack&StackName=app&TemplateBody=" + url.QueryEscape("Resources: {B: {Type: AWS::S3::Bucket}}"), 400},
		{"malformed-template", "Action=ValidateTemplate&TemplateBody=%7B", 400},
		{"no-change-set", "Action=DescribeChangeSet&ChangeSetName=none&StackName=none", 400},
		{"two-missing", "Action=DescribeStackResource", 400},
		{"twice", "Action=DescribeStacks&StackName=a&StackName=b", 400},
		{"unknown-operation", "Action=CreateStackSet&StackSetName=s", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := s.post(t, tc.form)
			if w.Code != tc.status {
				t.Errorf("status %d, want %d", w.Code, tc.status)
			}
			got := ids.ReplaceAllString(w.Body.String(), "/ID")
			file := filepath.Join("testdata", "golden", fmt.Sprintf("%02d-%s.xml", i+1, tc.name))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s:\ngot:\n%s\nwant:\n%s", file, got, want)
			}
		})
	}
	for _, e := range s.audit.events {
		if text := fmt.Sprint(e.RequestParameters, e.ResponseElements); strings.Contains(text, ":hidden") || strings.Contains(text, "AWS::IAM") {
			t.Errorf("audit of %s has %s", e.EventName, text)
		}
	}
}

// TestOperations: every operation has an action, the form of a resource, and
// refuses a request that lacks what it needs instead of falling over it.
func TestOperations(t *testing.T) {
	s := newServer()
	table := cfnapi.Service(&stackrun.Manager{}).Operations
	if len(table) != 19 {
		t.Errorf("%d operations", len(table))
	}
	for _, op := range table {
		if op.Action != "cloudformation:"+op.Name || op.Resource == "" || op.Source != "cloudformation.amazonaws.com" || op.Anonymous || op.Exchange {
			t.Errorf("operation = %+v", op.Operation)
		}
		reads := strings.HasPrefix(op.Name, "Get") || strings.HasPrefix(op.Name, "List") || strings.HasPrefix(op.Name, "Describe") || op.Name == "ValidateTemplate"
		if reads != op.ReadOnly {
			t.Errorf("%s: read only = %v", op.Name, op.ReadOnly)
		}
		w := s.post(t, "Action="+op.Name)
		if body, _ := io.ReadAll(w.Body); w.Code >= 500 || w.Code == http.StatusOK && !op.ReadOnly {
			t.Errorf("%s without parameters: %d %s", op.Name, w.Code, body)
		}
	}
}
