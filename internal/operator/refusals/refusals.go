// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package refusals tells pods, by Events, what EKS Auth has refused to them. It
// follows the control plane's feed of refusals of this cluster and owns the
// words: the reason's code, the association, the statement and the condition
// key that it hung on, and what to look at. It knows no value of a policy or a
// request, and so shows none. One Event stands for a pod and a reason, and
// counts; it is told a few times a second at most. It runs on the leader only.
//
// It needs of the API server: create and patch of events.
package refusals

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Reason is that of the Events.
const Reason = "CredentialsRefused"

const (
	poll       = 20 * time.Second // how long the control plane is asked to wait
	pollLimit  = 45 * time.Second
	perSecond  = 5 // Events
	burst      = 20
	retryFirst = time.Second
	retryMost  = 30 * time.Second
)

// Caller calls the control plane; a podidclient.Client is one.
type Caller interface {
	Call(ctx context.Context, method, path string, in, out any) error
}

// Config is what a Teller is made of. All fields but Now are required.
type Config struct {
	Cluster string
	Caller  Caller
	Client  client.Client
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Metrics of this room.
type Metrics struct {
	events *prometheus.CounterVec
	last   prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "podid_operator_refusal_events_total", Help: "Events about pods that were refused credentials, by the reason's code."}, []string{"reason"}),
		last:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "podid_operator_refusals_last_success_timestamp_seconds", Help: "When the control plane was asked for refusals last and answered."}),
	}
	return m, errors.Join(r.Register(m.events), r.Register(m.last))
}

// Teller tells pods.
type Teller struct {
	cfg   Config
	limit *rate.Limiter

	clusterUID string
	revision   int64
}

// New makes a Teller.
func New(cfg Config) *Teller {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Teller{cfg: cfg, limit: rate.NewLimiter(perSecond, burst)}
}

// NeedLeaderElection says that one replica is enough.
func (*Teller) NeedLeaderElection() bool { return true }

// Start follows until ctx ends. The same failure is logged once.
func (t *Teller) Start(ctx context.Context) error {
	retry, last := retryFirst, ""
	for ctx.Err() == nil {
		err := t.Step(ctx, poll)
		if err == nil {
			retry, last = retryFirst, ""
			continue // the control plane waits for what is new
		}
		if ctx.Err() != nil {
			break
		}
		if text := err.Error(); text != last {
			t.cfg.Log.WarnContext(ctx, "refusals of the cluster's pods are not told: trying again", "err", err)
			last = text
		}
		var api smithy.APIError
		if errors.As(err, &api) && api.ErrorFault() == smithy.FaultClient {
			retry = retryMost // it is a matter of rights
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		retry = min(2*retry, retryMost)
	}
	return nil
}

// refusal is what the control plane tells of one.
type refusal struct {
	Namespace      string  `json:"namespace"`
	Pod            string  `json:"pod"`
	PodUID         string  `json:"podUid"`
	ServiceAccount string  `json:"serviceAccount"`
	Reason         string  `json:"reason"`
	AssociationID  string  `json:"associationId"`
	ConditionKey   string  `json:"conditionKey"`
	Sid            string  `json:"sid"`
	RequestID      string  `json:"requestId"`
	FirstSeen      float64 `json:"firstSeen"` // epoch seconds
	LastSeen       float64 `json:"lastSeen"`
	Count          int64   `json:"count"`
}

// Step asks once and tells what came. What could not be told is asked for
// again.
func (t *Teller) Step(ctx context.Context, wait time.Duration) error {
	query := url.Values{}
	if t.clusterUID != "" {
		query.Set("clusterUid", t.clusterUID)
		query.Set("after", strconv.FormatInt(t.revision, 10))
		query.Set("wait", strconv.Itoa(int(wait/time.Second)))
	}
	var out struct {
		ClusterUID string    `json:"clusterUid"`
		Revision   int64     `json:"revision"`
		Refusals   []refusal `json:"refusals"`
	}
	asking, cancel := context.WithTimeout(ctx, pollLimit)
	err := t.cfg.Caller.Call(asking, http.MethodGet, "/podid/v1/clusters/"+url.PathEscape(t.cfg.Cluster)+"/refusals?"+query.Encode(), nil, &out)
	cancel()
	if err != nil {
		return fmt.Errorf("ask the control plane for refusals: %w", err)
	}
	if out.ClusterUID == "" {
		return errors.New("ask the control plane for refusals: the answer names no cluster")
	}
	t.cfg.Metrics.last.Set(float64(t.cfg.Now().Unix()))
	for i := range out.Refusals {
		if err := t.tell(ctx, &out.Refusals[i]); err != nil {
			return err
		}
	}
	t.clusterUID, t.revision = out.ClusterUID, out.Revision
	return nil
}

// tell makes the pod's Event, or makes the one that there is count. Its name
// follows from what it is about, so that it is told once whoever leads.
func (t *Teller) tell(ctx context.Context, r *refusal) error {
	if r.Namespace == "" || r.Pod == "" || r.PodUID == "" {
		return nil
	}
	if err := t.limit.Wait(ctx); err != nil {
		return fmt.Errorf("wait to tell a pod: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%.3f", r.PodUID, r.Reason, r.FirstSeen))
	name := r.Pod
	if len(name) > 200 {
		name = strings.TrimRight(name[:200], ".-")
	}
	last := metav1.NewTime(seconds(r.LastSeen))
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: r.Namespace, Name: name + "." + hex.EncodeToString(sum[:8])},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: r.Namespace, Name: r.Pod, UID: types.UID(r.PodUID)},
		Type:           corev1.EventTypeWarning, Reason: Reason, Message: message(r), Count: count(r.Count),
		Source: corev1.EventSource{Component: "podid-operator"}, ReportingController: "podid-operator",
		FirstTimestamp: metav1.NewTime(seconds(r.FirstSeen)), LastTimestamp: last,
	}
	err := t.cfg.Client.Create(ctx, event)
	if apierrors.IsAlreadyExists(err) {
		var patch []byte
		if patch, err = json.Marshal(map[string]any{"count": event.Count, "lastTimestamp": last, "message": event.Message}); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
		err = t.cfg.Client.Patch(ctx, event, client.RawPatch(types.MergePatchType, patch))
	}
	switch {
	case err == nil:
		t.cfg.Metrics.events.WithLabelValues(r.Reason).Inc()
		return nil
	case apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsInvalid(err): // the namespace is going, or no such pod can be
		t.cfg.Log.DebugContext(ctx, "tell a refused pod", "namespace", r.Namespace, "pod", r.Pod, "err", err)
		return nil
	}
	return fmt.Errorf("tell pod %s/%s: %w", r.Namespace, r.Pod, err)
}

func seconds(s float64) time.Time { return time.UnixMilli(int64(s * 1000)) }

func count(n int64) int32 { return int32(min(max(n, 1), 1<<30)) } //nolint:gosec // bounded
