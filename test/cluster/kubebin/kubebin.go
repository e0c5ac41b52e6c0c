// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubebin finds the binaries of Kubernetes and etcd that the tests run,
// and builds them from the module hyperkube where they are not in the cache. It
// owns the cache folder: one folder a build, named by all that goes into it, so
// that an old one is never taken for a new one. It refuses a version that no
// go.mod of hyperkube pins.
package kubebin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// Default is the version that is taken when none is named: the oldest that podid supports.
const Default = "1.34.4"

// Environment names the folder of the binaries, for those who have their own.
const Environment = "KUBE_ASSETS"

// modFiles are the go.mod files that pin the versions.
var modFiles = map[string]string{
	Default:  "go.mod",
	"1.37.2": "1.37.2.mod",
}

// names are the links to the one binary: it looks at the name that it is called by.
var names = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"}

// Dir returns the folder of the binaries: the one that KUBE_ASSETS or, as for
// controller-runtime, KUBEBUILDER_ASSETS names, else that of the cached build
// of version, "" for Default. It does not build.
func Dir(version string) (string, error) {
	for _, name := range []string{Environment, "KUBEBUILDER_ASSETS"} {
		if dir := os.Getenv(name); dir != "" {
			if err := complete(dir); err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			return dir, nil
		}
	}
	b, err := plan(version)
	if err != nil {
		return "", err
	}
	if err := complete(b.dir); err != nil {
		return "", fmt.Errorf("find Kubernetes %s (`make test-apiserver` builds it, or set %s): %w", b.version, Environment, err)
	}
	return b.dir, nil
}

// Build returns the folder of version's binaries after making it, if it is not
// there: that takes about ten minutes on two cores. Progress goes to log. Of
// several that want the same build, one makes it and the others wait.
func Build(ctx context.Context, version string, log io.Writer) (string, error) {
	b, err := plan(version)
	if err != nil {
		return "", err
	}
	if complete(b.dir) == nil {
		return b.dir, nil
	}
	parent := filepath.Dir(b.dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	unlock, err := lock(filepath.Join(parent, ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if complete(b.dir) == nil {
		return b.dir, nil
	}
	fmt.Fprintf(log, "building Kubernetes %s into %s: about ten minutes on two cores, once\n", b.version, b.dir)
	return b.dir, b.make(ctx, log)
}

// A build is what one folder of the cache holds.
type build struct {
	version, source, modFile, dir string
}

func plan(version string) (build, error) {
	if version == "" {
		version = Default
	}
	b := build{version: strings.TrimPrefix(version, "v")}
	var ok bool
	if b.modFile, ok = modFiles[b.version]; !ok {
		known := make([]string, 0, len(modFiles))
		for v := range modFiles {
			known = append(known, v)
		}
		slices.Sort(known)
		return build{}, fmt.Errorf("kubernetes %q: want one of %s", version, strings.Join(known, ", "))
	}
	var err error
	if b.source, err = source(); err != nil {
		return build{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return build{}, fmt.Errorf("find the cache folder: %w", err)
	}
	key, err := b.key()
	if err != nil {
		return build{}, err
	}
	b.dir = filepath.Join(cache, "podid-cluster", b.version+"-"+key)
	return b, nil
}

// key is a hash of what the binary is made of: modules, program, Go release, platform.
func (b *build) key() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, name := range []string{b.modFile, strings.TrimSuffix(b.modFile, ".mod") + ".sum", "main.go"} {
		text, err := os.ReadFile(filepath.Join(b.source, name))
		if err != nil {
			return "", fmt.Errorf("read module hyperkube: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n", name, len(text))
		h.Write(text)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:6]), nil
}

// make builds into a folder beside the wanted one and renames it, so that there is never half of a build.
func (b *build) make(ctx context.Context, log io.Writer) error {
	tmp, err := os.MkdirTemp(filepath.Dir(b.dir), ".build-")
	if err != nil {
		return fmt.Errorf("make a folder to build in: %w", err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-modfile="+b.modFile, "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w "+b.stamp(), "-o", filepath.Join(tmp, "hyperkube"), ".")
	cmd.Dir = b.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build hyperkube: %w", err)
	}
	if err := Link(tmp); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil { //nolint:gosec // binaries for everybody
		return err
	}
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	return os.Rename(tmp, b.dir)
}

// Link makes the links to dir/hyperkube.
func Link(dir string) error {
	for _, name := range names {
		if err := os.Symlink("hyperkube", filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

// stamp gives the components their version: without it a kubelet says v0.0.0-master.
func (b *build) stamp() string {
	major, rest, _ := strings.Cut(b.version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for name, value := range map[string]string{"gitVersion": "v" + b.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"} {
			flags = append(flags, fmt.Sprintf("-X %s.%s=%s", pkg, name, value))
		}
	}
	slices.Sort(flags) // the same flags are the same build
	return strings.Join(flags, " ")
}

// source is the folder of the module hyperkube, beside this package: the
// nearest folder upwards that has one, since tests run in their own folders.
func source() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		for _, at := range []string{"hyperkube", "test/cluster/hyperkube"} {
			s := filepath.Join(d, at)
			if _, err := os.Stat(filepath.Join(s, "1.37.2.mod")); err == nil {
				return s, nil
			}
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no folder test/cluster/hyperkube above %s", dir)
		}
	}
}

// complete tells what a folder lacks.
func complete(dir string) error {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the cache folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock the cache folder: %w", errors.Join(err, f.Close()))
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}
