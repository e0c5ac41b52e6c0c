// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"podid/internal/controlplane/controlplanetest"
)

// TestRefusals: what one replica has refused to a pod another one tells, with
// the statement and the key that it hung on, and no value of either side.
func TestRefusals(t *testing.T) {
	t.Parallel()
	set := map[string]string{"PODID_ETCD_ENDPOINTS": etcdAt(t), "PODID_ROOT_KEY_FILE": filepath.Join(t.TempDir(), "root.key")}
	w := newWorld(t, controlplanetest.Options{Settings: maps.Clone(set)})
	b := controlplanetest.Start(t, controlplanetest.Options{Settings: set, Peer: w.ControlPlane})
	path := "/podid/v1/clusters/" + w.cl.Name + "/refusals"
	follow := func(query string) object {
		t.Helper()
		a := rest(t, b, b.Admin, "podid", http.MethodGet, path+query, nil)
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, a.Status, a.Raw)
		}
		return a.Body
	}
	all := follow("")
	if all["complete"] != true || len(all["refusals"].([]any)) != 0 {
		t.Fatalf("%v", all)
	}
	since := func(a object) string {
		return fmt.Sprintf("?clusterUid=%s&after=%.0f&wait=20", a["clusterUid"], a["revision"])
	}
	next := func(before object) object {
		t.Helper()
		for {
			a := follow(since(before))
			if list := a["refusals"].([]any); len(list) == 1 {
				out, _ := list[0].(map[string]any)
				maps.Copy(before, a)
				return out
			}
			before["revision"] = a["revision"]
		}
	}

	// A service account without an association, three times.
	for range 3 {
		w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "nobody", Name: "pod-a", UID: "uid-a"})).Want(t, http.StatusNotFound, "ResourceNotFoundException", "")
	}
	r := next(all)
	if r["reason"] != "association-not-found" || r["pod"] != "pod-a" || r["podUid"] != "uid-a" || r["serviceAccount"] != "nobody" || r["namespace"] != "s3-app-ns" || r["requestId"] == "" {
		t.Errorf("%v", r)
	}

	// A trust policy with a condition that the pod does not meet.
	wanted := "wanted-by-the-policy"
	association := w.cl.Associate("conditional", w.Role("conditional", w.cl.PodTrust()), nil)
	w.Trust("conditional", object{"Version": "2012-10-17", "Statement": []any{object{
		"Sid": "OnlyThat", "Effect": "Allow", "Principal": object{"Service": controlplanetest.PodAudience}, "Action": []string{"sts:AssumeRole", "sts:TagSession"},
		"Condition": object{"StringEquals": object{"aws:RequestTag/kubernetes-namespace": wanted}},
	}}})
	w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "conditional", Name: "pod-b", UID: "uid-b"})).Want(t, http.StatusBadRequest, "AccessDeniedException", "")
	r = next(all)
	if r["sid"] != "OnlyThat" || !strings.EqualFold(fmt.Sprint(r["conditionKey"]), "aws:RequestTag/kubernetes-namespace") || r["associationId"] != *association.AssociationId || r["pod"] != "pod-b" {
		t.Errorf("%v", r)
	}
	if text := controlplanetest.JSON(t, r); strings.Contains(text, wanted) {
		t.Errorf("a value is told: %s", text)
	}
	if e := w.LastAudit("AssumeRoleForPodIdentity"); e.RequestID != r["requestId"] {
		t.Errorf("request %s in audit, %v told", e.RequestID, r["requestId"])
	}

	// Strangers, and tokens that are not the cluster's, are nobody's pods.
	token := w.cl.Token(pod{ServiceAccount: "nobody", UID: "uid-c"})
	w.cl.Exchange(w.node, token[:len(token)-4]+"AAAA")
	w.cl.Exchange(w.User("stranger", nil), w.cl.Token(pod{UID: "uid-d"}))
	w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "nobody", Name: "pod-e", UID: "uid-e"}))
	if r = next(all); r["pod"] != "pod-e" {
		t.Errorf("%v", r)
	}
	if list := follow("")["refusals"].([]any); len(list) != 3 {
		t.Errorf("%v", list)
	}
}
