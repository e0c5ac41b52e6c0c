// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"podid/internal/controlplane/controlplanetest"
)

// TestFeed: what one replica has acknowledged another one tells at once; who
// waits is told when it happens, and when the replica stops.
func TestFeed(t *testing.T) {
	t.Parallel()
	set := map[string]string{"PODID_ETCD_ENDPOINTS": etcdAt(t), "PODID_ROOT_KEY_FILE": filepath.Join(t.TempDir(), "root.key")}
	w := newWorld(t, controlplanetest.Options{Settings: set})
	metrics, other := freeAddress(t), maps.Clone(set)
	other["PODID_METRICS_ADDRESS"] = metrics
	b := controlplanetest.Start(t, controlplanetest.Options{Settings: other, Peer: w.ControlPlane})
	path := "/podid/v1/clusters/" + w.cl.Name + "/associations"
	follow := func(query string) object {
		t.Helper()
		a := rest(t, b, b.Admin, "podid", http.MethodGet, path+query, nil)
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, a.Status, a.Raw)
		}
		return a.Body
	}
	names := func(a object, list string) (out []string) {
		items, _ := a[list].([]any)
		for _, x := range items {
			x := x.(map[string]any)
			out = append(out, fmt.Sprint(x["namespace"], "/", x["serviceAccount"]))
			if _, ok := x["roleArn"]; ok {
				t.Error("the feed tells roles")
			}
		}
		return out
	}
	since := func(a object) string {
		return fmt.Sprintf("?clusterUid=%s&after=%.0f", a["clusterUid"], a["revision"])
	}
	all := follow("")
	if got := names(all, "associations"); all["complete"] != true || len(got) != 1 {
		t.Fatalf("%v", all)
	}
	w.cl.Associate("second-sa", w.role, nil)
	next := follow(since(all))
	if got := names(next, "associations"); next["complete"] != false || len(got) != 1 || got[0] != "s3-app-ns/second-sa" {
		t.Errorf("after it was acknowledged: %v", next)
	}

	// Somebody waits: the answer is that of the change, not of the time.
	waits := func(query string) <-chan controlplanetest.Answer {
		got := make(chan controlplanetest.Answer, 1)
		go func() {
			a, err := b.Call(context.Background(), b.Admin, "podid", http.MethodGet, path+query+"&wait=20", nil)
			if err != nil {
				t.Error(err)
			}
			got <- a
		}()
		return got
	}
	got := waits(since(next))
	w.cl.Associate("third-sa", w.role, nil)
	third := <-got
	if n := names(third.Body, "associations"); third.Status != 200 || len(n) != 1 || n[0] != "s3-app-ns/third-sa" {
		t.Errorf("while waiting: %d %s", third.Status, third.Raw)
	}
	for query, status := range map[string]int{"?after=x": 400, "?only=all": 400, "?only=changes": 200, "?after=-1": 400, "?wait=21": 400, "?wait=-1": 400, "?wait=99999999999999999999": 400} {
		if a := rest(t, b, b.Admin, "podid", http.MethodGet, path+query, nil); a.Status != status {
			t.Errorf("%s: %d %s", query, a.Status, a.Raw)
		}
	}
	if a := rest(t, b, w.User("nobody", nil), "podid", http.MethodGet, path, nil); a.Status != http.StatusForbidden {
		t.Errorf("nobody: %d", a.Status)
	}

	// A replica that stops lets nobody wait for it, and answers in full.
	start := time.Now()
	got = waits(since(third.Body))
	for metric(t, metrics, "podid_http_requests_in_flight") != "1" {
		if time.Since(start) > 15*time.Second {
			t.Fatal("the request does not arrive")
		}
	}
	b.Stop()
	if last := <-got; last.Status != http.StatusOK || last.Body["complete"] != false {
		t.Errorf("when stopped: %d %s", last.Status, last.Raw)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("stopped after %s", took)
	}
}
