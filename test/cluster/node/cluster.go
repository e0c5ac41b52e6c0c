// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/test/cluster/apiserver"
	"podid/test/cluster/process"
	"podid/test/cluster/sandbox"
)

// A Cluster is a control plane of Kubernetes with a scheduler and whole nodes.
type Cluster struct {
	*apiserver.Server
	Nodes []*Node

	scheduler *process.Process
}

// StartCluster brings up a cluster of n nodes, each with these image archives, inside of the sandbox. Progress goes to say.
func StartCluster(ctx context.Context, n int, images []string, say func(string)) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "cluster-") // gone with the sandbox: the nodes' containers keep it busy until then
	if err != nil {
		return nil, err
	}
	opts := apiserver.Options{Address: sandbox.Address, ControllerManager: true, Dir: dir}
	server, err := apiserver.Start(ctx, opts)
	if err != nil {
		return nil, err
	}
	say("the API server and the controllers are up")
	c := &Cluster{Server: server}
	kubeconfig, err := server.Authority().Kubeconfig("scheduler", server.URL(), "system:kube-scheduler")
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	c.scheduler, err = process.Start(server.LogDir(), "kube-scheduler", server.Binary("kube-scheduler"), "--kubeconfig", kubeconfig, "--leader-elect=false",
		"--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig", kubeconfig, "--bind-address", "127.0.0.1")
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	for i := range n {
		added, err := Start(ctx, server, i+1, images)
		if err != nil {
			return nil, errors.Join(err, c.Stop())
		}
		c.Nodes = append(c.Nodes, added)
		say(added.Name + " is Ready")
	}
	return c, nil
}

// Stop ends everything but containers, which end with the sandbox.
func (c *Cluster) Stop() error {
	var problems []error
	for _, n := range c.Nodes {
		problems = append(problems, n.Stop())
	}
	return errors.Join(append(problems, c.scheduler.Kill(), c.Server.Stop())...)
}

// Claim makes a claim of a namespace and a volume for it on the first node,
// which a user may write to, and waits until they are bound. A pod that comes
// before that may wait minutes: the scheduler looks again only then.
func (c *Cluster) Claim(ctx context.Context, namespace, name string, uid int) error {
	path := c.Nodes[0].file("volume-" + name)
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	if err := os.Chown(path, uid, uid); err != nil {
		return err
	}
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("20Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	_, err := c.Client.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: modes, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}},
			ClaimRef:               &corev1.ObjectReference{Namespace: namespace, Name: name},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "kubernetes.io/hostname", Operator: corev1.NodeSelectorOpIn, Values: []string{c.Nodes[0].Name}}},
			}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	claims := c.Client.CoreV1().PersistentVolumeClaims(namespace)
	if _, err := claims.Create(ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PersistentVolumeClaimSpec{AccessModes: modes, VolumeName: name, Resources: corev1.VolumeResourceRequirements{Requests: size}},
	}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create claim: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		claim, err := claims.Get(ctx, name, metav1.GetOptions{})
		if err == nil && claim.Status.Phase == corev1.ClaimBound {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for claim %s to be bound: %w", name, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

// Since is a say that writes lines with the time since it was made.
func Since(write func(string)) func(string) {
	began := time.Now()
	return func(text string) { write(fmt.Sprintf("%6.1fs %s", time.Since(began).Seconds(), text)) }
}
