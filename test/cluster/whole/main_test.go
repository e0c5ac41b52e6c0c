// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package whole is the proof: podid in a real cluster of two nodes, with the
// kubelet's tokens, containers, and AWS' SDK in pods that know nothing of podid.
// `make test-cluster` builds what it needs and names it in the environment.
package whole

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"podid/test/cluster/image"
	"podid/test/cluster/node"
	"podid/test/cluster/sandbox"
)

// startLimit is how long all that comes before the first test may take.
const startLimit = 8 * time.Minute

// lab is the cluster of all tests: each has namespaces of its own there.
var lab *bed

func TestMain(m *testing.M) {
	os.Exit(sandbox.Enter(node.Groups(), func() int {
		code, err := run(m)
		if err != nil {
			fmt.Fprintln(os.Stderr, "set up the cluster:", err)
			return 1
		}
		return code
	}))
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	say := node.Since(func(text string) { fmt.Println(text) })
	bin := os.Getenv("PODID_BIN")
	if bin == "" {
		return 1, errors.New("PODID_BIN is not set: run `make test-cluster`")
	}
	images, err := archives(bin)
	if err != nil {
		return 1, err
	}
	cluster, err := node.StartCluster(ctx, 2, images, say)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	lab = &bed{Cluster: cluster, bin: bin}
	if err := lab.install(ctx, say); err != nil {
		return 1, errors.Join(err, errors.New(lab.describe(context.WithoutCancel(ctx), system)))
	}
	code = m.Run()
	if code != 0 {
		fmt.Println(lab.describe(context.Background(), system))
	}
	return code, nil
}

// archives are the images: the product's, and that of the pods.
func archives(bin string) ([]string, error) {
	product, err := filepath.Glob(filepath.Join(bin, "images", "*-linux-"+architecture+".tar"))
	if err != nil {
		return nil, err
	}
	if len(product) != 3 {
		return nil, fmt.Errorf("%d images for %s in %s/images instead of 3: run `make test-cluster`", len(product), architecture, bin)
	}
	dir, err := os.MkdirTemp("", "podid-images-")
	if err != nil {
		return nil, err
	}
	app := filepath.Join(dir, "app.tar")
	return append(product, app), image.Write(app, node.PauseImage, filepath.Join(bin, "test", "app"))
}
