// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/enrolment"
	"podid/internal/cli/kubeclient"
	"podid/internal/cli/setup"
)

// enrolFlags say where the private half of an enrolment key goes.
type enrolFlags struct {
	file   string
	secret bool
	none   bool
}

func (f *enrolFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "enrolment-file", "", "`file` to make for the operator's enrolment key, a Secret for kubectl apply; NAME-enrolment.yaml with --kubeconfig and without it")
	cmd.Flags().BoolVar(&f.secret, "enrolment-secret", false, "put the operator's enrolment key into the cluster, by --kubeconfig")
	cmd.MarkFlagsMutuallyExclusive("enrolment-file", "enrolment-secret")
}

// wanted reports whether a key pair is to be made.
func (f *enrolFlags) wanted(k kubeFlags) bool {
	return !f.none && (f.file != "" || f.secret || k.given())
}

func (f *enrolFlags) check(k kubeFlags) error {
	switch {
	case f.none && (f.file != "" || f.secret):
		return usagef("--no-enrolment excludes --enrolment-file and --enrolment-secret")
	case f.secret && !k.given():
		return usagef("--enrolment-secret needs --kubeconfig")
	}
	return nil
}

// enrolling is a key pair on its way. What it is to be kept in is opened before
// the control plane knows the key.
type enrolling struct {
	pair      *enrolment.Pair
	namespace string
	path      string
	file      *os.File           // nil: kube
	kube      *kubeclient.Client // nil: file
}

// enrol makes a pair for a cluster; nil where none is wanted.
func (a *app) enrol(f enrolFlags, k kubeFlags, cluster, namespace string) (*enrolling, json.RawMessage, error) {
	if !f.wanted(k) {
		return nil, nil, nil
	}
	out := &enrolling{namespace: namespace, path: f.file}
	var err error
	if out.pair, err = enrolment.New(); err != nil {
		return nil, nil, err
	}
	public, err := out.pair.Public()
	if err != nil {
		return nil, nil, err
	}
	if f.secret {
		out.kube, err = a.kube(k)
		return out, public, err
	}
	if out.path == "" {
		if strings.ContainsAny(cluster, `/\`) {
			return nil, nil, usagef("%q is no name of a cluster", cluster)
		}
		out.path = cluster + "-enrolment.yaml"
	}
	if out.file, err = os.OpenFile(out.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, nil, fmt.Errorf("make the file of the enrolment key: %w", err)
	}
	return out, public, nil
}

// keep writes the private half, once the control plane has the public one.
func (a *app) keep(ctx context.Context, e *enrolling, clusterARN, uid string) error {
	if e == nil {
		return nil
	}
	private, err := e.pair.Private(clusterARN, uid)
	if err != nil {
		return err
	}
	name := clusterARN[strings.LastIndexByte(clusterARN, '/')+1:]
	if e.file != nil {
		_, err := e.file.Write(enrolment.Manifest(e.namespace, private))
		if err = errors.Join(err, e.file.Sync(), e.file.Close()); err != nil {
			return e.lost(name, err)
		}
		a.say("wrote the operator's enrolment key to %s: kubectl apply -f it, and delete it", e.path)
		return nil
	}
	data := map[string][]byte{enrolment.SecretKey: private}
	_, err = e.kube.EnsureSecret(ctx, e.namespace, enrolment.SecretName, data)
	if kubeclient.IsNotFound(err) { // its namespace
		if _, err = e.kube.CreateNamespace(ctx, e.namespace, map[string]string{kubeclient.LabelManagedBy: kubeclient.ManagedBy}); err == nil || kubeclient.IsExists(err) {
			_, err = e.kube.EnsureSecret(ctx, e.namespace, enrolment.SecretName, data)
		}
	}
	if err != nil {
		return e.lost(name, err)
	}
	a.say("put the operator's enrolment key into Secret %s/%s", e.namespace, enrolment.SecretName)
	return nil
}

func (*enrolling) lost(cluster string, err error) error {
	return &setup.Failure{
		Err:  fmt.Errorf("keep the enrolment key: %w", err),
		Hint: "all else is done; for another key: podid update cluster " + cluster + " --new-enrolment-key",
	}
}

// giveUp removes what was made for nothing.
func (e *enrolling) giveUp() error {
	if e == nil || e.file == nil {
		return nil
	}
	return errors.Join(e.file.Close(), os.Remove(e.path))
}

// newEnrolment is what podid update cluster does to an enrolment key.
type newEnrolment struct {
	enrolFlags
	kube      kubeFlags
	namespace string
	make      bool
}

func (n *newEnrolment) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&n.make, "new-enrolment-key", false, "make another enrolment key for the operator, and end the one before")
	f.BoolVar(&n.none, "no-enrolment-key", false, "end the operator's enrolment key")
	n.enrolFlags.add(cmd)
	f.StringVar(&n.kube.file, "kubeconfig", "", "`file` of the kubeconfig for --enrolment-secret")
	f.StringVar(&n.kube.context, "context", "", "`name` of the kubeconfig's context; the current one without it")
	f.StringVar(&n.namespace, "operator-namespace", setup.OperatorNamespace, "`namespace` of the operator")
	cmd.MarkFlagsMutuallyExclusive("new-enrolment-key", "no-enrolment-key")
}

func (n *newEnrolment) wanted() bool { return n.make || n.none }

// updateEnrolled is UpdateCluster with what is to become of the enrolment key.
func (a *app) updateEnrolled(ctx context.Context, c *clients.Clients, name string, in *clients.UpdateInput, n *newEnrolment) (*clients.Cluster, error) {
	in.NoEnrolmentKey = n.none
	if !n.make {
		if n.file != "" || n.secret {
			return nil, usagef("--enrolment-file and --enrolment-secret belong to --new-enrolment-key")
		}
		return c.Podid.UpdateCluster(ctx, name, *in)
	}
	if err := n.check(n.kube); err != nil {
		return nil, err
	}
	if n.file == "" && !n.secret {
		n.file = name + "-enrolment.yaml"
	}
	e, public, err := a.enrol(n.enrolFlags, n.kube, name, n.namespace)
	if err != nil {
		return nil, err
	}
	in.EnrolmentKey = public
	out, err := c.Podid.UpdateCluster(ctx, name, *in)
	if err != nil {
		return nil, errors.Join(err, e.giveUp())
	}
	return out, a.keep(ctx, e, out.Arn, out.UID)
}
