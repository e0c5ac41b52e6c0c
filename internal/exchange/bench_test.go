// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"testing"

	"podid/internal/controlplane/controlplanetest/roomstest"
	"podid/internal/exchange"
)

// tokens are as many different tokens as a benchmark turns over, so that no
// memory of a token helps.
const tokens = 64

// BenchmarkExchange is the exchange in process: an RS256 token of its own each
// time, the caller a session of the node role, everything but signature, HTTP
// and audit of the call.
func BenchmarkExchange(b *testing.B) {
	for name, alg := range map[string]func(w *roomstest.World) *roomstest.Cluster{
		"RS256": func(w *roomstest.World) *roomstest.Cluster { return w.RSACluster("my-cluster") },
		"ES256": func(w *roomstest.World) *roomstest.Cluster { return w.Cluster("my-cluster", nil) },
	} {
		b.Run(name, func(b *testing.B) {
			w := roomstest.New(b)
			c := alg(w)
			c.Associate(w.Role("s3-app-eks-pod-identity-role", roomstest.PodTrust, roomstest.AllowAll, nil).ARN(), nil)
			agent := c.Agent("node-1")
			reqs := make([]exchange.Request, tokens)
			for i := range reqs {
				reqs[i] = exchange.Request{ClusterName: c.Name, Token: c.Token()}
			}
			w.DB.Lag(w.DB.View())
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := w.Exchange.AssumeRoleForPodIdentity(bg, agent, reqs[i%tokens]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
