// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package uninstall takes away what would go on to wait for an operator that
// is gone: the entries by which the API server asks its webhook, the operator
// itself, which would put things back, and the finalizers on objects that only
// it would lift. It runs once, before whatever deletes the rest of podid: the
// chart's hook, or a person.
//
// It deletes nothing that is anybody's wish: objects stay, without their
// finalizers, and what they brought about at the control plane stays with
// them. It refuses to lift a finalizer while an operator still runs.
//
// RBAC: get and delete of the one mutatingwebhookconfiguration,
// mutatingadmissionpolicy and mutatingadmissionpolicybinding; list and patch
// of podid.dev's objects; in the operator's namespace get and delete of its
// deployment, list of pods, list and delete of secrets, delete of its lease.
package uninstall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	name      = "podid-operator" // of the deployment, the webhook, the policy, the lease
	group     = "podid.dev"
	finalizer = group + "/" // what the operator's begin with
	managedBy = "app.kubernetes.io/managed-by"
)

// operatorPods select the operator's pods, as the chart labels them.
var operatorPods = client.MatchingLabels{"app.kubernetes.io/name": "podid", "app.kubernetes.io/component": "operator"}

// Config of an uninstallation. All fields are required.
type Config struct {
	Client    client.Client // reads from the API server itself
	Namespace string        // the operator's
	Poll      time.Duration // between looks at the operator's pods
	Log       *slog.Logger
}

// Run does it all, and may be run again. It waits for the operator's pods to
// end until ctx does.
func Run(ctx context.Context, c Config) error {
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		// First of all: without a webhook, an entry of failurePolicy Fail would stop pods.
		{"take the webhook away", c.entries},
		{"stop the operator", c.operator},
		{"lift finalizers", c.finalizers},
		{"delete what the operator kept", c.kept},
	}
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

func object(gv, kind string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: gv, Kind: kind}}
}

func list(gv, kind string) *metav1.PartialObjectMetadataList {
	return &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: gv, Kind: kind + "List"}}
}

// missing reports whether an object, or its whole kind, is not there.
func missing(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }

func (c *Config) delete(ctx context.Context, o *metav1.PartialObjectMetadata, namespace, name string) error {
	o.Namespace, o.Name = namespace, name
	switch err := c.Client.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground)); {
	case missing(err):
		return nil
	case err != nil:
		return fmt.Errorf("delete %s %s: %w", o.Kind, name, err)
	}
	c.Log.Info("deleted", slog.String("kind", o.Kind), slog.String("namespace", namespace), slog.String("name", name))
	return nil
}

func (c *Config) entries(ctx context.Context) error {
	var problems []error
	problems = append(problems, c.delete(ctx, object("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"), "", name))
	for _, version := range []string{"v1", "v1beta1"} {
		for _, kind := range []string{"MutatingAdmissionPolicyBinding", "MutatingAdmissionPolicy"} {
			problems = append(problems, c.delete(ctx, object("admissionregistration.k8s.io/"+version, kind), "", name))
		}
	}
	return errors.Join(problems...)
}

// operator deletes the deployment and waits until none of its pods runs.
func (c *Config) operator(ctx context.Context) error {
	if err := c.delete(ctx, object("apps/v1", "Deployment"), c.Namespace, name); err != nil {
		return err
	}
	tick := time.NewTicker(c.Poll)
	defer tick.Stop()
	for {
		pods := list("v1", "Pod")
		if err := c.Client.List(ctx, pods, client.InNamespace(c.Namespace), operatorPods); err != nil {
			return fmt.Errorf("list its pods: %w", err)
		}
		if len(pods.Items) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of its pods still run: %w", len(pods.Items), context.Cause(ctx))
		}
	}
}

func (c *Config) finalizers(ctx context.Context) error {
	var problems []error
	for _, kind := range []string{"PodIdentityAssociation", "PodIdentityRolePolicy"} {
		all := list(group+"/v1alpha1", kind)
		switch err := c.Client.List(ctx, all); {
		case missing(err):
			continue
		case err != nil:
			problems = append(problems, fmt.Errorf("list %s: %w", kind, err))
			continue
		}
		for i := range all.Items {
			o := &all.Items[i]
			o.SetGroupVersionKind(schema.FromAPIVersionAndKind(group+"/v1alpha1", kind))
			problems = append(problems, c.lift(ctx, o))
		}
	}
	return errors.Join(problems...)
}

// lift takes our finalizers off an object, and only ours.
func (c *Config) lift(ctx context.Context, o *metav1.PartialObjectMetadata) error {
	rest := slices.DeleteFunc(slices.Clone(o.Finalizers), func(f string) bool { return strings.HasPrefix(f, finalizer) })
	if len(rest) == len(o.Finalizers) {
		return nil
	}
	before := o.DeepCopy()
	o.Finalizers = rest
	// With the lock: a list of finalizers that somebody else changed meanwhile is not overwritten.
	switch err := c.Client.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); {
	case missing(err):
		return nil
	case err != nil:
		return fmt.Errorf("patch %s %s/%s: %w", o.Kind, o.Namespace, o.Name, err)
	}
	c.Log.Info("lifted the finalizer", slog.String("kind", o.Kind), slog.String("namespace", o.Namespace), slog.String("name", o.Name))
	return nil
}

// kept deletes what the operator made in its own namespace. What it made in
// others belongs to its ClusterRole and goes with that.
func (c *Config) kept(ctx context.Context) error {
	secrets := list("v1", "Secret")
	if err := c.Client.List(ctx, secrets, client.InNamespace(c.Namespace), client.MatchingLabels{managedBy: name}); err != nil {
		return fmt.Errorf("list secrets: %w", err)
	}
	problems := []error{c.delete(ctx, object("coordination.k8s.io/v1", "Lease"), c.Namespace, name)}
	for i := range secrets.Items {
		problems = append(problems, c.delete(ctx, object("v1", "Secret"), c.Namespace, secrets.Items[i].Name))
	}
	return errors.Join(problems...)
}
