// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"strings"
	"testing"
)

func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-009d3000 r-xp 00000000 fe:00 9981787                            /bin/podid-agent
Size:               5964 kB
Anonymous:             0 kB
009d3000-01028000 r--p 005d3000 fe:00 9981787                            /bin/podid-agent
Anonymous:             0 kB
01028000-01029000 r--p 00c28000 fe:00 9981787                            /bin/podid-agent
Anonymous:             4 kB
01029000-01092000 rw-p 00c28000 fe:00 9981787                            /bin/podid-agent
Anonymous:             0 kB
02000000-02001000 r--p 00000000 fe:00 1                                  /other/file
Anonymous:             0 kB
c000000000-c000400000 rw-p 00000000 00:00 0
Anonymous:             0 kB
`
	got, err := cleanMappings(strings.NewReader(smaps), "/bin/podid-agent")
	if err != nil {
		t.Fatal(err)
	}
	want := []addressRange{{0x400000, 0x9d3000}, {0x9d3000, 0x1028000}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("ranges %x, want %x: nothing writable, changed or foreign", got, want)
	}
}

func TestReleaseTextKeepsTheProgramRunning(t *testing.T) {
	for range 3 {
		if err := ReleaseText(); err != nil {
			t.Fatal(err)
		}
	}
}
