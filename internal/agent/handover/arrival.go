// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const arrivalName = "arrived"

// Arrival says that a process of this container can take over. The probes of an agent that comes are answered by the one
// before, which has the same network; so whoever asks those would take any process for one that serves.
//
// It is a lock on a file in a folder of the container's own, which others may hold as well: the kernel ends it with the
// process, however that ends.
type Arrival struct{ file *os.File }

// Arrive says it, until Close.
func Arrive(folder string) (*Arrival, error) {
	file, err := os.OpenFile(filepath.Join(folder, arrivalName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("say that the agent has arrived: %w", err)
	}
	if err := hold(file); err != nil {
		return nil, errors.Join(fmt.Errorf("say that the agent has arrived: %w", err), file.Close())
	}
	return &Arrival{file}, nil
}

// Close takes it back.
func (a *Arrival) Close() error { return a.file.Close() }

// ErrNotArrived says that no process of this container can take over yet.
var ErrNotArrived = errors.New("no agent of this container has arrived")

// Arrived tells whether there is an Arrival in the folder: nil, or ErrNotArrived.
func Arrived(folder string) (err error) {
	file, err := os.OpenFile(filepath.Join(folder, arrivalName), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotArrived
	} else if err != nil {
		return fmt.Errorf("look for the agent: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	switch isHeld, err := held(file); {
	case err != nil:
		return fmt.Errorf("look for the agent: %w", err)
	case !isHeld:
		return ErrNotArrived
	}
	return nil
}
