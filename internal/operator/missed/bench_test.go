// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package missed

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// none knows no association.
type none struct{}

func (none) Known(string, string) (string, int64, bool) { return "", 0, false }

// BenchmarkLook goes through 10,000 pods that were not injected and need not be.
func BenchmarkLook(b *testing.B) {
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	f, err := New(Config{Client: fake.NewClientBuilder().WithScheme(runtime.NewScheme()).Build(), Feed: none{}, Metrics: m, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10_000 {
		sink{f}.Set(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: fmt.Sprint("p-", i), UID: types.UID(fmt.Sprint("uid-", i))}, Spec: corev1.PodSpec{ServiceAccountName: "sa"},
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		f.look(b.Context())
	}
}
