// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

const root = "../.."

var chartDir = filepath.Join(root, ChartDir)

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name) //nolint:gosec // the test's own
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sets are the value sets under testdata/values.
func sets(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no value sets: %v", err)
	}
	out := map[string]map[string]any{}
	for _, f := range files {
		values := map[string]any{}
		if err := yaml.UnmarshalStrict(readFile(t, f), &values); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out[strings.TrimSuffix(filepath.Base(f), ".yaml")] = values
	}
	return out
}

func render(t *testing.T, r Release) *Rendered {
	t.Helper()
	out, err := Render(chartDir, r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestGolden(t *testing.T) {
	for name, values := range sets(t) {
		t.Run(name, func(t *testing.T) {
			r := render(t, Release{Values: values})
			var got bytes.Buffer
			if err := r.Write(&got); err != nil {
				t.Fatal(err)
			}
			for _, h := range r.Hooks {
				got.WriteString("---\n# hook " + h.Path + "\n" + strings.TrimSpace(h.Manifest) + "\n")
			}
			got.WriteString("---\n# NOTES.txt\n# " + strings.ReplaceAll(strings.TrimSpace(r.Notes), "\n", "\n# ") + "\n")
			file := filepath.Join("testdata/golden", name+".yaml")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(readFile(t, file)); want != got.String() {
				t.Errorf("%s differs, go test -update writes it anew; the first line that does:\n%s", file, firstDifference(want, got.String()))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			return "want " + strings.Join(w[min(i, len(w)):min(i+1, len(w))], "") + "\ngot  " + g[i]
		}
	}
	return "got ends early"
}

func TestLint(t *testing.T) {
	version, err := chartutil.ParseKubeVersion(KubeVersion)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range sets(t) {
		t.Run(name, func(t *testing.T) {
			for _, m := range lint.AllWithKubeVersion(chartDir, values, "default", version).Messages {
				if m.Severity > support.InfoSev {
					t.Errorf("%s: %v", m.Path, m.Err)
				}
			}
		})
	}
}

// TestManifest holds that what `kubectl apply` takes is what `helm install` sends.
func TestManifest(t *testing.T) {
	var want bytes.Buffer
	if err := Manifest(chartDir, &want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want.Bytes(), readFile(t, filepath.Join(root, ManifestFile))) {
		t.Errorf("%s is out of date: make manifest", ManifestFile)
	}
	var hook bytes.Buffer
	if err := Uninstall(chartDir, &hook); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(hook.Bytes(), readFile(t, filepath.Join(root, UninstallFile))) {
		t.Errorf("%s is out of date: make manifest", UninstallFile)
	}
	if strings.Contains(hook.String(), "helm.sh/hook") || strings.Count(hook.String(), "\nkind: ") != 6 {
		t.Errorf("%s is not the six objects of the hook without its annotations:\n%s", UninstallFile, hook.String())
	}
	var helm bytes.Buffer
	if err := render(t, Release{}).Write(&helm); err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(strings.TrimPrefix(want.String(), manifestHead), "managed-by: kubectl", "managed-by: Helm"); got != helm.String() {
		t.Errorf("the manifest is not the default render: %s", firstDifference(helm.String(), got))
	}
}

func TestCRDs(t *testing.T) {
	want, err := os.ReadDir(filepath.Join(root, CRDSource))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadDir(filepath.Join(root, CRDCopy))
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != len(got) {
		t.Errorf("%d definitions, and %d in the chart: make manifest", len(want), len(got))
	}
	for _, f := range want {
		if !bytes.Equal(readFile(t, filepath.Join(root, CRDSource, f.Name())), readFile(t, filepath.Join(root, CRDCopy, f.Name()))) {
			t.Errorf("%s of the chart is out of date: make manifest", f.Name())
		}
	}
}
