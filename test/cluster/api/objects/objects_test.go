// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podid/api/v1alpha1"
)

// TestLife follows one object from its refusal to its end.
func TestLife(t *testing.T) {
	w := newWorld(t)
	w.operator()

	w.object("s3", "s3-app-sa", roleA)
	w.is("s3", v1alpha1.ConditionReady, "False RoleNotAllowed")
	w.told("s3", "RoleNotAllowed")
	if w.bound("s3-app-sa") != nil {
		t.Fatal("an association was made that no policy allows")
	}

	p := w.policy("data", "arn:aws:iam::111122223333:role/*")
	o := w.is("s3", v1alpha1.ConditionReady, "True Ready")
	w.is("s3", v1alpha1.ConditionRoleResolved, "True RoleFound")
	w.is("s3", v1alpha1.ConditionPropagated, "True Propagated")
	w.told("s3", "Created")
	a := w.bound("s3-app-sa")
	if a == nil || a.RoleARN != roleA || a.Tags["cost"] != "7" || a.Tags["podid.dev/owned-by"] != string(o.UID) || o.Status.AssociationID != a.AssociationID {
		t.Fatalf("bound %+v, the status is %+v", a, o.Status)
	}

	if err := w.patch(o, `{"spec":{"roleArn":"`+roleB+`"}}`); err != nil {
		t.Fatal(err)
	}
	w.eventually("the edit to take effect", func(context.Context) error { return w.boundTo("s3-app-sa", roleB) })
	w.is("s3", v1alpha1.ConditionReady, "True Ready")

	// The policy allows more than the operator may pass.
	if err := w.patch(o, `{"spec":{"roleArn":"`+roleX+`"}}`); err != nil {
		t.Fatal(err)
	}
	w.is("s3", v1alpha1.ConditionReady, "False RoleNotPassable")
	w.is("s3", v1alpha1.ConditionRoleResolved, "False RoleNotPassable")
	if err := errors.Join(w.boundTo("s3-app-sa", roleB), w.patch(o, `{"spec":{"roleArn":"`+roleA+`"}}`)); err != nil {
		t.Fatal(err)
	}
	w.is("s3", v1alpha1.ConditionReady, "True Ready")

	// Who changes the association behind the object's back is put right at once, not at the next resync.
	w.podid("update", "pia", "--cluster", "c", "--association-id", a.AssociationID, "--role-arn", roleB)
	w.eventually("the drift to be repaired", func(context.Context) error { return w.boundTo("s3-app-sa", roleA) })

	if err := w.kube.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.is("s3", v1alpha1.ConditionReady, "False RoleNotAllowed")
	w.told("s3", "Withdrawn")
	if w.bound("s3-app-sa") != nil {
		t.Fatal("the association outlives the policy that allowed it")
	}

	p = w.policy("data-again", "arn:aws:iam::111122223333:role/app-*")
	w.is("s3", v1alpha1.ConditionReady, "True Ready")
	w.end(o)
	if w.bound("s3-app-sa") != nil {
		t.Error("the association outlives its object")
	}
	if err := w.kube.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func (w *world) boundTo(account, role string) error {
	w.t.Helper()
	switch a := w.bound(account); {
	case a == nil:
		return errors.New("there is no association")
	case a.RoleARN != role:
		return fmt.Errorf("it is bound to %s", a.RoleARN)
	}
	return nil
}

// end deletes an object and waits until it is gone.
func (w *world) end(o *v1alpha1.PodIdentityAssociation) {
	w.t.Helper()
	if err := w.kube.Delete(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
	w.gone(o)
}

func (w *world) gone(o *v1alpha1.PodIdentityAssociation) {
	w.t.Helper()
	w.eventually(o.Name+" to be gone", func(ctx context.Context) error {
		err := w.kube.Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is still there"))
	})
}

// TestOthers: what others made is theirs, until a policy allows adoption.
func TestOthers(t *testing.T) {
	w := newWorld(t)
	w.operator()
	w.podid("create", "pia", "--cluster", "c", "--namespace", w.apps, "--service-account-name", "theirs", "--role-arn", roleB)
	p := w.policy("others", "arn:aws:iam::111122223333:role/app-*")
	o := w.object("theirs", "theirs", roleA)
	w.is("theirs", v1alpha1.ConditionReady, "False Conflict")
	if err := errors.Join(w.boundTo("theirs", roleB), w.patch(p, `{"spec":{"allowAdoption":true}}`)); err != nil {
		t.Fatal(err)
	}
	w.is("theirs", v1alpha1.ConditionReady, "True Ready")
	if err := w.boundTo("theirs", roleA); err != nil {
		t.Error(err)
	}
	w.end(o)
	if a := w.bound("theirs"); a == nil || len(a.Tags) > 0 && a.Tags["podid.dev/owned-by"] != "" {
		t.Errorf("an adopted association is, after its object, %+v", a)
	}
	if err := w.kube.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// TestDeletedWhileAway: neither the operator's nor the control plane's absence leaves anything behind.
func TestDeletedWhileAway(t *testing.T) {
	w := newWorld(t)
	operator := w.operator()
	p := w.policy("away", "arn:aws:iam::111122223333:role/app-*")
	o := w.object("a", "a-sa", roleA)
	w.is("a", v1alpha1.ConditionReady, "True Ready")
	if err := operator.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.kube.Delete(t.Context(), o), w.plane.Stop()); err != nil {
		t.Fatal(err)
	}
	w.operator()
	w.is("a", v1alpha1.ConditionReady, "Unknown ControlPlaneAway")
	w.startPlane()
	w.gone(o)
	if w.bound("a-sa") != nil {
		t.Error("the association outlives its object")
	}
	if err := w.kube.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedByTheServer: what the API server keeps out by itself.
func TestRefusedByTheServer(t *testing.T) {
	w := newWorld(t)
	o := w.object("a", "a-sa", roleA)
	for _, tc := range []struct{ name, patch, want string }{
		{"another service account", `{"spec":{"serviceAccount":"b"}}`, "serviceAccount cannot be changed"},
		{"no role", `{"spec":{"roleArn":null}}`, "spec.roleArn: Required value"},
		{"malformed role", `{"spec":{"roleArn":"arn:aws:iam::1:role/x"}}`, "should match"},
		{"user for a role", `{"spec":{"roleArn":"arn:aws:iam::111122223333:user/x"}}`, "should match"},
		{"policy with tags", `{"spec":{"policy":"{}"}}`, "policy can only be used when disableSessionTags is true"},
		{"policy too long", `{"spec":{"disableSessionTags":true,"policy":"` + strings.Repeat("x", 2049) + `"}}`, "may not be more than 2048"},
		{"reserved tag", `{"spec":{"tags":{"aws:x":"y"}}}`, "reserved"},
		{"podid's tag", `{"spec":{"tags":{"podid.dev/owned-by":"y"}}}`, "reserved"},
		{"long value of a tag", `{"spec":{"tags":{"x":"` + strings.Repeat("y", 257) + `"}}}`, "may not be more than 256"},
		{"deletion policy", `{"spec":{"deletionPolicy":"Perhaps"}}`, "Unsupported value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := w.patch(o.DeepCopy(), tc.patch); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	err := w.kube.Create(t.Context(), &v1alpha1.PodIdentityRolePolicy{ObjectMeta: metav1.ObjectMeta{Name: "empty"}})
	if !apierrors.IsInvalid(err) {
		t.Errorf("an empty policy: %v", err)
	}
}
