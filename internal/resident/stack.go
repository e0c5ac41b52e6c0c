// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package resident

// stackRoom is, in bytes, what makes a new goroutine's stack grow to 16 KiB
// here: the largest that the runtime keeps ready for each processor, and enough
// for an exchange, whose deepest path takes 12 KB (by the frames of a profile).
const stackRoom = 9 << 10

// GrowStack makes room on the stack at once, for a goroutine that lives for one
// request or one call. Its stack else doubles three times on the way down to
// RSA arithmetic or to a socket, and each time copies all frames so far; at the
// top there are few. That took 7 % of an exchange over HTTP/2, and 1 % of an
// agent's fetch. at is any number that the compiler does not know.
//
//go:noinline
func GrowStack(at int) byte {
	var room [stackRoom]byte
	room[at%stackRoom] = 1 // an index that only the caller knows keeps the frame
	return room[stackRoom-1]
}
