// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package missed

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Annotations about restarts.
const (
	// RestartedAt is on the pod template of what was restarted: when, as in RFC 3339.
	RestartedAt = "podid.dev/restarted-at"
	// RestartMissed on an owner says "off" where it is not to be restarted.
	RestartMissed = "podid.dev/restart-missed"
)

// restartAgain is the least time between two restarts of one owner: where its
// new pods are missed too, restarts do not help.
const restartAgain = 6 * time.Hour

// ownerAgain is the least time between two looks at one owner.
const ownerAgain = time.Minute

// A Rate is one restart in so long a time; the zero Rate is none at all.
type Rate struct{ Every time.Duration }

// ParseRate reads off, or a number for a time: 10/h, 2/m, 1/30s.
func ParseRate(s string) (Rate, error) {
	if s == "off" {
		return Rate{}, nil
	}
	bad := fmt.Errorf("rate %.40q: want off or a number of restarts for a time, such as 10/h or 1/30s", s)
	count, unit, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > 3600 {
		return Rate{}, bad
	}
	if unit == "h" || unit == "m" || unit == "s" {
		unit = "1" + unit
	}
	d, err := time.ParseDuration(unit)
	if err != nil || d < time.Second || d > 24*time.Hour {
		return Rate{}, bad
	}
	return Rate{d / time.Duration(n)}, nil
}

// restartOwner makes a pod's owner replace its pods, if it can, its turn has
// come, and it was not done before.
func (f *Finder) restartOwner(ctx context.Context, p *pod) {
	switch p.owner.kind {
	case "Deployment", "StatefulSet", "DaemonSet":
	default:
		return
	}
	key, now := p.namespace+"/"+p.owner.kind+"/"+p.owner.name, f.cfg.Now()
	if f.restart.TokensAt(now) < 1 || now.Before(f.later[key]) {
		return
	}
	f.later[key] = now.Add(ownerAgain)
	log := f.cfg.Log.With(slog.String("namespace", p.namespace), slog.String("pod", p.name), slog.String("owner", p.owner.kind+"/"+p.owner.name))
	o, err := f.readOwner(ctx, p)
	if err != nil {
		f.cfg.Metrics.restarts.WithLabelValues("error").Inc()
		log.LogAttrs(ctx, slog.LevelWarn, "read the owner of a missed pod", slog.String("error", err.Error()))
		return
	}
	if o == nil || !f.mayRestart(o) || !f.restart.AllowN(now, 1) {
		return
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": o.GetResourceVersion()}, // as it was looked at
		"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
			"annotations": map[string]string{RestartedAt: now.UTC().Format(time.RFC3339)},
		}}},
	})
	if err == nil {
		err = f.cfg.Client.Patch(ctx, o, client.RawPatch("application/merge-patch+json", patch))
	}
	switch {
	case apierrors.IsConflict(err): // somebody changes it: the next look sees
	case err != nil:
		f.cfg.Metrics.restarts.WithLabelValues("error").Inc()
		log.LogAttrs(ctx, slog.LevelWarn, "restart the owner of a missed pod", slog.String("error", err.Error()))
	default:
		f.cfg.Metrics.restarts.WithLabelValues("restarted").Inc()
		log.LogAttrs(ctx, slog.LevelInfo, "restarted the owner of a missed pod")
	}
}

// readOwner returns nil for an owner that is gone, or is not what it seems.
func (f *Finder) readOwner(ctx context.Context, p *pod) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("apps/v1")
	o.SetKind(p.owner.kind)
	err := f.cfg.Client.Get(ctx, client.ObjectKey{Namespace: p.namespace, Name: p.owner.name}, o)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", p.owner.kind, p.owner.name, err)
	}
	return o, nil
}

// mayRestart says whether an owner is to be restarted now.
func (f *Finder) mayRestart(o *unstructured.Unstructured) bool {
	if o.GetDeletionTimestamp() != nil || o.GetAnnotations()[RestartMissed] == "off" {
		return false
	}
	annotations, _, err := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "annotations")
	if err != nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, annotations[RestartedAt])
	if err != nil {
		return annotations[RestartedAt] == ""
	}
	return f.cfg.Now().Sub(at) >= restartAgain
}
