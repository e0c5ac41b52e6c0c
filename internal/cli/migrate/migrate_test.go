// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"podid/internal/cli/clients"
	"podid/internal/cli/irsa"
	"podid/internal/cli/trust"
	"podid/internal/cli/undofile"
)

const (
	account    = "111122223333"
	clusterARN = "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster"
	roleARN    = "arn:aws:iam::111122223333:role/app"
)

var target = Target{Account: account, Partition: "aws", Cluster: "my-cluster", ClusterARN: clusterARN}

// plane is as much of a control plane as the role app with its trust policy
// and associations of one cluster need. lose drops the connection after an
// action, hook is called before one.
type plane struct {
	mu           sync.Mutex
	trust        string
	associations map[string]map[string]any // by id
	next         int
	lose         string
	hook         func(action string)
	broken       bool // every call answers with a fault of the service
}

// alone waits for the call under way: one whose connection was dropped may
// outlive its answer.
func (p *plane) alone(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	form, _ := url.ParseQuery(string(body)) // JSON is no form
	action := form.Get("Action")
	if action == "" {
		action = r.Method
	}
	if p.hook != nil {
		p.hook(action)
	}
	if p.broken {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	answer := p.answer(action, form, r.URL, body)
	if action == p.lose {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, answer)
}

func (p *plane) answer(action string, form url.Values, u *url.URL, body []byte) string {
	wrap := func(s string) string {
		return fmt.Sprintf(`<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>`, action, s)
	}
	switch action {
	case "GetCallerIdentity":
		return wrap(`<Account>` + account + `</Account><Arn>arn:aws:iam::111122223333:user/u</Arn>`)
	case "GetRole":
		return wrap(`<Role><RoleName>app</RoleName><RoleId>AROA1</RoleId><Arn>` + roleARN + `</Arn><AssumeRolePolicyDocument>` + url.PathEscape(p.trust) + `</AssumeRolePolicyDocument></Role>`)
	case "ListAttachedRolePolicies", "ListRolePolicies":
		return wrap(`<IsTruncated>false</IsTruncated>`)
	case "UpdateAssumeRolePolicy":
		p.trust = form.Get("PolicyDocument")
		return wrap("")
	}
	id := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	switch action {
	case http.MethodPost:
		p.next++
		a := map[string]any{}
		if err := json.Unmarshal(body, &a); err != nil {
			panic(err)
		}
		id = fmt.Sprintf("a-%d", p.next)
		a["associationId"] = id
		p.associations[id] = a
	case http.MethodDelete:
		delete(p.associations, id)
		return `{}`
	case http.MethodGet:
		if id == "pod-identity-associations" {
			list := []any{}
			for _, a := range p.associations {
				list = append(list, a)
			}
			return asJSON(map[string]any{"associations": list})
		}
	}
	return asJSON(map[string]any{"association": p.associations[id]})
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func start(t *testing.T) (*plane, *clients.Clients) {
	t.Helper()
	p := &plane{trust: trust.ForPods(account, clusterARN+"-2"), associations: map[string]map[string]any{}}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	return p, clients.New(aws.Config{
		Region: "us-west-2", BaseEndpoint: &srv.URL, HTTPClient: srv.Client(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// planned is the plan of one service account, and its undo file.
func planned(t *testing.T, c *clients.Clients) (*Plan, *undofile.File) {
	t.Helper()
	p, err := IRSA(t.Context(), c, target, &irsa.Found{Annotated: []irsa.ServiceAccount{{Namespace: "ns", Name: "sa", RoleARN: roleARN}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Lines) != 2 || p.Count(Extend) != 1 || p.Count(Create) != 1 {
		t.Fatalf("plan %+v", p.Lines)
	}
	f, err := undofile.Create(filepath.Join(t.TempDir(), "undo"), Head(p, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	return p, f
}

func results(p *Plan) string {
	var out []string
	for _, l := range p.Lines {
		out = append(out, l.Kind+" "+string(l.Result))
	}
	return strings.Join(out, ", ")
}

// reverted takes an undo file back.
func reverted(t *testing.T, c *clients.Clients, name string) *Plan {
	t.Helper()
	p, err := Revert(t.Context(), c, "irsa", name, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRunJudged holds that a trust policy is changed only if it is still the
// one that was judged, and that nothing is taken back then.
func TestRunJudged(t *testing.T) {
	s, c := start(t)
	p, f := planned(t, c)
	s.alone(func() { s.trust = trust.ForPods(account, clusterARN+"-3") })
	if err := errors.Join(Run(t.Context(), c, p, f, nil), f.Close()); err != nil {
		t.Fatal(err)
	}
	if got := results(p); got != "role failed, association not done" || !strings.Contains(p.Lines[0].Err.Error(), "changed by somebody else meanwhile") || p.Complete() {
		t.Errorf("%s: %v", got, p.Lines[0].Err)
	}
	if s.trust != trust.ForPods(account, clusterARN+"-3") || len(s.associations) > 0 {
		t.Error("it was changed all the same")
	}
	if back := reverted(t, c, f.Name); len(back.Lines) > 0 {
		t.Errorf("taken back: %+v", back.Lines)
	}
}

// TestRunLost holds that a change whose answer was lost is found and taken
// back, and that the lines that need it are not done.
func TestRunLost(t *testing.T) {
	for _, tc := range []struct{ lose, want, back string }{
		{"UpdateAssumeRolePolicy", "role failed, association not done", "role done"},
		{http.MethodPost, "role done, association failed", "association done, role done"},
	} {
		t.Run(tc.lose, func(t *testing.T) {
			s, c := start(t)
			p, f := planned(t, c)
			old := s.trust
			s.alone(func() { s.lose = tc.lose })
			if err := errors.Join(Run(t.Context(), c, p, f, nil), f.Close()); err != nil {
				t.Fatal(err)
			}
			s.alone(func() { s.lose = "" })
			if got := results(p); got != tc.want {
				t.Errorf("results %s", got)
			}
			if back := reverted(t, c, f.Name); results(back) != tc.back || !back.Complete() {
				t.Errorf("taken back: %s", results(back))
			}
			s.alone(func() {
				if s.trust != old || len(s.associations) > 0 {
					t.Errorf("left: %s, %v", s.trust, s.associations)
				}
			})
			if again := reverted(t, c, f.Name); len(again.Lines) > 0 {
				t.Errorf("taken back again: %s", results(again))
			}
		})
	}
}

// TestRunFault holds that after a fault of the service it is left open what
// was done: taking back looks, and finds nothing.
func TestRunFault(t *testing.T) {
	s, c := start(t)
	p, f := planned(t, c)
	s.alone(func() { s.hook = func(action string) { s.broken = action == "UpdateAssumeRolePolicy" } })
	if err := errors.Join(Run(t.Context(), c, p, f, nil), f.Close()); err != nil {
		t.Fatal(err)
	}
	if got := results(p); got != "role failed, association not done" {
		t.Errorf("results %s", got)
	}
	if back := reverted(t, c, f.Name); results(back) != "role gone" || !back.Complete() {
		t.Errorf("taken back: %s", results(back))
	}
}

// TestRunEnds holds that an interrupt and an undo file that cannot be written
// end a run before the next change.
func TestRunEnds(t *testing.T) {
	t.Run("interrupt", func(t *testing.T) {
		s, c := start(t)
		p, f := planned(t, c)
		ctx, stop := context.WithCancel(t.Context())
		err := Run(ctx, c, p, f, func(*Line) { stop() })
		if !errors.Is(err, context.Canceled) || results(p) != "role done, association not done" || len(s.associations) > 0 {
			t.Errorf("%v: %s", err, results(p))
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if back := reverted(t, c, f.Name); results(back) != "role done" {
			t.Errorf("taken back: %s", results(back))
		}
	})
	t.Run("undo file", func(t *testing.T) {
		s, c := start(t)
		old := s.trust
		p, f := planned(t, c)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := Run(t.Context(), c, p, f, nil); err == nil || results(p) != "role not done, association not done" {
			t.Errorf("%v: %s", err, results(p))
		}
		if s.trust != old || len(s.associations) > 0 {
			t.Error("something was changed that no undo file has")
		}
	})
}

// TestRevertKeeps holds that what somebody has changed since is not taken back.
func TestRevertKeeps(t *testing.T) {
	s, c := start(t)
	p, f := planned(t, c)
	if err := errors.Join(Run(t.Context(), c, p, f, nil), f.Close()); err != nil || results(p) != "role done, association done" {
		t.Fatalf("%v: %s", err, results(p))
	}
	mine := s.trust
	s.trust = trust.ForPods(account)
	s.associations["a-1"]["roleArn"] = roleARN + "-2"
	back := reverted(t, c, f.Name)
	if results(back) != "association left, role left" || back.Complete() || !errors.Is(back.Lines[0].Err, errChanged) || !errors.Is(back.Lines[1].Err, errChanged) {
		t.Errorf("taken back: %s", results(back))
	}
	s.trust, s.associations["a-1"]["roleArn"] = mine, roleARN
	if back := reverted(t, c, f.Name); results(back) != "association done, role done" {
		t.Errorf("taken back: %s", results(back))
	}
}

func TestRevertRefuses(t *testing.T) {
	_, c := start(t)
	write := func(h undofile.Head, change string, what any) string {
		f, err := undofile.Create(filepath.Join(t.TempDir(), "undo"), h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Intend(change, what); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return f.Name
	}
	for name, tc := range map[string]struct{ file, want string }{
		"no file":         {"none", "read undo file"},
		"another import":  {write(undofile.Head{Import: "eks", Account: account}, nameTrust, &trustChange{}), "is of podid import eks, not of podid import irsa"},
		"another account": {write(undofile.Head{Import: "irsa", Account: "444455556666"}, nameTrust, &trustChange{}), "is of account 444455556666, and you call as account 111122223333"},
		"unknown change":  {write(undofile.Head{Import: "irsa", Account: account}, "planet", &trustChange{}), `change 1: unknown kind "planet"`},
		"unknown member":  {write(undofile.Head{Import: "irsa", Account: account}, nameTrust, map[string]int{"x": 1}), "change 1: json: unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Revert(t.Context(), c, "irsa", tc.file, false, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
