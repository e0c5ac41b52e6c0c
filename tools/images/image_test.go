// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// compile builds a small static program with a dependency, as NAME for this architecture.
func compile(t *testing.T, dir string, names ...string) {
	t.Helper()
	arch := "linux-" + runtime.GOARCH
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(dir, arch, names[0]), "./testdata/program")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, arch, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names[1:] {
		if err := os.WriteFile(filepath.Join(dir, arch, name), text, 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
}

func buildAll(t *testing.T, bin string) string {
	t.Helper()
	out := t.TempDir()
	err := run([]string{
		"-bin", bin, "-out", out, "-platforms", "linux/" + runtime.GOARCH, "-repository", "registry.example/team", "-tag", "1.2.3",
		"-version", "v1.2.3", "-commit", "abc", "-created", "1700000000", "podid", "podid-agent",
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImages(t *testing.T) {
	bin := t.TempDir()
	compile(t, bin, "podid", "podid-agent")
	out, again := buildAll(t, bin), buildAll(t, bin)
	arch := "linux-" + runtime.GOARCH
	t.Run("the same bytes again", func(t *testing.T) {
		for _, name := range []string{"podid-" + arch + ".tar", "podid-" + arch + ".spdx.json", "podid.oci.tar", "podid-agent-" + arch + ".tar"} {
			if !bytes.Equal(read(t, filepath.Join(out, name)), read(t, filepath.Join(again, name))) {
				t.Errorf("%s differs", name)
			}
		}
	})
	for name, user := range map[string]string{"podid": "65532:65532", "podid-agent": "0:0"} {
		t.Run(name, func(t *testing.T) {
			img, err := tarball.ImageFromPath(filepath.Join(out, name+"-"+arch+".tar"), nil)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Config.User != user || !slices.Equal(cfg.Config.Entrypoint, []string{"/" + name}) || cfg.Architecture != runtime.GOARCH || cfg.OS != "linux" {
				t.Errorf("config %+v of %s/%s", cfg.Config, cfg.OS, cfg.Architecture)
			}
			if got := cfg.Config.Labels["org.opencontainers.image.version"] + cfg.Config.Labels["org.opencontainers.image.revision"]; got != "v1.2.3abc" {
				t.Errorf("labels %v", cfg.Config.Labels)
			}
			if !cfg.Created.Equal(time.Unix(1700000000, 0)) {
				t.Errorf("created %v", cfg.Created)
			}
			var manifest []struct{ RepoTags []string }
			if err := json.Unmarshal(members(t, filepath.Join(out, name+"-"+arch+".tar"))["manifest.json"], &manifest); err != nil {
				t.Fatal(err)
			}
			if want := "registry.example/team/" + name + ":1.2.3"; !slices.Equal(manifest[0].RepoTags, []string{want}) {
				t.Errorf("tags %v, want %s", manifest[0].RepoTags, want)
			}
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]bool{}
			for _, l := range layers {
				r, err := l.Uncompressed()
				if err != nil {
					t.Fatal(err)
				}
				for path := range contents(t, r) {
					files[path] = true
				}
			}
			for _, want := range []string{name, "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "tmp/"} {
				if !files[want] {
					t.Errorf("no %s in %v", want, files)
				}
			}
		})
	}
	t.Run("layout", func(t *testing.T) {
		dir := t.TempDir()
		for path, text := range members(t, filepath.Join(out, "podid.oci.tar")) {
			if strings.HasSuffix(path, "/") {
				continue
			}
			file := filepath.Join(dir, path)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, text, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		index, err := layout.ImageIndexFromPath(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Manifests) != 1 || m.Manifests[0].Annotations["io.containerd.image.name"] != "registry.example/team/podid:1.2.3" {
			t.Errorf("index %+v", m.Manifests)
		}
	})
}

func TestRefusals(t *testing.T) {
	bin := t.TempDir()
	compile(t, bin, "podid")
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	if err := os.CopyFS(filepath.Join(bin, "linux-"+other), os.DirFS(filepath.Join(bin, "linux-"+runtime.GOARCH))); err != nil {
		t.Fatal(err)
	}
	base := []string{"-bin", bin, "-out", t.TempDir(), "-repository", "registry.example", "-tag", "1"}
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"platform", append(base, "-platforms", "windows/amd64", "podid"), "want linux/ARCH"},
		{"no platform", append(base, "-platforms", "", "podid"), "no platform"},
		{"another machine's binary", append(base, "-platforms", "linux/"+other, "podid"), "is for EM_"},
		{"no binary", append(base, "podid-agent"), "no such file"},
		{"no name", base, "NAME is missing"},
		{"bad tag", []string{"-bin", bin, "-out", t.TempDir(), "-repository", "registry.example", "-tag", "a b", "podid"}, "tag"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := run(tc.args); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestSBOM(t *testing.T) {
	bin := t.TempDir()
	compile(t, bin, "podid")
	out := buildAllOf(t, bin)
	var doc spdxDocument
	if err := json.Unmarshal(read(t, filepath.Join(out, "podid-linux-"+runtime.GOARCH+".spdx.json")), &doc); err != nil {
		t.Fatal(err)
	}
	ids, urls := map[string]bool{}, []string{}
	for _, p := range doc.Packages {
		if ids[p.ID] || notID.MatchString(p.ID) {
			t.Errorf("identifier %q is not one, or not unique", p.ID)
		}
		ids[p.ID] = true
		for _, r := range p.References {
			urls = append(urls, r.Locator)
		}
	}
	if doc.Version != "SPDX-2.3" || !strings.Contains(strings.Join(urls, " "), "pkg:golang/golang.org/x/crypto/x509roots/fallback@v0.0.0") {
		t.Errorf("%s with %v", doc.Version, urls)
	}
	for _, r := range doc.Relationships {
		if r.From != documentID && !ids[r.From] || !ids[r.To] {
			t.Errorf("relationship %+v names what is not there", r)
		}
	}
}

func buildAllOf(t *testing.T, bin string) string {
	t.Helper()
	out := t.TempDir()
	if err := run([]string{"-bin", bin, "-out", out, "-platforms", "linux/" + runtime.GOARCH, "-repository", "registry.example", "-tag", "1", "podid"}); err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // the test's own
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func members(t *testing.T, file string) map[string][]byte {
	t.Helper()
	return contents(t, bytes.NewReader(read(t, file)))
}

func contents(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if out[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}
