// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package whole

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"podid/test/cluster/apiserver"
)

// TestSeed is the textbook: an association by CLI, a pod with AWS' unmodified
// SDK, the webhook, the kubelet's token, the node's agent, and the identity with its six tags.
func TestSeed(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.ServiceAccount(t, ns, "s3-app", nil)
	role := "s3-app-" + ns
	lab.associate(t, ns, "s3-app", role)
	made := lab.run(t, ns, newPod("s3-app", "s3-app"))
	if !isInjected(made) {
		t.Fatalf("the webhook left the pod alone: %+v", made.Spec)
	}
	got := lab.waitLine(t, time.Minute, ns, "s3-app", "the pod's identity", func(l line) bool { return l.Arn != "" })
	if want := fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/eks-%s-", account, role, clusterName); !strings.HasPrefix(got.Arn, want) {
		t.Errorf("the pod is %s, not %s…", got.Arn, want)
	}
	want := []sessionTag{
		{"eks-cluster-arn", fmt.Sprintf("arn:aws:eks:%s:%s:cluster/%s", region, account, clusterName)},
		{"eks-cluster-name", clusterName},
		{"kubernetes-namespace", ns},
		{"kubernetes-service-account", "s3-app"},
		{"kubernetes-pod-name", "s3-app"},
		{"kubernetes-pod-uid", string(made.UID)},
	}
	if tags := lab.issued(t, got.AccessKeyID); !slices.Equal(tags, want) {
		t.Errorf("the session's tags are %v, not %v", tags, want)
	}
}

type sessionTag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// issued are the tags of a session by the control plane's audit log.
func (b *bed) issued(t *testing.T, accessKeyID string) (tags []sessionTag) {
	t.Helper()
	apiserver.Eventually(t, 20*time.Second, "the audit line of "+accessKeyID, func(ctx context.Context) error {
		text, err := b.log(ctx, system, "podid-0", "podid")
		if err != nil {
			return err
		}
		for raw := range strings.Lines(text) {
			var e struct {
				EventName string `json:"eventName"`
				Podid     struct {
					AccessKeyIDIssued string       `json:"accessKeyIdIssued"`
					SessionTags       []sessionTag `json:"sessionTags"`
				} `json:"podid"`
			}
			if !strings.Contains(raw, accessKeyID) || json.Unmarshal([]byte(raw), &e) != nil {
				continue // not about this session, or no audit line
			}
			if e.Podid.AccessKeyIDIssued == accessKeyID && e.EventName == "AssumeRoleForPodIdentity" {
				tags = e.Podid.SessionTags
				return nil
			}
		}
		return fmt.Errorf("no line among %d bytes", len(text))
	})
	return tags
}

// isInjected tells whether the webhook has given a pod's first container what the SDKs look for.
func isInjected(p *corev1.Pod) bool {
	return environment(p, "AWS_CONTAINER_CREDENTIALS_FULL_URI") == agentURL &&
		slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == tokenName && v.Projected != nil })
}

func environment(p *corev1.Pod, name string) string {
	for _, e := range p.Spec.Containers[0].Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// TestUntouched: a pod without an association is as it was written.
func TestUntouched(t *testing.T) {
	ns := lab.namespace(t, nil)
	made := lab.run(t, ns, newPod("plain", "default"))
	wrote := newPod("plain", "default")
	if len(made.Spec.Containers[0].Env) != len(wrote.Spec.Containers[0].Env) || slices.ContainsFunc(made.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == tokenName }) {
		t.Errorf("a pod without an association was changed: %+v", made.Spec)
	}
	lab.waitLine(t, time.Minute, ns, "plain", "the SDK to find nothing", func(l line) bool {
		return strings.Contains(l.Error, "get credentials") || strings.Contains(l.Error, "no EC2 IMDS")
	})
}

// TestMissed: an association that comes after the pod is told by an Event, and counted until the pod is made anew.
func TestMissed(t *testing.T) {
	ns := lab.namespace(t, nil)
	made := lab.run(t, ns, newPod("early", "default"))
	lab.associate(t, ns, "default", "missed-"+ns)
	told := lab.event(t, ns, made, "NotInjected")
	if !strings.Contains(told, "delete pod early") {
		t.Errorf("the Event does not say what to do: %s", told)
	}
	lab.waitMetric(t, "podid_operator_missed_pods", func(v float64) bool { return v >= 1 })
	if _, err := lab.kubectl(t.Context(), "-n", ns, "delete", "pod", "early", "--wait"); err != nil {
		t.Fatal(err)
	}
	lab.expect(t, ns, "early", "missed-"+ns)
	lab.waitMetric(t, "podid_operator_missed_pods", func(v float64) bool { return v == 0 })
}

// TestRestricted: a namespace that enforces the strictest of the Pod Security
// Standards accepts what the webhook made of a pod, and a process that is not root reads the token.
func TestRestricted(t *testing.T) {
	ns := lab.namespace(t, map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest", "podid.dev/injection": "required",
	})
	lab.associate(t, ns, "default", "restricted-"+ns)
	made := lab.run(t, ns, newPod("app", "default"))
	if !isInjected(made) {
		t.Fatalf("the webhook left the pod alone: %+v", made.Spec)
	}
	lab.waitLine(t, time.Minute, ns, "app", "the pod's identity", func(l line) bool { return l.Arn != "" })
}

// TestDeletedAssociation: with its association gone, a pod gets no credentials at its next exchange, and an Event says why.
func TestDeletedAssociation(t *testing.T) {
	ns := lab.namespace(t, nil)
	lab.associate(t, ns, "default", "deleted-"+ns)
	made := lab.run(t, ns, newPod("app", "default", running("credentials", "1s")))
	lab.waitLine(t, time.Minute, ns, "app", "credentials", func(l line) bool { return l.AccessKeyID != "" })
	lab.must(t, "delete", "podidentityassociation", "--cluster", clusterName, "--namespace", ns, "--service-account-name", "default")
	got := lab.waitLine(t, time.Minute, ns, "app", "a refusal", func(l line) bool { return l.Error != "" })
	if !strings.Contains(got.Error, "ResourceNotFoundException") {
		t.Errorf("the pod is told %s", got.Error)
	}
	if told := lab.event(t, ns, made, "CredentialsRefused"); !strings.Contains(told, "association-not-found") {
		t.Errorf("the Event says %s", told)
	}
}
