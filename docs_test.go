// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podid_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	docLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notAnchor  = regexp.MustCompile(`[^\w\- ]`)
)

// TestDocs walks from README.md along the links: each leads to a file and to a heading that there are, and no page of docs
// is left out. What nobody finds, nobody keeps true.
func TestDocs(t *testing.T) {
	seen := map[string]bool{}
	todo := []string{"README.md"}
	for len(todo) > 0 {
		page := todo[0]
		todo = todo[1:]
		if seen[page] {
			continue
		}
		seen[page] = true
		for _, to := range linksOf(t, page) {
			if filepath.Ext(to) == ".md" {
				todo = append(todo, to)
			}
		}
	}
	err := filepath.WalkDir("docs", func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" && !seen[path] {
			t.Errorf("no link leads from README.md to %s: name it in an index", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// linksOf returns the files that a page links to.
func linksOf(t *testing.T, page string) []string {
	t.Helper()
	var out []string
	for _, m := range docLink.FindAllStringSubmatch(readDoc(t, page), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		file, heading, _ := strings.Cut(m[1], "#")
		to := page
		if file != "" {
			to = filepath.Join(filepath.Dir(page), file)
		}
		if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s links to %s, which is not there", page, to)
			continue
		}
		if heading != "" && !hasHeading(readDoc(t, to), heading) {
			t.Errorf("%s links to the heading %s of %s, which has none of that name", page, heading, to)
		}
		out = append(out, to)
	}
	return out
}

func readDoc(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func hasHeading(text, anchor string) bool {
	for _, m := range docHeading.FindAllStringSubmatch(text, -1) {
		if strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-") == anchor {
			return true
		}
	}
	return false
}
