// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package node adds whole nodes to a control plane of package apiserver:
// containerd, kubelet and kube-proxy, each node with a state, a pod network, a
// control group and, but for the first, a network namespace of its own. It is
// for use inside of package sandbox, which undoes what it does to the machine.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/test/cluster/apiserver"
	"podid/test/cluster/process"
	"podid/test/cluster/sandbox"
)

// PodNetwork is the network of all pods; each node has a /22 of it.
const PodNetwork = "10.244.0.0/16"

// PauseImage holds the namespaces of every pod; it has to be among the imported ones.
const PauseImage = "podid.test/app:1"

// Groups are the control groups of the nodes that Start makes: sandbox.Enter removes them.
func Groups() []string { return []string{name(1), name(2)} }

func name(n int) string { return "podid-node-" + strconv.Itoa(n) }

// A Node is one running node.
type Node struct {
	Name, Address string

	server                     *apiserver.Server
	dir, podCIDR, netns        string
	containerd, kubelet, proxy *process.Process
}

// Start adds node n, 1 or 2, with these image archives, and returns when it is Ready.
func Start(ctx context.Context, s *apiserver.Server, n int, images []string) (*Node, error) {
	node := &Node{
		Name: name(n), Address: sandbox.Address, server: s, dir: filepath.Join(s.Dir, name(n)),
		podCIDR: fmt.Sprintf("10.244.%d.0/22", 4*(n-1)), // room for a storm of pods
	}
	if n > 1 {
		node.netns, node.Address = node.Name, fmt.Sprintf("10.99.%d.2", n)
		if err := node.addNetwork(fmt.Sprintf("10.99.%d.1", n), "host-"+strconv.Itoa(n)); err != nil {
			return nil, err
		}
	}
	for _, step := range []func() error{
		node.configure, node.joinGroup,
		func() error { return node.startContainerd(ctx) },
		func() error { return node.importImages(ctx, images) },
		node.startKubelet, node.startProxy,
	} {
		if err := step(); err != nil {
			return node, errors.Join(fmt.Errorf("start %s: %w", node.Name, err), node.Stop())
		}
	}
	return node, node.kubelet.Ready(ctx, node.Name+" is Ready", node.ready)
}

// Stop ends kubelet, containerd and kube-proxy; containers end with the sandbox.
func (n *Node) Stop() error {
	return errors.Join(n.proxy.Kill(), n.kubelet.Kill(), n.containerd.Stop())
}

// RestartKubelet starts the kubelet anew. It then asks for new tokens of all
// volumes of its pods, as it does when four fifths of a token's life are over.
func (n *Node) RestartKubelet(ctx context.Context) error {
	if err := n.kubelet.Kill(); err != nil {
		return err
	}
	if err := n.startKubelet(); err != nil {
		return err
	}
	return n.kubelet.Ready(ctx, n.Name+" is Ready", n.ready)
}

// Logs shows the end of the kubelet's log, for a test that failed.
func (n *Node) Logs() string { return n.kubelet.Tail() }

func (n *Node) addNetwork(gateway, link string) error {
	for _, line := range []string{
		"netns add " + n.netns,
		"link add " + link + " type veth peer name eth0 netns " + n.netns,
		"addr add " + gateway + "/24 dev " + link,
		"link set " + link + " up",
		"-n " + n.netns + " link set lo up",
		"-n " + n.netns + " addr add " + n.Address + "/24 dev eth0",
		"-n " + n.netns + " link set eth0 up",
		"-n " + n.netns + " route add default via " + gateway,
		"route add " + n.podCIDR + " via " + n.Address, // as a network plugin's routing daemon would
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	out, err := exec.Command("nsenter", "--net=/run/netns/"+n.netns, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward").CombinedOutput()
	if err != nil {
		return fmt.Errorf("forward packets in %s: %w: %s", n.netns, err, out)
	}
	return nil
}

// joinGroup makes the node's control group, in every hierarchy where there are several.
func (n *Node) joinGroup() error {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.controllers"); err == nil { // version 2: one hierarchy
		if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+cpu +cpuset +memory +pids"), 0o600); err != nil {
			return fmt.Errorf("enable controllers of the root control group: %w", err)
		}
		return os.MkdirAll(filepath.Join(root, n.Name), 0o755) //nolint:gosec // control groups are for everybody to read
	}
	for _, c := range []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "hugetlb", "net_cls", "net_prio", "perf_event"} {
		hierarchy := filepath.Join(root, c)
		if _, err := os.Stat(hierarchy); err != nil {
			continue
		}
		if err := os.MkdirAll(filepath.Join(hierarchy, n.Name), 0o755); err != nil { //nolint:gosec // as above
			return fmt.Errorf("make control group: %w", err)
		}
		if c != "cpuset" {
			continue
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} { // empty ones admit no process
			text, err := os.ReadFile(filepath.Join(hierarchy, f))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(hierarchy, n.Name, f), text, 0o600); err != nil {
				return fmt.Errorf("set up control group: %w", err)
			}
		}
	}
	return nil
}

// start runs a daemon in the node's network namespace. A mount namespace of its
// own, as `ip netns exec` makes, would hide the control groups.
func (n *Node) start(kind, program string, args ...string) (*process.Process, error) {
	if n.netns != "" {
		args = append([]string{"--net=/run/netns/" + n.netns, program}, args...)
		program = "nsenter"
	}
	return process.Start(n.server.LogDir(), kind+"-"+n.Name, program, args...)
}

func (n *Node) socket() string { return filepath.Join(n.dir, "containerd.sock") }

func (n *Node) startContainerd(ctx context.Context) error {
	var err error
	if n.containerd, err = n.start("containerd", "containerd", "--config", n.file("containerd.toml")); err != nil {
		return err
	}
	return n.containerd.Ready(ctx, "containerd answers", func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "ctr", "-a", n.socket(), "version").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func (n *Node) importImages(ctx context.Context, images []string) error {
	for _, archive := range images {
		if out, err := exec.CommandContext(ctx, "ctr", "-a", n.socket(), "-n", "k8s.io", "images", "import", archive).CombinedOutput(); err != nil {
			return fmt.Errorf("import %s: %w: %s", archive, err, out)
		}
	}
	return nil
}

func (n *Node) startKubelet() error {
	a := n.server.Authority()
	kubeconfig, err := a.Kubeconfig("kubelet-"+n.Name, n.server.URL(), "system:node:"+n.Name, "system:nodes")
	if err != nil {
		return err
	}
	if _, err := a.Write("kubelet-"+n.Name, "system:node:"+n.Name, []string{"system:nodes"}, n.Name, n.Address); err != nil {
		return err
	}
	n.kubelet, err = n.start("kubelet", n.server.Binary("kubelet"), "--config", n.file("kubelet.yaml"), "--kubeconfig", kubeconfig,
		"--hostname-override", n.Name, "--node-ip", n.Address, "--root-dir", n.file("kubelet"), "--cert-dir", n.file("kubelet-certs"), "--v", "2")
	return err
}

func (n *Node) startProxy() error {
	kubeconfig, err := n.server.Authority().Kubeconfig("proxy", n.server.URL(), "system:kube-proxy")
	if err != nil {
		return err
	}
	n.proxy, err = n.start("kube-proxy", n.server.Binary("kube-proxy"), "--kubeconfig", kubeconfig, "--proxy-mode", "iptables", "--cluster-cidr", PodNetwork,
		"--hostname-override", n.Name, "--conntrack-max-per-core", "0", "--oom-score-adj", "0",
		"--healthz-bind-address", n.Address+":10256", "--metrics-bind-address", n.Address+":10249")
	return err
}

func (n *Node) ready(ctx context.Context) error {
	got, err := n.server.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range got.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("conditions: %+v", got.Status.Conditions)
}

// Kill ends the containers of a name, of a namespace's pods, behind the kubelet's back and at once, as an outage does.
func (n *Node) Kill(ctx context.Context, namespace, container string) error {
	ctr := func(args ...string) ([]byte, error) {
		return exec.CommandContext(ctx, "ctr", append([]string{"-a", n.socket(), "-n", "k8s.io"}, args...)...).CombinedOutput()
	}
	out, err := ctr("containers", "ls", "-q", fmt.Sprintf(`labels."io.kubernetes.pod.namespace"==%q,labels."io.kubernetes.container.name"==%q`, namespace, container))
	if err != nil {
		return fmt.Errorf("list containers: %w: %s", err, out)
	}
	for _, id := range strings.Fields(string(out)) {
		if out, err := ctr("tasks", "kill", "-s", "SIGKILL", id); err != nil && !strings.Contains(string(out), "not found") {
			return fmt.Errorf("kill %s: %w: %s", id, err, out)
		}
	}
	return nil
}

// Command is a program that runs on the node's network, where its loopback is.
func (n *Node) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if n.netns != "" {
		args = append([]string{"--net=/run/netns/" + n.netns, program}, args...)
		program = "nsenter"
	}
	return exec.CommandContext(ctx, program, args...)
}

// EmptyDir is the folder of a volume of one of the node's pods.
func (n *Node) EmptyDir(pod *corev1.Pod, volume string) string {
	return filepath.Join(n.file("kubelet"), "pods", string(pod.UID), "volumes", "kubernetes.io~empty-dir", volume)
}

func (n *Node) file(name string) string { return filepath.Join(n.dir, name) }

// StartLimit is how long a node may take to be Ready on a machine that is busy.
const StartLimit = 2 * time.Minute
