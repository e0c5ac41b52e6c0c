// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/issuer"
	"podid/internal/issuer/awssts"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	roleARN   = "arn:aws:iam::111122223333:role/app"
	targetARN = "arn:aws:iam::444455556666:role/target"
	userARN   = "arn:aws:iam::111122223333:user/base"
)

// fakeSTS answers as an STS and an IAM do, the way that a test wants it.
type fakeSTS struct {
	*httptest.Server
	mu    sync.Mutex
	calls []url.Values
	// answer may write an answer of its own, and then says true.
	answer func(w http.ResponseWriter, form url.Values, n int) bool
	life   time.Duration // longest of a role; 0 is any
	skew   time.Duration // of its clock
	trust  string        // of GetRole; "" denies GetRole
	now    func() time.Time
}

func newFake(t testing.TB, now func() time.Time) *fakeSTS {
	t.Helper()
	f := &fakeSTS{now: now}
	f.Server = httptest.NewTLSServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeSTS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.calls = append(f.calls, r.PostForm)
	n, answer := len(f.calls), f.answer
	f.mu.Unlock()
	if f.skew != 0 {
		server := time.Now().Add(f.skew)
		w.Header().Set("Date", server.UTC().Format(http.TimeFormat))
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil || server.Sub(at).Abs() > 5*time.Minute {
			refuse(w, http.StatusForbidden, "SignatureDoesNotMatch", "Signature expired")
			return
		}
	}
	if answer != nil && answer(w, r.PostForm, n) {
		return
	}
	f.serve(w, r.PostForm)
}

func (f *fakeSTS) serve(w http.ResponseWriter, form url.Values) {
	switch action := form.Get("Action"); action {
	case "GetCallerIdentity":
		fmt.Fprintf(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>%s</Arn><UserId>AIDAEXAMPLE</UserId><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, userARN)
	case "GetRole":
		if f.trust == "" {
			refuse(w, http.StatusForbidden, "AccessDenied", "no")
			return
		}
		fmt.Fprintf(w, `<GetRoleResponse><GetRoleResult><Role><Path>/</Path><RoleName>%[1]s</RoleName><RoleId>AROAEXAMPLE</RoleId><Arn>arn:aws:iam::111122223333:role/%[1]s</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate><AssumeRolePolicyDocument>%[2]s</AssumeRolePolicyDocument><MaxSessionDuration>7200</MaxSessionDuration></Role></GetRoleResult></GetRoleResponse>`,
			form.Get("RoleName"), url.QueryEscape(f.trust))
	case "AssumeRole":
		seconds, _ := strconv.Atoi(form.Get("DurationSeconds"))
		if life := time.Duration(seconds) * time.Second; f.life > 0 && life > f.life {
			refuse(w, http.StatusBadRequest, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
			return
		}
		f.mu.Lock()
		n := len(f.calls)
		f.mu.Unlock()
		fmt.Fprintf(w, `<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser><Arn>%s/%s</Arn><AssumedRoleId>AROAEXAMPLE:x</AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>ASIA%d</AccessKeyId><SecretAccessKey>very-secret</SecretAccessKey><SessionToken>very-secret-token</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
			"arn:aws:sts::111122223333:assumed-role/app", form.Get("RoleSessionName"), n, f.now().Add(time.Duration(seconds)*time.Second).UTC().Format(time.RFC3339))
	default:
		refuse(w, http.StatusBadRequest, "InvalidAction", "Could not find operation "+action)
	}
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>`, code, message)
}

// made returns the calls of an action.
func (f *fakeSTS) made(action string) []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []url.Values
	for _, c := range f.calls {
		if c.Get("Action") == action {
			out = append(out, c)
		}
	}
	return out
}

func (f *fakeSTS) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}))
}

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// world is an account whose issuer is a fake.
type world struct {
	*awssts.Issuer
	t     testing.TB
	up    *fakeSTS
	db    *storetest.Memory
	clock *clock
	aws   issuer.AWS
	base  aws.Credentials
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, db: storetest.NewMemory(store.NewSchema(issuer.Choices)), clock: &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)},
		base: aws.Credentials{AccessKeyID: "AKIABASE", SecretAccessKey: "base-secret"},
	}
	w.up = newFake(t, w.clock.now)
	w.Issuer = &awssts.Issuer{
		Log: slog.New(slog.DiscardHandler), Now: w.clock.now,
		Config: func(_ context.Context, a issuer.AWS) (aws.Config, error) {
			return aws.Config{Region: a.Region, Credentials: aws.NewCredentialsCache(credentials.StaticCredentialsProvider{Value: w.base})}, nil
		},
	}
	t.Cleanup(w.Close)
	w.aws = issuer.AWS{STSEndpoint: w.up.URL, Region: "us-west-2", CA: w.up.ca()}
	w.choose()
	return w
}

// metrics are those of the one upstream, as a scrape finds them.
func (w *world) metrics() string {
	w.t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(w.Issuer); err != nil {
		w.t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			line := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(f.GetName(), "podid_issuer_"), "circuit_"), "_total")
			for _, l := range m.GetLabel() {
				if l.GetName() == "upstream" && l.GetValue() != w.up.URL {
					w.t.Errorf("upstream %s", l.GetValue())
				}
				if l.GetName() == "result" {
					line += " " + l.GetValue()
				}
			}
			out = append(out, fmt.Sprintf("%s %g", line, m.GetGauge().GetValue()+m.GetCounter().GetValue()))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// choose stores the settings.
func (w *world) choose() {
	w.t.Helper()
	err := w.db.Update(w.t.Context(), func(tx *store.Tx) error {
		issuer.Choices.Put(tx, store.Scope{Account: "111122223333", Region: store.Global}, "choice", &issuer.Choice{Kind: issuer.AWSSTS, AWS: w.aws, Modified: w.clock.now()})
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// order is that of the textbook's pod. change may be nil.
func order(change func(*association.Association)) *exchange.Order {
	a := &association.Association{ID: "a-1", Namespace: "ns", ServiceAccount: "sa", RoleARN: roleARN}
	if change != nil {
		change(a)
	}
	return &exchange.Order{
		Cluster:     &cluster.Cluster{UID: "uid", Partition: "aws", Account: "111122223333", Region: "us-west-2", Name: "c1"},
		Association: a, SessionName: "eks-c1-pod-1", Pod: exchange.Pod{Namespace: "ns", ServiceAccount: "sa", Name: "pod", UID: "pod-uid"},
	}
}

func (w *world) issue(o *exchange.Order) (*exchange.Issued, error) {
	return w.Issue(w.t.Context(), w.db.View(), o, nil)
}

func noTags(a *association.Association) { a.DisableSessionTags = true }
