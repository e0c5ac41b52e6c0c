// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podpatch_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"podid/internal/operator/podpatch"
)

var update = flag.Bool("update", false, "write what is got into the cases' files")

// testCase is a file of testdata: a pod before and after. To add one, write a
// file without `want` and run the test with -update.
type testCase struct {
	About    string   `json:"about"`
	Settings settings `json:"settings"`
	Identity identity `json:"identity"`
	Pod      any      `json:"pod"`
	Want     want     `json:"want"`
}

type settings struct {
	CredentialsURI string `json:"credentialsURI,omitempty"`
	Expiration     int    `json:"expirationSeconds,omitempty"`
	Region         string `json:"region,omitempty"`
	RegionalSTS    bool   `json:"regionalSTS,omitempty"`
	DisableIMDS    bool   `json:"disableIMDS,omitempty"`
	STSEndpoint    string `json:"stsEndpoint,omitempty"`
	CA             struct {
		ConfigMap string `json:"configMap,omitempty"`
		Key       string `json:"key,omitempty"`
	} `json:"ca,omitzero"`
	Jitter int64 `json:"jitter,omitempty"`
}

type identity struct {
	Kind        podpatch.Kind     `json:"kind"`
	RoleARN     string            `json:"roleARN,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type want struct {
	Pod      any      `json:"pod"`
	Paths    []string `json:"paths"` // of the operations: nothing else was touched
	Warnings []string `json:"warnings,omitempty"`
}

func (c *testCase) patcher() *podpatch.Patcher {
	s := podpatch.DefaultSettings()
	if c.Settings.CredentialsURI != "" {
		s.CredentialsURI = c.Settings.CredentialsURI
	}
	if c.Settings.Expiration != 0 {
		s.Expiration = time.Duration(c.Settings.Expiration) * time.Second
	}
	s.Region, s.RegionalSTS, s.DisableIMDS, s.STSEndpoint = c.Settings.Region, c.Settings.RegionalSTS, c.Settings.DisableIMDS, c.Settings.STSEndpoint
	s.CA = podpatch.CA(c.Settings.CA)
	return &podpatch.Patcher{Settings: s, Jitter: func(n int64) int64 { return c.Settings.Jitter % n }}
}

// patched applies the patch as an API server does.
func patched(t *testing.T, p *podpatch.Patcher, id podpatch.Identity, pod []byte) ([]byte, podpatch.Patch) {
	t.Helper()
	var typed podpatch.Pod
	if err := json.Unmarshal(pod, &typed); err != nil {
		t.Fatal(err)
	}
	got := p.Patch(&typed, id)
	if len(got.Ops) == 0 {
		return pod, got
	}
	ops, err := json.Marshal(got.Ops)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(ops)
	if err != nil {
		t.Fatal(err)
	}
	out, err := patch.Apply(pod)
	if err != nil {
		t.Fatalf("%v: %s", err, ops)
	}
	return out, got
}

func TestPatch(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) { testFile(t, file) })
	}
}

func testFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c testCase
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		t.Fatal(err)
	}
	p, id := c.patcher(), podpatch.Identity(c.Identity)
	if err := p.Settings.Validate(); err != nil {
		t.Fatal(err)
	}
	pod, err := json.Marshal(c.Pod)
	if err != nil {
		t.Fatal(err)
	}
	after, patch := patched(t, p, id, pod)
	got := want{Warnings: patch.Warnings, Paths: []string{}}
	if err := json.Unmarshal(after, &got.Pod); err != nil {
		t.Fatal(err)
	}
	for _, op := range patch.Ops {
		got.Paths = append(got.Paths, op.Path)
	}
	if *update {
		c.Want = got
		out, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, out, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(c.Want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	// The API server calls again after other webhooks: nothing is left to do.
	if again, patch := patched(t, p, id, after); len(patch.Ops) != 0 {
		t.Errorf("patched twice: %v\n%s", patch.Ops, again)
	}
	if slices.Contains(got.Paths, "/spec/containers") || slices.Contains(got.Paths, "/spec/initContainers") {
		t.Error("a whole list of containers was replaced")
	}
}

func TestSettingsRefused(t *testing.T) {
	for name, change := range map[string]func(*podpatch.Settings){
		"no URI":          func(s *podpatch.Settings) { s.CredentialsURI = "" },
		"relative URI":    func(s *podpatch.Settings) { s.CredentialsURI = "/v1/credentials" },
		"file URI":        func(s *podpatch.Settings) { s.CredentialsURI = "file:///v1" },
		"short life":      func(s *podpatch.Settings) { s.Expiration = 599 * time.Second },
		"long life":       func(s *podpatch.Settings) { s.Expiration = 200 * 365 * 24 * time.Hour },
		"CA without key":  func(s *podpatch.Settings) { s.CA.ConfigMap = "podid-ca" },
		"key without CA":  func(s *podpatch.Settings) { s.CA.Key = "ca.crt" },
		"STS not a URL":   func(s *podpatch.Settings) { s.STSEndpoint = "sts.example.com" },
		"STS unparseable": func(s *podpatch.Settings) { s.STSEndpoint = "https://%" },
	} {
		s := podpatch.DefaultSettings()
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&s)
		if s.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestJitter: at most two hours less, never more.
func TestJitter(t *testing.T) {
	for _, j := range []int64{0, 1, 7200} {
		p := podpatch.Patcher{Settings: podpatch.DefaultSettings(), Jitter: func(n int64) int64 {
			if n != 7201 {
				t.Errorf("asked for a number below %d", n)
			}
			return j
		}}
		out, _ := patched(t, &p, podpatch.Identity{Kind: podpatch.PodIdentity}, []byte(`{"metadata":{},"spec":{"containers":[{"name":"a"}]}}`))
		var pod struct {
			Spec struct {
				Volumes []struct {
					Projected struct {
						Sources []struct {
							ServiceAccountToken struct{ ExpirationSeconds int64 }
						}
					}
				}
			}
		}
		if err := json.Unmarshal(out, &pod); err != nil {
			t.Fatal(err)
		}
		if got := pod.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds; got != 86400-j {
			t.Errorf("jitter %d: %d s", j, got)
		}
	}
}

// FuzzPatch: whatever the pod, the patch applies, and leaves nothing to do.
func FuzzPatch(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		var c testCase
		text, _ := os.ReadFile(file)
		if yaml.Unmarshal(text, &c) == nil {
			pod, _ := json.Marshal(c.Pod)
			f.Add(pod)
		}
	}
	f.Fuzz(func(t *testing.T, pod []byte) {
		var typed podpatch.Pod
		if json.Unmarshal(pod, &typed) != nil || len(typed.Spec.Containers) == 0 {
			return
		}
		// What the API server sends was written by it: names as it spells them, once each.
		if again, err := canonical(pod); err != nil {
			return
		} else {
			pod = again
		}
		p := podpatch.Patcher{Settings: podpatch.DefaultSettings(), Jitter: func(int64) int64 { return 0 }}
		p.Settings.Region, p.Settings.CA = "us-west-2", podpatch.CA{ConfigMap: "podid-ca", Key: "ca.crt"}
		for _, kind := range []podpatch.Kind{podpatch.PodIdentity, podpatch.WebIdentity} {
			after, _ := patched(t, &p, podpatch.Identity{Kind: kind, RoleARN: "arn:aws:iam::111122223333:role/r"}, pod)
			if _, patch := patched(t, &p, podpatch.Identity{Kind: kind}, after); len(patch.Ops) != 0 {
				t.Errorf("%s: patched twice: %v", kind, patch.Ops)
			}
		}
	})
}

// canonical writes a pod as something that read it into the API's types would.
func canonical(pod []byte) ([]byte, error) {
	var typed podpatch.Pod
	if err := json.Unmarshal(pod, &typed); err != nil {
		return nil, err
	}
	return json.Marshal(typed)
}

func BenchmarkPatch(b *testing.B) {
	p := podpatch.Patcher{Settings: podpatch.DefaultSettings(), Jitter: func(int64) int64 { return 0 }}
	pod := podpatch.Pod{Spec: podpatch.Spec{
		Containers: []podpatch.Container{{Name: "a", Env: []podpatch.EnvVar{{Name: "X"}}}, {Name: "b"}}, InitContainers: []podpatch.Container{{Name: "c"}},
		Volumes: []podpatch.Volume{{Name: "v"}},
	}}
	b.ReportAllocs()
	for b.Loop() {
		if got := p.Patch(&pod, podpatch.Identity{Kind: podpatch.PodIdentity}); len(got.Ops) == 0 {
			b.Fatal("nothing to do")
		}
	}
}
