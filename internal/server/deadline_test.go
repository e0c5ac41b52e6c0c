// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type markKey struct{}

// TestDeadlined holds the lazy context against the standard library's, asked
// early and late for what it is.
func TestDeadlined(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(end, cancelParent func())
		want error
	}{
		{"nothing", func(_, _ func()) {}, nil},
		{"before the deadline", func(_, _ func()) { time.Sleep(time.Second - 1) }, nil},
		{"at the deadline", func(_, _ func()) { time.Sleep(time.Second) }, context.DeadlineExceeded},
		{"ended", func(end, _ func()) { end() }, context.Canceled},
		{"ended twice", func(end, _ func()) { end(); end() }, context.Canceled},
		{"client gone", func(_, cancel func()) { cancel() }, context.Canceled},
		{"client gone, then late", func(_, cancel func()) { cancel(); time.Sleep(time.Hour) }, context.Canceled},
	} {
		for _, early := range []bool{true, false} {
			t.Run(tc.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancel(context.WithValue(t.Context(), markKey{}, "v"))
					defer cancel()
					at := time.Now().Add(time.Second)
					want, endWant := context.WithDeadline(parent, at)
					d := withDeadline(parent, at)
					defer endWant()
					defer d.end()
					if early {
						d.Done()
					}
					tc.do(func() { endWant(); d.end() }, cancel)
					synctest.Wait()
					for _, c := range []context.Context{want, d} {
						if !errors.Is(c.Err(), tc.want) || (c.Err() == nil) != (tc.want == nil) {
							t.Errorf("%T: error %v, want %v", c, c.Err(), tc.want)
						}
						if got, ok := c.Deadline(); !ok || !got.Equal(at) {
							t.Errorf("%T: deadline %v, %v", c, got, ok)
						}
						if c.Value(markKey{}) != "v" {
							t.Errorf("%T: the parent's value is lost", c)
						}
						select {
						case <-c.Done():
							if tc.want == nil {
								t.Errorf("%T is done", c)
							}
						default:
							if tc.want != nil {
								t.Errorf("%T is not done", c)
							}
						}
						if !errors.Is(c.Err(), tc.want) {
							t.Errorf("%T: error %v after Done, want %v", c, c.Err(), tc.want)
						}
					}
				})
			})
		}
	}
}

// TestDeadlinedChildren: contexts below end with it, at the deadline and at
// the end of the request.
func TestDeadlinedChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := withDeadline(t.Context(), time.Now().Add(time.Second))
		child, cancel := context.WithTimeout(d, time.Hour)
		defer cancel()
		if at, _ := child.Deadline(); !at.Equal(d.deadline) {
			t.Errorf("the child's deadline is %v, want %v", at, d.deadline)
		}
		<-child.Done()
		if !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("the child ended with %v", child.Err())
		}
		e := withDeadline(t.Context(), time.Now().Add(time.Hour))
		child, cancel = context.WithCancel(e)
		defer cancel()
		e.end()
		<-child.Done()
		if !errors.Is(child.Err(), context.Canceled) {
			t.Errorf("the child ended with %v", child.Err())
		}
		d.end()
	})
}

func TestDeadlinedEarlierParent(t *testing.T) {
	parent, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d := withDeadline(parent, time.Now().Add(time.Hour))
	defer d.end()
	want, _ := parent.Deadline()
	if at, ok := d.Deadline(); !ok || !at.Equal(want) {
		t.Errorf("deadline %v, want the parent's %v", at, want)
	}
}

func TestDeadlinedConcurrently(t *testing.T) {
	d := withDeadline(t.Context(), time.Now().Add(time.Hour))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, _ = d.Err(), d.Value(markKey{})
			<-d.Done()
		})
	}
	d.end()
	wg.Wait()
}
