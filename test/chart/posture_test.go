// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// pods are the pod templates of a render, hooks too, by kind and name.
func pods(t *testing.T, r *Rendered) map[string]corev1.PodSpec {
	t.Helper()
	texts := map[string]string{}
	for _, m := range r.Objects {
		texts[m.Head.Kind+"/"+m.Head.Metadata.Name] = m.Content
	}
	for _, h := range r.Hooks {
		texts[h.Kind+"/"+h.Name] = h.Manifest
	}
	out := map[string]corev1.PodSpec{}
	for name, text := range texts {
		kind, _, _ := strings.Cut(name, "/")
		var spec corev1.PodSpec
		switch kind {
		case "Deployment":
			spec = decode[appsv1.Deployment](t, text).Spec.Template.Spec
		case "StatefulSet":
			spec = decode[appsv1.StatefulSet](t, text).Spec.Template.Spec
		case "DaemonSet":
			spec = decode[appsv1.DaemonSet](t, text).Spec.Template.Spec
		case "Job":
			spec = decode[batchv1.Job](t, text).Spec.Template.Spec
		default:
			continue
		}
		out[name] = spec
	}
	return out
}

// decode refuses fields that Kubernetes does not know.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var out T
	if err := yaml.UnmarshalStrict([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPosture holds, of every set, that nothing has a right that it does not use.
func TestPosture(t *testing.T) {
	for set, values := range sets(t) {
		for name, pod := range pods(t, render(t, Release{Values: values})) {
			t.Run(set+"/"+name, func(t *testing.T) {
				checkPod(t, pod, name == "DaemonSet/podid-agent")
			})
		}
	}
}

func checkPod(t *testing.T, pod corev1.PodSpec, agent bool) {
	t.Helper()
	if pod.SecurityContext == nil || pod.SecurityContext.SeccompProfile == nil || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Error("no seccomp profile")
	}
	if nonRoot := pod.SecurityContext.RunAsNonRoot; !agent && (nonRoot == nil || !*nonRoot || *pod.SecurityContext.RunAsUser == 0) {
		t.Error("may be root")
	}
	if pod.HostNetwork != agent || pod.HostPID || pod.HostIPC {
		t.Errorf("host's network %v, PIDs %v, IPC %v", pod.HostNetwork, pod.HostPID, pod.HostIPC)
	}
	if pod.PriorityClassName == "" {
		t.Error("no priority class")
	}
	may := map[string][]corev1.Capability{"initialize": {"NET_ADMIN"}, "agent": {"NET_BIND_SERVICE"}}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		s := c.SecurityContext
		if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.Privileged != nil && *s.Privileged {
			t.Fatalf("%s: security context %+v", c.Name, s)
		}
		if !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s drops %v only", c.Name, s.Capabilities.Drop)
		}
		allowed := may[c.Name]
		if slices.Contains(c.Args, "--set-up-link") {
			allowed = append(slices.Clone(allowed), "NET_ADMIN")
		}
		if !slices.Equal(s.Capabilities.Add, allowed) {
			t.Errorf("%s has %v, want %v", c.Name, s.Capabilities.Add, allowed)
		}
		if c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s has no request or limit of memory", c.Name)
		}
		if agent && len(c.Ports) > 0 {
			t.Errorf("%s declares ports %v, which on the host's network are taken from all of its addresses", c.Name, c.Ports)
		}
	}
	if agent && !slices.ContainsFunc(pod.Tolerations, func(x corev1.Toleration) bool { return x.Key == "" && x.Operator == corev1.TolerationOpExists }) {
		t.Error("does not tolerate everything")
	}
}
