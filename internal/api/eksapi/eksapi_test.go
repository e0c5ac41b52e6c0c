// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"podid/internal/accessentry"
	"podid/internal/addon"
	"podid/internal/api/call"
	"podid/internal/api/eksapi"
	"podid/internal/api/restjson"
	"podid/internal/association"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/reqctx"
	"podid/internal/store"
	"podid/internal/store/storetest"
	"podid/internal/uuid"
)

const (
	account = "123456789012"
	region  = "us-west-2"
	roleARN = "arn:aws:iam::123456789012:role/s3-app-eks-pod-identity-role"
)

// anybody takes every signature for that of a user of the account.
type anybody struct{}

func (anybody) Authenticate(_ context.Context, r *http.Request, _, service string) (iam.Caller, error) {
	if service != "eks" {
		return iam.Caller{}, fault.New(fault.SignatureMismatch, "wrong service %s", service)
	}
	return iam.Caller{Kind: iam.CallerUser, Account: account, User: &iam.User{Name: "me"}}, nil
}

// rights denies one action.
type rights struct{ deny string }

func (r *rights) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	if q.Action == r.deny {
		return fault.New(fault.AccessDenied, "User: me is not authorized to perform: %s on resource: %s", q.Action, q.Resource)
	}
	return nil
}

type trustAll struct{}

func (t trustAll) AskRole(context.Context, store.Reader, *cluster.Cluster, *association.Association) association.RoleCheck {
	return t.check
}

func (trustAll) check(_ context.Context, _ store.Reader, _ *cluster.Cluster, a *association.Association) error {
	if strings.HasSuffix(a.RoleARN, "/none") {
		return fault.New(fault.InvalidParameter, "Role provided in the request does not exist.")
	}
	return nil
}

type log struct {
	mu     sync.Mutex
	events []*audit.Event
}

func (*log) Ready() error { return nil }

func (l *log) Record(_ context.Context, e *audit.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	return nil
}

type fixture struct {
	http.Handler
	api     *eksapi.API
	entries *accessentry.Manager
	rights  *rights
	log     *log
	seen    *addon.Sightings
	store   store.Store
}

// uid is the unique id of a cluster.
func (f *fixture) uid(t *testing.T, name string) string {
	t.Helper()
	c, err := cluster.Named(f.store.View(), store.Scope{Account: account, Region: region}, name)
	if err != nil {
		t.Fatal(err)
	}
	return c.UID
}

func newFixture(t *testing.T, clusters ...string) *fixture {
	t.Helper()
	f := &fixture{rights: &rights{}, log: &log{}}
	st := storetest.NewMemory(store.NewSchema(cluster.Clusters, association.Associations, association.Requests, addon.Addons, addon.Seen, accessentry.Entries, accessentry.Reviewers, iam.Roles, iam.Users))
	as := &association.Manager{
		Store: st, Authz: f.rights, Roles: trustAll{}, Now: time.Now, Rand: rand.Reader, Partition: "aws", Account: account, Region: region,
	}
	f.store, f.seen = st, &addon.Sightings{Store: st, Now: time.Now}
	ad := &addon.Manager{
		Store: st, Authz: f.rights, Associations: as, Agents: f.seen, Now: time.Now, Rand: rand.Reader, Partition: "aws", Account: account, Region: region,
	}
	f.entries = &accessentry.Manager{Store: st, Authz: f.rights, Now: time.Now, Rand: rand.Reader, Partition: "aws", Account: account, Region: region}
	cs := &cluster.Manager{
		Store: st, Authz: f.rights, Now: time.Now, Rand: rand.Reader, Partition: "aws", Account: account, Region: region, Dependents: []cluster.Dependents{ad, f.entries, as},
	}
	for _, name := range clusters {
		_, err := cs.Register(t.Context(), iam.Caller{}, cluster.RegisterInput{
			Name: name, Issuer: "https://issuer.example", JWKS: []byte(clustertest.JWKS), Version: "1.34", Endpoint: "https://10.0.0.1:6443",
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	gate := &call.Gate{
		Authn: anybody{}, Audit: f.log, Log: slog.New(slog.DiscardHandler), Now: time.Now, Region: region, Account: account,
		MaxBody: 1 << 20, Observed: func(call.Operation, string, int, time.Duration) {},
	}
	f.api = &eksapi.API{
		Clusters: cs, Associations: as, Addons: ad, Entries: f.entries, Versions: cs, Pages: restjson.Pages{Key: []byte("k")},
		Partition: "aws", Account: account, Region: region,
	}
	f.Handler = restjson.New(gate, f.api.Routes()...)
	return f
}

func (f *fixture) do(method, target, body string) (*httptest.ResponseRecorder, map[string]any) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	f.ServeHTTP(w, r.WithContext(reqctx.With(r.Context(), reqctx.Info{ID: uuid.Random()}))) // as the listener does
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		out = map[string]any{"not JSON": w.Body.String()}
	}
	return w, out
}

// TestRaw sends what no SDK would.
func TestRaw(t *testing.T) {
	const assoc = "/clusters/my-cluster/pod-identity-associations"
	const good = `{"namespace":"n","serviceAccount":"s","roleArn":"` + roleARN + `"}`
	for _, tc := range []struct {
		name, method, target, body string
		deny                       string
		status                     int
		code, message              string
	}{
		{"type error names the member", "POST", assoc, `{"namespace":1}`, "", 400, "SerializationException", "namespace"},
		{"truncated", "POST", assoc, good[:20], "", 400, "SerializationException", "ends too early"},
		{"no body", "POST", assoc, "", "", 400, "InvalidParameterException", "namespace is required"},
		{"unknown members are ignored", "POST", assoc, strings.Replace(good, "{", `{"later":[1],`, 1), "", 200, "", ""},
		{"null members", "POST", assoc, strings.Replace(good, "{", `{"tags":null,"disableSessionTags":null,"policy":null,`, 1), "", 200, "", ""},
		{"no such cluster", "POST", "/clusters/nope/pod-identity-associations", good, "", 404, "ResourceNotFoundException", "No cluster found for name: nope."},
		{"no such role", "POST", assoc, strings.Replace(good, "s3-app-eks-pod-identity-role", "none", 1), "", 400, "InvalidParameterException", "Role provided in the request does not exist."},
		{"cross account", "POST", assoc, strings.Replace(good, account, "222233334444", 1), "", 403, "AccessDeniedException", "Cross-account pass role is not allowed."},
		{"denied", "POST", assoc, good, "eks:CreatePodIdentityAssociation", 403, "AccessDeniedException", "not authorized to perform: eks:CreatePodIdentityAssociation"},
		{"may not pass", "POST", assoc, good, "iam:PassRole", 403, "AccessDeniedException", "iam:PassRole"},
		{"short id", "GET", assoc + "/a-1", "", "", 400, "InvalidParameterException", "The parameter associationId should be 19 characters long."},
		{"no such id", "GET", assoc + "/a-zzzzzzzzzzzzzzzzz", "", "", 404, "ResourceNotFoundException", "No association found for id: a-zzzzzzzzzzzzzzzzz"},
		{"update is POST", "PUT", assoc + "/a-zzzzzzzzzzzzzzzzz", "{}", "", 404, "UnknownOperationException", ""},
		{"page size", "GET", assoc + "?maxResults=101", "", "", 400, "InvalidParameterException", "between 1 and 100"},
		{"page token", "GET", assoc + "?nextToken=1", "", "", 400, "InvalidParameterException", "nextToken"},
		{"cluster page size", "GET", "/clusters?maxResults=0", "", "", 400, "InvalidParameterException", "between 1 and 100"},
		{"bad escape in the query", "GET", "/clusters?maxResults=%zz", "", "", 400, "InvalidRequestException", "query"},
		{"describe no cluster", "GET", "/clusters/nope", "", "", 404, "ResourceNotFoundException", "No cluster found for name: nope."},
		{"tags of nothing", "GET", "/tags/arn%3Aaws%3Aeks%3Aus-west-2%3A123456789012%3Acluster%2Fnope", "", "", 404, "NotFoundException", "nope"},
		{"tags of no ARN", "GET", "/tags/rubbish", "", "", 400, "BadRequestException", "rubbish"},
		{"tags of another region", "GET", "/tags/arn%3Aaws%3Aeks%3Aeu-west-1%3A123456789012%3Acluster%2Fmy-cluster", "", "", 400, "BadRequestException", "us-west-2"},
		{"tags of a node group", "GET", "/tags/arn%3Aaws%3Aeks%3Aus-west-2%3A123456789012%3Anodegroup%2Fmy-cluster%2Fa", "", "", 400, "BadRequestException", "neither"},
		{"tags of a role", "GET", "/tags/arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fx", "", "", 400, "BadRequestException", "not the ARN of an EKS resource"},
		{"plain slashes", "GET", "/tags/arn:aws:eks:us-west-2:123456789012:cluster/my-cluster", "", "", 404, "UnknownOperationException", ""},
		{"colons may be plain", "GET", "/tags/arn:aws:eks:us-west-2:123456789012:cluster%2Fmy-cluster", "", "", 200, "", ""},
		{"no tags given", "POST", "/tags/arn%3Aaws%3Aeks%3Aus-west-2%3A123456789012%3Acluster%2Fmy-cluster", "{}", "", 400, "BadRequestException", "At least one tag"},
		{"no keys given", "DELETE", "/tags/arn%3Aaws%3Aeks%3Aus-west-2%3A123456789012%3Acluster%2Fmy-cluster", "", "", 400, "BadRequestException", "At least one tag key"},
		{"reserved tag", "POST", "/tags/arn%3Aaws%3Aeks%3Aus-west-2%3A123456789012%3Acluster%2Fmy-cluster", `{"tags":{"aws:a":"b"}}`, "", 400, "BadRequestException", "reserved"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, "my-cluster")
			f.rights.deny = tc.deny
			w, body := f.do(tc.method, tc.target, tc.body)
			message, _ := body["message"].(string)
			if w.Code != tc.status || w.Header().Get("x-amzn-ErrorType") != tc.code || !strings.Contains(message, tc.message) {
				t.Errorf("%d %s %v, want %d %s %q", w.Code, w.Header().Get("x-amzn-ErrorType"), body, tc.status, tc.code, tc.message)
			}
			if w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type %q", w.Header().Get("Content-Type"))
			}
		})
	}
}

// TestDescribeCluster: the native form, member by member.
func TestDescribeCluster(t *testing.T) {
	f := newFixture(t, "my-cluster")
	_, body := f.do("GET", "/clusters/my-cluster", "")
	c := body["cluster"].(map[string]any)
	if at, ok := c["createdAt"].(float64); !ok || at < 1.7e9 {
		t.Errorf("createdAt %v", c["createdAt"])
	}
	delete(c, "createdAt")
	got, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"arn":"arn:aws:eks:us-west-2:123456789012:cluster/my-cluster","certificateAuthority":{"data":""},"endpoint":"https://10.0.0.1:6443",` +
		`"identity":{"oidc":{"issuer":"https://issuer.example"}},"kubernetesNetworkConfig":{"ipFamily":"ipv4"},"name":"my-cluster","platformVersion":"eks.1",` +
		`"resourcesVpcConfig":{"securityGroupIds":[],"subnetIds":[]},"status":"ACTIVE","tags":{},"version":"1.34"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	_, body = f.do("DELETE", "/clusters/my-cluster", "")
	if c := body["cluster"].(map[string]any); c["status"] != "DELETING" {
		t.Errorf("deleted: %v", c)
	}
}

// TestPageTokens: a token is good for its own list only.
func TestPageTokens(t *testing.T) {
	f := newFixture(t, "my-cluster", "other")
	for _, sa := range []string{"a", "b", "c"} {
		f.do("POST", "/clusters/my-cluster/pod-identity-associations", `{"namespace":"n","serviceAccount":"`+sa+`","roleArn":"`+roleARN+`"}`)
	}
	_, body := f.do("GET", "/clusters/my-cluster/pod-identity-associations?maxResults=1&namespace=n", "")
	token, _ := body["nextToken"].(string)
	for target, status := range map[string]int{
		"/clusters/my-cluster/pod-identity-associations?namespace=n&maxResults=2&nextToken=" + token:     200,
		"/clusters/my-cluster/pod-identity-associations?maxResults=2&nextToken=" + token:                 400,
		"/clusters/my-cluster/pod-identity-associations?namespace=m&nextToken=" + token:                  400,
		"/clusters/my-cluster/pod-identity-associations?namespace=n&serviceAccount=b&nextToken=" + token: 400,
		"/clusters/other/pod-identity-associations?namespace=n&nextToken=" + token:                       400,
		"/clusters?nextToken=" + token: 400,
	} {
		if w, body := f.do("GET", target, ""); w.Code != status {
			t.Errorf("%s: %d %v, want %d", target, w.Code, body, status)
		}
	}
}

func TestAudit(t *testing.T) {
	f := newFixture(t, "my-cluster")
	f.do("POST", "/clusters/my-cluster/pod-identity-associations", `{"namespace":"n","serviceAccount":"s","roleArn":"`+roleARN+`"}`)
	f.do("POST", "/clusters/my-cluster/pod-identity-associations", `{"namespace":"n","serviceAccount":"s","roleArn":"`+roleARN+`"}`)
	f.do("GET", "/clusters/my-cluster", "")
	if len(f.log.events) != 3 {
		t.Fatalf("%d events", len(f.log.events))
	}
	made, refused, read := f.log.events[0], f.log.events[1], f.log.events[2]
	params, err := json.Marshal(made.RequestParameters)
	if err != nil {
		t.Fatal(err)
	}
	if made.EventName != "CreatePodIdentityAssociation" || made.EventSource != "eks.amazonaws.com" || made.ReadOnly || made.ResponseElements == nil ||
		made.Podid.AssociationID == "" || string(params) != `{"name":"my-cluster","namespace":"n","serviceAccount":"s","roleArn":"`+roleARN+`"}` {
		t.Errorf("%+v %s", made, params)
	}
	if refused.ErrorCode != "ResourceInUseException" || refused.Podid.Reason != "association-exists" || refused.Podid.HTTPStatus != 409 || refused.ResponseElements != nil {
		t.Errorf("%+v", refused)
	}
	if !read.ReadOnly || read.ResponseElements != nil || read.EventName != "DescribeCluster" {
		t.Errorf("%+v", read)
	}
}

// TestRouteTable: every route names its service, its action and the form of
// the ARN that the action is checked on.
func TestRouteTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range (&eksapi.API{}).Routes() {
		o := r.Operation
		if o.Service != "eks" || o.Source != "eks.amazonaws.com" || o.Action != "eks:"+o.Name || o.Resource == "" || r.Handler == nil || o.Anonymous || seen[o.Name] {
			t.Errorf("%s %s: %+v", r.Method, r.Pattern, o)
		}
		if o.ReadOnly != (r.Method == http.MethodGet) {
			t.Errorf("%s: read only = %v", o.Name, o.ReadOnly)
		}
		seen[o.Name] = true
	}
	if len(seen) != 23 {
		t.Errorf("%d operations", len(seen))
	}
}
