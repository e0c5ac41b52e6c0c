// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"io/fs"
	"syscall"
	"testing"
	"time"
)

type fakeInfo struct {
	mode  fs.FileMode
	owner uint32
}

func (fakeInfo) Name() string        { return "root.key" }
func (fakeInfo) Size() int64         { return 1 }
func (f fakeInfo) Mode() fs.FileMode { return f.mode }
func (fakeInfo) ModTime() time.Time  { return time.Time{} }
func (fakeInfo) IsDir() bool         { return false }
func (f fakeInfo) Sys() any          { return &syscall.Stat_t{Uid: f.owner} }

func TestMountedForGroup(t *testing.T) {
	for _, tc := range []struct {
		name  string
		mode  fs.FileMode
		owner uint32
		uid   int
		want  bool
	}{
		{"a Secret, read by its fsGroup", 0o440, 0, 65532, true},
		{"with write for root", 0o640, 0, 65532, true},
		{"the group may write", 0o660, 0, 65532, false},
		{"all may read", 0o444, 0, 65532, false},
		{"another user's file", 0o440, 1000, 65532, false},
		{"the process' own file", 0o440, 65532, 65532, false},
		{"the process is root", 0o440, 0, 0, false},
	} {
		if got := mountedForGroup(fakeInfo{tc.mode, tc.owner}, tc.uid); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
