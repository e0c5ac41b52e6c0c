// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"context"
	"testing"

	"podid/internal/association"
	"podid/internal/controlplane/controlplanetest/roomstest"
	"podid/internal/exchange"
)

// TestOrigin: a pod's session says which pod it was issued to, with tags and
// without, and a target role's also by which role it was reached.
func TestOrigin(t *testing.T) {
	const trust = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["sts:AssumeRole","sts:TagSession"]}}`
	for name, change := range map[string]func(*association.Association){
		"tags":    nil,
		"no tags": func(a *association.Association) { a.DisableSessionTags = true },
		"target":  func(a *association.Association) { a.TargetRoleARN = "arn:aws:iam::111122223333:role/target" },
	} {
		t.Run(name, func(t *testing.T) {
			w := roomstest.New(t)
			c := w.Cluster("my-cluster", nil)
			role := w.Role("app", roomstest.PodTrust, roomstest.AllowAll, nil)
			w.Role("target", trust, "", nil)
			a := c.Associate(role.ARN(), change)
			out, err := w.Exchange.AssumeRoleForPodIdentity(context.Background(), c.Agent("node-1"), exchange.Request{ClusterName: c.Name, Token: c.Token()})
			if err != nil {
				t.Fatal(err)
			}
			s, _, err := w.Minter.Open(context.Background(), out.Credentials.AccessKeyID, out.Credentials.SessionToken.Reveal())
			if err != nil {
				t.Fatal(err)
			}
			if s.Pod() != "s3-app-ns/app1-v1-56b9f94b4-dvd5c" || s.Origin.PodUID != "pod-uid" || s.Origin.AssociationID != a.ID || s.Origin.ClusterUID != c.UID {
				t.Errorf("pod %q, origin %+v", s.Pod(), s.Origin)
			}
			reached := len(s.Chain) == 1 && s.Chain[0].PrincipalID == role.ID
			if reached != (name == "target") || name != "target" && len(s.Chain) != 0 {
				t.Errorf("chain %+v", s.Chain)
			}
		})
	}
}
