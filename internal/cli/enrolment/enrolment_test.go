// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package enrolment_test

import (
	"strings"
	"testing"

	"podid/internal/cli/enrolment"
)

func TestRead(t *testing.T) {
	pair, err := enrolment.New()
	if err != nil {
		t.Fatal(err)
	}
	const cluster = "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster"
	private, err := pair.Private(cluster, "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	id, arn, uid, err := enrolment.Read(private)
	if err != nil || len(id) != 43 || arn != cluster || uid != "uid-1" {
		t.Errorf("%q %q %q %v", id, arn, uid, err)
	}
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "x", "no key": `{"cluster":"c","uid":"u"}`, "another key": strings.Replace(string(private), "PRIVATE KEY", "PUBLIC KEY", 2),
	} {
		if _, _, _, err := enrolment.Read([]byte(text)); err == nil || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
