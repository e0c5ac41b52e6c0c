// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package handover

import (
	"errors"
	"net"
	"os"
)

var errUnsupported = errors.New("hand-over is for Linux only")

func sameUser(*net.UnixConn) error { return errUnsupported }

func onMemory(string) (bool, error) { return false, errUnsupported }

func network() string { return "0" }

func hold(*os.File) error { return errUnsupported }

func held(*os.File) (bool, error) { return false, errUnsupported }
