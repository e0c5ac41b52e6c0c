// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/api/v1alpha1"
)

// create makes the association. The finalizer comes first: what was made is
// never forgotten.
func (r *Reconciler) create(ctx context.Context, t *task) *setback {
	if err := r.finalizer(ctx, t, true); err != nil {
		return retrying(err)
	}
	s := &t.o.Spec
	out, err := r.EKS.CreatePodIdentityAssociation(ctx, &eks.CreatePodIdentityAssociationInput{
		ClusterName: &r.Cluster, Namespace: &t.o.Namespace, ServiceAccount: &s.ServiceAccount, RoleArn: aws.String(string(s.RoleARN)),
		TargetRoleArn: optional(string(s.TargetRoleARN)), Policy: optional(s.Policy), DisableSessionTags: optional(s.DisableSessionTags), Tags: wantedTags(t.o),
	})
	if err != nil {
		return asSetback(err)
	}
	if out.Association == nil {
		return retrying(errors.New("the control plane has answered a creation with nothing"))
	}
	t.live = out.Association
	t.live.Tags = wantedTags(t.o)
	r.describeStatus(t)
	t.o.Status.TagKeys = slices.Sorted(maps.Keys(s.Tags))
	r.changed(ctx, t, corev1.EventTypeNormal, "Created", "Created the association %s.", t.o.Status.AssociationID)
	return nil
}

func optional[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

// wantedTags are those of the object and those that say whose it is.
func wantedTags(o *v1alpha1.PodIdentityAssociation) map[string]string {
	tags := map[string]string{OwnerTag: string(o.UID), ObjectTag: o.Name}
	for k, v := range o.Spec.Tags {
		tags[k] = string(v)
	}
	return tags
}

// changed counts and tells a change.
func (r *Reconciler) changed(ctx context.Context, t *task, kind, change, note string, args ...any) {
	r.Metrics.changes.WithLabelValues(change).Inc()
	r.events.Eventf(t.o, nil, kind, change, "Reconcile", note, args...)
	r.Log.LogAttrs(ctx, slog.LevelInfo, "association "+change, slog.String("namespace", t.o.Namespace), slog.String("name", t.o.Name),
		slog.String("service_account", t.o.Spec.ServiceAccount), slog.String("association_id", aws.ToString(t.live.AssociationId)))
}

// owned says whether the live association is the object's. One that belongs
// to an object that is gone, and was for the same service account, is taken
// over: this operator made it.
func (r *Reconciler) owned(ctx context.Context, t *task) (bool, *setback) {
	id, owner := aws.ToString(t.live.AssociationId), t.live.Tags[OwnerTag]
	switch {
	case owner == string(t.o.UID):
		return true, r.keep(ctx, t)
	case aws.ToString(t.live.OwnerArn) != "":
		return false, r.letGo(ctx, t, conflict("The association %s of this service account is owned by the add-on %s.", id, aws.ToString(t.live.OwnerArn)))
	case owner == "" && t.say.allowed && !t.say.adoption:
		return false, r.letGo(ctx, t, conflict("The association %s of this service account was not made by this operator. A PodIdentityRolePolicy with allowAdoption lets the object take it over.", id))
	case owner == "":
		return false, nil
	}
	var list v1alpha1.PodIdentityAssociationList
	if err := r.live.List(ctx, &list, client.InNamespace(t.o.Namespace)); err != nil {
		return false, retrying(fmt.Errorf("look for the association's owner: %w", err))
	}
	for i := range list.Items {
		if other := &list.Items[i]; string(other.UID) == owner {
			return false, r.letGo(ctx, t, conflict("The association %s of this service account belongs to the object %s.", id, other.Name))
		}
	}
	return false, nil
}

func conflict(format string, args ...any) *setback {
	return &setback{status: metav1.ConditionFalse, reason: reasonConflict, message: fmt.Sprintf(format, args...), retry: retrySlow}
}

// keep has the finalizer on an object that has an association: somebody may
// have taken it off.
func (r *Reconciler) keep(ctx context.Context, t *task) *setback {
	if err := r.finalizer(ctx, t, true); err != nil {
		return retrying(err)
	}
	return nil
}

// adopt makes an association the object's that was not. What was another
// object's before stays what it was: created or adopted.
func (r *Reconciler) adopt(ctx context.Context, t *task) *setback {
	if back := r.keep(ctx, t); back != nil {
		return back
	}
	tags := map[string]string{OwnerTag: string(t.o.UID), ObjectTag: t.o.Name}
	if t.live.Tags[OwnerTag] == "" {
		tags[AdoptedTag] = AdoptedAsIs
	}
	if back := r.tag(ctx, t, tags); back != nil {
		return back
	}
	r.describeStatus(t)
	r.changed(ctx, t, corev1.EventTypeNormal, "Adopted", "Adopted the association %s, which was bound to %s.", t.o.Status.AssociationID, aws.ToString(t.live.RoleArn))
	return nil
}

// tag sets tags, at the control plane and in what is known of it.
func (r *Reconciler) tag(ctx context.Context, t *task, tags map[string]string) *setback {
	if _, err := r.EKS.TagResource(ctx, &eks.TagResourceInput{ResourceArn: t.live.AssociationArn, Tags: tags}); err != nil {
		return asSetback(err)
	}
	t.live.Tags = maps.Clone(t.live.Tags)
	if t.live.Tags == nil {
		t.live.Tags = map[string]string{}
	}
	maps.Copy(t.live.Tags, tags)
	return nil
}

func (r *Reconciler) untag(ctx context.Context, t *task, keys []string) *setback {
	if _, err := r.EKS.UntagResource(ctx, &eks.UntagResourceInput{ResourceArn: t.live.AssociationArn, TagKeys: keys}); err != nil {
		return asSetback(err)
	}
	return nil
}

// repair makes the live association what the object asks for.
func (r *Reconciler) repair(ctx context.Context, t *task) *setback {
	if back := r.repairTags(ctx, t); back != nil {
		return back
	}
	in := differences(&t.o.Spec, t.live)
	if in == nil {
		r.describeStatus(t)
		return nil
	}
	if r.tooSoon(t) {
		return &setback{status: metav1.ConditionUnknown, reason: reasonRetrying, message: "The association was changed again right after it was repaired."}
	}
	if t.live.Tags[AdoptedTag] == AdoptedAsIs {
		if back := r.tag(ctx, t, map[string]string{AdoptedTag: AdoptedChanged}); back != nil {
			return back
		}
	}
	in.ClusterName, in.AssociationId = &r.Cluster, t.live.AssociationId
	out, err := r.EKS.UpdatePodIdentityAssociation(ctx, in)
	if err != nil {
		return asSetback(err)
	}
	r.wasRepaired(t)
	was := aws.ToString(t.live.RoleArn)
	if out.Association != nil {
		tags := t.live.Tags
		t.live = out.Association
		t.live.Tags = tags
	}
	r.describeStatus(t)
	r.changed(ctx, t, corev1.EventTypeNormal, "Updated", "Updated the association %s to what the object asks for; its role was %s.", t.o.Status.AssociationID, was)
	return nil
}

// drifted reports whether the association was what the object asks for, and
// somebody has changed it since: the spec is that of the last time.
func drifted(t *task) bool { return t.was.Status.ObservedGeneration == t.o.Generation }

// tooSoon says whether a drifted association was repaired just before.
func (r *Reconciler) tooSoon(t *task) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	maps.DeleteFunc(r.repaired, func(_ types.UID, at time.Time) bool { return now.Sub(at) >= repairSpacing })
	_, was := r.repaired[t.o.UID]
	return was && drifted(t)
}

// wasRepaired remembers that a drift was repaired.
func (r *Reconciler) wasRepaired(t *task) {
	if !drifted(t) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.repaired[t.o.UID] = r.Now()
}

// differences is what has to change of an association; nil for nothing. The
// role is always named: so its trust is checked again.
func differences(s *v1alpha1.PodIdentityAssociationSpec, live *ekstypes.PodIdentityAssociation) *eks.UpdatePodIdentityAssociationInput {
	if aws.ToString(live.RoleArn) == string(s.RoleARN) && aws.ToString(live.TargetRoleArn) == string(s.TargetRoleARN) &&
		aws.ToString(live.Policy) == s.Policy && aws.ToBool(live.DisableSessionTags) == s.DisableSessionTags {
		return nil
	}
	return &eks.UpdatePodIdentityAssociationInput{
		RoleArn: aws.String(string(s.RoleARN)), TargetRoleArn: aws.String(string(s.TargetRoleARN)),
		Policy: aws.String(s.Policy), DisableSessionTags: aws.Bool(s.DisableSessionTags),
	}
}

// repairTags sets the object's tags and takes away those that it has set
// before and does not name any more. Tags of others stay.
func (r *Reconciler) repairTags(ctx context.Context, t *task) *setback {
	add := map[string]string{}
	for k, v := range wantedTags(t.o) {
		if have, ok := t.live.Tags[k]; !ok || have != v {
			add[k] = v
		}
	}
	var remove []string
	for _, k := range t.o.Status.TagKeys {
		_, wanted := t.o.Spec.Tags[k]
		if _, there := t.live.Tags[k]; there && !wanted {
			remove = append(remove, k)
		}
	}
	if len(add) > 0 {
		if back := r.tag(ctx, t, add); back != nil {
			return back
		}
	}
	if len(remove) > 0 {
		if back := r.untag(ctx, t, remove); back != nil {
			return back
		}
		for _, k := range remove {
			delete(t.live.Tags, k)
		}
	}
	t.o.Status.TagKeys = slices.Sorted(maps.Keys(t.o.Spec.Tags))
	return nil
}
