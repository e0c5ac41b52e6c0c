// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"podid/internal/agent"
	"podid/internal/agent/kubeapi"
)

// kubernetesOptions are the flags that say what the agent does with its cluster's API server, and with the control
// plane beyond exchanging tokens.
type kubernetesOptions struct {
	apiServer  string
	watchPods  bool
	signNode   bool
	followFeed bool
}

func (o *kubernetesOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.apiServer, "api-server", "", "the cluster's API server (default https://KUBERNETES_SERVICE_HOST:KUBERNETES_SERVICE_PORT); token and CA are those of --jwks-token-file and --jwks-ca-file")
	f.BoolVar(&o.watchPods, "watch-pods", true, "stop renewals with the pod, where the API server and this node's name are known and the agent may list and watch pods; else they end with the pod's token")
	f.BoolVar(&o.signNode, "sign-node", false, "remove the node's startup taint podid.dev/agent-not-ready when the agent can serve, and keep the node's condition PodIdentityAgentReady")
	f.BoolVar(&o.followFeed, "follow-associations", true, "renew at once what an association's change concerns, where --endpoint is podid's and the node role has podid:FollowAssociations")
}

// kubernetes is the API server's configuration; nil where the agent has none, or nothing to do with it.
func (o *options) kubernetes(node string) (*agent.Kubernetes, error) {
	address := o.kube.apiServer
	if address == "" && o.tokens.apiHost != "" {
		address = o.tokens.apiServer()
	}
	if o.kube.signNode && (address == "" || node == "") {
		return nil, errors.New("--sign-node: the API server and this node's name have to be known: --api-server, NODE_NAME")
	}
	if address == "" || node == "" || !o.kube.watchPods && !o.kube.signNode {
		return nil, nil
	}
	if _, err := os.Stat(o.tokens.tokenFile); err != nil {
		if o.kube.apiServer == "" && !o.kube.signNode {
			return nil, nil // not in a pod, or one without the API server's token
		}
		return nil, fmt.Errorf("the agent's token for the API server: %w", err)
	}
	api, err := kubeapi.New(kubeapi.Config{Address: address, TokenFile: o.tokens.tokenFile, CAFile: o.tokens.caFile})
	if err != nil {
		return nil, err
	}
	return &agent.Kubernetes{API: api, Node: node, Pods: o.kube.watchPods, Sign: o.kube.signNode}, nil
}
