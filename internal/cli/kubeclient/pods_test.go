// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"fmt"
	"net/http"
	"testing"
)

// TestPods: the selector is on every page, and on the list that is begun anew.
func TestPods(t *testing.T) {
	f := startFake(t, nil)
	expired := false
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/v1/namespaces/apps/pods" {
			return false
		}
		if got := r.URL.Query().Get("fieldSelector"); got != "status.phase!=Succeeded,status.phase!=Failed" {
			t.Errorf("asked for %q", got)
		}
		switch {
		case r.URL.Query().Get("continue") == "" && !expired:
			fmt.Fprint(w, `{"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "a"}}]}`)
		case r.URL.Query().Get("continue") != "" && !expired:
			expired = true
			status(w, http.StatusGone, "Expired", "too old")
		default:
			fmt.Fprint(w, `{"metadata": {}, "items": [{"metadata": {"name": "a", "namespace": "apps", "creationTimestamp": "2026-11-23T12:00:00Z", "labels": {"l": "v"},
				"ownerReferences": [{"kind": "Job", "name": "j", "controller": true}]}, "spec": {"serviceAccountName": "sa", "volumes": [{"name": "v"}]}}, {"metadata": {"name": "b"}}]}`)
		}
		return true
	}
	pods, err := f.load(t, `"token": "abc"`).Pods(t.Context(), "apps")
	if err != nil || len(pods) != 2 {
		t.Fatal(pods, err)
	}
	p := pods[0]
	if p.Metadata.Name != "a" || p.Metadata.Labels["l"] != "v" || p.Metadata.Created.IsZero() || p.Metadata.Deleted != nil || p.Metadata.Owners[0] != (OwnerRef{"Job", "j", true}) ||
		p.Spec.ServiceAccountName != "sa" || p.Spec.Volumes[0].Name != "v" {
		t.Errorf("got %+v", p)
	}
	if _, err := f.load(t, `"token": "abc"`).Pods(t.Context(), "../x"); err == nil {
		t.Error("a path is taken for a namespace")
	}
}
