// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// containerdTOML: restrict_oom_score_adj is for machines whose root may not
// lower scores; without it every pod fails there with an opaque message of runc.
const containerdTOML = `version = 2
root = "%[1]s/containerd"
state = "%[1]s/state"
[grpc]
  address = "%[1]s/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[2]s"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%[1]s/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = false
    Root = "%[1]s/runc"
`

const cniJSON = `{"cniVersion": "1.0.0", "name": "test", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "%[1]s/addresses", "ranges": [[{"subnet": "%[2]s"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
 {"type": "portmap", "capabilities": {"portMappings": true}}]}
`

// kubeletYAML: the oom score and the control group's version are allowed to be
// what the machine has; eviction and image collection never interfere.
const kubeletYAML = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%[1]s/containerd.sock
address: %[2]s
tlsCertFile: %[3]s/kubelet-%[4]s.crt
tlsPrivateKeyFile: %[3]s/kubelet-%[4]s.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[3]s/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /%[4]s
cgroupsPerQOS: true
enforceNodeAllocatable: [pods]
oomScoreAdj: 0
failSwapOn: false
failCgroupV1: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: %[1]s/resolv.conf
podLogsDir: %[1]s/pod-logs
evictionHard: {memory.available: "100Mi", nodefs.available: "1%%", imagefs.available: "1%%"}
imageGCHighThresholdPercent: 100
maxPods: 700
healthzPort: 0
serverTLSBootstrap: false
syncFrequency: 10s
nodeStatusUpdateFrequency: 4s
`

// configure writes what containerd, its network plugins and the kubelet read.
func (n *Node) configure() error {
	pki := n.server.Authority().Dir
	for path, text := range map[string]string{
		"containerd.toml":        fmt.Sprintf(containerdTOML, n.dir, PauseImage),
		"cni/10-bridge.conflist": fmt.Sprintf(cniJSON, n.dir, n.podCIDR),
		"kubelet.yaml":           fmt.Sprintf(kubeletYAML, n.dir, n.Address, pki, n.Name),
		"resolv.conf":            "nameserver 127.0.0.1\n",
	} {
		if err := os.MkdirAll(filepath.Dir(n.file(path)), 0o755); err != nil { //nolint:gosec // plugins of other users read it
			return err
		}
		if err := os.WriteFile(n.file(path), []byte(text), 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	return nil
}
