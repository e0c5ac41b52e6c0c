// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// sameUser refuses a peer that is neither this process' user nor root. The kernel says who it is.
func sameUser(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("look at peer: %w", err)
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || failed != nil {
		return fmt.Errorf("look at peer: %w", errors.Join(err, failed))
	}
	if peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("the peer is user %d", peer.Uid)
	}
	return nil
}

// network is the number of this process' network namespace.
func network() string {
	link, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return "0"
	}
	return strings.Trim(link, "net:[]")
}

// onMemory tells whether a folder is on a file system that is kept in memory.
func onMemory(folder string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil {
		return false, fmt.Errorf("look at file system: %w", err)
	}
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC, nil
}

// hold locks a file together with all who hold it.
func hold(file *os.File) error {
	return unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
}

// held tells whether anybody holds a file, without a lock of its own: whoever looks is in nobody's way.
func held(file *os.File) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock)
	return lock.Type != unix.F_UNLCK, err
}
