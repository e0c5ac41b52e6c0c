// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/prometheus/client_golang/prometheus"

	"podid/internal/cli/clients"
	"podid/internal/cli/enrolment"
	"podid/internal/controlplane/controlplanetest"
	"podid/internal/operator/keys"
	"podid/internal/operator/podidclient"
)

// TestKeysUnderEnrolment: the API server's key is swapped at once, the old one
// is gone, and no session is to be had under the new one. The operator brings
// it all the same; tokens of the old key stay good, those of the new one are.
func TestKeysUnderEnrolment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	one := h.clusters["one"]
	one.Associate("s3-app-sa", h.Role("app", one.PodTrust()), nil)
	pair, err := enrolment.New()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.Public()
	if err != nil {
		t.Fatal(err)
	}
	made, err := h.admin.Podid.UpdateCluster(t.Context(), "one", clients.UpdateInput{EnrolmentKey: public})
	if err != nil {
		t.Fatal(err)
	}
	private, err := pair.Private(made.Arn, made.UID)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, private, 0o600); err != nil {
		t.Fatal(err)
	}
	agent, err := h.session("one", "podid-agent", h.made["one"].NodeRoleARN)
	if err != nil {
		t.Fatal(err)
	}
	old := one.Token(controlplanetest.Pod{})

	one.Key, one.Kid = controlplanetest.NewKey(t), "swapped"
	if _, err := h.session("one", "podid-operator", h.made["one"].OperatorRoleARN); clients.Code(err) != "InvalidIdentityToken" {
		t.Errorf("a session under the new key: %v", err)
	}
	// No credentials: they could not be had.
	client, err := podidclient.New(podidclient.Config{Endpoint: h.Endpoint, Region: controlplanetest.Region, RootCAs: h.HTTP.Transport.(*http.Transport).TLSClientConfig.RootCAs, Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "none", "")})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	m, err := keys.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	keeper := keys.New(keys.Config{
		ControlPlane: client, KeyFile: file, Metrics: m, Log: slog.New(slog.DiscardHandler),
		Published: func(context.Context) (json.RawMessage, error) {
			return controlplanetest.JWKS(t, one.Kid, one.Key), nil
		},
	})
	if err := keeper.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := h.LastAudit("PutClusterKeys"); e.UserIdentity.PrincipalID != "enrolment:"+made.EnrolmentKeyID || made.EnrolmentKeyID == "" || e.Podid.ClusterUID != made.UID || e.ErrorCode != "" {
		t.Errorf("audit %+v", e)
	}
	if _, err := h.session("one", "podid-operator", h.made["one"].OperatorRoleARN); err != nil {
		t.Errorf("a session after it: %v", err)
	}
	for name, token := range map[string]string{"old": old, "new": one.Token(controlplanetest.Pod{})} {
		if a := one.Exchange(agent, token); a.Status != http.StatusOK {
			t.Errorf("%s token: %d %s", name, a.Status, a.Raw)
		}
	}
	now, err := h.admin.Podid.DescribeCluster(t.Context(), "one")
	if err != nil || strings.Join(now.KeyIDs, " ") != "swapped" || len(now.RetiredKeys) != 1 || now.RetiredKeys[0].KeyID != "one-key" || !strings.Contains(string(now.JWKS), "one-key") {
		t.Errorf("%+v %v", now, err)
	}

	// Who has rights in IAM and no enrolment key brings none.
	for name, who := range map[string]aws.CredentialsProvider{"agent": agent, "admin": h.Admin} {
		a, err := h.Call(t.Context(), who, "podid", http.MethodPut, "/podid/v1/clusters/one/keys", map[string]any{"jwks": controlplanetest.JWKS(t, "mine", one.Key)})
		if err != nil || a.Status/100 != 4 || h.LastReason("PutClusterKeys") != "enrolment-missing" {
			t.Errorf("%s: %v %d %s", name, err, a.Status, a.Raw)
		}
	}
	// The administrator's word is final: retired keys go at once.
	if _, err := h.admin.Podid.UpdateCluster(t.Context(), "one", clients.UpdateInput{JWKS: controlplanetest.JWKS(t, one.Kid, one.Key), NoEnrolmentKey: true}); err != nil {
		t.Fatal(err)
	}
	one.Exchange(agent, old).Want(t, http.StatusBadRequest, "InvalidTokenException", "")
	one.Kid = "third"
	if err := keeper.Step(t.Context()); clients.Code(err) != "AccessDeniedException" || h.LastReason("PutClusterKeys") != "enrolment-proof" {
		t.Errorf("after the key was ended: %v", err)
	}
}
