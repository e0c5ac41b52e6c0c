// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// clusterName and otherName are the local clusters of `podid dev`. The first one's API server is the suite's.
const (
	clusterName = "my-cluster"
	otherName   = "other"
	fullName    = "full" // of the row that fills it
)

// A bed is a running `podid dev`, and what is known of it.
type bed struct {
	o       options
	dir     string
	env     map[string]string // what podid dev exports
	roots   *x509.CertPool    // those of podid
	ca      *authority        // of witnesses and of the API server
	bundle  string            // file of both CAs
	kube    *kubeAPI
	account string
	filling sync.Mutex
	full    bool // fullName has all that it may have
	region  string
	stderr  io.Writer
	server  *exec.Cmd
	log     *os.File
	ended   chan error
}

// newBed starts podid dev and waits until it is ready.
func newBed(ctx context.Context, o options, stderr io.Writer) (b *bed, err error) {
	path, err := filepath.Abs(o.podid)
	if err != nil {
		return nil, err
	}
	o.podid = path
	b = &bed{o: o, stderr: stderr, ended: make(chan error, 1)}
	if b.dir, err = os.MkdirTemp("", "podid-conformance-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.log, err = os.Create(b.path("log")); err != nil {
		return b, err
	}
	b.server = exec.CommandContext(ctx, o.podid, "dev", "--dir", b.path("state"), "--clusters", strings.Join([]string{clusterName, otherName, fullName}, ","), "--association-limit", strconv.Itoa(associationLimit))
	b.server.Env = b.plainEnv()
	b.server.Stdout, b.server.Stderr = b.log, b.log
	b.server.Cancel = func() error { return b.server.Process.Signal(syscall.SIGTERM) }
	b.server.WaitDelay = 10 * time.Second
	if err := b.server.Start(); err != nil {
		b.server = nil
		return b, fmt.Errorf("start podid (make build makes it): %w", err)
	}
	go func() { b.ended <- b.server.Wait() }()
	if err := b.ready(ctx); err != nil {
		return b, err
	}
	return b, b.prepare(ctx)
}

// ready waits for the file that podid dev writes last.
func (b *bed) ready(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		env, err := readEnv(b.path("state", "env"))
		if err == nil {
			b.env, b.region = env, env["AWS_REGION"]
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-tick.C:
		case err := <-b.ended:
			b.server = nil
			return fmt.Errorf("podid dev ended before it was ready: %w\n%s", err, b.logEnd())
		case <-limit:
			return fmt.Errorf("podid dev was not ready after 30 s\n%s", b.logEnd())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readEnv reads the exports of a shell file: export NAME='value'.
func readEnv(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		if name, value, ok := strings.Cut(strings.TrimPrefix(sc.Text(), "export "), "='"); ok && strings.HasPrefix(sc.Text(), "export ") {
			env[name] = strings.TrimSuffix(value, "'")
		}
	}
	return env, nil
}

// prepare makes the suite's own CA and API server, and tells podid where the cluster's API server is.
func (b *bed) prepare(ctx context.Context) error {
	theirs, err := os.ReadFile(b.env["AWS_CA_BUNDLE"])
	if err != nil {
		return err
	}
	b.roots = x509.NewCertPool()
	if !b.roots.AppendCertsFromPEM(theirs) {
		return fmt.Errorf("%s holds no certificate", b.env["AWS_CA_BUNDLE"])
	}
	if b.ca, err = newAuthority(time.Now()); err != nil {
		return err
	}
	b.bundle = b.path("bundle.pem")
	if err := os.WriteFile(b.bundle, append(theirs, b.ca.pem...), 0o600); err != nil {
		return err
	}
	if b.kube, err = newKubeAPI(b.ca); err != nil {
		return err
	}
	caFile := b.path("kube-ca.pem")
	if err := os.WriteFile(caFile, b.ca.pem, 0o600); err != nil {
		return err
	}
	if _, err := b.podid(ctx, "update", "cluster", clusterName, "--endpoint", b.kube.url, "--ca", caFile, "--kubernetes-version", "1.34"); err != nil {
		return err
	}
	arn, err := b.podid(ctx, "get", "cluster", clusterName, "-o", "json")
	if err != nil {
		return err
	}
	var c struct{ ARN string }
	if err := decode([]byte(arn), &c); err != nil {
		return err
	}
	parts := strings.Split(c.ARN, ":")
	if len(parts) != 6 {
		return fmt.Errorf("podid get cluster says %q of its ARN", c.ARN)
	}
	b.account = parts[4]
	return nil
}

func (b *bed) path(elem ...string) string { return filepath.Join(append([]string{b.dir}, elem...)...) }

// plainEnv is an environment without anything of the caller's: no key, no profile, no proxy.
func (b *bed) plainEnv() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true", "AWS_PAGER=", "PYTHONDONTWRITEBYTECODE=1",
		"AWS_STS_REGIONAL_ENDPOINTS=regional",
	}
	// pyenv's shims look for their root below HOME unless told.
	for _, name := range []string{"PYENV_ROOT", "PYENV_VERSION"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// adminEnv is what podid dev exports, with the endpoint of a witness in place of podid's.
func (b *bed) adminEnv(endpoint string) []string {
	env := append(b.plainEnv(), b.endpointEnv(endpoint)...)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		env = append(env, name+"="+b.env[name])
	}
	return env
}

// endpointEnv says where to call and whom to trust, and nothing of who calls.
func (b *bed) endpointEnv(endpoint string) []string {
	return []string{
		"AWS_ENDPOINT_URL=" + endpoint, "AWS_ENDPOINT_URL_STS=" + endpoint, "AWS_CA_BUNDLE=" + b.bundle, "NODE_EXTRA_CA_CERTS=" + b.bundle,
		"AWS_REGION=" + b.region, "AWS_DEFAULT_REGION=" + b.region,
	}
}

// podid runs the CLI as the admin.
func (b *bed) podid(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, b.o.podid, args...)
	cmd.Env = b.adminEnv(b.env["AWS_ENDPOINT_URL"])
	return output(cmd)
}

// output runs a command; its error has what the command said of it.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, strings.TrimSpace(tail(stdout.String()+stderr.String(), 1500)))
	}
	return stdout.String(), nil
}

// tail is the end of a text, where errors stand.
func tail(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return "…" + text[len(text)-most:]
}

func (b *bed) logEnd() string {
	text, err := os.ReadFile(b.path("log"))
	if err != nil {
		return err.Error()
	}
	return tail(string(text), 3000)
}

// client speaks to podid itself, or through a witness.
func (b *bed) client() *http.Client {
	roots := b.roots.Clone()
	roots.AppendCertsFromPEM(b.ca.pem)
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableCompression: true,
	}}
}

// close ends podid dev, which has to end cleanly, and removes what the run left.
func (b *bed) close() error {
	var errs []error
	if b.server != nil {
		errs = append(errs, b.server.Process.Signal(syscall.SIGINT))
		err := <-b.ended
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 130 {
			err = nil // a command that SIGINT ends says so
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("podid dev did not end cleanly: %w\n%s", err, b.logEnd()))
		}
		b.server = nil
	}
	if b.kube != nil {
		errs = append(errs, b.kube.close())
	}
	if b.log != nil {
		errs = append(errs, b.log.Close())
	}
	if b.o.keep {
		fmt.Fprintln(b.stderr, "kept:", b.dir)
	} else {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}
