// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const matrixHead = `# Conformance

Made by ` + "`make conformance`" + `, which plays every row with every client that the machine has against a ` + "`podid dev`" + ` of its own and fails
when one differs. **pass**: the client did it and got what AWS would have given. **differs**: it did not, and the report says how.
**absent**: podid does not serve the operation, or the client has no such operation; of a client without a version, that nobody ran it. A column of a
client that was not there at the last run is the one of the run before. What differs from AWS on purpose is in the pages beside this one, with the reason.

`

// writeMatrix writes the table. A column of a client that is not on this machine stays as the file has it.
func (r *report) writeMatrix(path string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, []byte(r.matrix(readMatrix(string(old)))), 0o644)
}

// A kept matrix is what the file said: versions of clients, and cells by row and client's title.
type keptMatrix struct {
	versions map[string]string
	cells    map[string]map[string]string
}

// columns splits a line of a table.
func columns(line string) []string {
	line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|")
	parts := strings.Split(line, " | ")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// readMatrix reads what writeMatrix wrote; of another text it keeps nothing.
func readMatrix(text string) keptMatrix {
	k := keptMatrix{versions: map[string]string{}, cells: map[string]map[string]string{}}
	var head []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			head = nil
			continue
		}
		cols := columns(line)
		switch {
		case strings.HasPrefix(line, "|---"):
		case head == nil:
			head = cols
		case head[0] == "client" && len(cols) == 2:
			k.versions[cols[0]] = cols[1]
		case len(cols) == len(head):
			cells := map[string]string{}
			for i, title := range head[1:] {
				cells[title] = cols[i+1]
			}
			k.cells[cols[0]] = cells
		}
	}
	return k
}

func (r *report) matrix(kept keptMatrix) string {
	var b strings.Builder
	b.WriteString(matrixHead)
	b.WriteString("| client | version |\n|---|---|\n")
	for _, c := range r.Clients {
		version := c.Version
		if c.Absent != "" {
			if version = kept.versions[c.Title]; version == "" {
				version = absent
			}
		}
		fmt.Fprintf(&b, "| %s | %s |\n", c.Title, version)
	}
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		if s.Note != "" {
			b.WriteString(s.Note + "\n\n")
		}
		b.WriteString("| |")
		for _, id := range s.clients {
			fmt.Fprintf(&b, " %s |", r.client(id).Title)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(s.clients)) + "\n")
		for _, row := range s.Rows {
			fmt.Fprintf(&b, "| %s |", row.Title)
			for _, id := range s.clients {
				result := row.Cells[id].Result
				if c := r.client(id); c.Absent != "" || result == left {
					result = absent
					if before := kept.cells[row.Title][c.Title]; before != "" {
						result = before
					}
				}
				fmt.Fprintf(&b, " %s |", result)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}
