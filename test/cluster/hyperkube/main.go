// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Command hyperkube is etcd and the components of Kubernetes in one binary, so
// that what they share is compiled and linked once. The component is chosen by
// the name that it is called by, or by the first argument. It is a module of
// its own, since Kubernetes' go.mod asks for replacements that nothing else of
// ours may see. It owns no behaviour.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the flag --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics as upstream's binaries have them
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"

	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const usage = "hyperkube: want etcd, kubectl, kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy or kubelet"

func main() {
	name := filepath.Base(os.Args[0])
	run := component(name)
	if run == nil && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		run = component(os.Args[0])
	}
	if run == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	os.Exit(run())
}

// component returns what a name runs, or nil.
func component(name string) func() int {
	daemon := func(c *cobra.Command) func() int { return func() int { return cli.Run(c) } }
	switch name {
	case "etcd":
		return func() int { etcdmain.Main(os.Args); return 0 }
	case "kubectl":
		return runKubectl
	case "kube-apiserver":
		return daemon(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		return daemon(controllers.NewControllerManagerCommand())
	case "kube-scheduler":
		return daemon(scheduler.NewSchedulerCommand())
	case "kube-proxy":
		return daemon(proxy.NewProxyCommand())
	case "kubelet":
		return daemon(kubelet.NewKubeletCommand(context.Background()))
	}
	return nil
}

func runKubectl() int {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
