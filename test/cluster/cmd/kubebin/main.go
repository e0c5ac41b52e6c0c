// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubebin prints the folder of the binaries of Kubernetes and etcd for
// the tests, after building them where the cache has none. See package kubebin.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"podid/test/cluster/kubebin"
)

func main() {
	version := flag.String("kubernetes", kubebin.Default, "version to build")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir := os.Getenv(kubebin.Environment)
	if dir == "" {
		var err error
		if dir, err = kubebin.Build(ctx, *version, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, "kubebin:", err)
			os.Exit(1)
		}
	}
	fmt.Println(dir)
}
