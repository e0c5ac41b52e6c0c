// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package setup owns the changes that take several calls: an association with
// its role, a cluster with its node role, and their removal. Each is all or
// nothing: when a step fails, or the user interrupts, the steps before are
// undone in reverse order, and what could not be undone is named. It speaks
// the wire like everybody else, and deletes no role that podid did not make.
package setup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"podid/internal/cli/clients"
)

// Tags on what podid made.
const (
	TagCreatedBy = "podid.dev/created-by"
	CreatedBy    = "podid"
	TagCluster   = "podid.dev/cluster" // node roles: the cluster's name
)

// A Failure is an error with what to do about it.
type Failure struct {
	Err  error
	Hint string
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// An Undone error says why a change failed, what was rolled back, and what is
// left because that failed too or because a lost answer left it unknown.
type Undone struct {
	Cause      error
	RolledBack []string
	Left       []Leftover
}

// Leftover is something that somebody has to look after.
type Leftover struct {
	What string
	Err  error // why it is left
}

func (u *Undone) Error() string {
	var b strings.Builder
	b.WriteString(u.Cause.Error())
	if len(u.RolledBack) > 0 {
		b.WriteString("; rolled back: " + strings.Join(u.RolledBack, ", "))
	}
	for _, l := range u.Left {
		fmt.Fprintf(&b, "; left: %s (%v)", l.What, l.Err)
	}
	return b.String()
}

// Unwrap gives the cause, so that its code decides the exit status.
func (u *Undone) Unwrap() error { return u.Cause }

// undoTime bounds a roll-back. It runs on after an interrupt.
const undoTime = 60 * time.Second

type change struct {
	progress func(string)
	steps    []step
	left     []Leftover
}

type step struct {
	what string // as a thing: "role x", "attachment of y"
	undo func(context.Context) error
}

// do runs one step. undo may be nil. A failure that is no answer of the
// service leaves open whether the step was done; that is reported.
func (ch *change) do(what, done string, run func() error, undo func(context.Context) error) error {
	if err := run(); err != nil {
		if clients.Code(err) == "" {
			ch.left = append(ch.left, Leftover{"perhaps " + what, errors.New("the answer was lost")})
		}
		return err
	}
	if ch.progress != nil {
		ch.progress(done)
	}
	if undo != nil {
		ch.steps = append(ch.steps, step{what, undo})
	}
	return nil
}

// failed rolls back, newest step first, and reports it. A step whose object is
// gone already counts as rolled back.
func (ch *change) failed(ctx context.Context, cause error) error {
	if len(ch.steps) == 0 && len(ch.left) == 0 {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	u := &Undone{Cause: cause, Left: ch.left}
	for i := len(ch.steps) - 1; i >= 0; i-- {
		s := ch.steps[i]
		if err := s.undo(ctx); err != nil && !clients.IsNotFound(err) {
			u.Left = append(u.Left, Leftover{s.what, err})
			continue
		}
		u.RolledBack = append(u.RolledBack, s.what)
	}
	return u
}
