// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const awsAgentID = "aws-agent"

// awsAgentRows are what a pod meets when AWS' own agent stands between it and podid.
func awsAgentRows() section {
	return section{
		ID: "agents", Title: "AWS' own agent before podid", Clients: []string{awsAgentID},
		Note: "`eks-pod-identity-agent server --endpoint` of podid; the pod's program is made of the SDK for Go. The agent reads the token's claims and leaves the rest to EKS Auth, " +
			"so its answers are those that AWS' agent makes of podid's.",
		Rows: []row{
			{"aws-agent-chain", "a pod is its role", playChain},
			{"aws-agent-upstream", "one exchange serves many questions, and is the one call of EKS Auth's API", playAWSAgentUpstream},
			{"aws-agent-resolved", "expiration in six hours, the account's id", playResolved},
			{"aws-agent-rotated", "a new token is exchanged", playRotated},
			{"aws-agent-refused", "no association: 404, ResourceNotFoundException", func(ctx context.Context, s *session) error {
				return s.awsAgentRefuses(ctx, "nobody", nil, http.StatusNotFound, "ResourceNotFoundException")
			}},
			{"aws-agent-forged", "a changed signature: 400, InvalidTokenException", func(ctx context.Context, s *session) error {
				return s.awsAgentRefuses(ctx, "app", func(p *pod) {
					text, _ := os.ReadFile(p.file) // its absence shows as another refusal
					_ = p.write(string(text[:strings.LastIndexByte(string(text), '.')]) + ".AAAA")
				}, http.StatusBadRequest, "InvalidTokenException")
			}},
			{"aws-agent-audience", "a token for another audience: 400, InvalidTokenException", func(ctx context.Context, s *session) error {
				token, err := s.token(ctx, "app", "--audience", "elsewhere.example")
				if err != nil {
					return err
				}
				return s.awsAgentRefuses(ctx, "app", func(p *pod) { _ = p.write(token) }, http.StatusBadRequest, "InvalidTokenException")
			}},
		},
	}
}

func findAWSAgent(ctx context.Context, b *bed) (version, absent string) {
	if b.o.awsAgent == "" {
		return "", "AWS_AGENT names none"
	}
	if _, err := probe(ctx, b, b.o.awsAgent, "version"); err != nil {
		return "", "it does not start: " + err.Error()
	}
	info, err := buildinfo.ReadFile(b.o.awsAgent) // its version command says what a linker flag gave it, if one did
	if err != nil {
		return "", err.Error()
	}
	version = info.Main.Version
	for _, m := range info.Deps {
		if m.Path == "github.com/aws/aws-sdk-go-v2" {
			version += ", SDK " + m.Version
		}
	}
	return version, ""
}

// startAWSAgent starts AWS' agent and returns where it answers. It asks podid through the session's witness.
func startAWSAgent(ctx context.Context, s *session) (string, error) {
	var ports [3]string
	for i := range ports {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		if _, ports[i], err = net.SplitHostPort(ln.Addr().String()); err != nil {
			return "", err
		}
		if err := ln.Close(); err != nil {
			return "", err
		}
	}
	cmd := exec.Command(s.bed.o.awsAgent, "server", "--cluster-name", clusterName, "--endpoint", s.witness.url, "--bind-hosts", "127.0.0.1", //nolint:gosec,noctx // what the caller named; it outlives this row
		"--port", ports[0], "--probe-port", ports[1], "--metrics-port", ports[2], "--metrics-address", "127.0.0.1")
	cmd.Env = append(s.bed.adminEnv(s.witness.url), "SSL_CERT_FILE="+s.bed.bundle)
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return "", err
	}
	s.closers = append(s.closers, func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended, which Wait tells
		_ = cmd.Wait()
		return nil
	})
	return "http://127.0.0.1:" + ports[0], awaitProbe(ctx, "http://localhost:"+ports[1]+"/readyz")
}

func awaitProbe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("AWS' agent was not ready after 20 s"))
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(r); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		wait(ctx, 50*time.Millisecond)
	}
	return context.Cause(ctx)
}

func playAWSAgentUpstream(ctx context.Context, s *session) error {
	p, err := s.podIdentity(ctx, "app", nil) // the session's witness now knows the association's calls too
	if err != nil {
		return err
	}
	s.witness.reset()
	next, err := s.token(ctx, "app", "--pod-name", "another")
	if err != nil {
		return err
	}
	if err := p.write(next); err != nil {
		return err
	}
	for range 3 {
		who, err := s.start(ctx, p.env)
		if err != nil {
			return err
		}
		if _, err := s.inPod(ctx, who, "credentials", "resolve"); err != nil {
			return err
		}
	}
	var calls []string
	for _, e := range s.witness.exchanges() {
		if strings.HasSuffix(e.Path, "/assume-role-for-pod-identity") {
			calls = append(calls, fmt.Sprint(e.Method, " ", e.Path, " ", e.Status))
		}
	}
	if want := "POST /clusters/" + clusterName + "/assume-role-for-pod-identity 200"; len(calls) != 1 || calls[0] != want {
		return fmt.Errorf("the agent asked %v, want %s once", calls, want)
	}
	return nil
}

// awsAgentRefuses wants AWS' agent to refuse a pod with that status and word, as it does before EKS.
func (s *session) awsAgentRefuses(ctx context.Context, serviceAccount string, change func(*pod), status int, code string) error {
	p, err := s.podIdentity(ctx, serviceAccount, change)
	if got := (*refusal)(nil); !errors.As(err, &got) {
		return fmt.Errorf("the pod was not refused: %w", err)
	}
	seen := p.agent.exchanges()
	if len(seen) == 0 || seen[0].Status != status || !strings.Contains(seen[0].Answer, code) {
		return fmt.Errorf("the agent answered %d: %s", p.agent.last().Status, p.agent.last().Answer)
	}
	return nil
}
