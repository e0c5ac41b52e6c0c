// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package admissionpolicy

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxParameters is somewhat less than etcd takes, in bytes of JSON.
const maxParameters = 1 << 20

const (
	labelManager = "app.kubernetes.io/managed-by"
	manager      = "podid-operator"
)

// sum tells parameters apart.
func sum(accounts map[string]any) (uint64, int) {
	text, err := json.Marshal(accounts) // keys in order
	if err != nil {
		return 0, 0 // texts, numbers and truths
	}
	h := fnv.New64a()
	_, _ = h.Write(text)
	return h.Sum64(), len(text)
}

func sumOf(u *unstructured.Unstructured) uint64 {
	accounts, _, _ := unstructured.NestedMap(u.Object, "serviceAccounts")
	out, _ := sum(accounts)
	return out
}

// set makes a namespace's parameters what they should be; empty ones are taken
// away. A namespace that is not there has its turn when it comes.
func (m *Maintainer) set(ctx context.Context, namespace string, data map[string]any) error {
	m.mu.Lock()
	have, known := m.known[namespace]
	_, exists := m.namespaces[namespace]
	m.mu.Unlock()
	if !exists {
		return nil
	}
	if len(data) > 0 && m.cfg.Injected != nil {
		m.cfg.Injected(ctx, namespace)
	}
	want, size := sum(data)
	if known && have == want && len(data) > 0 || !known && len(data) == 0 {
		return nil
	}
	if size > maxParameters {
		return fmt.Errorf("parameters of %d service accounts take %d bytes, and %d fit", len(data), size, maxParameters)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err := m.put(ctx, namespace, data)
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return err
}

func (m *Maintainer) put(ctx context.Context, namespace string, data map[string]any) error {
	live := parameters(namespace, nil, nil)
	err := m.cfg.Client.Get(ctx, client.ObjectKeyFromObject(live), live)
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("read parameters: %w", err)
	case err != nil && len(data) == 0:
		m.forget(namespace)
		return nil
	case err != nil:
		err = m.cfg.Client.Create(ctx, parameters(namespace, data, m.cfg.Owner(ctx)))
	case len(data) == 0:
		err = m.remove(ctx, live)
	default:
		live.Object["serviceAccounts"] = data // whoever wrote what was there
		err = m.cfg.Client.Update(ctx, live)
	}
	if err != nil {
		return fmt.Errorf("write parameters: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(data) == 0 {
		delete(m.known, namespace)
	} else {
		m.known[namespace], _ = sum(data)
	}
	return nil
}

func (m *Maintainer) forget(namespace string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, namespace)
}

// remove deletes parameters, whoever made them: pods are injected by what they say.
func (m *Maintainer) remove(ctx context.Context, live *unstructured.Unstructured) error {
	uid, version := live.GetUID(), live.GetResourceVersion()
	err := m.cfg.Client.Delete(ctx, live, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
