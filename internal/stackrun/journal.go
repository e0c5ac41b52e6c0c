// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"slices"

	"podid/internal/stack"
	"podid/internal/store"
)

// journal is the store as verbs see it that a run calls: what they commit
// commits together with the stack's record of it, and only while the run holds
// that.
type journal struct {
	store.Store

	r     *run
	guard func(r store.Reader) error
	entry entry
	out   *outcome // of the transaction that was committed
}

// Update implements store.Store.
func (j *journal) Update(ctx context.Context, fn func(tx *store.Tx) error) error {
	var out *outcome
	err := j.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := j.r.hold(tx); err != nil {
			return err
		}
		if j.guard != nil {
			if err := j.guard(tx); err != nil {
				return err
			}
		}
		if err := fn(tx); err != nil {
			return err
		}
		var err error
		out, err = j.r.write(tx, j.entry)
		return err
	})
	if err == nil {
		j.out = out
	}
	return err
}

// slot is where in a resource's record a thing stands.
type slot struct {
	get func(r *Resource) *Thing
	set func(r *Resource, t *Thing)
}

func live() slot {
	return slot{
		get: func(r *Resource) *Thing { return r.Live },
		set: func(r *Resource, t *Thing) {
			if t == nil && r.Live != nil {
				r.LastKnown = r.Live.Attrs[stack.RefAttr]
			}
			r.Live = t
		},
	}
}

// left is the thing with the physical id among those that are still to be
// removed.
func left(physicalID string) slot {
	at := func(r *Resource) int {
		return slices.IndexFunc(r.Left, func(t *Thing) bool { return t.Attrs[stack.RefAttr] == physicalID })
	}
	return slot{
		get: func(r *Resource) *Thing {
			if i := at(r); i >= 0 {
				return r.Left[i]
			}
			return nil
		},
		set: func(r *Resource, t *Thing) {
			i := at(r)
			if r.Left = slices.Clone(r.Left); t == nil {
				r.Left = slices.Delete(r.Left, i, i+1)
				return
			}
			r.Left[i] = t
		},
	}
}
