// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"podid/internal/fault"
)

const goodTokenURL = "https://sts.us-west-2.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256" +
	"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260101%2Fus-west-2%2Fsts%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60" +
	"&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id&X-Amz-Signature=0000000000000000000000000000000000000000000000000000000000000000"

var tokenHosts = []string{"sts.us-west-2.amazonaws.com", "localhost:8443"}

// FuzzParseKubeToken: whatever is let through is a GET of / on an allowed
// host, for GetCallerIdentity, with each parameter once.
func FuzzParseKubeToken(f *testing.F) {
	for _, u := range []string{goodTokenURL, goodTokenURL + "&X-Amz-Security-Token=a%2Bb", goodTokenURL + "&Action=x", "https://x/?", "", strings.Replace(goodTokenURL, "/?", "//?", 1)} {
		f.Add(KubeTokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(u)))
	}
	f.Add("k8s-aws-v1.")
	f.Fuzz(func(t *testing.T, token string) {
		r, err := parseKubeToken(token, "my-cluster", tokenHosts)
		if err != nil {
			if e := fault.As(err); e.Kind != fault.InvalidToken || !strings.HasPrefix(e.Reason, "kube-token-") {
				t.Errorf("%v has no reason", err)
			}
			return
		}
		q, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || r.Method != "GET" || r.URL.Path != "/" || r.Host != tokenHosts[0] && r.Host != tokenHosts[1] || q.Get("Action") != "GetCallerIdentity" {
			t.Errorf("let through: %s %q %v", r.Method, r.URL, err)
		}
		for name, values := range q {
			if len(values) != 1 {
				t.Errorf("%s: %d values", name, len(values))
			}
		}
	})
}

func BenchmarkParseKubeToken(b *testing.B) {
	token := KubeTokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(goodTokenURL))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseKubeToken(token, "my-cluster", tokenHosts); err != nil {
			b.Fatal(err)
		}
	}
}
