// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo walks through the textbook example on one machine, with the
// programs that a user has: podid and a sample pod. It prints each command and
// what it came to, checks every step, and exits 0 only when all are as they
// should be. It holds no part of the product.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo: FAILED:", err)
		os.Exit(1)
	}
	fmt.Println("\ndemo: every step is as it should be")
}

// The textbook's names.
const (
	cluster   = "my-cluster"
	namespace = "s3-app-ns"
	account   = "s3-app-sa"
	role      = "s3-app-eks-pod-identity-role"
	readOnly  = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
)

func run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	bin, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "podid-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &stage{dir: filepath.Join(dir, "state"), podid: filepath.Join(filepath.Dir(bin), "podid"), app: filepath.Join(filepath.Dir(bin), "s3app")}
	stopServer, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopServer()) }()
	for n, act := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"Bind a role to a service account, as with eksctl", s.associate},
		{"An unmodified AWS SDK program, posing as a pod, gets the role", s.runPod},
		{"What the session may do, and which policy decides", s.decisions},
		{"One role for several service accounts, namespaces and clusters", s.share},
		{"Refused: a service account without an association", s.noAssociation},
		{"Refused: a trust policy that wants another aws:SourceAccount", s.otherAccount},
		{"Refused: a forged token", s.forgedToken},
	} {
		fmt.Printf("\n== %d. %s\n", n+1, act.title)
		if err := act.play(ctx); err != nil {
			return fmt.Errorf("step %d (%s): %w", n+1, act.title, err)
		}
	}
	return nil
}
