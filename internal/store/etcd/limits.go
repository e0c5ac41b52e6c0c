// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// MaxTxnOps is how many records one update may read or write; etcd's own
// default is 128.
const MaxTxnOps = 1024

// CheckLimits asks an etcd that others run whether it takes the largest change
// that podid makes, which the embedded one does: what works on one store works
// on the other, or is refused before anything is stored. It writes nothing.
func CheckLimits(ctx context.Context, client *clientv3.Client) error {
	probe := make([]clientv3.Cmp, MaxTxnOps)
	for i := range probe {
		probe[i] = clientv3.Compare(clientv3.Version("podid"), "=", 0)
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	_, err := client.Txn(ctx).If(probe...).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("etcd takes fewer than %d operations in one transaction: start its members with --max-txn-ops=%d", MaxTxnOps, MaxTxnOps)
	case err != nil:
		return fmt.Errorf("ask etcd for its limits: %w", err)
	}
	return nil
}
