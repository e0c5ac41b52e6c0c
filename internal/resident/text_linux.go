// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ReleaseText unmaps the executable's read-only pages; those still in use come back from the page cache, one by one.
// The kernel maps a file's cached pages around each fault, so that package initialisation alone makes nearly the whole
// executable resident.
func ReleaseText() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find executable: %w", err)
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("read mappings: %w", err)
	}
	defer maps.Close() //nolint:errcheck // opened for reading only
	ranges, err := cleanMappings(maps, exe)
	if err != nil {
		return fmt.Errorf("read mappings: %w", err)
	}
	for _, r := range ranges {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("release mapping: %w", errno)
		}
	}
	return nil
}

// addressRange is a mapping, end excluded.
type addressRange struct{ start, end uintptr }

// cleanMappings finds the mappings of a file in the form of smaps that cannot be written and hold no page that differs
// from the file (relocations, breakpoints): dropping their pages loses nothing.
func cleanMappings(smaps io.Reader, file string) ([]addressRange, error) {
	var found []addressRange
	var current addressRange
	candidate := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		line := lines.Text()
		fields := strings.Fields(line)
		if len(fields) >= 5 && strings.Contains(fields[0], "-") && !strings.HasSuffix(fields[0], ":") {
			var ok bool
			current, ok = parseRange(fields[0])
			candidate = ok && len(fields) >= 6 && strings.HasPrefix(fields[1], "r-") && fields[1][3] == 'p' &&
				strings.HasSuffix(line, " "+file)
			continue
		}
		if candidate && len(fields) >= 2 && fields[0] == "Anonymous:" && fields[1] == "0" {
			found = append(found, current)
		}
	}
	return found, lines.Err()
}

func parseRange(text string) (addressRange, bool) {
	low, high, ok := strings.Cut(text, "-")
	start, err1 := strconv.ParseUint(low, 16, 64)
	end, err2 := strconv.ParseUint(high, 16, 64)
	return addressRange{uintptr(start), uintptr(end)}, ok && err1 == nil && err2 == nil && start < end
}
