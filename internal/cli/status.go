// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

// Ending gives an error the exit status with which the program ends, for
// commands that are made outside of this package. Without an error it ends the
// program with the status and says nothing more; nil for status 0.
func Ending(status int, err error) error {
	switch {
	case err != nil:
		return &statusError{err, status}
	case status == StatusOK:
		return nil
	}
	return exit(status)
}

// UsageError marks an error as one of the command line.
func UsageError(err error) error { return &usageError{err: err} }
