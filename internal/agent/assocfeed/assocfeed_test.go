// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package assocfeed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"podid/internal/agent/eksauthclient"
)

type step func(ctx context.Context) (status int, code, body string, err error)

// control is a control plane that answers step by step, then hangs.
type control struct {
	mu      sync.Mutex
	asked   []string
	headers http.Header
	steps   []step
}

func (c *control) Do(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.asked = append(c.asked, req.URL.Host+" "+req.URL.RequestURI())
	c.headers = req.Header
	next := func(ctx context.Context) (int, string, string, error) {
		<-ctx.Done()
		return 0, "", "", ctx.Err()
	}
	if len(c.steps) > 0 {
		next, c.steps = c.steps[0], c.steps[1:]
	}
	c.mu.Unlock()
	status, code, body, err := next(req.Context())
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{"X-Amzn-Errortype": {code}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func says(body string, after time.Duration) step {
	return func(context.Context) (int, string, string, error) { time.Sleep(after); return 200, "", body, nil }
}

func refuses(status int, code string) step {
	return func(context.Context) (int, string, string, error) { return status, code, `{}`, nil }
}

type told struct {
	mu   sync.Mutex
	list []string
}

func (c *told) add(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, s)
}
func (c *told) Changed(ns, sa string) { c.add(ns + "/" + sa) }
func (c *told) ChangedAll()           { c.add("all") }

type identity struct {
	err         error
	invalidated int
}

func (i *identity) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "ASIANODE", SecretAccessKey: "secret", SessionToken: "session"}, i.err
}
func (i *identity) Invalidate() { i.invalidated++ }

type bed struct {
	*control
	*Follower
	told     *told
	identity *identity
	log      strings.Builder
	on       []bool
	stop     func()
}

func start(t *testing.T, from Position, steps ...step) *bed {
	t.Helper()
	return startAs(t, &identity{}, from, steps...)
}

func startAs(t *testing.T, as *identity, from Position, steps ...step) *bed {
	t.Helper()
	endpoints, err := eksauthclient.ParseEndpoints("https://a:8443/x,https://b", false)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{control: &control{steps: steps}, told: &told{}, identity: as}
	b.Follower, err = New(Config{
		Endpoints: endpoints, Cluster: "my-cluster", Region: "eu-west-1", Credentials: b.identity, HTTP: b.control, Cache: b.told,
		Log: slog.New(slog.NewTextHandler(&b.log, nil)), Following: func(on bool) { b.on = append(b.on, on) },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Resume(from)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return b
}

const path = "/x/podid/v1/clusters/my-cluster/associations?"

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Position{},
			says(`{"clusterUid":"u","revision":7,"complete":true,"associations":[]}`, 0),
			says(`{"clusterUid":"u","revision":9,"complete":false,"associations":[{"namespace":"ns","serviceAccount":"sa"}],"deleted":[{"namespace":"ns","serviceAccount":"old"}]}`, 3*time.Second),
			says(`{"clusterUid":"u","revision":12,"complete":false,"associations":null}`, 20*time.Second),
			says(`{"clusterUid":"v","revision":3,"complete":true}`, time.Second),
		)
		defer b.stop()
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if d := cmp.Diff([]string{"ns/sa", "ns/old", "all"}, b.told.list); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{
			"a:8443 " + path + "only=changes",
			"a:8443 " + path + "after=7&clusterUid=u&only=changes&wait=20",
			"a:8443 " + path + "after=9&clusterUid=u&only=changes&wait=20",
			"a:8443 " + path + "after=12&clusterUid=u&only=changes&wait=20",
			"a:8443 " + path + "after=3&clusterUid=v&only=changes&wait=20",
		}, b.asked); d != "" {
			t.Error(d)
		}
		if b.Position() != (Position{"v", 3}) {
			t.Errorf("at %v", b.Position())
		}
		if auth := b.headers.Get("Authorization"); !strings.Contains(auth, "/eu-west-1/podid/aws4_request") {
			t.Errorf("signed %s", auth)
		}
	})
}

// TestResume: a cache that was taken over is told what happened in between, even if nobody knows what.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Position{"u", 5}, says(`{"clusterUid":"u","revision":7,"complete":true}`, 0))
		defer b.stop()
		synctest.Wait()
		if d := cmp.Diff([]string{"all"}, b.told.list); d != "" || !strings.Contains(b.asked[0], "after=5") {
			t.Error(d, b.asked)
		}
	})
}

func TestDenied(t *testing.T) {
	for name, no := range map[string]step{"denied": refuses(403, "AccessDeniedException:http://x"), "AWS": refuses(404, "UnknownOperationException")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, Position{}, no, no, says(`{"clusterUid":"u","revision":7,"complete":true}`, 0))
				defer b.stop()
				time.Sleep(2*refusedPause + time.Second)
				synctest.Wait()
				if len(b.asked) != 4 || strings.Count(b.log.String(), "is not followed") != 1 || !strings.Contains(b.log.String(), "is followed") {
					t.Errorf("%d calls; log: %s", len(b.asked), b.log.String())
				}
				if d := cmp.Diff([]bool{false, false, true}, b.on); d != "" || b.identity.invalidated != 0 {
					t.Error(d, b.identity.invalidated)
				}
			})
		})
	}
}

// TestOutage: the place is kept, the other endpoint is asked, and nothing is renewed.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := func(context.Context) (int, string, string, error) { return 0, "", "", errors.New("refused") }
		b := start(t, Position{"u", 5}, lost, refuses(500, ""), says("garbage", 0), says(`{"revision":1}`, 0), refuses(403, "ExpiredTokenException"),
			says(`{"clusterUid":"u","revision":6,"complete":false,"associations":[{"namespace":"n","serviceAccount":"s"}]}`, 0))
		defer b.stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if d := cmp.Diff([]string{"n/s"}, b.told.list); d != "" || b.identity.invalidated != 1 {
			t.Error(d, b.identity.invalidated)
		}
		if !slices.ContainsFunc(b.asked, func(s string) bool { return strings.HasPrefix(s, "b ") }) {
			t.Errorf("the other endpoint was not asked: %v", b.asked)
		}
		for _, a := range b.asked[:6] {
			if !strings.Contains(a, "after=5") {
				t.Errorf("asked %s", a)
			}
		}
	})
}

func TestNoIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAs(t, &identity{err: errors.New("no")}, Position{})
		defer b.stop()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(b.asked) > 1 {
			t.Errorf("asked %v", b.asked)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("no error")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(200, `{"clusterUid":"u","revision":7,"complete":true,"associations":[{"namespace":"a"}]}`)
	f.Add(200, `{"clusterUid":"u","revision":-7}`)
	f.Add(403, ``)
	f.Fuzz(func(t *testing.T, status int, body string) {
		a, err := decode(&http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))})
		if err == nil && (status != 200 || a.ClusterUID == "" || a.Revision < 0) {
			t.Error(fmt.Sprint(status, a))
		}
	})
}
