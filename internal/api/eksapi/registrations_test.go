// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"podid/internal/audit"
	"podid/internal/iam"
	"podid/internal/store"
)

func (f *fixture) role(t *testing.T, name string) {
	t.Helper()
	err := f.store.Update(t.Context(), func(tx *store.Tx) error {
		iam.Roles.Put(tx, store.Scope{Account: account, Region: store.Global}, name,
			&iam.Role{ID: "AROA1", Partition: "aws", Account: account, Path: "/", Name: name})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRegistrationCapture replays what the AWS CLI sends to register a cluster.
func TestRegistrationCapture(t *testing.T) {
	f := newFixture(t)
	f.role(t, "s3-app-eks-pod-identity-role")
	c := readCapture(t, "register-cluster")
	w, got := f.do(c.Request.Method, c.Request.Path, string(c.Request.Body.JSON))
	want := c.Response.Body.JSON
	for _, body := range []map[string]any{got, want} {
		x, ok := body["cluster"].(map[string]any)["connectorConfig"].(map[string]any)
		if !ok {
			t.Fatalf("%d %v", w.Code, body)
		}
		if id, _ := x["activationId"].(string); len(id) != 36 {
			t.Errorf("activationId %q", id)
		}
		if code, _ := x["activationCode"].(string); code == "" {
			t.Error("no code")
		}
		if _, number := x["activationExpiry"].(float64); !number {
			t.Errorf("activationExpiry %v", x["activationExpiry"])
		}
		x["activationId"], x["activationCode"], x["activationExpiry"] = "id", "code", "a number"
	}
	checkAnswer(t, "register-cluster", w, got, c, nil)
}

// TestPendingShown: a PENDING cluster is described as a connected one, without
// its code, and listed only to those who ask for all.
func TestPendingShown(t *testing.T) {
	f := newFixture(t, "native")
	f.role(t, "s3-app-eks-pod-identity-role")
	body := `{"name":"ext-1","connectorConfig":{"roleArn":"` + roleARN + `","provider":"GKE"},"tags":{"a":"b"}}`
	w, made := f.do(http.MethodPost, "/cluster-registrations", body)
	code, _ := made["cluster"].(map[string]any)["connectorConfig"].(map[string]any)["activationCode"].(string)
	if w.Code != 200 || code == "" {
		t.Fatalf("%d %v", w.Code, made)
	}
	w, got := f.do(http.MethodGet, "/clusters/ext-1", "")
	x := got["cluster"].(map[string]any)
	if _, known := x["connectorConfig"].(map[string]any)["activationCode"]; known || x["status"] != "PENDING" || strings.Contains(w.Body.String(), code) ||
		x["connectorConfig"].(map[string]any)["provider"] != "GKE" || x["tags"].(map[string]any)["a"] != "b" {
		t.Errorf("%v", got)
	}
	for query, want := range map[string]string{"": `{"clusters":["native"]}`, "?include=all": `{"clusters":["ext-1","native"]}`} {
		if w, _ := f.do(http.MethodGet, "/clusters"+query, ""); w.Body.String() != want {
			t.Errorf("list%s: %s", query, w.Body)
		}
	}
	w, got = f.do(http.MethodGet, "/clusters?include=none", "")
	if w.Code != 400 || !strings.Contains(got["message"].(string), "include") {
		t.Errorf("%d %v", w.Code, got)
	}
	w, got = f.do(http.MethodPost, "/clusters/ext-1/pod-identity-associations", `{"namespace":"n","serviceAccount":"s","roleArn":"`+roleARN+`"}`)
	if w.Code != 400 || w.Header().Get("x-amzn-ErrorType") != "InvalidRequestException" || !strings.Contains(got["message"].(string), "PENDING") {
		t.Errorf("association: %d %v", w.Code, got)
	}
	w, got = f.do(http.MethodPost, "/clusters/ext-1/addons", `{"addonName":"vpc-cni"}`)
	if w.Code != 400 || !strings.Contains(got["message"].(string), "PENDING") {
		t.Errorf("add-on: %d %v", w.Code, got)
	}
	w, got = f.do(http.MethodDelete, "/cluster-registrations/ext-1", "")
	if x := got["cluster"].(map[string]any); w.Code != 200 || x["status"] != "DELETING" {
		t.Errorf("%d %v", w.Code, got)
	}
	w, got = f.do(http.MethodDelete, "/cluster-registrations/native", "")
	if x := got["cluster"].(map[string]any); w.Code != 200 || x["status"] != "DELETING" || x["connectorConfig"] != nil {
		t.Errorf("%d %v", w.Code, got)
	}
	for _, e := range f.log.events {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), code) {
			t.Errorf("audit has the code: %s", text)
		}
		if e.EventName == "RegisterCluster" && (!strings.Contains(string(text), audit.Hidden) || e.Podid.ClusterUID == "") {
			t.Errorf("audit: %s", text)
		}
	}
}

func TestRegistrationRefusals(t *testing.T) {
	f := newFixture(t, "native")
	f.role(t, "s3-app-eks-pod-identity-role")
	const good = `{"name":"ext-1","connectorConfig":{"roleArn":"` + roleARN + `","provider":"OTHER"}}`
	for _, tc := range []struct {
		name, body, deny string
		status           int
		code, message    string
	}{
		{"no connector", `{"name":"ext-1"}`, "", 400, "InvalidParameterException", "connectorConfig with roleArn and provider is required."},
		{"provider", strings.Replace(good, "OTHER", "other", 1), "", 400, "InvalidParameterException", "provider"},
		{"role", strings.Replace(good, "s3-app", "no", 1), "", 400, "InvalidParameterException", "Role provided in the request does not exist."},
		{"role of another account", strings.Replace(good, account, "999999999999", 1), "", 403, "AccessDeniedException", "Cross-account pass role is not allowed."},
		{"taken", strings.Replace(good, "ext-1", "native", 1), "", 409, "ResourceInUseException", "Cluster already exists with name: native"},
		{"type", `{"name":1}`, "", 400, "SerializationException", "name"},
		{"may not register", good, "eks:RegisterCluster", 403, "AccessDeniedException", "eks:RegisterCluster on resource: arn:aws:eks:us-west-2:123456789012:cluster/ext-1"},
		{"may not pass the role", good, "iam:PassRole", 403, "AccessDeniedException", "iam:PassRole"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.rights.deny = tc.deny
			w, got := f.do(http.MethodPost, "/cluster-registrations", tc.body)
			if message, _ := got["message"].(string); w.Code != tc.status || w.Header().Get("x-amzn-ErrorType") != tc.code || !strings.Contains(message, tc.message) {
				t.Errorf("%d %s %v", w.Code, w.Header().Get("x-amzn-ErrorType"), got)
			}
		})
	}
	f.rights.deny = ""
	if w, got := f.do(http.MethodDelete, "/cluster-registrations/nope", ""); w.Code != 404 || got["message"] != "No cluster found for name: nope." {
		t.Errorf("%d %v", w.Code, got)
	}
}
