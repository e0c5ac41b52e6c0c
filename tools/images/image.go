// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nonRoot is the user of every image but the agent's, as a number: kubelet's runAsNonRoot can judge a number only.
const nonRoot = "65532:65532"

// root is the agent's: it binds port 80 of the node, and a hand-over between two agents is for root only.
const root = "0:0"

// agent is the binary that runs as root.
const agent = "podid-agent"

// machines are the ELF machines of architectures that podid is built for.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390, "ppc64le": elf.EM_PPC64,
}

type platformImage struct {
	platform platform
	image    v1.Image
}

func reference(o *options, binary string) (name.Tag, error) {
	return name.NewTag(o.repository+"/"+binary+":"+o.tag, name.StrictValidation)
}

// newImage is the image of one binary: the binary, the public CAs, two users and /tmp. There is no shell.
func newImage(o *options, binary string, p platform, file string) (v1.Image, error) {
	if err := checkBinary(file, p); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(file) //nolint:gosec // the user names the file
	if err != nil {
		return nil, err
	}
	base, err := layerOf(baseFiles(), o.created)
	if err != nil {
		return nil, err
	}
	top, err := layerOf([]entry{{binary, 0o755, program}}, o.created)
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), base, top)
	if err != nil {
		return nil, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture, cfg.Created, cfg.Author = p.os, p.arch, v1.Time{Time: o.created}, "The podid Authors"
	cfg.History = []v1.History{
		{Created: cfg.Created, CreatedBy: "certificate authorities, users, /tmp"},
		{Created: cfg.Created, CreatedBy: "/" + binary},
	}
	cfg.Config = v1.Config{
		Entrypoint: []string{"/" + binary}, User: userOf(binary), WorkingDir: "/", Labels: labels(o, binary),
		Env: []string{"PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
	}
	return mutate.ConfigFile(img, cfg)
}

func userOf(binary string) string {
	if binary == agent {
		return root
	}
	return nonRoot
}

func labels(o *options, binary string) map[string]string {
	describe := map[string]string{
		"podid":          "EKS Pod Identity for any Kubernetes: the control plane and the command line",
		"podid-agent":    "EKS Pod Identity for any Kubernetes: the node agent",
		"podid-operator": "EKS Pod Identity for any Kubernetes: webhook and controllers",
	}
	return map[string]string{
		"org.opencontainers.image.title":       binary,
		"org.opencontainers.image.description": describe[binary],
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.vendor":      "The podid Authors",
		"org.opencontainers.image.source":      o.source,
		"org.opencontainers.image.version":     o.version,
		"org.opencontainers.image.revision":    o.commit,
		"org.opencontainers.image.created":     o.created.Format(time.RFC3339),
	}
}

// checkBinary refuses what could not run in an image from scratch.
func checkBinary(file string, p platform) error {
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	want, ok := machines[p.arch]
	if !ok {
		return fmt.Errorf("architecture %s is not known", p.arch)
	}
	if f.Machine != want {
		return fmt.Errorf("%s is for %v", file, f.Machine)
	}
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static: build with CGO_ENABLED=0", file)
		}
	}
	return nil
}

// An entry is a file, or a directory where the mode says so.
type entry struct {
	path string
	mode fs.FileMode
	text []byte
}

func baseFiles() []entry {
	return []entry{
		{"etc", fs.ModeDir | 0o755, nil},
		{"etc/group", 0o644, []byte("root:x:0:\nnonroot:x:65532:\n")},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")},
		{"etc/ssl", fs.ModeDir | 0o755, nil},
		{"etc/ssl/certs", fs.ModeDir | 0o755, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, authorities()},
		{"tmp", fs.ModeDir | fs.ModeSticky | 0o777, nil},
	}
}

// authorities are Mozilla's, from a module with a pinned sum, so that images do not depend on the machine that builds them.
// One that Mozilla trusts for a part only (until some day) is left out: a PEM file cannot say that.
func authorities() []byte {
	var out bytes.Buffer
	for r := range bundle.Roots() {
		if r.Constraint == nil {
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate}) // a buffer takes everything
		}
	}
	return out.Bytes()
}

func layerOf(entries []entry, at time.Time) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.path, Size: int64(len(e.text)), Mode: int64(e.mode.Perm()), ModTime: at, Format: tar.FormatPAX}
		if e.mode.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, e.path+"/"
		}
		if e.mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// writeArchive writes docker's format, which containerd reads too.
func writeArchive(file string, ref name.Tag, img v1.Image) error {
	return replace(file, func(w io.Writer) error { return tarball.Write(ref, img, w) })
}

// writeLayout writes one index of all platforms as a tar of an OCI layout.
func writeLayout(file string, ref name.Tag, images []platformImage, at time.Time) (err error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: i.image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: i.platform.os, Architecture: i.platform.arch}},
		})
	}
	dir, err := os.MkdirTemp("", "podid-layout-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	// The first is what the specification names, for tools of registries; the second is what containerd names the image by.
	err = path.AppendIndex(index, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": ref.TagStr(), "io.containerd.image.name": ref.String(),
	}))
	if err != nil {
		return err
	}
	return replace(file, func(w io.Writer) error { return tarDirectory(w, dir, at) })
}

// tarDirectory writes a directory in the order of its names, with one time and one owner.
func tarDirectory(w io.Writer, dir string, at time.Time) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(rel), Mode: 0o644, ModTime: at, Format: tar.FormatPAX}
		if d.IsDir() {
			h.Typeflag, h.Name, h.Mode = tar.TypeDir, h.Name+"/", 0o755
			return t.WriteHeader(h)
		}
		text, err := os.ReadFile(path) //nolint:gosec // a file that this program just wrote
		if err != nil {
			return err
		}
		h.Size = int64(len(text))
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err = t.Write(text)
		return err
	})
	return errors.Join(err, t.Close())
}

// replace writes a file as a whole or not at all.
func replace(file string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".images-*")
	if err != nil {
		return err
	}
	if err = errors.Join(write(f), f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
