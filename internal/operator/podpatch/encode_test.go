// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podpatch_test

import (
	"encoding/json"
	"testing"

	"podid/internal/operator/podpatch"
)

// FuzzAppendJSON: a patch is written to the byte as encoding/json writes it.
func FuzzAppendJSON(f *testing.F) {
	f.Add("app", "10.0.0.0/8", "arn:aws:iam::111122223333:role/r", "", uint8(0))
	f.Add("a\"\\<&>", "\x00\u2028\xff", "ä", "eu-west-1", uint8(255))
	f.Fuzz(func(t *testing.T, name, noProxy, role, region string, bits uint8) {
		p := podpatch.Patcher{Settings: podpatch.DefaultSettings(), Jitter: func(n int64) int64 { return n / 2 }}
		p.Settings.Region, p.Settings.RegionalSTS, p.Settings.DisableIMDS = region, bits&1 != 0, bits&2 != 0
		if bits&4 != 0 {
			p.Settings.CA = podpatch.CA{ConfigMap: name, Key: region}
		}
		pod := podpatch.Pod{Spec: podpatch.Spec{Containers: []podpatch.Container{{Name: name, Env: []podpatch.EnvVar{{Name: "NO_PROXY", Value: noProxy}}}, {Name: "b"}}}}
		if bits&8 != 0 {
			pod.Spec.InitContainers = []podpatch.Container{{Name: "c", VolumeMounts: []podpatch.Mount{{Name: name}}}}
			pod.Metadata.Labels = map[string]string{name: "x"}
		}
		if bits&16 != 0 {
			pod.Spec.Volumes = []podpatch.Volume{{Name: name}}
		}
		if bits&32 != 0 {
			pod.Spec.OS.Name = "windows"
		}
		id := podpatch.Identity{Kind: podpatch.PodIdentity}
		if bits&64 != 0 {
			id = podpatch.Identity{Kind: podpatch.WebIdentity, RoleARN: role, Annotations: map[string]string{podpatch.AnnotationAudience: name}}
		}
		patch := p.Patch(&pod, id)
		want, err := json.Marshal(patch.Ops)
		if err != nil {
			t.Fatal(err)
		}
		got, err := patch.AppendJSON(nil)
		if err != nil || string(got) != string(want) && len(patch.Ops) > 0 {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
	})
}
