// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package audit

import (
	"os"
	"syscall"
)

// unlinked reports whether the open file has no name any more, so that lines
// written to it would be lost.
func unlinked(f *os.File) bool {
	var st syscall.Stat_t
	return syscall.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}
