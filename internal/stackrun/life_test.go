// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"podid/internal/stackrun"
	"podid/internal/store"
)

// Whatever befalls a stack in its life, it can be brought to any version that
// is asked for, and nothing of it is left when it is deleted.
func TestLives(t *testing.T) {
	empty, of := pictures(t)
	ref := newZoo(t)
	actions := ref.askedBy(func() {
		ref.create("zoo", zooOne, stackrun.CreateComplete)
		ref.change("zoo", zooTwo, stackrun.UpdateComplete)
		ref.change("zoo", zooThree, stackrun.UpdateComplete)
		ref.delete("zoo", stackrun.DeleteComplete)
	})
	for seed := range uint64(25) {
		dice := rand.New(rand.NewPCG(seed, 1))
		h := newZoo(t)
		zoos := []string{zooOne, zooTwo, zooThree}
		for range 8 {
			misfortune(h, dice, actions)
			befall(h, zoos[dice.IntN(3)])
			h.disk.arm(0, false, false, nil)
			clear(h.authz.deny)
			clear(h.authz.hook)
			h.now = h.now.Add(2 * time.Minute)
		}
		recovered(t, h, of)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(h.events("zoo"), "\n"))
		}
		h.delete("zoo", stackrun.DeleteComplete)
		same(t, "deleted", h.picture(), empty)
	}
}

// misfortune makes the store fail, or takes a right away.
func misfortune(h *house, dice *rand.Rand, actions []string) {
	switch dice.IntN(4) {
	case 0:
		kept := dice.IntN(2) == 0
		err := store.ErrUnavailable
		if kept {
			err = store.ErrUnknown
		}
		h.disk.arm(1+dice.IntN(25), kept, true, err)
	case 1:
		h.authz.deny[actions[dice.IntN(len(actions))]] = true
	case 2:
		action := actions[dice.IntN(len(actions))]
		h.authz.hook[actions[dice.IntN(len(actions))]] = func() { h.authz.deny[action] = true }
	}
}

// befall makes the stack another zoo, by whatever verb its state allows. What
// comes of it is seen later.
func befall(h *house, template string) {
	all, _, err := h.DescribeStacks(ctx, h.admin, "zoo", "")
	if err != nil {
		_, _ = h.CreateStack(ctx, h.admin, input("zoo", template))
		return
	}
	switch all[0].Status {
	case stackrun.RollbackComplete, stackrun.RollbackFailed, stackrun.CreateFailed, stackrun.DeleteFailed:
		_ = h.DeleteStack(ctx, h.admin, stackrun.DeleteInput{Name: "zoo"})
	case stackrun.UpdateRollbackFailed:
		_ = h.ContinueUpdateRollback(ctx, h.admin, stackrun.ContinueInput{Name: "zoo"})
	default:
		_, _ = h.UpdateStack(ctx, h.admin, stackrun.UpdateInput{Name: "zoo", Source: source(template)})
	}
}

// recovered brings the stack to the second zoo when nothing stands in the way.
func recovered(t *testing.T, h *house, of map[string]string) {
	t.Helper()
	for range 4 {
		if h.exists("zoo") && slices.Contains([]stackrun.Status{stackrun.CreateComplete, stackrun.UpdateComplete}, h.info("zoo").Status) && h.picture() == of[zooTwo] {
			return
		}
		if h.exists("zoo") && h.info("zoo").Status == stackrun.UpdateComplete {
			befall(h, zooOne) // what is left behind goes with the next update that there is
		}
		befall(h, zooTwo)
	}
	same(t, "recovered", h.picture(), of[zooTwo])
}
