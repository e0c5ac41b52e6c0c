// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package missed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reason is that of the Events.
const Reason = "NotInjected"

// event tells a pod; false means that it has to be tried again. The Event's
// name follows from the pod and the turn, so that two leaders tell it once.
func (f *Finder) event(ctx context.Context, p *pod, turn int, excluded bool) bool {
	id, _, _ := f.cfg.Feed.Known(p.namespace, p.account)
	now := metav1.NewTime(f.cfg.Now())
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", p.uid, turn))
	name := p.name
	if len(name) > 200 {
		name = strings.TrimRight(name[:200], ".-")
	}
	err := f.cfg.Client.Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: p.namespace, Name: name + "." + hex.EncodeToString(sum[:8])},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.namespace, Name: p.name, UID: p.uid},
		Type:           corev1.EventTypeWarning, Reason: Reason, Message: message(p, id, excluded),
		Source: corev1.EventSource{Component: "podid-operator"}, ReportingController: "podid-operator",
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	})
	switch {
	case err == nil:
		f.cfg.Metrics.told.Inc()
		return true
	case apierrors.IsAlreadyExists(err):
		return true
	case apierrors.IsForbidden(err) || apierrors.IsNotFound(err): // the namespace is going
		f.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "tell a missed pod", slog.String("namespace", p.namespace), slog.String("pod", p.name), slog.String("error", err.Error()))
		return true
	}
	f.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "tell a missed pod", slog.String("namespace", p.namespace), slog.String("pod", p.name), slog.String("error", err.Error()))
	return false
}

func message(p *pod, id string, excluded bool) string {
	begin := fmt.Sprintf("The service account %s has the pod identity association %s, and this pod was made without what it takes to use it: ", p.account, id)
	if excluded {
		return begin + "the webhook is not asked about pods of this namespace. Take the label podid.dev/injection=disabled off, or use another namespace, and make the pod anew."
	}
	return begin + "the association is newer than the pod, or the webhook was away. Make the pod anew: " + advice(p)
}

// advice is the command that makes a pod anew.
func advice(p *pod) string {
	switch p.owner.kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		return fmt.Sprintf("kubectl -n %s rollout restart %s/%s", p.namespace, strings.ToLower(p.owner.kind), p.owner.name)
	case "":
		return fmt.Sprintf("nothing owns it, so apply its manifest again after kubectl -n %s delete pod %s", p.namespace, p.name)
	}
	return fmt.Sprintf("kubectl -n %s delete pod %s, and the %s %s replaces it where it does that", p.namespace, p.name, p.owner.kind, p.owner.name)
}
