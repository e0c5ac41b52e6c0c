// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package owner names the object that what the operator makes belongs to: its
// own ClusterRole. An uninstall deletes that, and the cluster's garbage
// collector then deletes what belongs to it, in every namespace, when no
// operator is left to do so. Where there is no such ClusterRole, things belong
// to nobody and stay.
//
// RBAC: clusterroles get of the one.
package owner

import (
	"context"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// keep is how long an answer is good: a ClusterRole that was made anew has another uid.
const keep = 10 * time.Minute

// Owner looks its ClusterRole up. It is safe for concurrent use.
type Owner struct {
	Client client.Reader
	Name   string // of the ClusterRole; "" for nobody
	Now    func() time.Time
	Log    *slog.Logger

	mu   sync.Mutex
	uid  types.UID
	read time.Time
}

// References are for the metadata of what is made; none if there is no owner.
func (o *Owner) References(ctx context.Context) []metav1.OwnerReference {
	uid := o.find(ctx)
	if uid == "" {
		return nil
	}
	return []metav1.OwnerReference{{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: o.Name, UID: uid}}
}

func (o *Owner) find(ctx context.Context) types.UID {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.Name == "" || !o.read.IsZero() && o.Now().Sub(o.read) < keep {
		return o.uid
	}
	role := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole"}}
	switch err := o.Client.Get(ctx, client.ObjectKey{Name: o.Name}, role); {
	case err == nil:
		o.uid, o.read = role.UID, o.Now()
	case apierrors.IsNotFound(err):
		o.Log.Warn("what the operator makes will stay after an uninstall: its ClusterRole is not there", slog.String("cluster_role", o.Name))
		o.uid, o.read = "", o.Now()
	default: // what was known is good enough, and is asked for again
		o.Log.Warn("read the operator's ClusterRole", slog.String("cluster_role", o.Name), slog.String("error", err.Error()))
	}
	return o.uid
}
