// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"podid/internal/cli/clients"
	"podid/internal/cli/podenv"
	"podid/internal/cli/setup"
)

const (
	podAudience  = "pods.eks.amazonaws.com"
	podTokenLife = time.Hour
)

// ownAgent stands for a pod's node agent on the caller's machine. It exchanges
// the pod's token with the caller's own credentials, for those who show that
// token, and listens on loopback only.
type ownAgent struct {
	podid   *clients.Podid
	cluster string
	url     string
	server  *http.Server

	mu    sync.Mutex
	token string
}

// startAgent serves until stop is called.
func startAgent(ctx context.Context, p *clients.Podid, cluster string) (agent *ownAgent, stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("listen for the command: %w", err)
	}
	a := &ownAgent{podid: p, cluster: cluster, url: "http://" + l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+podenv.Path, a.credentials)
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.server.Serve(l) // it ends by stop
	}()
	return a, func() { _ = a.server.Close(); <-done }, nil
}

func (a *ownAgent) use(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = token
}

// credentials answers as a node agent does. Source: AWS SDKs and Tools
// Reference Guide, "Container credential provider".
func (a *ownAgent) credentials(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	token := a.token
	a.mu.Unlock()
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(token)) != 1 {
		http.Error(w, "Authorization is not the pod's token", http.StatusUnauthorized)
		return
	}
	c, err := a.podid.AssumeRoleForPodIdentity(r.Context(), a.cluster, token)
	if err != nil {
		status := http.StatusInternalServerError
		if clients.Code(err) != "" {
			status = http.StatusBadRequest
		}
		http.Error(w, describe(err), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{ // who does not wait for it has gone
		"AccessKeyId": c.AccessKeyID, "SecretAccessKey": string(c.SecretAccessKey), "Token": string(c.SessionToken),
		"Expiration": clients.Epoch(c.Expiration).Format(time.RFC3339),
	})
}

// podSource gives tokens that are bound to a running pod, and the agent that
// takes them. One exchange is made at once: who may not hears it before the
// command runs.
func (a *app) podSource(ctx context.Context, in execInput, c *clients.Clients) (source tokenSource, stop func(), err error) {
	kube, err := a.kube(in.kube)
	if err != nil {
		return nil, nil, err
	}
	agent, stop, err := startAgent(ctx, c.Podid, in.cluster)
	if err != nil {
		return nil, nil, err
	}
	source = func(ctx context.Context) (string, string, time.Time, error) {
		pod, err := kube.Pod(ctx, in.namespace, in.boundTo)
		if err != nil {
			return "", "", time.Time{}, err
		}
		pod.Metadata.Namespace = in.namespace
		token, expires, err := kube.PodToken(ctx, pod, podAudience, podTokenLife)
		if err != nil {
			return "", "", time.Time{}, err
		}
		agent.use(token)
		now := a.now()
		return token, agent.url, now.Add(max(tokenRetry, expires.Sub(now)*8/10)), nil
	}
	token, _, _, err := source(ctx)
	if err == nil {
		_, err = c.Podid.AssumeRoleForPodIdentity(ctx, in.cluster, token)
	}
	if err != nil {
		stop()
		if clients.Code(err) == "AccessDeniedException" {
			err = &setup.Failure{Err: err, Hint: "you need eks-auth:AssumeRoleForPodIdentity and podid:ExchangeForAnyNode on the cluster, and the role has to trust its pods"}
		}
		return nil, nil, err
	}
	return source, stop, nil
}

// checkPod judges the flags of --pod.
func (in *execInput) checkPod() error {
	switch {
	case in.boundTo == "" && in.kube.given():
		return usagef("--kubeconfig and --context belong to --pod")
	case in.boundTo == "":
		return nil
	case in.tokenFile != "" || in.agent != "" || in.pod != "" || in.serviceAccount != "":
		return usagef("--pod has service account and token from the pod, and needs no agent: give no --service-account-name, --pod-name, --token-file and --agent-endpoint")
	}
	return missing("cluster", in.cluster, "namespace", in.namespace)
}
