// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"podid/api/v1alpha1"
)

// release ends what an object that is deleted has brought about; nil means
// that nothing is left of it. While the control plane cannot be asked, or
// refuses, the object stays and says why.
func (r *Reconciler) release(ctx context.Context, t *task) *setback {
	if !controllerutil.ContainsFinalizer(t.o, Finalizer) {
		return nil
	}
	live, err := r.find(ctx, t.o.Namespace, t.o.Spec.ServiceAccount)
	if gone := clusterGone(err); err != nil && !gone {
		return hindered(asSetback(err))
	}
	if t.live = live; live != nil && live.Tags[OwnerTag] == string(t.o.UID) {
		if back := r.end(ctx, t); back != nil {
			return hindered(back)
		}
	}
	if err := r.finalizer(ctx, t, false); err != nil {
		return hindered(retrying(err))
	}
	r.Metrics.observe(t.key(), state{})
	return nil
}

// clusterGone says that the control plane does not know the cluster: with it
// its associations went.
func clusterGone(err error) bool {
	var gone *ekstypes.ResourceNotFoundException
	return errors.As(err, &gone) && noCluster(gone)
}

func hindered(back *setback) *setback {
	back.message = "The object is being deleted, and its association could not be: " + back.message
	if back.status == metav1.ConditionFalse {
		back.reason = reasonDeletionHindered
	}
	return back
}

// end deletes the association or lets it stay, as the object says.
func (r *Reconciler) end(ctx context.Context, t *task) *setback {
	policy := t.o.Spec.DeletionPolicy
	if policy == "" {
		policy = v1alpha1.DeletionDelete
		if t.live.Tags[AdoptedTag] != "" {
			policy = v1alpha1.DeletionRetain
		}
	}
	if policy == v1alpha1.DeletionRetain {
		if back := r.untag(ctx, t, []string{OwnerTag, ObjectTag, AdoptedTag}); back != nil {
			return back
		}
		r.changed(ctx, t, corev1.EventTypeNormal, "Released", "The association %s stays, bound to %s, and is nobody's.", aws.ToString(t.live.AssociationId), aws.ToString(t.live.RoleArn))
		return nil
	}
	return r.remove(ctx, t, corev1.EventTypeNormal, "Deleted", "Deleted the association %s.")
}

// remove deletes the association; that it is gone already is as good.
func (r *Reconciler) remove(ctx context.Context, t *task, kind, change, note string) *setback {
	_, err := r.EKS.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: &r.Cluster, AssociationId: t.live.AssociationId})
	var gone *ekstypes.ResourceNotFoundException
	if err != nil && !errors.As(err, &gone) {
		return asSetback(err)
	}
	r.changed(ctx, t, kind, change, note, aws.ToString(t.live.AssociationId))
	return nil
}

// withdraw ends a binding that no policy allows any more. One that was there
// before the object, and is still what it was, is not the object's grant: it
// is let go.
func (r *Reconciler) withdraw(ctx context.Context, t *task) *setback {
	if t.live.Tags[AdoptedTag] == AdoptedAsIs {
		if back := r.untag(ctx, t, []string{OwnerTag, ObjectTag, AdoptedTag}); back != nil {
			return back
		}
		r.changed(ctx, t, corev1.EventTypeWarning, "Released", "No PodIdentityRolePolicy allows %[2]s any more. The association %[1]s was there before the object and stays as it was.",
			aws.ToString(t.live.AssociationId), aws.ToString(t.live.RoleArn))
	} else if back := r.remove(ctx, t, corev1.EventTypeWarning, "Withdrawn", "No PodIdentityRolePolicy allows what was bound: deleted the association %s."); back != nil {
		return back
	}
	return r.letGo(ctx, t, notAllowed(t.o, ""))
}
