// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package sandbox runs a test program in mount, network and process namespaces
// of its own. When the program ends, or is killed, every process that it left
// (containers and their shims too) and all its mounts, links, routes and
// packet filters are gone with the namespaces; paths that Kubernetes' parts
// write to whatever they are told are in memory. It needs root, and refuses to
// go on without.
package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Address is the machine's own in the sandbox: what the API server and the first node listen at.
const Address = "10.98.0.1"

// stage says, to the program that is started again, how far it is.
const stage = "PODID_TEST_SANDBOX"

// scratch is where temporary files are in the sandbox: in memory, so that what containers keep mounted there needs no removal.
const scratch = "/run/tmp"

// written are folders that parts of Kubernetes and CNI plugins write to unasked.
var written = []string{"/run", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods"}

// Enter runs main inside of the sandbox and returns what the program is to exit
// with. To be called first in TestMain: the program starts itself twice, once as
// the process namespace's first process, which sets up and collects orphans, and
// once under it, where main runs. groups are cgroups that are emptied and removed at the end.
func Enter(groups []string, main func() int) int {
	switch os.Getenv(stage) {
	case "":
		return report(outside())
	case "init":
		return report(first(groups))
	default:
		return main()
	}
}

func report(code int, err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		return max(code, 1)
	}
	return code
}

func again(to string, attr *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stage+"="+to)
	cmd.SysProcAttr = attr
	return cmd
}

func outside() (int, error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("whole nodes need root: network, mount and process namespaces")
	}
	unlock, err := alone()
	if err != nil {
		return 1, err
	}
	defer unlock()
	cmd := again("init", &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL, // of the first process: all others follow
	})
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// alone waits until no other sandbox is on the machine: control groups are not of a namespace.
func alone() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "podid-test-sandbox.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("wait for another sandbox: %w", errors.Join(err, f.Close()))
	}
	return func() { _ = f.Close() }, nil
}

// first is process 1.
func first(groups []string) (int, error) {
	if err := errors.Join(mounts(), network()); err != nil {
		return 1, err
	}
	cmd := again("in", &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL})
	cmd.Env = append(cmd.Env, "TMPDIR="+scratch)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	code, err := collect(cmd.Process.Pid)
	for _, g := range groups {
		err = errors.Join(err, removeGroup(g))
	}
	return code, err
}

// collect waits for all children, orphans too, until pid has ended.
func collect(pid int) (int, error) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait for the tests: %w", err)
		case got == pid && status.Exited():
			return status.ExitStatus(), nil
		case got == pid:
			return 1, fmt.Errorf("the tests ended by %s", status.Signal())
		}
	}
}

func mounts() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// A sysfs that somebody mounted over /sys hides the control groups.
	for range 10 {
		if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
			break
		}
		if _, err := os.Stat("/sys/fs/cgroup/cpu"); err == nil {
			break
		}
		if err := syscall.Unmount("/sys", 0); err != nil {
			return fmt.Errorf("find the control groups: %w", err)
		}
	}
	for _, dir := range written {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as they are on any machine
			return err
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return err
	}
	return os.MkdirAll("/run/netns", 0o755) //nolint:gosec // as ip makes it
}

// network gives the sandbox an address and a default route that leads nowhere: kubelet and CNI want both.
func network() error {
	for _, line := range []string{
		"link set lo up",
		"link add host0 type veth peer name host1",
		"addr add " + Address + "/24 dev host0",
		"link set host0 up",
		"link set host1 up",
		"route add default via 10.98.0.2 dev host0",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600)
}

// removeGroup ends what is left in a control group of every hierarchy, and removes it.
func removeGroup(name string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		left := false
		for _, root := range hierarchies(name) {
			_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { // what vanishes meanwhile is what is wanted
				if err == nil && d.Name() == "cgroup.procs" {
					killAll(path)
				}
				return nil
			})
			left = !removeTree(root) || left
		}
		if !left {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("control group %s is still in use", name)
		}
		var status syscall.WaitStatus
		for { // the killed are our orphans: a control group with a zombie is in use
			if pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
		<-time.After(50 * time.Millisecond)
	}
}

func hierarchies(name string) []string {
	found, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		return nil
	}
	if _, err := os.Stat("/sys/fs/cgroup/" + name); err == nil {
		found = append(found, "/sys/fs/cgroup/"+name)
	}
	return found
}

func killAll(procs string) {
	text, err := os.ReadFile(procs)
	if err != nil {
		return
	}
	for _, field := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
	}
}

func removeTree(root string) bool {
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		_ = syscall.Rmdir(dirs[i])
	}
	_, err := os.Stat(root)
	return os.IsNotExist(err)
}
