// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podid_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// licences are recognised by a phrase of their text. Refused ones come first: a file that holds both is refused.
// MPL-2.0 stands before all, because its text names the GNU licences as possible secondary ones.
var licences = []struct {
	name    string
	phrase  string
	allowed bool
}{
	{"MPL-2.0", "mozilla public license version 2.0", true},
	{"MPL-2.0", "mozilla public license, version 2.0", true},
	{"AGPL", "gnu affero general public license", false},
	{"LGPL", "gnu lesser general public license", false},
	{"GPL", "gnu general public license", false},
	{"BUSL", "business source license", false},
	{"ELv2", "elastic license", false},
	{"SSPL", "server side public license", false},
	{"Commons Clause", "commons clause", false},
	{"PolyForm", "polyform", false},
	{"Apache-2.0", "apache license version 2.0", true},
	{"MIT", "permission is hereby granted, free of charge, to any person", true},
	{"BSD", "redistribution and use in source and binary forms", true},
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose", true},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose", true},
}

var (
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)`)
	whiteSpace  = regexp.MustCompile(`\s+`)
)

// licenceOf names the licence of a text and whether it may be linked; an unknown text has no name and may not.
func licenceOf(text string) (name string, allowed bool) {
	folded := whiteSpace.ReplaceAllString(strings.ToLower(text), " ")
	for _, l := range licences {
		if strings.Contains(folded, l.phrase) {
			return l.name, l.allowed
		}
	}
	return "", false
}

// moduleLicences reads the licence files at a module's root. Every one of them has to be allowed.
func moduleLicences(t *testing.T, dir string) (names []string, allowed bool) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("read module: %v", err)
	}
	allowed = true
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) == ".go" || !licenceFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		name, ok := licenceOf(string(text))
		if name == "" {
			name = "unknown text in " + e.Name()
		}
		names = append(names, name)
		allowed = allowed && ok
	}
	return names, allowed && len(names) > 0
}

// linkedModules lists the modules that our packages link on the systems that podid is built for.
func linkedModules(t *testing.T) map[string]string {
	t.Helper()
	out := goList(t, "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}} {{.Dir}}{{end}}{{end}}", "./...")
	dirs := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		mod, dir, ok := strings.Cut(line, " ")
		if !ok {
			t.Errorf("%s is not in the module cache: run go mod download", mod)
			continue
		}
		dirs[mod] = dir
	}
	return dirs
}

func TestLicences(t *testing.T) {
	for mod, dir := range linkedModules(t) {
		names, allowed := moduleLicences(t, dir)
		switch {
		case len(names) == 0:
			t.Errorf("%s has no licence file: it may not be linked", mod)
		case !allowed:
			t.Errorf("%s may not be linked: %s", mod, strings.Join(names, ", "))
		}
	}
}

func TestLicenceOf(t *testing.T) {
	for _, tc := range []struct {
		name, text, want string
		allowed          bool
	}{
		{"Apache", "                 Apache License\n           Version 2.0, January 2004", "Apache-2.0", true},
		{"MIT", "Permission is hereby granted, free of charge, to any person obtaining\na copy", "MIT", true},
		{"BSD", "Redistribution and use in source and binary forms, with or without\nmodification", "BSD", true},
		{"MPL names the GPL", "Mozilla Public License Version 2.0\n\"Secondary License\" means the GNU General Public License", "MPL-2.0", true},
		{"AGPL", "GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3", "AGPL", false},
		{"GPL", "GNU GENERAL PUBLIC LICENSE Version 2", "GPL", false},
		{"MIT and GPL in one file", "Permission is hereby granted, free of charge, to any person ... GNU General Public License", "GPL", false},
		{"Business Source", "Business Source License 1.1", "BUSL", false},
		{"Elastic", "Elastic License 2.0", "ELv2", false},
		{"unknown", "All rights reserved.", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, allowed := licenceOf(tc.text); got != tc.want || allowed != tc.allowed {
				t.Errorf("licenceOf = %q, %v, want %q, %v", got, allowed, tc.want, tc.allowed)
			}
		})
	}
}

func TestOwnLicence(t *testing.T) {
	names, allowed := moduleLicences(t, ".")
	if !allowed || !slices.Equal(names, []string{"Apache-2.0"}) {
		t.Errorf("LICENSE is %v, want Apache-2.0 alone", names)
	}
}

// TestToolsAreNotRequired keeps the tools' module, which holds a GPL program that is only run, out of the product's.
func TestToolsAreNotRequired(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"podid/tools", "github.com/golangci/", "mvdan.cc/"} {
		if strings.Contains(string(text), never) {
			t.Errorf("go.mod names %s: tools stand in tools/go.mod", never)
		}
	}
}
