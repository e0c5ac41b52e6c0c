// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command app is what runs in the tests' pods. It knows nothing of podid: it
// takes credentials as AWS' SDK for Go does by default.
//
//	app                    waits; as the first process of a pod it collects orphans
//	app whoami EVERY       asks STS whom it is, again and again, one line of JSON each
//	app credentials EVERY  has a new SDK find credentials, again and again: none is cached in the pod
//	app load EVERY         asks the agent by clients that forgive nothing, and prints what came of it each second
//	app fetch URL FILE     shows a token to a node agent, as somebody who stole it would
//	app get URL            prints what is there
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// patience is how long one question may take.
const patience = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 0:
		return pause(ctx)
	case args[0] == "whoami" && len(args) == 2:
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return err
		}
		return repeat(ctx, args[1], func(ctx context.Context) line { return whoami(ctx, cfg) })
	case args[0] == "credentials" && len(args) == 2:
		return repeat(ctx, args[1], credentials)
	case args[0] == "load" && len(args) == 2:
		return load(ctx, args[1])
	case args[0] == "fetch" && len(args) == 3:
		return fetch(ctx, args[1], args[2])
	case args[0] == "get" && len(args) == 2:
		return get(ctx, args[1])
	}
	return errors.New("usage: app [whoami EVERY | credentials EVERY | load EVERY | fetch URL FILE | get URL]")
}

// pause is the process that holds a pod's namespaces.
func pause(ctx context.Context) error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

// A line is what the app prints: Error, or the rest.
type line struct {
	At          time.Time `json:"at"`
	Arn         string    `json:"arn,omitempty"`
	Account     string    `json:"account,omitempty"`
	AccessKeyID string    `json:"accessKeyId,omitempty"`
	Source      string    `json:"source,omitempty"`
	Expires     time.Time `json:"expires,omitzero"`
	Token       string    `json:"token,omitempty"` // a hash of the one that the pod has now
	Error       string    `json:"error,omitempty"`
}

func repeat(ctx context.Context, every string, ask func(context.Context) line) error {
	period, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, patience)
		l := ask(once)
		cancel()
		l.At, l.Token = time.Now().UTC(), tokenHash()
		if err := out.Encode(l); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tokenHash tells one token from the next without showing either.
func tokenHash() string {
	text, err := os.ReadFile(os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))[:12]
}

func whoami(ctx context.Context, cfg aws.Config) (l line) {
	id, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		l.Error = err.Error()
		return l
	}
	l = retrieve(ctx, cfg)
	l.Arn, l.Account = aws.ToString(id.Arn), aws.ToString(id.Account)
	return l
}

func credentials(ctx context.Context) line {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return line{Error: err.Error()}
	}
	return retrieve(ctx, cfg)
}

func retrieve(ctx context.Context, cfg aws.Config) line {
	c, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return line{Error: err.Error()}
	}
	return line{AccessKeyID: c.AccessKeyID, Source: c.Source, Expires: c.Expires}
}

func fetch(ctx context.Context, url, tokenFile string) error {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", string(token))
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		body = []byte("(credentials)") // a log is no place for them
	}
	_, err = fmt.Printf("status %d: %s\n", resp.StatusCode, body)
	return err
}

func get(ctx context.Context, url string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
