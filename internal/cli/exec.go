// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/podenv"
)

// podRun is one run of `podid exec`.
type podRun struct {
	subject
	podName, tokenFile, agent string
}

func (a *app) execCommand() *cobra.Command {
	var p podRun
	c := &cobra.Command{
		Use: "exec --cluster NAME --namespace NAME --service-account-name NAME -- COMMAND [ARGUMENTS]", Short: "Run a command as if in a pod",
		Long: `Run a command with exactly the environment that the webhook gives a pod of the service account:
the node agent's address and a token, and none of your own credentials, profiles or files. Endpoint,
CA and region stay. The exit status is the command's.

The token comes from podid dev, which holds the keys of its clusters; --token-file gives one of
your own.`,
		Example: `  podid exec --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa -- aws sts get-caller-identity`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := required(c, "cluster", "namespace", "service-account-name"); err != nil {
				return err
			}
			return a.execPod(c.Context(), &p, args)
		},
	}
	c.Flags().SetInterspersed(false)
	p.flags(c)
	c.Flags().StringVar(&p.podName, "pod-name", "", "`name` of the pod to pose as")
	c.Flags().StringVar(&p.tokenFile, "token-file", "", "`file` with the pod's token")
	c.Flags().StringVar(&p.agent, "agent-endpoint", "", "`URL` of the node agent (PODID_AGENT_ENDPOINT)")
	a.addConnection(c)
	return c
}

func (a *app) execPod(ctx context.Context, p *podRun, args []string) error {
	dir, err := os.MkdirTemp("", "podid-exec-") // 0700
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a leftover in the temporary folder is no error
	settings := podenv.Settings{AgentEndpoint: p.agent, TokenFile: p.tokenFile, Region: a.options.Region, Nowhere: os.DevNull}
	if p.tokenFile == "" {
		settings.TokenFile = filepath.Join(dir, "eks-pod-identity-token")
		stop, err := a.keepToken(ctx, p, &settings)
		if err != nil {
			return err
		}
		defer stop()
	}
	if settings.AgentEndpoint == "" {
		settings.AgentEndpoint = a.environment("PODID_AGENT_ENDPOINT")
	}
	if settings.AgentEndpoint == "" {
		return errors.New("the node agent's address is not known: give --agent-endpoint or set PODID_AGENT_ENDPOINT")
	}
	return a.runCommand(ctx, args, podenv.Of(a.environ, settings))
}

func (a *app) environment(name string) string {
	for _, v := range a.environ {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// keepToken writes the pod's token and writes it anew while the command runs,
// as kubelet does.
func (a *app) keepToken(ctx context.Context, p *podRun, s *podenv.Settings) (stop func(), err error) {
	api, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	fetch := func(ctx context.Context) (*clients.Token, error) {
		t, err := api.Podid.CreateToken(ctx, p.cluster, clients.TokenInput{Namespace: p.namespace, ServiceAccount: p.serviceAccount, PodName: p.podName})
		if err != nil {
			return nil, fmt.Errorf("get a token for %s/%s (--token-file gives one of your own): %w", p.namespace, p.serviceAccount, err)
		}
		return t, replaceFile(s.TokenFile, string(t.Token))
	}
	t, err := fetch(ctx)
	if err != nil {
		return nil, err
	}
	if s.AgentEndpoint == "" {
		s.AgentEndpoint = t.AgentEndpoint
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			// At 80 % of its life, as kubelet.
			wait := t.Expires().Sub(a.now()) * 4 / 5
			select {
			case <-ctx.Done():
				return
			case <-time.After(max(wait, time.Second)):
			}
			if next, err := fetch(ctx); err == nil {
				t = next
			} else if ctx.Err() == nil {
				fmt.Fprintln(a.Err, "podid: renew the token:", describe(err))
			}
		}
	}()
	return func() { cancel(); <-done }, nil
}

func replaceFile(path, text string) error {
	next := path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// runCommand runs the command in the foreground. Signals that end podid go to
// the command, which decides.
func (a *app) runCommand(ctx context.Context, args, env []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("find the command: %w", err)
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, a.In, a.Out, a.Err
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	stopped := ctx.Done()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may have ended a moment ago
		case <-stopped:
			stopped = nil // the signal that ended ctx reaches the command above
		case err := <-done:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return &statusError{exitStatus(exit)}
			}
			return err
		}
	}
}

// exitStatus is the command's, or as a shell has it for one that a signal
// ended.
func exitStatus(e *exec.ExitError) int {
	if w, ok := e.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return e.ExitCode()
}
