// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"
)

// side is one of two processes that are compared, with connections to it.
type side struct {
	process *process
	base    string
	conns   *pool
}

func (s side) drive(ctx context.Context, requests []request) (result, error) {
	return s.conns.drive(ctx, s.process, s.base, requests)
}

// besideFloor runs an empty handler, whose answers are as long as one's, while f compares the two. Both are warm then.
func besideFloor(ctx context.Context, one side, warm []request, f func(floor side) error) (err error) {
	got, err := one.drive(ctx, warm)
	if err != nil {
		return err
	}
	p, base, err := startFloor(ctx, got.answer, one.conns.proto != plain1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	floor := side{p, base, newPool(len(one.conns.clients), one.conns.proto)}
	defer floor.conns.close()
	if _, err := floor.drive(ctx, warm); err != nil {
		return err
	}
	return f(floor)
}

// round drives one and then the other with the same requests, the other with each of them so many times: one right after
// the other, so that a change of the machine's mood meets both.
func (p *pair) round(ctx context.Context, one, other side, requests []request, times int) error {
	got, err := one.drive(ctx, requests)
	if err != nil {
		return err
	}
	base, err := other.drive(ctx, slices.Repeat(requests, times))
	if err != nil {
		return err
	}
	p.got, p.base = append(p.got, got), append(p.base, base)
	return nil
}
