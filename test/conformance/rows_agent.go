// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// editedAnswer changes what the agent says. The clients named cannot take it so; the others do not mind.
func (s *session) editedAnswer(ctx context.Context, refusing []string, edit func(M)) error {
	_, err := s.podIdentity(ctx, "app", func(p *pod) {
		for range 5 { // as often as any client asks
			p.agent.inject(fault{match: anything, edit: edit})
		}
	})
	if !slices.Contains(refusing, s.player.ID) {
		return err
	}
	if got := (*refusal)(nil); !errors.As(err, &got) {
		return fmt.Errorf("the client takes it: %w", err)
	}
	return nil
}

// playSlower is why the agent answers within two seconds: botocore's time for it.
func playSlower(ctx context.Context, s *session) error {
	p, err := s.podIdentity(ctx, "app", func(p *pod) {
		for range 3 {
			p.agent.inject(fault{match: anything, delay: 3 * time.Second})
		}
	})
	if s.player.ID == "go" || s.player.ID == "js" {
		return err
	}
	if got := (*refusal)(nil); !errors.As(err, &got) {
		return fmt.Errorf("the client waited: %w", err)
	}
	if n := len(p.agent.exchanges()); n > 3 {
		return fmt.Errorf("the agent was asked %d times", n)
	}
	return nil
}

func playRefreshed(ctx context.Context, s *session) error {
	if _, err := s.association(ctx, "app", nil); err != nil {
		return err
	}
	p, err := s.newPod(ctx, "app")
	if err != nil {
		return err
	}
	soon := time.Now().Add(4 * time.Minute).UTC().Format(time.RFC3339)
	p.agent.inject(fault{match: anything, edit: func(a M) { a["Expiration"] = soon }})
	who, err := s.start(ctx, p.env)
	if err != nil {
		return err
	}
	out, err := who.call(ctx, request{Service: "credentials", Operation: "resolve", Input: M{"times": 4}})
	if err = classify(err); err != nil {
		return err
	}
	// The SDK for JavaScript asks again behind the caller's back, and gives the old ones until it is answered.
	for range 150 {
		if len(p.agent.exchanges()) > 1 {
			break
		}
		wait(ctx, 20*time.Millisecond)
	}
	if n := len(p.agent.exchanges()); n != 2 {
		return fmt.Errorf("the agent was asked %d times, want 2", n)
	}
	expires, err := moment(field(out, "expiration"))
	if err == nil && s.player.ID != "js" && time.Until(expires) < time.Hour {
		err = fmt.Errorf("the credentials end %s", expires)
	}
	return err
}

func playHTTPS(ctx context.Context, s *session) error {
	if s.player.ID == "boto3" || s.player.ID == "cli" {
		// It asks the agent with the roots that it ships, whatever AWS_CA_BUNDLE says.
		return fmt.Errorf("%w: no way to give it a CA for the agent", errAbsent)
	}
	w, err := newWitness(s.bed.env["PODID_AGENT_ENDPOINT"], s.bed.ca, &http.Client{Transport: &http.Transport{}})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, w.close)
	_, err = s.podIdentity(ctx, "app", func(p *pod) {
		// The SDK for Go asks the agent with the system's roots, whatever AWS_CA_BUNDLE says.
		p.env = append(p.env, "AWS_CONTAINER_CREDENTIALS_FULL_URI="+w.url+"/v1/credentials", "SSL_CERT_FILE="+s.bed.bundle)
	})
	if n := len(w.exchanges()); err == nil && n != 1 {
		return fmt.Errorf("the agent was asked %d times", n)
	}
	return err
}

func playFileFirst(ctx context.Context, s *session) error {
	_, err := s.podIdentity(ctx, "app", func(p *pod) { p.env = append(p.env, "AWS_CONTAINER_AUTHORIZATION_TOKEN=not-the-token") })
	return err
}
