// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// ServiceAccountDir is where kubelet puts a pod's own token, CA and namespace.
// Source: Kubernetes, "Accessing the Kubernetes API from a Pod".
const ServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// ErrNotInCluster says that the process does not run in a pod with a service
// account.
var ErrNotInCluster = errors.New("this process does not run in a pod with a service account's token")

// InCluster makes a client of the pod's own service account, and tells the
// pod's namespace. dir is ServiceAccountDir; the token in it is read anew for
// each call, since kubelet renews it.
func InCluster(o Options, dir string) (c *Client, namespace string, err error) {
	host, port := o.lookup("KUBERNETES_SERVICE_HOST"), o.lookup("KUBERNETES_SERVICE_PORT")
	token := filepath.Join(dir, "token")
	if host == "" || port == "" {
		return nil, "", fmt.Errorf("%w: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set", ErrNotInCluster)
	}
	if _, err := os.Stat(token); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrNotInCluster, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "namespace"))
	if err != nil {
		return nil, "", fmt.Errorf("read the pod's namespace: %w", err)
	}
	c, err = newClient(&choice{
		context: "in cluster",
		cluster: clusterConfig{Server: "https://" + net.JoinHostPort(host, port), CAFile: filepath.Join(dir, "ca.crt")},
		user:    userConfig{TokenFile: token},
	}, &o)
	if err != nil {
		return nil, "", fmt.Errorf("in cluster: %w", err)
	}
	return c, strings.TrimSpace(string(text)), nil
}
