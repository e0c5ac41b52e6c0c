// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"podid/internal/association"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/issuer"
)

func TestRequest(t *testing.T) {
	tags := map[string]string{}
	for i, kv := range [][2]string{
		{"eks-cluster-arn", "arn:aws:eks:us-west-2:111122223333:cluster/c1"},
		{"eks-cluster-name", "c1"},
		{"kubernetes-namespace", "ns"},
		{"kubernetes-service-account", "sa"},
		{"kubernetes-pod-name", "pod"},
		{"kubernetes-pod-uid", "pod-uid"},
	} {
		n := fmt.Sprint(i + 1)
		tags["Tags.member."+n+".Key"], tags["Tags.member."+n+".Value"], tags["TransitiveTagKeys.member."+n] = kv[0], kv[1], kv[0]
	}
	with := func(base map[string]string, kv ...string) map[string]string {
		out := map[string]string{"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": roleARN, "RoleSessionName": "eks-c1-pod-1", "DurationSeconds": "21600"}
		for k, v := range base {
			out[k] = v
		}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i]] = kv[i+1]
		}
		return out
	}
	const workload = "us-west-2/111122223333/c1/ns/sa"
	for name, tc := range map[string]struct {
		change     func(*association.Association)
		externalID string
		want       []map[string]string
	}{
		"tags":                 {nil, "", []map[string]string{with(tags)}},
		"external id and tags": {nil, "acme", []map[string]string{with(tags, "ExternalId", "acme")}},
		"no tags":              {noTags, "acme", []map[string]string{with(nil, "ExternalId", workload)}},
		"session policy": {
			func(a *association.Association) { a.DisableSessionTags, a.Policy = true, `{"x":1}` }, "",
			[]map[string]string{with(nil, "ExternalId", workload, "Policy", `{"x":1}`)},
		},
		"target role": {func(a *association.Association) { a.TargetRoleARN = targetARN }, "", []map[string]string{
			with(tags, "DurationSeconds", "900"), with(nil, "RoleArn", targetARN, "DurationSeconds", "3540"),
		}},
		"target role, no tags": {
			func(a *association.Association) {
				a.TargetRoleARN, a.DisableSessionTags, a.Policy = targetARN, true, `{"x":1}`
			}, "",
			[]map[string]string{
				with(nil, "ExternalId", workload, "DurationSeconds", "900"),
				with(nil, "RoleArn", targetARN, "DurationSeconds", "3540", "ExternalId", workload, "Policy", `{"x":1}`),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.aws.ExternalID = tc.externalID
			w.choose()
			o := order(tc.change)
			out, err := w.issue(o)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range w.up.made("AssumeRole") {
				got = append(got, c.Encode())
			}
			var want []string
			for _, m := range tc.want {
				v := url.Values{}
				for k, s := range m {
					v.Set(k, s)
				}
				want = append(want, v.Encode())
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("calls\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if out.Credentials.SecretAccessKey.Reveal() != "very-secret" || out.Credentials.SessionToken.Reveal() != "very-secret-token" ||
				out.Session != nil || out.Role != nil || out.AssumedRoleARN != "arn:aws:sts::111122223333:assumed-role/app/eks-c1-pod-1" {
				t.Errorf("%+v", out)
			}
			if (len(out.Tags) == 6) == o.Association.DisableSessionTags {
				t.Errorf("tags %v", out.Tags)
			}
			if s := fmt.Sprintf("%+v %#v", out, out); strings.Contains(s, "very-secret") {
				t.Errorf("a secret can be printed: %s", s)
			}
		})
	}
}

// What each answer of an upstream is to an agent.
func TestFaults(t *testing.T) {
	xml := func(status int, code, message string) func(http.ResponseWriter, url.Values, int) bool {
		return func(w http.ResponseWriter, _ url.Values, _ int) bool { refuse(w, status, code, message); return true }
	}
	plain := func(status int, text string) func(http.ResponseWriter, url.Values, int) bool {
		return func(w http.ResponseWriter, _ url.Values, _ int) bool {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
			return true
		}
	}
	for name, tc := range map[string]struct {
		answer func(http.ResponseWriter, url.Values, int) bool
		kind   fault.Kind
		reason string
		wait   bool
		calls  int
	}{
		"denied":                {xml(403, "AccessDenied", "User: x is not authorized to perform: sts:AssumeRole"), fault.AccessDenied, "upstream-denied", false, 1},
		"may not tag":           {xml(403, "AccessDenied", "User: x is not authorized to perform: sts:TagSession"), fault.AccessDenied, "upstream-denied-tag-session", false, 1},
		"region disabled":       {xml(403, "RegionDisabledException", "no"), fault.AccessDenied, "upstream-region-disabled", false, 1},
		"throttled":             {xml(400, "Throttling", "Rate exceeded"), fault.Throttled, "upstream-throttled", true, 3},
		"unknown base key":      {xml(403, "InvalidClientTokenId", "no"), fault.Unavailable, "upstream-credentials", true, 1},
		"base session over":     {xml(403, "ExpiredToken", "no"), fault.Unavailable, "upstream-credentials", true, 1},
		"too large":             {xml(400, "PackedPolicyTooLarge", "no"), fault.PackedPolicyTooLarge, "upstream-packed-policy", false, 1},
		"malformed policy":      {xml(400, "MalformedPolicyDocument", "no"), fault.InvalidRequest, "upstream-refused", false, 1},
		"broken":                {xml(500, "InternalFailure", "no"), fault.Unavailable, "upstream-error", true, 3},
		"away behind a proxy":   {plain(503, "no upstream"), fault.Unavailable, "upstream-error", true, 3},
		"a web site":            {plain(200, "<html>welcome</html>"), fault.Unavailable, "upstream-answer", true, 1},
		"another web site":      {plain(404, "not found"), fault.Unavailable, "upstream-answer", true, 1},
		"another service":       {xml(400, "InvalidAction", "no"), fault.Unavailable, "upstream-answer", true, 1},
		"nothing in it":         {plain(200, "<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>"), fault.Unavailable, "upstream-answer", true, 1},
		"somewhere else please": {plain(302, ""), fault.Unavailable, "upstream-answer", true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.up.answer = tc.answer
			_, err := w.issue(order(nil))
			f := fault.As(err)
			if f.Kind != tc.kind || f.Reason != tc.reason || (f.RetryAfter > 0) != tc.wait || f.Message == "" {
				t.Errorf("%v %q, wait %s: %v", f.Kind, f.Reason, f.RetryAfter, err)
			}
			if n := len(w.up.made("AssumeRole")); n != tc.calls {
				t.Errorf("%d calls, want %d", n, tc.calls)
			}
			if strings.Contains(f.Message, w.up.URL) || strings.Contains(err.Error(), "base-secret") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestNoBaseCredentials(t *testing.T) {
	w := newWorld(t)
	for name, config := range map[string]func(context.Context, issuer.AWS) (aws.Config, error){
		"none in the configuration": func(context.Context, issuer.AWS) (aws.Config, error) { return aws.Config{}, nil },
		"no configuration":          func(context.Context, issuer.AWS) (aws.Config, error) { return aws.Config{}, errors.New("no profile") },
		"none to be had": func(context.Context, issuer.AWS) (aws.Config, error) {
			return aws.Config{Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, errors.New("no instance")
			})}, nil
		},
	} {
		w.Issuer.Config = config
		if _, err := w.issue(order(nil)); !fault.Is(err, fault.Unavailable) || fault.As(err).Reason != "upstream-credentials" {
			t.Errorf("%s: %v", name, err)
		}
		asked := order(nil)
		asked.DryRun = true
		if _, err := w.Issue(t.Context(), w.db.View(), asked, &exchange.Trace{}); fault.Is(err, fault.Unavailable) || fault.As(err).Reason != "upstream-credentials" {
			t.Errorf("%s, explained: %v", name, err)
		}
	}
	if len(w.up.made("AssumeRole")) != 0 {
		t.Error("the upstream was asked")
	}
}

func TestRolesOfOthers(t *testing.T) {
	w := newWorld(t)
	for _, role := range []string{targetARN, "", "arn:aws:iam::111122223333:user/x"} {
		_, err := w.issue(order(func(a *association.Association) { a.RoleARN = role }))
		if !fault.Is(err, fault.AccessDenied) || fault.As(err).Reason != "role-other-account" {
			t.Errorf("%q: %v", role, err)
		}
	}
	o := order(nil)
	o.Cluster.Account = "444455556666" // which has not chosen
	if _, err := w.issue(o); err == nil || fault.As(err).Reason != "issuer-other" {
		t.Error(err)
	}
}

// The longest life is found by asking once, and remembered.
func TestLifetimes(t *testing.T) {
	seconds := func(w *world) string {
		var out []string
		for _, c := range w.up.made("AssumeRole") {
			out = append(out, c.Get("DurationSeconds"))
		}
		return strings.Join(out, " ")
	}
	twice := func(w *world) {
		for range 2 {
			if _, err := w.issue(order(nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("role of an hour", func(t *testing.T) {
		w := newWorld(t)
		w.up.life = time.Hour
		twice(w)
		if got := seconds(w); got != "21600 14400 7200 3600 3600" {
			t.Error(got)
		}
		w.clock.move(2 * time.Hour)
		w.up.life = 12 * time.Hour
		twice(w)
		if got := seconds(w); got != "21600 14400 7200 3600 3600 21600 21600" {
			t.Error(got)
		}
	})
	t.Run("temporary base credentials", func(t *testing.T) {
		w := newWorld(t)
		w.base.SessionToken = "token"
		twice(w)
		if got := seconds(w); got != "3600 3600" {
			t.Error(got)
		}
	})
	t.Run("IAM knows", func(t *testing.T) {
		w := newWorld(t)
		w.up.trust, w.up.life = trustOf(`"AWS":"`+userARN+`"`, ""), 2*time.Hour
		if err := w.checkRole(t, order(nil)); err != nil {
			t.Fatal(err)
		}
		twice(w)
		if got := seconds(w); got != "7200 7200" {
			t.Error(got)
		}
	})
}

// The breaker opens after outages in a row, lets one call through after a
// pause, and closes when that succeeds.
func TestBreaker(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	away := true
	w.up.answer = func(rw http.ResponseWriter, _ url.Values, _ int) bool {
		mu.Lock()
		defer mu.Unlock()
		if away {
			refuse(rw, http.StatusForbidden, "InvalidClientTokenId", "no") // an outage that is not retried
		}
		return away
	}
	try := func() string {
		_, err := w.issue(order(nil))
		if err == nil {
			return ""
		}
		return fault.As(err).Reason
	}
	for range 5 {
		if got := try(); got != "upstream-credentials" {
			t.Fatal(got)
		}
	}
	for range 3 {
		if got := try(); got != "upstream-circuit-open" {
			t.Fatal(got)
		}
	}
	if n := len(w.up.made("AssumeRole")); n != 5 {
		t.Errorf("%d calls", n)
	}
	if got := w.metrics(); got != "calls upstream-circuit-open 3, calls upstream-credentials 5, open 1" {
		t.Errorf("metrics %s", got)
	}
	_, err := w.issue(order(nil))
	if f := fault.As(err); f.Kind != fault.Unavailable || f.RetryAfter != 2*time.Second {
		t.Errorf("%v, wait %s", f, f.RetryAfter)
	}
	w.clock.move(2 * time.Second)
	if got := try(); got != "upstream-credentials" {
		t.Error(got)
	}
	w.clock.move(3 * time.Second) // the pause is 4 s now
	if got := try(); got != "upstream-circuit-open" {
		t.Error(got)
	}
	mu.Lock()
	away = false
	mu.Unlock()
	w.clock.move(time.Second)
	for range 2 {
		if got := try(); got != "" {
			t.Error(got)
		}
	}
	if got := w.metrics(); got != "calls answered 2, calls upstream-circuit-open 5, calls upstream-credentials 6, open 0" {
		t.Errorf("metrics %s", got)
	}
}

// Refusals and throttling say that the upstream is there: nothing opens.
func TestBreakerIgnoresRefusals(t *testing.T) {
	w := newWorld(t)
	w.up.answer = func(rw http.ResponseWriter, _ url.Values, _ int) bool {
		refuse(rw, http.StatusForbidden, "AccessDenied", "no")
		return true
	}
	for range 20 {
		if _, err := w.issue(order(nil)); !fault.Is(err, fault.AccessDenied) {
			t.Fatal(err)
		}
	}
}

// All who wait for the same pod wait for one call, and it goes on when the
// first of them leaves.
func TestOneCallForAllWhoWait(t *testing.T) {
	w := newWorld(t)
	began, release := make(chan struct{}), make(chan struct{})
	start := sync.OnceFunc(func() { close(began) }) // a call after the first has ended is one of its own
	w.up.answer = func(_ http.ResponseWriter, f url.Values, _ int) bool {
		if f.Get("Action") == "AssumeRole" {
			start()
			<-release
		}
		return false
	}
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := w.Issue(ctx, w.db.View(), order(nil), nil)
		first <- err
	}()
	<-began
	leave()
	if err := <-first; !fault.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	out := make(chan error, 10)
	for range cap(out) {
		go func() {
			_, err := w.issue(order(nil))
			out <- err
		}()
	}
	close(release)
	for range cap(out) {
		if err := <-out; err != nil {
			t.Error(err)
		}
	}
	// Those that came after the end of the first call made at most one more.
	if n := len(w.up.made("AssumeRole")); n < 1 || n > 10 {
		t.Errorf("%d calls", n)
	}
}

func TestSharedSessions(t *testing.T) {
	w := newWorld(t)
	key := func(o *exchange.Order) string {
		t.Helper()
		out, err := w.issue(o)
		if err != nil {
			t.Fatal(err)
		}
		return out.Credentials.AccessKeyID
	}
	other := order(noTags)
	other.Pod.UID = "another"
	first := key(order(noTags))
	if got := key(other); got != first {
		t.Errorf("another pod has a session of its own")
	}
	w.clock.move(3*time.Hour - time.Second)
	if got := key(other); got != first {
		t.Error("the session is given up before half of its life")
	}
	w.clock.move(time.Second)
	second := key(other)
	if second == first {
		t.Error("the session is given out beyond half of its life")
	}
	if got := key(order(func(a *association.Association) { noTags(a); a.Modified = w.clock.now() })); got == second {
		t.Error("a changed association keeps its session")
	}
	if got := key(order(func(a *association.Association) { noTags(a); a.ID = "a-2" })); got == second {
		t.Error("another association shares the session")
	}
	w.up.answer = func(rw http.ResponseWriter, _ url.Values, _ int) bool {
		refuse(rw, http.StatusForbidden, "InvalidClientTokenId", "no")
		return true
	}
	w.clock.move(4 * time.Hour)
	if got := key(other); got != second {
		t.Error("while the upstream is away, a good session is not given out")
	}
	w.clock.move(2 * time.Hour)
	if _, err := w.issue(other); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a session that is over: %v", err)
	}
	// A refusal is an answer: the old session is not given out against it.
	w.clock.move(time.Minute)
	w.up.answer = nil
	key(other)
	w.clock.move(4 * time.Hour)
	w.up.answer = func(rw http.ResponseWriter, _ url.Values, _ int) bool {
		refuse(rw, http.StatusForbidden, "AccessDenied", "no")
		return true
	}
	if _, err := w.issue(other); !fault.Is(err, fault.AccessDenied) {
		t.Errorf("after a refusal: %v", err)
	}
}

// An upstream whose clock is off is met with its own time.
func TestClockOff(t *testing.T) {
	w := newWorld(t)
	w.up.skew = 30 * time.Minute
	if _, err := w.issue(order(nil)); err != nil {
		t.Error(err)
	}
}

// Requests beyond the limit wait for their turn, and those whose turn does not
// come in time are throttled here.
func TestLimit(t *testing.T) {
	w := newWorld(t)
	w.aws.Rate = 1
	w.choose()
	errs := make(chan error, 12)
	for i := range cap(errs) {
		go func() {
			o := order(nil)
			o.Pod.UID = fmt.Sprint(i)
			_, err := w.issue(o)
			errs <- err
		}()
	}
	good, throttled := 0, 0
	for range cap(errs) {
		switch err := <-errs; {
		case err == nil:
			good++
		case fault.Is(err, fault.Throttled) && fault.As(err).Reason == "upstream-limit":
			throttled++
		default:
			t.Error(err)
		}
	}
	if n := len(w.up.made("AssumeRole")); good < 1 || good > 6 || good+throttled != cap(errs) || n != good {
		t.Errorf("%d issued, %d throttled, %d calls", good, throttled, n)
	}
}
