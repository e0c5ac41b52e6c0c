// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podidapi_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"podid/internal/api/call"
	"podid/internal/api/podidapi"
	"podid/internal/api/restjson"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/cluster/clustertest"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

type signer struct{}

func (signer) Authenticate(_ context.Context, _ *http.Request, _, service string) (iam.Caller, error) {
	if service != "podid" {
		return iam.Caller{}, fault.New(fault.SignatureMismatch, "wrong service %s", service)
	}
	return iam.Caller{Kind: iam.CallerUser, User: &iam.User{Name: "me"}}, nil
}

type rights struct{ deny string }

func (r *rights) Authorize(_ context.Context, _ iam.Caller, q iam.Query) error {
	if q.Action == r.deny {
		return fault.New(fault.AccessDenied, "not authorized to perform: %s on resource: %s", q.Action, q.Resource)
	}
	return nil
}

type log struct{ last *audit.Event }

func (*log) Ready() error { return nil }

func (l *log) Record(_ context.Context, e *audit.Event) error { l.last = e; return nil }

type explainer struct{ asked exchange.ExplainRequest }

func (x *explainer) Explain(_ context.Context, _ iam.Caller, in exchange.ExplainRequest) (*exchange.Explanation, error) {
	x.asked = in
	return &exchange.Explanation{WouldIssue: true, Steps: []exchange.StepReport{{Step: "cluster", Verdict: exchange.Pass}}}, nil
}

type fixture struct {
	http.Handler
	rights  *rights
	log     *log
	explain *explainer
}

func newFixture() *fixture {
	f := &fixture{rights: &rights{}, log: &log{}, explain: &explainer{}}
	cs := &cluster.Manager{
		Store: storetest.NewMemory(store.NewSchema(cluster.Clusters)), Authz: f.rights, Now: time.Now, Rand: rand.Reader,
		Partition: "aws", Account: "123456789012", Region: "us-west-2",
	}
	gate := &call.Gate{
		Authn: signer{}, Audit: f.log, Log: slog.New(slog.DiscardHandler), Now: time.Now, Region: "us-west-2", Account: "123456789012",
		MaxBody: 1 << 20, Observed: func(call.Operation, string, int, time.Duration) {},
	}
	f.Handler = restjson.New(gate, (&podidapi.API{Clusters: cs, Exchange: f.explain}).Routes()...)
	return f
}

func (f *fixture) do(t *testing.T, method, target, body string) (int, string, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%q: %v", w.Body, err)
	}
	return w.Code, w.Header().Get("x-amzn-ErrorType"), out
}

const (
	all      = "/podid/v1/clusters"
	one      = all + "/my-cluster"
	register = `{"name":"my-cluster","issuer":"https://issuer.example","jwks":` + clustertest.JWKS + `,"tags":{"a":"b"}}`
)

func TestClusterLife(t *testing.T) {
	f := newFixture()
	status, _, made := f.do(t, "POST", all, register)
	if status != 200 {
		t.Fatal(status, made)
	}
	c := made["cluster"].(map[string]any)
	uid, _ := c["uid"].(string)
	if len(uid) != 32 || c["nodeBinding"] != string(cluster.NodeBindingDefault) || c["providerArn"] != "arn:aws:iam::123456789012:oidc-provider/clusters.podid.dev/"+uid ||
		c["arn"] != "arn:aws:eks:us-west-2:123456789012:cluster/my-cluster" {
		t.Errorf("%v", c)
	}
	if d := cmp.Diff([]any{"1"}, c["keyIds"]); d != "" {
		t.Error(d)
	}
	_, _, read := f.do(t, "GET", one, "")
	if d := cmp.Diff(made, read); d != "" {
		t.Error(d)
	}
	status, _, changed := f.do(t, "PATCH", one, `{"nodeBinding":"ifPresent","version":"1.35"}`)
	if c := changed["cluster"].(map[string]any); status != 200 || c["nodeBinding"] != "ifPresent" || c["version"] != "1.35" || c["uid"] != uid {
		t.Errorf("%d %v", status, changed)
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, method, target, body, deny string
		status                           int
		code, message                    string
	}{
		{"exists", "POST", all, register, "", 409, "ResourceInUseException", "Cluster already exists with name: my-cluster"},
		{"key set as a string", "POST", all, `{"name":"x","issuer":"https://x","jwks":"{}"}`, "", 400, "InvalidParameterException", "key set"},
		{"discover as a string", "POST", all, `{"name":"x","discover":"yes"}`, "", 400, "SerializationException", "discover"},
		{"may not register", "POST", all, register, "podid:RegisterCluster", 403, "AccessDeniedException", "cluster/my-cluster"},
		{"may not describe", "GET", one, "", "podid:DescribeCluster", 403, "AccessDeniedException", "podid:DescribeCluster"},
		{"may not update", "PATCH", one, `{"version":"1.35"}`, "podid:UpdateCluster", 403, "AccessDeniedException", "podid:UpdateCluster"},
		{"no cluster", "GET", all + "/nope", "", "", 404, "ResourceNotFoundException", "No cluster found for name: nope."},
		{"nothing to change", "PATCH", one, `{}`, "", 400, "InvalidRequestException", "changes nothing"},
		{"issuer is immutable", "PATCH", one, `{"issuer":"https://other"}`, "", 400, "InvalidParameterException", "issuer"},
		{"explain nobody", "POST", one + "/explain", `{}`, "", 400, "InvalidParameterException", "namespace and serviceAccount"},
		{"explain too much", "POST", one + "/explain", `{"token":"t","actions":[` + strings.Repeat(`{},`, 100) + `{}]}`, "", 400, "InvalidParameterException", "At most 100"},
		{"another version", "GET", "/podid/v2/clusters/x", "", "", 404, "UnknownOperationException", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture()
			f.do(t, "POST", all, register)
			f.rights.deny = tc.deny
			status, code, body := f.do(t, tc.method, tc.target, tc.body)
			if message, _ := body["message"].(string); status != tc.status || code != tc.code || !strings.Contains(message, tc.message) {
				t.Errorf("%d %s %v", status, code, body)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	f := newFixture()
	status, _, body := f.do(t, "POST", one+"/explain",
		`{"namespace":"n","serviceAccount":"s","podName":"p","podUid":"u","nodeName":"w","token":"secret.to.ken","actions":[{"action":"s3:GetObject","resource":"*"}]}`)
	if status != 200 || body["wouldIssue"] != true {
		t.Errorf("%d %v", status, body)
	}
	want := exchange.ExplainRequest{
		ClusterName: "my-cluster", Namespace: "n", ServiceAccount: "s", Pod: "p", PodUID: "u", Node: "w", Token: "secret.to.ken",
		Actions: []exchange.ActionQuestion{{Action: "s3:GetObject", Resource: "*"}},
	}
	if d := cmp.Diff(want, f.explain.asked); d != "" {
		t.Error(d)
	}
	line, err := json.Marshal(f.log.last)
	if err != nil || strings.Contains(string(line), "secret.to.ken") || !strings.Contains(string(line), `"requestParameters":{"name":"my-cluster","namespace":"n"`) {
		t.Errorf("%s %v", line, err)
	}
}

// TestAuditHoldsNoKeys: a private key sent by mistake is refused, and is not
// in the audit log for ever.
func TestAuditHoldsNoKeys(t *testing.T) {
	f := newFixture()
	private := strings.Replace(clustertest.JWKS, `"kid"`, `"d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","kid"`, 1)
	status, _, _ := f.do(t, "POST", all, strings.Replace(register, clustertest.JWKS, private, 1))
	line, err := json.Marshal(f.log.last)
	if err != nil || status != 400 || strings.Contains(string(line), "870MB6gfuTJ4") {
		t.Errorf("%d %s %v", status, line, err)
	}
}

// TestRouteTable: every route is an IAM action podid:* on an ARN.
func TestRouteTable(t *testing.T) {
	for _, r := range (&podidapi.API{}).Routes() {
		o := r.Operation
		if !strings.HasPrefix(r.Pattern, "/podid/v1/") || o.Service != podidapi.Service || !strings.HasPrefix(o.Action, "podid:") || !strings.HasPrefix(o.Resource, "arn:") ||
			o.Anonymous || o.Name == "" || o.Source == "" || r.Handler == nil {
			t.Errorf("%s %s: %+v", r.Method, r.Pattern, o)
		}
	}
}
