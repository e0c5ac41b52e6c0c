// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"podid/internal/controlplane/controlplanetest"
)

func testExplain(t *testing.T, w *world) {
	yes := explained(t, w, object{"namespace": "s3-app-ns", "serviceAccount": "s3-app-sa", "actions": []object{
		{"action": "s3:GetObject", "resource": "arn:aws:s3:::b/k"}, {"action": "s3:PutObject", "resource": "arn:aws:s3:::b/k"},
	}})
	if yes.Status != 200 || yes.Body["wouldIssue"] != true {
		t.Fatalf("%d %s", yes.Status, yes.Raw)
	}
	var allowed []any
	list, _ := yes.Body["actions"].([]any)
	for _, a := range list {
		m, _ := a.(map[string]any)
		allowed = append(allowed, m["allowed"])
	}
	if diff := cmp.Diff([]any{true, false}, allowed); diff != "" {
		t.Error(diff)
	}
	no := explained(t, w, object{"namespace": "s3-app-ns", "serviceAccount": "other"})
	if no.Status != 200 || no.Body["wouldIssue"] != false || !strings.Contains(string(no.Raw), "association-not-found") {
		t.Errorf("%d %s", no.Status, no.Raw)
	}
	token := w.cl.Token(pod{})
	explained(t, w, object{"token": token})
	if e := w.LastAudit("Explain"); strings.Contains(controlplanetest.JSON(t, e), token) {
		t.Error("the token is in the audit log")
	}
	a := rest(t, w.ControlPlane, w.node, "podid", http.MethodPost, "/podid/v1/clusters/my-cluster/explain", object{"namespace": "s3-app-ns", "serviceAccount": "s3-app-sa"})
	a.Want(t, 403, "AccessDeniedException", "")
	gone := rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPost, "/podid/v1/clusters/nowhere/explain", object{"namespace": "a", "serviceAccount": "b"})
	if gone.Status != 200 || gone.Body["wouldIssue"] != false || !strings.Contains(string(gone.Raw), "cluster-not-found") {
		t.Errorf("unknown cluster: %d %s", gone.Status, gone.Raw)
	}
}

// testExplainSteps: what each step comes to, with and without a pod.
func testExplainSteps(t *testing.T, w *world) {
	w.Role("explained", podTrust(nil))
	w.cl.Associate("explained", roleARN+"explained", nil)
	w.Trust("explained", podTrust(object{"StringEquals": object{"aws:RequestTag/kubernetes-pod-name": "right"}}))
	const first, second = "trust policy of the role: sts:AssumeRole", "trust policy of the role: sts:TagSession"
	workload := func(more ...string) object {
		in := object{"namespace": "s3-app-ns", "serviceAccount": "explained"}
		for i := 0; i < len(more); i += 2 {
			in[more[i]] = more[i+1]
		}
		return in
	}
	for name, tc := range map[string]struct {
		in       object
		issue    bool
		verdicts map[string]string
	}{
		"no pod":    {workload(), true, map[string]string{"caller": "pass", "cluster": "pass", "token": "open", "node": "open", "association": "pass", first: "open", second: "open"}},
		"good pod":  {workload("podName", "right", "podUid", "u"), true, map[string]string{"caller": "pass", "cluster": "pass", "token": "open", "node": "open", "association": "pass", first: "pass", second: "pass"}},
		"other pod": {workload("podName", "wrong", "podUid", "u"), false, map[string]string{"caller": "pass", "cluster": "pass", "token": "open", "node": "open", "association": "pass", first: "fail", second: "fail"}},
		"token":     {object{"token": w.cl.Token(pod{ServiceAccount: "explained", Name: "right"})}, true, map[string]string{"caller": "pass", "cluster": "pass", "token": "pass", "node": "pass", "association": "pass", first: "pass", second: "pass"}},
		"bad token": {object{"token": w.cl.Token(pod{Audience: "x"})}, false, map[string]string{"caller": "pass", "cluster": "pass", "token": "fail", "node": "not reached", "association": "not reached", "issuer": "not reached"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := explained(t, w, tc.in)
			got, steps := map[string]string{}, a.Body["steps"]
			list, _ := steps.([]any)
			for _, s := range list {
				m, _ := s.(map[string]any)
				step, _ := m["step"].(string)
				got[step], _ = m["verdict"].(string)
			}
			if diff := cmp.Diff(tc.verdicts, got); diff != "" || a.Body["wouldIssue"] != tc.issue {
				t.Errorf("%d %s\n%s", a.Status, a.Raw, diff)
			}
		})
	}
	refused := string(explained(t, w, workload("podName", "wrong", "podUid", "u")).Raw)
	for _, want := range []string{"aws:RequestTag/kubernetes-pod-name", "StringEquals", "trust policy of role explained"} {
		if !strings.Contains(refused, want) {
			t.Errorf("the explanation does not name %s: %s", want, refused)
		}
	}
}
