// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package homecluster

import (
	"context"
	"fmt"

	"podid/internal/cli/clients"
	"podid/internal/cli/enrolment"
)

// enrol gives the operator a key to bring the cluster's keys with. It is done
// when a look finds both halves in their places, and not when they were put
// there: of replicas that do it at once the last one's has to be found whole.
func (k *keeper) enrol(ctx context.Context, c *clients.Clients) error {
	name := k.Settings.RegisterCluster
	cluster, err := c.Podid.DescribeCluster(ctx, name)
	if clients.IsNotFound(err) {
		k.registered = false // deleted meanwhile: the next step makes it again
		return nil
	}
	if err != nil {
		return fmt.Errorf("describe cluster %s: %w", name, err)
	}
	have, err := k.Kubernetes.Secret(ctx, k.Namespace, k.Settings.EnrolmentSecret)
	if err != nil {
		return err
	}
	if id, of, uid, err := enrolment.Read(have[enrolment.SecretKey]); err == nil && id == cluster.EnrolmentKeyID && of == cluster.Arn && uid == cluster.UID {
		k.enrolled = true
		return nil
	}
	pair, err := enrolment.New()
	if err != nil {
		return err
	}
	public, err := pair.Public()
	if err != nil {
		return err
	}
	private, err := pair.Private(cluster.Arn, cluster.UID)
	if err != nil {
		return err
	}
	if _, err := c.Podid.UpdateCluster(ctx, name, clients.UpdateInput{EnrolmentKey: public}); err != nil {
		return fmt.Errorf("enrol cluster %s: %w", name, err)
	}
	if _, err := k.Kubernetes.EnsureSecret(ctx, k.Namespace, k.Settings.EnrolmentSecret, map[string][]byte{enrolment.SecretKey: private}); err != nil {
		return err
	}
	k.Log.InfoContext(ctx, "the operator has an enrolment key", "cluster", name, "secret", k.Namespace+"/"+k.Settings.EnrolmentSecret)
	return nil
}
