// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package owner_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"podid/internal/operator/kubetest"
	"podid/internal/operator/owner"
)

func TestReferences(t *testing.T) {
	var broken error
	reads := 0
	api := kubetest.New(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if reads++; broken != nil {
			return broken
		}
		return c.Get(ctx, key, o, opts...)
	}}, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "podid-operator", UID: "u-1"}})
	now := time.Now()
	o := &owner.Owner{Client: api, Name: "podid-operator", Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}
	uid := func() string {
		refs := o.References(t.Context())
		if len(refs) == 0 {
			return ""
		}
		if refs[0].Kind != "ClusterRole" || refs[0].Name != "podid-operator" || refs[0].APIVersion != "rbac.authorization.k8s.io/v1" {
			t.Error(refs)
		}
		return string(refs[0].UID)
	}
	for range 3 {
		if got := uid(); got != "u-1" {
			t.Errorf("owner %q", got)
		}
	}
	if reads != 1 {
		t.Errorf("%d reads", reads)
	}
	now, broken = now.Add(time.Hour), errors.New("away")
	if got := uid(); got != "u-1" {
		t.Errorf("owner %q while the API server is away", got)
	}
	broken = nil
	if err := api.Delete(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "podid-operator"}}); err != nil {
		t.Fatal(err)
	}
	if got := uid(); got != "" {
		t.Errorf("owner %q that is not there", got)
	}
	if refs := (&owner.Owner{}).References(t.Context()); refs != nil {
		t.Error(refs)
	}
}
