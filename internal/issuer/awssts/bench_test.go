// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts_test

import "testing"

// BenchmarkShared is an order that a shared session answers: what most pods of
// an association without session tags cost.
func BenchmarkShared(b *testing.B) {
	w := newWorld(b)
	o := order(noTags)
	if _, err := w.issue(o); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.issue(o); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIssue is an order that the STS is asked for, over loopback and TLS.
func BenchmarkIssue(b *testing.B) {
	w := newWorld(b)
	w.aws.Rate = 100_000
	w.choose()
	o := order(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.issue(o); err != nil {
			b.Fatal(err)
		}
	}
}
