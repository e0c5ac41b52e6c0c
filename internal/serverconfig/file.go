// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package serverconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

// readFile reads the file of --config or PODID_CONFIG. What it says well is
// returned beside what it says badly.
func (f *Flags) readFile(env Env) (map[string]given, []error) {
	path := f.config
	if f.set == nil || !f.set.Changed("config") {
		path, _ = env.lookup("PODID_CONFIG")
	}
	if path == "" {
		return nil, nil
	}
	if env.ReadFile == nil {
		return nil, []error{fmt.Errorf("read %s: files cannot be read here", path)}
	}
	text, err := env.ReadFile(path)
	if err != nil {
		return nil, []error{fmt.Errorf("read configuration: %w", err)}
	}
	return f.parseFile(path, text)
}

func (f *Flags) parseFile(path string, text []byte) (map[string]given, []error) {
	if len(text) > maxFile {
		return nil, []error{fmt.Errorf("%s: larger than %d bytes", path, maxFile)}
	}
	asJSON, err := yaml.YAMLToJSONStrict(text) // refuses a field that is there twice
	if err != nil {
		return nil, []error{fmt.Errorf("%s: %w", path, err)}
	}
	if bytes.Equal(asJSON, []byte("null")) {
		return nil, nil // empty, or comments only
	}
	var fields map[string]any
	dec := json.NewDecoder(bytes.NewReader(asJSON))
	dec.UseNumber()
	if err := dec.Decode(&fields); err != nil {
		return nil, []error{fmt.Errorf("%s: want fields with values, such as \"region: us-west-2\"", path)}
	}
	known := make(map[string]setting, len(f.settings))
	for _, s := range f.settings {
		known[s.name] = s
	}
	out := map[string]given{}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		where := path + lineOf(text, name) + ": " + name
		s, ok := known[name]
		if !ok {
			near, _ := nearest(name, slices.Sorted(maps.Keys(known)))
			problems = append(problems, fmt.Errorf("%s: unknown field; did you mean %s?", where, near))
			continue
		}
		words, err := s.words(fields[name])
		if err != nil {
			problems = append(problems, fmt.Errorf("%s%w", where, err))
		}
		out[name] = given{words: words, where: where, unread: err != nil}
	}
	return out, problems
}

// words are a field's values as a flag would give them. Errors begin with
// what has to be added to the path.
func (s setting) words(v any) ([]string, error) {
	elements, isList := v.([]any)
	switch {
	case isList && !s.list:
		return nil, errors.New(": want one value, not a list")
	case !isList && v == nil:
		return nil, errors.New(`: has no value: remove the field, or write "" for an empty one`)
	case !isList:
		elements = []any{v}
	}
	out := make([]string, 0, len(elements))
	for i, e := range elements {
		at := ""
		if isList {
			at = fmt.Sprintf("[%d]", i)
		}
		switch e := e.(type) {
		case string:
			out = append(out, e)
		case bool:
			if s.kind != "" {
				return nil, fmt.Errorf(`%s: want %s, not %v: put it in quotes if it is meant`, at, s.kind, e)
			}
			out = append(out, fmt.Sprint(e))
		case json.Number:
			if s.name == "account-id" {
				// YAML reads 000011112222 as another number.
				return nil, fmt.Errorf(`%s: write the account in quotes: "%s"`, at, e)
			}
			out = append(out, e.String())
		default:
			return nil, fmt.Errorf("%s: want one value, not fields or lists of their own", at)
		}
	}
	return out, nil
}

// lineOf is ":N" for the line that a top-level field begins at, or "".
func lineOf(text []byte, name string) string {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		rest, ok := strings.CutPrefix(strings.Trim(line, "\"' \r\n"), name)
		if ok && strings.HasPrefix(strings.TrimLeft(rest, "\"' "), ":") {
			return fmt.Sprintf(":%d", n)
		}
	}
	return ""
}

// nearest returns the known name with the smallest edit distance. Case and
// the choice between dash and underscore count for nothing.
func nearest(name string, known []string) (best string, distance int) {
	fold := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	distance = -1
	for _, k := range known {
		if d := edits(fold(name), fold(k)); distance < 0 || d < distance {
			best, distance = k, d
		}
	}
	return best, distance
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
