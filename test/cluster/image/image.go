// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package image writes the images of the tests' own programs: one static binary
// from scratch, as an archive that containerd imports. The product's images are
// those of `make images`.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Write makes an archive with an image of one program, which runs as user 65532 and is the entry point.
func Write(archive, reference, program string) error {
	text, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read the program of %s: %w", reference, err)
	}
	entry := filepath.Base(program)
	layer, err := pack(file{entry, 0o755, text})
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "created": "1970-01-01T00:00:00Z",
		"config": map[string]any{"Entrypoint": []string{"/" + entry}, "User": "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest, err := json.Marshal([]any{map[string]any{"Config": configName, "RepoTags": []string{reference}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	all, err := pack(file{configName, 0o644, config}, file{"layer.tar", 0o644, layer}, file{"manifest.json", 0o644, manifest})
	if err != nil {
		return err
	}
	return os.WriteFile(archive, all, 0o600)
}

type file struct {
	name string
	mode int64
	text []byte
}

func pack(files ...file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}
