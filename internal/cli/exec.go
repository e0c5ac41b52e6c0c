// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/podenv"
)

// The statuses of exec that are no command's, as env(1) has them.
const (
	statusNotExecutable   = 126
	statusCommandNotFound = 127
	statusSignal          = 128 // and the signal's number
)

type execInput struct {
	subject
	pod, tokenFile, agent string
	boundTo               string // a running pod of the API server
	kube                  kubeFlags
}

func (a *app) exec() *cobra.Command {
	var in execInput
	cmd := &cobra.Command{
		Use:   "exec --cluster C --namespace N --service-account-name S -- COMMAND [ARG…]",
		Short: "Run a command as a pod of a service account",
		Long: `Run a command with exactly the environment that the webhook gives a pod, so that an unmodified AWS
SDK in it gets the role of the service account through the node agent.

All credentials of the caller are taken away: keys, profiles, shared files, web identity, ECS and
instance metadata. Endpoint, CA and region stay. The token is in a private file that is renewed
while the command runs, and removed afterwards.

The token comes from the control plane if that holds the cluster's issuer key (podid dev), else from
--token-file, such as one made by: kubectl create token SA --audience pods.eks.amazonaws.com
The agent is that of --agent-endpoint, of the control plane's answer, or of PODID_AGENT_ENDPOINT.

With --pod the command has the role of a running pod of a real cluster, and needs no agent: the token is
one that the API server binds to that pod, by your kubeconfig (create on serviceaccounts/token), and
it is exchanged with your own AWS credentials, which need podid:ExchangeForAnyNode on the cluster.

The exit status is the command's; 126 and 127 when it cannot be started, 128+n when signal n ended it.`,
		Example: `  podid exec --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa -- aws sts get-caller-identity
  podid exec --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa --pod-name app-1 -- env
  podid exec --cluster my-cluster --namespace s3-app-ns --pod app-1 --kubeconfig ~/.kube/config -- aws sts get-caller-identity
  podid exec --token-file ./token --agent-endpoint http://169.254.170.23 -- ./app`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageOf(cmd, errors.New("the command to run is missing: give it after --"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := in.checkPod(); err != nil {
				return err
			}
			if in.tokenFile == "" && in.boundTo == "" {
				if err := in.check(); err != nil {
					return err
				}
			}
			return a.runExec(cmd.Context(), in, args)
		},
	}
	a.subjectFlags(cmd, &in.subject)
	f := cmd.Flags()
	f.StringVar(&in.pod, "pod-name", "", "`name` of the pod to pose as; one is made up without it")
	f.StringVar(&in.tokenFile, "token-file", "", "`file` of a service account token, read again every minute")
	f.StringVar(&in.agent, "agent-endpoint", "", "`URL` of the node agent (PODID_AGENT_ENDPOINT)")
	f.StringVar(&in.boundTo, "pod", "", "`name` of a running pod, whose token is asked of the API server")
	f.StringVar(&in.kube.file, "kubeconfig", "", "`file` of the kubeconfig for --pod; KUBECONFIG or ~/.kube/config without it")
	f.StringVar(&in.kube.context, "context", "", "`name` of the kubeconfig's context; the current one without it")
	f.SetInterspersed(false)
	return cmd
}

// A tokenSource gives a token, the agent that takes it, and when to ask again.
type tokenSource func(context.Context) (token, agent string, again time.Time, err error)

const (
	tokenFileInterval = time.Minute
	tokenRetry        = 30 * time.Second
)

func (a *app) tokenSource(in execInput, c *clients.Clients) tokenSource {
	if in.tokenFile != "" {
		return func(context.Context) (string, string, time.Time, error) {
			text, err := os.ReadFile(in.tokenFile)
			if err != nil {
				return "", "", time.Time{}, fmt.Errorf("read token: %w", err)
			}
			token := strings.TrimSpace(string(text))
			if token == "" {
				return "", "", time.Time{}, fmt.Errorf("read token: %s is empty", in.tokenFile)
			}
			return token, "", a.now().Add(tokenFileInterval), nil
		}
	}
	return func(ctx context.Context) (string, string, time.Time, error) {
		t, err := c.Podid.CreateToken(ctx, in.cluster, clients.TokenInput{Namespace: in.namespace, ServiceAccount: in.serviceAccount, PodName: in.pod})
		if err != nil {
			return "", "", time.Time{}, fmt.Errorf("get a token: %w", err)
		}
		now := a.now()
		return string(t.Token), t.AgentEndpoint, now.Add(max(tokenRetry, t.Expires().Sub(now)*8/10)), nil // as kubelet renews
	}
}

func (a *app) runExec(ctx context.Context, in execInput, args []string) (err error) {
	var c *clients.Clients
	settings := podenv.Settings{Region: a.options.Region, RegionGiven: a.options.Region != "", EndpointURL: a.options.EndpointURL, CABundle: a.options.CABundle}
	if in.tokenFile == "" {
		if c, err = a.clients(ctx); err != nil {
			return err
		}
		settings.Region, settings.EndpointURL = c.Config.Region, aws.ToString(c.Config.BaseEndpoint)
	}
	source := a.tokenSource(in, c)
	if in.boundTo != "" {
		own, stop, err := a.podSource(ctx, in, c)
		if err != nil {
			return err
		}
		defer stop()
		source = own
	}
	token, agent, again, err := source(ctx)
	if err != nil {
		return err
	}
	for _, u := range []string{a.lookup("PODID_AGENT_ENDPOINT"), agent, in.agent} {
		if u != "" {
			settings.AgentEndpoint = u
		}
	}
	if settings.AgentEndpoint == "" {
		return usagef("the agent is not known: give --agent-endpoint or set PODID_AGENT_ENDPOINT")
	}
	if settings.CABundle != "" {
		if settings.CABundle, err = filepath.Abs(settings.CABundle); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "podid-exec-") // 0700
	if err != nil {
		return fmt.Errorf("make token directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	settings.TokenFile = filepath.Join(dir, "eks-pod-identity-token")
	if err := writeToken(settings.TokenFile, token); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		a.renew(ctx, source, settings.TokenFile, again)
	}()
	defer func() { cancel(); <-renewed }()
	return a.runCommand(args, podenv.Build(a.environ, settings))
}

// writeToken replaces the file at once, so that no reader sees half a token.
func writeToken(path, token string) error {
	if err := os.WriteFile(path+".new", []byte(token), 0o600); err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	return nil
}

// renew writes new tokens until ctx ends.
func (a *app) renew(ctx context.Context, source tokenSource, path string, again time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(again.Sub(a.now())):
		}
		token, _, next, err := source(ctx)
		if err == nil {
			err = writeToken(path, token)
		}
		again = next
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			a.say("podid: renew token: %s", describe(err))
			again = a.now().Add(tokenRetry)
		}
	}
}

// runCommand runs the command with our streams and passes signals on.
func (a *app) runCommand(args, environ []string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ, a.In, a.Out, a.Err
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		status := statusNotExecutable
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			status = statusCommandNotFound
		}
		return &statusError{fmt.Errorf("start %s: %w", args[0], err), status}
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				a.say("podid: pass signal on: %v", err)
			}
		case err := <-done:
			return commandStatus(err)
		}
	}
}

func commandStatus(err error) error {
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return err
	}
	if ws, ok := ended.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return exit(statusSignal + int(ws.Signal()))
	}
	return exit(ended.ExitCode())
}

func (a *app) createToken() *cobra.Command {
	var s subject
	var in clients.TokenInput
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print a service account token of a cluster of `podid dev`",
		Long: `Print a service account token, as the API server of the cluster would give it to a pod. Only a control
plane that holds the cluster's issuer key can do it: podid dev. For a real cluster: kubectl create token.`,
		Example: `  podid create token --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa > token`,
		Args:    upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			in.Namespace, in.ServiceAccount = s.namespace, s.serviceAccount
			t, err := c.Podid.CreateToken(cmd.Context(), s.cluster, in)
			if err != nil {
				return err
			}
			shown := map[string]any{
				"token": string(t.Token), "expiration": t.Expires(), "agentEndpoint": t.AgentEndpoint, "podName": t.PodName, "podUid": t.PodUID, "nodeName": t.NodeName,
			}
			return a.print(shown, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, string(t.Token))
				return err
			})
		},
	}
	a.subjectFlags(cmd, &s)
	cmd.Flags().StringVar(&in.PodName, "pod-name", "", "`name` of the pod that the token is bound to")
	cmd.Flags().StringVar(&in.Audience, "audience", "", "`audience` of the token; pods.eks.amazonaws.com without it")
	return cmd
}
