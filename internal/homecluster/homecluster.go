// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package homecluster owns what `podid server` does for the Kubernetes cluster
// that it runs in: it registers the cluster with the roles of its agents and
// its operator, keeps the cluster's keys, and keeps the CA of its own
// certificate in a ConfigMap, where agents and operator find it, and an
// enrolment key in a Secret, with which the operator brings the keys after the
// API server's were replaced at once and it refuses this pod's token. It asks the
// API server with the pod's own service account, and the control plane over
// its own listener as podid-admin, like anybody; that key does not leave the process. It
// stops nothing: what fails is tried again, and the server serves meanwhile.
// It refuses to take over a cluster of another issuer, and roles that podid
// did not make for the cluster.
//
// In the cluster it needs: the ClusterRole
// system:service-account-issuer-discovery, which every service account has
// unless the binding was removed, and for the ConfigMap the verbs get and patch
// on that name and create on configmaps in its own namespace; for the Secret the
// same on secrets.
package homecluster

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"podid/internal/cli/clients"
	"podid/internal/cli/kubeclient"
	"podid/internal/cli/setup"
	"podid/internal/secret"
	"podid/internal/serverconfig"
)

// ControlPlane is the server itself.
type ControlPlane interface {
	Endpoint() string // for clients on this host
	CAFile() string   // "" where the certificate is another's
	AdminKey() (keyID string, key secret.String, err error)
}

// Kubernetes is the cluster's API server.
type Kubernetes interface {
	OpenID(ctx context.Context) (*kubeclient.OpenID, error)
	Version(ctx context.Context) (string, error)
	CA() []byte
	EnsureConfigMap(ctx context.Context, namespace, name string, data map[string]string) (bool, error)
	Secret(ctx context.Context, namespace, name string) (map[string][]byte, error)
	EnsureSecret(ctx context.Context, namespace, name string, data map[string][]byte) (bool, error)
}

// Config is what the room is made of. All fields are required.
type Config struct {
	Settings     serverconfig.Config
	ControlPlane ControlPlane
	Kubernetes   Kubernetes
	Namespace    string
	Log          *slog.Logger
}

// Times of the upkeep.
const (
	keysEvery  = 10 * time.Second
	caEvery    = 30 * time.Second
	retryFirst = time.Second
	retryMost  = 30 * time.Second
)

// Wanted reports whether the settings ask for anything of this room.
func Wanted(s serverconfig.Config) bool { return s.RegisterCluster != "" || s.PublishCAConfigMap != "" }

// New finds the API server: by the settings' kubeconfig, or from within a pod.
func New(s serverconfig.Config, cp ControlPlane, environ []string, log *slog.Logger) (*Config, error) {
	o := kubeclient.Options{Kubeconfig: s.Kubeconfig, Environ: environ, Stderr: io.Discard, Now: time.Now}
	out := &Config{Settings: s, ControlPlane: cp, Namespace: s.Namespace, Log: log}
	if s.Kubeconfig != "" {
		k, err := kubeclient.Load(o)
		if err != nil {
			return nil, fmt.Errorf("--kubeconfig: %w", err)
		}
		out.Kubernetes = k
		if out.Namespace == "" {
			out.Namespace = setup.AgentNamespace
		}
		return out, nil
	}
	k, namespace, err := kubeclient.InCluster(o, kubeclient.ServiceAccountDir)
	if err != nil {
		return nil, fmt.Errorf("--register-cluster and --publish-ca-configmap are for a server in a pod; elsewhere --kubeconfig is needed: %w", err)
	}
	out.Kubernetes = k
	if out.Namespace == "" {
		out.Namespace = namespace
	}
	return out, nil
}

// Run works until ctx ends.
func (c *Config) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if c.Settings.PublishCAConfigMap != "" {
		g.Go(func() error { return c.repeat(ctx, "publish the CA", caEvery, c.publish) })
	}
	if c.Settings.RegisterCluster != "" {
		k := &keeper{Config: c}
		g.Go(func() error { return c.repeat(ctx, "keep the server's own cluster registered", keysEvery, k.step) })
	}
	return g.Wait()
}

// repeat runs step every so often, and sooner after it failed. The same
// failure is logged once.
func (c *Config) repeat(ctx context.Context, what string, every time.Duration, step func(context.Context) error) error {
	retry, last := retryFirst, ""
	for {
		wait := every - every/10 + time.Duration(rand.Int64N(int64(every/5))) //nolint:gosec // replicas shall not ask at once
		switch err := step(ctx); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if text := err.Error(); text != last {
				c.Log.WarnContext(ctx, what+": trying again", "cluster", c.Settings.RegisterCluster, "err", err, "hint", hint(err))
				last = text
			}
			wait, retry = retry, min(2*retry, retryMost)
		default:
			if last != "" {
				c.Log.InfoContext(ctx, what+": it works again", "cluster", c.Settings.RegisterCluster)
			}
			retry, last = retryFirst, ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func hint(err error) string {
	var f *setup.Failure
	if errors.As(err, &f) {
		return f.Hint
	}
	return ""
}

// publish makes the ConfigMap hold the CA.
func (c *Config) publish(ctx context.Context) error {
	file := c.ControlPlane.CAFile()
	if file == "" { // as cert-manager mounts it
		file = filepath.Join(filepath.Dir(c.Settings.TLSCert), "ca.crt")
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the CA: %w", err)
	}
	changed, err := c.Kubernetes.EnsureConfigMap(ctx, c.Namespace, c.Settings.PublishCAConfigMap, map[string]string{"ca.crt": string(pem)})
	if changed {
		c.Log.InfoContext(ctx, "CA published", "configmap", c.Namespace+"/"+c.Settings.PublishCAConfigMap)
	}
	return err
}

// keeper keeps the server's own cluster registered.
type keeper struct {
	*Config
	registered bool
	enrolled   bool // the Secret was found to hold the key that the control plane has
	issuer     string
	keys       string // as they were registered last
}

// step registers the cluster, or brings its keys when they have changed.
func (k *keeper) step(ctx context.Context) error {
	id, err := k.Kubernetes.OpenID(ctx)
	if err != nil {
		return err
	}
	current := k.registered && id.Issuer == k.issuer && string(id.JWKS) == k.keys
	if current && (k.enrolled || k.Settings.EnrolmentSecret == "") {
		return nil
	}
	c, err := k.clients()
	if err != nil {
		return err
	}
	if current {
		return k.enrol(ctx, c)
	}
	if k.registered && id.Issuer == k.issuer {
		_, err := c.Podid.UpdateCluster(ctx, k.Settings.RegisterCluster, clients.UpdateInput{JWKS: id.JWKS, KeepOldKeys: true})
		if err == nil {
			k.keys = string(id.JWKS)
			k.Log.InfoContext(ctx, "the API server's keys have changed", "cluster", k.Settings.RegisterCluster)
			return nil
		}
		if !clients.IsNotFound(err) {
			return fmt.Errorf("bring the keys: %w", err)
		}
		k.registered = false // it was deleted: what the settings want is made again
	}
	return k.register(ctx, c, id)
}

func (k *keeper) register(ctx context.Context, c *clients.Clients, id *kubeclient.OpenID) error {
	version, err := k.Kubernetes.Version(ctx)
	if err != nil {
		return err
	}
	name := k.Settings.RegisterCluster
	made, err := setup.EnsureCluster(ctx, c, setup.ClusterInput{
		Name: name, Issuer: id.Issuer, JWKS: id.JWKS, Version: version, CA: base64.StdEncoding.EncodeToString(k.Kubernetes.CA()),
		AgentNamespace: k.Namespace, OperatorNamespace: k.Namespace, PassRoles: k.Settings.OperatorPassRoles,
		Progress: func(what string) { k.Log.InfoContext(ctx, what, "cluster", name) },
	})
	if err != nil {
		return err
	}
	k.registered, k.enrolled, k.issuer, k.keys = true, false, id.Issuer, string(id.JWKS)
	k.Log.InfoContext(ctx, "the server's own cluster is registered", "cluster", name, "node_role", made.NodeRoleARN, "operator_role", made.OperatorRoleARN)
	if k.Settings.EnrolmentSecret == "" {
		return nil
	}
	return k.enrol(ctx, c)
}
