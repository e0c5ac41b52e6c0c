// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/rogpeppe/go-internal/testscript"

	"podid/internal/cli/clients"
	"podid/internal/dev"
)

// TestMain lets scripts run the program itself, and two helpers that stand
// for a pod's program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"podid": func() { os.Exit(podid()) }, "fetch-credentials": fetchCredentials, "raise": raise})
}

// TestScripts runs testdata/script against one control plane with the local
// clusters my-cluster and other, as `podid dev` has it.
func TestScripts(t *testing.T) {
	env := startDev(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, env...)
			e.Vars = append(e.Vars, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": wantStatus, "user": makeUser, "broken": brokenEndpoint, "kube": startKube},
	})
}

// startDev runs `podid dev` in this process and returns what its env file
// exports. It is stopped before the test ends.
func startDev(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- dev.Run(ctx, dev.Config{
			Dir: dir, Clusters: []string{"my-cluster", "other"}, AccountID: "111122223333", Region: "us-west-2", Listen: "127.0.0.1:0", Release: "test",
			Log: slog.New(slog.DiscardHandler), Out: t.Output(), Now: time.Now, Rand: rand.Reader,
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stop podid dev: %v", err)
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("podid dev: %v", err)
		case <-tick.C:
		}
		text, err := os.ReadFile(filepath.Join(dir, "env"))
		if err != nil {
			continue
		}
		var env []string
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
				name, value, _ := strings.Cut(v, "=")
				env = append(env, name+"="+strings.Trim(value, "'"))
			}
		}
		return env
	}
}

// wantStatus is the command `status N PROGRAM ARG…`: it wants exit status N.
func wantStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var ended *exec.ExitError
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// makeUser is the command `user NAME POLICY-FILE`: the script goes on as a new
// IAM user with that inline policy.
func makeUser(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: user NAME POLICY-FILE")
	}
	ctx := context.Background()
	cfg := aws.Config{
		Region: ts.Getenv("AWS_REGION"), BaseEndpoint: aws.String(ts.Getenv("AWS_ENDPOINT_URL")),
		Credentials: credentials.NewStaticCredentialsProvider(ts.Getenv("AWS_ACCESS_KEY_ID"), ts.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	}
	pem, err := os.ReadFile(ts.Getenv("AWS_CA_BUNDLE"))
	ts.Check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	cfg.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	c := clients.New(cfg).IAM
	_, err = c.CreateUser(ctx, &iam.CreateUserInput{UserName: &args[0]})
	ts.Check(err)
	_, err = c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &args[0], PolicyName: aws.String("test"), PolicyDocument: aws.String(ts.ReadFile(args[1]))})
	ts.Check(err)
	key, err := c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &args[0]})
	ts.Check(err)
	ts.Setenv("AWS_ACCESS_KEY_ID", *key.AccessKey.AccessKeyId)
	ts.Setenv("AWS_SECRET_ACCESS_KEY", *key.AccessKey.SecretAccessKey)
}

// brokenEndpoint is the command `broken`: BROKEN becomes the address of a
// server that drops every connection without an answer.
func brokenEndpoint(ts *testscript.TestScript, _ bool, _ []string) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	ts.Defer(srv.Close)
	ts.Setenv("BROKEN", srv.URL)
}
