// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"podid/api/v1alpha1"
)

// A task is one object and what is known of it.
type task struct {
	o    *v1alpha1.PodIdentityAssociation // changed as the work goes on
	was  *v1alpha1.PodIdentityAssociation
	live *ekstypes.PodIdentityAssociation // of its service account; nil for none
	say  verdict                          // about what the object asks for
	may  verdict                          // about what is bound now
}

func (t *task) key() types.NamespacedName { return client.ObjectKeyFromObject(t.o) }

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	o := &v1alpha1.PodIdentityAssociation{}
	if err := r.client.Get(ctx, req.NamespacedName, o); err != nil {
		if !apierrors.IsNotFound(err) {
			return reconcile.Result{}, fmt.Errorf("read object: %w", err)
		}
		r.Metrics.observe(req.NamespacedName, state{})
		r.wait.Forget(req)
		r.forget(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	t := &task{o: o, was: o.DeepCopy()}
	var back *setback
	if o.DeletionTimestamp != nil {
		back = r.release(ctx, t)
	} else {
		back = r.bind(ctx, t)
	}
	return r.finish(ctx, req, t, back)
}

// bind brings an object that is to be there to where it should be; nil means
// that it is.
func (r *Reconciler) bind(ctx context.Context, t *task) *setback {
	o := t.o
	o.Status.ObservedGeneration, o.Status.ClusterName = o.Generation, r.Cluster
	if back := r.rival(ctx, t); back != nil {
		return back
	}
	labels, err := r.namespaceLabels(ctx, o.Namespace)
	if err != nil && !apierrors.IsNotFound(err) {
		return retrying(err)
	}
	policies, err := r.policies(ctx)
	if err != nil {
		return retrying(err)
	}
	w := wish{
		namespace: labels, namespaceExists: err == nil, serviceAccount: o.Spec.ServiceAccount,
		role: string(o.Spec.RoleARN), target: string(o.Spec.TargetRoleARN),
	}
	t.say = judge(policies, w)
	if t.live, err = r.find(ctx, o.Namespace, o.Spec.ServiceAccount); err != nil {
		return asSetback(err)
	}
	if t.live != nil {
		w.role, w.target = aws.ToString(t.live.RoleArn), aws.ToString(t.live.TargetRoleArn)
		t.may = judge(policies, w)
	}
	r.describeStatus(t)
	switch {
	case t.live == nil && !t.say.allowed:
		return r.letGo(ctx, t, notAllowed(o, ""))
	case t.live == nil:
		return r.create(ctx, t)
	}
	mine, back := r.owned(ctx, t)
	switch {
	case back != nil:
		return back
	case !t.say.allowed && !mine:
		return r.letGo(ctx, t, notAllowed(o, ""))
	case !t.say.allowed && t.may.allowed:
		return notAllowed(o, fmt.Sprintf(" What was bound before is still allowed and stays in force: %s.", aws.ToString(t.live.RoleArn)))
	case !t.say.allowed:
		return r.withdraw(ctx, t)
	case !mine:
		if back := r.adopt(ctx, t); back != nil {
			return back
		}
	}
	return r.repair(ctx, t)
}

// rival says who else asks for the same service account and goes before. The
// older object does; of two from the same second the one that is bound.
func (r *Reconciler) rival(ctx context.Context, t *task) *setback {
	list, err := r.list(ctx, client.InNamespace(t.o.Namespace), client.MatchingFields{accountIndex: t.o.Spec.ServiceAccount})
	if err != nil {
		return retrying(err)
	}
	for i := range list {
		if other := &list[i]; other.UID != t.o.UID && before(other, t.o) {
			back := conflict("The object %s is older and is for the same service account.", other.Name)
			if t.o.Status.AssociationID != "" { // what it has is ended with it
				return back
			}
			return r.letGo(ctx, t, back)
		}
	}
	return nil
}

func before(a, b *v1alpha1.PodIdentityAssociation) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	if bound := a.Status.AssociationID != ""; bound != (b.Status.AssociationID != "") {
		return bound
	}
	return a.UID < b.UID
}

func retrying(err error) *setback {
	return &setback{status: metav1.ConditionUnknown, reason: reasonRetrying, message: err.Error()}
}

func asSetback(err error) *setback {
	s := setbackOf(err)
	return &s
}

func notAllowed(o *v1alpha1.PodIdentityAssociation, more string) *setback {
	roles := string(o.Spec.RoleARN)
	if o.Spec.TargetRoleARN != "" {
		roles += " with the target role " + string(o.Spec.TargetRoleARN)
	}
	return &setback{
		status: metav1.ConditionFalse, reason: reasonNotAllowed, retry: retrySlow,
		message: fmt.Sprintf("No PodIdentityRolePolicy allows %s to the service account %s of this namespace.%s", roles, o.Spec.ServiceAccount, more),
	}
}

// describeStatus tells which association the status is about.
func (r *Reconciler) describeStatus(t *task) {
	s := &t.o.Status
	s.AssociationID, s.AssociationARN, s.ExternalID, s.Adopted = "", "", "", false
	if t.live == nil || t.live.Tags[OwnerTag] != string(t.o.UID) {
		return
	}
	s.AssociationID, s.AssociationARN = aws.ToString(t.live.AssociationId), aws.ToString(t.live.AssociationArn)
	s.ExternalID, s.Adopted = aws.ToString(t.live.ExternalId), t.live.Tags[AdoptedTag] != ""
}

// letGo takes the finalizer from an object that has no association: its
// deletion needs nobody.
func (r *Reconciler) letGo(ctx context.Context, t *task, back *setback) *setback {
	if err := r.finalizer(ctx, t, false); err != nil {
		return retrying(err)
	}
	s := &t.o.Status
	s.AssociationID, s.AssociationARN, s.ExternalID, s.Adopted, s.TagKeys = "", "", "", false, nil
	return back
}

// finalizer puts the finalizer on, or takes it off.
func (r *Reconciler) finalizer(ctx context.Context, t *task, on bool) error {
	o := t.o.DeepCopy()
	if on && !controllerutil.AddFinalizer(o, Finalizer) || !on && !controllerutil.RemoveFinalizer(o, Finalizer) {
		return nil
	}
	if err := r.client.Patch(ctx, o, client.MergeFromWithOptions(t.o.DeepCopy(), client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("change the finalizer: %w", client.IgnoreNotFound(err))
	}
	t.o.Finalizers, t.o.ResourceVersion = o.Finalizers, o.ResourceVersion
	return nil
}

// finish writes the conditions and says when to look again.
func (r *Reconciler) finish(ctx context.Context, req reconcile.Request, t *task, back *setback) (reconcile.Result, error) {
	deleting := t.o.DeletionTimestamp != nil
	if back == nil && deleting {
		return reconcile.Result{}, nil // its last event comes when it is gone
	}
	if back == nil {
		back = r.settle(ctx, t)
	} else if !deleting {
		r.conditionsOf(t, back)
	}
	r.ready(t, back)
	if err := r.writeStatus(ctx, t); err != nil {
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: raceAgain}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return reconcile.Result{RequeueAfter: r.again(req, back)}, nil
}

// again says when an object is looked at next.
func (r *Reconciler) again(req reconcile.Request, back *setback) time.Duration {
	if back == nil {
		r.wait.Forget(req)
		return r.soon()
	}
	after := r.wait.When(req)
	switch {
	case back.retry == retryRace:
		return after
	case back.retry == retrySlow && back.reason == reasonConflict:
		return max(after, conflictAgain)
	case back.retry == retrySlow:
		return max(after, refusedAgain)
	}
	return after
}

// ready sets the condition that sums up the others, and tells of its changes.
func (r *Reconciler) ready(t *task, back *setback) {
	now := state{metav1.ConditionTrue, reasonReady}
	message := "The association is in force."
	if t.say.policy != "" {
		message = "The association is in force; PodIdentityRolePolicy " + t.say.policy + " allows it."
	}
	if back != nil {
		now, message = state{back.status, back.reason}, back.message
	}
	was := meta.FindStatusCondition(t.was.Status.Conditions, v1alpha1.ConditionReady)
	setCondition(t.o, v1alpha1.ConditionReady, now.ready, now.reason, short(message))
	r.Metrics.observe(t.key(), now)
	if was != nil && was.Status == now.ready && was.Reason == now.reason {
		return
	}
	kind := corev1.EventTypeNormal
	if back != nil && back.reason != reasonNotPropagated && back.reason != reasonRetrying {
		kind = corev1.EventTypeWarning
	}
	r.events.Eventf(t.o, nil, kind, now.reason, "Reconcile", "%s", short(message))
}

// short bounds a message: an Event's note has at most 1024 bytes.
func short(s string) string {
	const most = 1000
	if len(s) <= most {
		return s
	}
	return string([]rune(s[:most-4])) + "…"
}

// conditionsOf sets RoleResolved and Propagated of an object that is not ready.
func (r *Reconciler) conditionsOf(t *task, back *setback) {
	switch {
	case back.role != "":
		setCondition(t.o, v1alpha1.ConditionRoleResolved, metav1.ConditionFalse, back.role, short(back.message))
	case back.status == metav1.ConditionFalse:
		setCondition(t.o, v1alpha1.ConditionRoleResolved, metav1.ConditionUnknown, reasonNotJudged, "The role was not looked at: see Ready.")
	}
	if t.o.Status.AssociationID == "" && back.status == metav1.ConditionFalse {
		setCondition(t.o, v1alpha1.ConditionPropagated, metav1.ConditionFalse, reasonUnbound, "There is no association of this object: see Ready.")
	}
	if meta.FindStatusCondition(t.o.Status.Conditions, v1alpha1.ConditionRoleResolved) == nil {
		setCondition(t.o, v1alpha1.ConditionRoleResolved, metav1.ConditionUnknown, back.reason, short(back.message))
	}
	if meta.FindStatusCondition(t.o.Status.Conditions, v1alpha1.ConditionPropagated) == nil {
		setCondition(t.o, v1alpha1.ConditionPropagated, metav1.ConditionUnknown, back.reason, short(back.message))
	}
}

// propagateLimit is how long the feed is waited for before it is called behind.
const propagateLimit = 2 * time.Second

// settle judges an association that is as the object asks.
func (r *Reconciler) settle(ctx context.Context, t *task) *setback {
	role, known := r.resolved(ctx, t), r.propagated(ctx, t)
	if role != nil {
		return role
	}
	return known
}

// propagated says whether the webhook goes by the association already.
func (r *Reconciler) propagated(ctx context.Context, t *task) *setback {
	id := t.o.Status.AssociationID
	ask, cancel := context.WithTimeout(ctx, propagateLimit)
	defer cancel()
	_, err := r.Feed.Has(ask, t.o.Namespace, t.o.Spec.ServiceAccount)
	known, _, _ := r.Feed.Known(t.o.Namespace, t.o.Spec.ServiceAccount)
	switch {
	case known == id:
		setCondition(t.o, v1alpha1.ConditionPropagated, metav1.ConditionTrue, reasonPropagated, "The webhook knows the association: pods made from now on are given what they need.")
	case err != nil:
		message := "The webhook may not know the association yet: " + err.Error()
		setCondition(t.o, v1alpha1.ConditionPropagated, metav1.ConditionUnknown, reasonFeedBehind, short(message))
		return &setback{status: metav1.ConditionFalse, reason: reasonNotPropagated, message: message}
	default:
		message := "The webhook does not know the association yet."
		setCondition(t.o, v1alpha1.ConditionPropagated, metav1.ConditionFalse, reasonNotPropagated, message)
		return &setback{status: metav1.ConditionFalse, reason: reasonNotPropagated, message: message}
	}
	return nil
}

// resolved looks for a role whose binding was accepted: it may have been
// deleted since. Where IAM does not know the roles, because another issuer
// does, what the control plane accepted counts.
func (r *Reconciler) resolved(ctx context.Context, t *task) *setback {
	was := meta.FindStatusCondition(t.was.Status.Conditions, v1alpha1.ConditionRoleResolved)
	seen := was != nil && (was.Reason == reasonRoleFound || was.Reason == reasonRoleDeleted)
	if r.Roles != nil {
		known, err := r.roleKnown(ctx, string(t.o.Spec.RoleARN))
		switch {
		case err != nil:
			r.Log.LogAttrs(ctx, slog.LevelDebug, "look for role", slog.String("role_arn", string(t.o.Spec.RoleARN)), slog.String("error", err.Error()))
		case known:
			setCondition(t.o, v1alpha1.ConditionRoleResolved, metav1.ConditionTrue, reasonRoleFound, "The role exists, and its trust was accepted when it was bound.")
			return nil
		case seen && was.ObservedGeneration == t.o.Generation:
			message := fmt.Sprintf("The role %s does not exist any more.", t.o.Spec.RoleARN)
			setCondition(t.o, v1alpha1.ConditionRoleResolved, metav1.ConditionFalse, reasonRoleDeleted, message)
			return &setback{status: metav1.ConditionFalse, reason: reasonRoleDeleted, message: message, role: reasonRoleDeleted, retry: retrySlow}
		}
	}
	if was == nil || was.Status != metav1.ConditionTrue || was.ObservedGeneration != t.o.Generation {
		setCondition(t.o, v1alpha1.ConditionRoleResolved, metav1.ConditionTrue, reasonRoleAccepted, "The control plane has accepted the role.")
	}
	return nil
}

func (r *Reconciler) writeStatus(ctx context.Context, t *task) error {
	if equality.Semantic.DeepEqual(t.was.Status, t.o.Status) {
		return nil
	}
	o := t.o.DeepCopy()
	if err := r.client.Status().Update(ctx, o); err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	t.o.ResourceVersion = o.ResourceVersion
	return nil
}
