// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package assocfeed follows the control plane's feed of associations, so that a changed or deleted association reaches
// the pods of this node within seconds and not at their next renewal.
//
// It owns one call of podid's own API that is always under way, and where in the feed the agent stands. It keeps no list
// of associations, and takes nobody's credentials away: it says whose are to be asked for anew. It refuses to guess: where
// the control plane does not know any more what changed, everything is renewed. Where the agent's role may not follow, or
// the endpoint is AWS', it says so once and asks again every ten minutes. In the flow it stands beside credcache.
package assocfeed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/pace"
)

const (
	// signingName is the service that podid's own API is signed for.
	signingName = "podid"
	// waitSeconds is how long the control plane may wait for changes, callTime what a call may take in all.
	waitSeconds = 20
	callTime    = 30 * time.Second
	// A failed call is made again after retryMin, doubling up to retryMax, plus up to half of that as jitter; one that
	// was refused after refusedPause.
	retryMin     = time.Second
	retryMax     = time.Minute
	refusedPause = 10 * time.Minute
	// calm is the longest pause after a change: all nodes of a cluster hear of it at once, and need not all ask again in
	// the same moment.
	calm           = time.Second
	maxAnswerBytes = 16 << 20
)

// Cache is what is told; credcache.Cache is one.
type Cache interface {
	// Changed renews what is kept of the service account's pods.
	Changed(namespace, serviceAccount string)
	// ChangedAll renews everything.
	ChangedAll()
}

// Position is a place in the feed; zero: none yet.
type Position struct {
	ClusterUID string
	Revision   int64
}

// Config of a Follower. All fields but Following, Now and Rand are required.
type Config struct {
	Endpoints       *eksauthclient.Endpoints
	Cluster, Region string
	Credentials     aws.CredentialsProvider
	HTTP            eksauthclient.Doer
	Cache           Cache
	Log             *slog.Logger
	// Following, when set, is told whether the last call was answered.
	Following func(bool)
	// Now is the clock of signatures; nil means time.Now. Rand spreads calls; nil: they are not spread.
	Now  func() time.Time
	Rand io.Reader
}

// Follower works while Run runs.
type Follower struct {
	cfg    Config
	signer *v4.Signer

	mu   sync.Mutex
	at   Position
	told bool // that the feed is refused
}

// New checks the configuration.
func New(cfg Config) (*Follower, error) {
	if cfg.Endpoints == nil || cfg.Cluster == "" || cfg.Region == "" || cfg.Credentials == nil || cfg.HTTP == nil || cfg.Cache == nil || cfg.Log == nil {
		return nil, errors.New("feed of associations: endpoints, cluster, region, credentials, HTTP client, cache and log are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Follower{cfg: cfg, signer: v4.NewSigner()}, nil
}

// Position is how far the cache has been told everything.
func (f *Follower) Position() Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

// Resume goes on where somebody else stopped, whose cache was taken over. It must be called before Run.
func (f *Follower) Resume(at Position) { f.move(at) }

func (f *Follower) move(to Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = to
}

// Run follows until ctx ends, whatever fails.
func (f *Follower) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		var pause time.Duration
		changed, err := f.next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			pause = f.failed(ctx, err, failures)
		default:
			failures = 0
			f.succeeded(ctx)
			if changed {
				pause = time.Duration(pace.Chance(f.cfg.Rand) * float64(calm))
			}
		}
		if !pace.Sleep(ctx, pause) {
			return nil
		}
	}
	return nil
}

type answerJSON struct {
	ClusterUID   string        `json:"clusterUid"`
	Revision     int64         `json:"revision"`
	Complete     bool          `json:"complete"`
	Associations []subjectJSON `json:"associations"`
	Deleted      []subjectJSON `json:"deleted"`
}

type subjectJSON struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
}

// next makes one call and tells the cache what it brings; whether that was anything is the answer.
func (f *Follower) next(ctx context.Context) (bool, error) {
	began := f.cfg.Now()
	n, base := f.cfg.Endpoints.Pick(began)
	at := f.Position()
	answer, err := f.call(ctx, base, at)
	if ctx.Err() == nil {
		f.cfg.Endpoints.Report(n, err == nil || !lost(err), f.cfg.Now())
	}
	if err != nil {
		return false, err
	}
	switch {
	case at.ClusterUID == "": // nothing was known before: what is cached has just been fetched
	case answer.Complete:
		f.cfg.Log.InfoContext(ctx, "the control plane does not know what has changed since: renewing everything")
		f.cfg.Cache.ChangedAll()
	}
	for _, list := range [][]subjectJSON{answer.Associations, answer.Deleted} {
		for _, s := range list {
			f.cfg.Cache.Changed(s.Namespace, s.ServiceAccount)
		}
	}
	f.move(Position{answer.ClusterUID, answer.Revision})
	changed := answer.Complete || len(answer.Associations)+len(answer.Deleted) > 0
	if !changed && f.cfg.Now().Sub(began) < time.Second {
		return true, nil // a replica that stops, or one that does not wait: no reason to hammer it
	}
	return changed, nil
}

func (f *Follower) call(ctx context.Context, base *url.URL, at Position) (answer answerJSON, err error) {
	creds, err := f.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return answer, &eksauthclient.IdentityError{Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	u := base.JoinPath("podid", "v1", "clusters", url.PathEscape(f.cfg.Cluster), "associations")
	q := url.Values{"only": {"changes"}}
	if at.ClusterUID != "" {
		q.Set("clusterUid", at.ClusterUID)
		q.Set("after", strconv.FormatInt(at.Revision, 10))
		q.Set("wait", strconv.Itoa(waitSeconds))
	}
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return answer, fmt.Errorf("build request: %w", err)
	}
	empty := sha256.Sum256(nil)
	if err := f.signer.SignHTTP(ctx, creds, req, hex.EncodeToString(empty[:]), signingName, f.cfg.Region, f.cfg.Now().UTC()); err != nil {
		return answer, fmt.Errorf("sign request: %w", err)
	}
	resp, err := f.cfg.HTTP.Do(req)
	if err != nil {
		return answer, err
	}
	answer, err = decode(resp)
	return answer, errors.Join(err, resp.Body.Close())
}

// decode reads an answer, or what it refuses.
func decode(resp *http.Response) (answer answerJSON, err error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return answer, fmt.Errorf("read answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		code, _, _ := strings.Cut(resp.Header.Get("X-Amzn-Errortype"), ":")
		return answer, &refusedError{status: resp.StatusCode, code: code}
	case len(text) > maxAnswerBytes:
		return answer, fmt.Errorf("the answer is larger than %d bytes", maxAnswerBytes)
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.ClusterUID == "" || answer.Revision < 0 {
		return answerJSON{}, errors.New("the answer is none of the feed")
	}
	return answer, nil
}

// refusedError is an answer that is no 200.
type refusedError struct {
	status int
	code   string
}

// Error names status and code.
func (e *refusedError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %.100s", e.status, e.code))
}

// lost: no answer, or an error of the server's own.
func lost(err error) bool {
	var refused *refusedError
	var identity *eksauthclient.IdentityError
	if errors.As(err, &refused) {
		return refused.status >= 500
	}
	return !errors.As(err, &identity)
}

// denied: the caller is known and may not, or there is no such operation. Other refusals are of its session.
func denied(err error) bool {
	var refused *refusedError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.status {
	case http.StatusForbidden:
		return strings.HasPrefix(refused.code, "AccessDenied")
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed:
		return true
	}
	return false
}

func (f *Follower) failed(ctx context.Context, err error, failures int) time.Duration {
	f.following(false)
	pause := min(retryMin<<min(failures-1, 10), retryMax)
	switch {
	case denied(err):
		pause = refusedPause
		if !f.told {
			f.told = true
			f.cfg.Log.WarnContext(ctx, "the feed of associations is not followed: what changes reaches pods at their next renewal; the agent's role needs podid:FollowAssociations on the cluster, and AWS has no such feed", slog.String("err", err.Error()))
		}
	case failures == 1:
		f.cfg.Log.InfoContext(ctx, "follow associations; trying again", slog.String("err", err.Error()))
	}
	var refused *refusedError
	if cache, ok := f.cfg.Credentials.(interface{ Invalidate() }); ok && errors.As(err, &refused) && refused.status/100 == 4 && !denied(err) && refused.status != http.StatusTooManyRequests {
		cache.Invalidate() // the session was refused: a restarted control plane, a rotated key
	}
	return pause + time.Duration(pace.Chance(f.cfg.Rand)*float64(pause)/2)
}

func (f *Follower) succeeded(ctx context.Context) {
	f.following(true)
	if f.told {
		f.told = false
		f.cfg.Log.InfoContext(ctx, "the feed of associations is followed")
	}
}

func (f *Follower) following(on bool) {
	if f.cfg.Following != nil {
		f.cfg.Following(on)
	}
}
