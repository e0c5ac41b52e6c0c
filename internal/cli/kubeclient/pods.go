// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// Pod is a pod, as far as podid looks at it.
type Pod struct {
	Metadata PodMeta `json:"metadata"`
	Spec     PodSpec `json:"spec"`
}

// PodMeta is a pod's metadata.
type PodMeta struct {
	ObjectMeta
	Created time.Time  `json:"creationTimestamp"`
	Deleted *time.Time `json:"deletionTimestamp"` // nil unless it is being deleted
	Owners  []OwnerRef `json:"ownerReferences"`
}

// OwnerRef names what an object belongs to.
type OwnerRef struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Controller bool   `json:"controller"`
}

// PodSpec is a pod's spec.
type PodSpec struct {
	ServiceAccountName string   `json:"serviceAccountName"`
	NodeName           string   `json:"nodeName"`
	Volumes            []Volume `json:"volumes"`
}

// Volume is the name of one.
type Volume struct {
	Name string `json:"name"`
}

// Pods lists the pods of a namespace, "" for all, that have not ended.
func (c *Client) Pods(ctx context.Context, namespace string) ([]Pod, error) {
	path := []string{"api", "v1", "pods"}
	if namespace != "" {
		if err := segment(namespace); err != nil {
			return nil, err
		}
		path = []string{"api", "v1", "namespaces", namespace, "pods"}
	}
	out, err := listWhere[Pod](ctx, c, path, url.Values{"fieldSelector": {"status.phase!=Succeeded,status.phase!=Failed"}})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return out, nil
}
