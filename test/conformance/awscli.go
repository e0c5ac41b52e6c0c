// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// awsCLI makes calls with the AWS CLI, one process a call.
type awsCLI struct {
	path string
	env  []string
}

var (
	cliError     = regexp.MustCompile(`(?s)An error occurred \(([^)]+)\) when calling the \w+ operation(?: \([^)]*\))?: (.*)`)
	firstCapital = regexp.MustCompile(`(.)([A-Z][a-z]+)`)
	lastCapital  = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// kebab is the CLI's name of an operation: CreateOpenIDConnectProvider is create-open-id-connect-provider.
func kebab(operation string) string {
	name := firstCapital.ReplaceAllString(operation, "${1}-${2}")
	return strings.ToLower(lastCapital.ReplaceAllString(name, "${1}-${2}"))
}

func (c *awsCLI) call(ctx context.Context, r request) (M, error) {
	if r.Service == "credentials" {
		return nil, &refusal{Code: lacking, Message: "the AWS CLI shows no credentials"}
	}
	args := []string{r.Service, kebab(r.Operation), "--output", "json", "--cli-input-json", toJSON(r.Input)}
	if r.Input == nil {
		args = args[:len(args)-2]
	}
	if r.Paginate {
		input := M{}
		size := ""
		for k, v := range r.Input {
			if strings.EqualFold(k, "maxResults") || strings.EqualFold(k, "maxItems") {
				size = toJSON(v)
				continue
			}
			input[k] = v
		}
		args[len(args)-1] = toJSON(input)
		args = append(args, "--page-size", size)
	}
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Env, cmd.WaitDelay = c.env, 5*time.Second
	if r.Attempts > 0 {
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "AWS_MAX_ATTEMPTS="+toJSON(r.Attempts), "AWS_RETRY_MODE=standard")
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, cliRefusal(err, stderr.String())
	}
	out := M{}
	if stdout.Len() > 0 { // operations without an output print nothing
		if err := decode(stdout.Bytes(), &out); err != nil {
			return nil, err
		}
	}
	if r.Paginate {
		out = M{"pages": []any{out}} // the CLI makes one of them
	}
	return out, nil
}

// cliRefusal reads the CLI's last words.
func cliRefusal(err error, stderr string) error {
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		return err
	}
	stderr = strings.TrimSpace(stderr)
	if m := cliError.FindStringSubmatch(stderr); m != nil {
		return &refusal{Code: m[1], Message: strings.TrimSpace(m[2])}
	}
	if strings.Contains(stderr, "Invalid choice") || strings.Contains(stderr, "invalid choice") {
		return &refusal{Code: lacking, Message: "the AWS CLI has no such operation"}
	}
	return &refusal{Code: "ClientError", Message: tail(stderr, 1000)}
}

func (c *awsCLI) close() error { return nil }
