// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestRenew moves the clock: the token is written anew when it is due, and a
// failure is told and tried again without taking the old token away.
func TestRenew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := writeToken(path, "first"); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var told bytes.Buffer
		a := &app{Streams: Streams{Err: &told}, now: time.Now}
		calls := 0
		source := func(context.Context) (string, string, time.Time, error) {
			calls++
			if calls == 2 {
				return "", "", time.Time{}, errors.New("no answer")
			}
			return fmt.Sprint("token ", calls), "", time.Now().Add(time.Hour), nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.renew(ctx, source, path, time.Now().Add(time.Hour))
		}()
		for _, step := range []struct {
			wait  time.Duration
			token string
		}{
			{time.Hour - time.Second, "first"}, {time.Second, "token 1"}, {time.Hour, "token 1"}, {tokenRetry, "token 3"}, {time.Hour, "token 4"},
		} {
			time.Sleep(step.wait)
			synctest.Wait()
			got, err := os.ReadFile(path)
			if err != nil || string(got) != step.token {
				t.Errorf("after %v more: %q, %v; want %q", step.wait, got, err, step.token)
			}
		}
		cancel()
		<-ended
		if got, want := told.String(), "podid: renew token: no answer\n"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info.Mode(), err)
	}
}
