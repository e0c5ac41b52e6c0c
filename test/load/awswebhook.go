// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// maxOfAWS is the share of the CPU of AWS' webhook that a review may take.
const maxOfAWS = 1.0 / 3

// beside compares reviews with those of AWS' own webhook, which knows the same service accounts by its watched file.
func (b *operatorBench) beside(ctx context.Context, op *process, base string, associations int) (err error) {
	aws, awsBase, err := b.startAWSWebhook(ctx, associations)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, aws.stop()) }()
	ours, theirs := side{op, base, newPool(b.o.connections, http1)}, side{aws, awsBase, newPool(b.o.connections, http1)}
	defer ours.conns.close()
	defer theirs.conns.close()
	requests := b.reviewsOf(associations)
	if err := patches(ctx, awsBase, &requests[0]); err != nil {
		return err
	}
	if _, err := theirs.drive(ctx, requests[:warmUp(len(requests))]); err != nil {
		return err
	}
	p := &pair{name: "review", proto: http1}
	for range b.o.rounds {
		if err := p.round(ctx, ours, theirs, requests, 1); err != nil {
			return err
		}
	}
	got, other := median(p.got), median(p.base)
	b.row(p.ratio() > maxOfAWS, fmt.Sprintf("review, %d associations, %s: CPU", associations, http1), fmt.Sprintf("%.2f x AWS' webhook", maxOfAWS),
		"%.2f x AWS' webhook (%.0f of %.0f us)", p.ratio(), micro(got.cpuPerRequest()), micro(other.cpuPerRequest()))
	return nil
}

// patches waits for a pod to be patched: AWS' webhook knows its file a moment after it is ready, and answers until then
// that there is nothing to patch.
func patches(ctx context.Context, base string, in *request) error {
	client := insecure()
	defer client.CloseIdleConnections()
	for end := time.Now().Add(20 * time.Second); ; {
		patched, err := ask(ctx, client, base, in)
		if patched || err != nil {
			return err
		}
		if time.Now().After(end) {
			return errors.New("AWS' webhook patches no pod of its identities")
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func (b *operatorBench) startAWSWebhook(ctx context.Context, associations int) (*process, string, error) {
	type identity struct {
		Namespace      string `json:"namespace"`
		ServiceAccount string `json:"serviceAccount"`
	}
	var file struct {
		Identities []identity `json:"identities"`
	}
	for n := range associations {
		ns, account := serviceAccount(n)
		file.Identities = append(file.Identities, identity{ns, account})
	}
	text, err := json.Marshal(file)
	if err != nil {
		return nil, "", err
	}
	identities := filepath.Join(b.dir, "identities")
	if err := os.WriteFile(identities, text, 0o600); err != nil {
		return nil, "", err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, "", err
	}
	aws, err := start(ctx, "AWS' webhook", []string{"AWS_EC2_METADATA_DISABLED=true"}, false, b.o.awsWebhook,
		"--in-cluster=false", "--kubeconfig", filepath.Join(b.dir, "kubeconfig"), "--port", ports[0], "--metrics-port", ports[1],
		"--tls-cert", filepath.Join(b.dir, "tls.crt"), "--tls-key", filepath.Join(b.dir, "tls.key"), "--watch-container-credentials-config", identities)
	if err != nil {
		return nil, "", err
	}
	base := "https://127.0.0.1:" + ports[0]
	starting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client := insecure()
	defer client.CloseIdleConnections()
	if err := ready(starting, client, aws, base+"/healthz"); err != nil {
		return nil, "", errors.Join(fmt.Errorf("%w\n%s", err, aws.log), aws.stop())
	}
	return aws, base, nil
}
