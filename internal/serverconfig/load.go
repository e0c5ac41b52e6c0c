// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package serverconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Flags holds what the command line says until Load reads it.
type Flags struct {
	settings []setting
	values   map[string]*flagValue
	config   string // --config
	set      *pflag.FlagSet
}

// NewFlags returns flags that nobody has set.
func NewFlags() *Flags {
	f := &Flags{settings: settings(), values: map[string]*flagValue{}}
	for _, s := range f.settings {
		f.values[s.name] = &flagValue{kind: s.kind, list: s.list}
	}
	return f
}

// AddTo defines the flags in a command's flag set. A malformed value is no
// error of the flag set: Load reports it beside all other problems.
func (f *Flags) AddTo(fs *pflag.FlagSet) {
	f.set = fs
	fs.StringVar(&f.config, "config", "", "YAML file with settings by their flag names")
	for _, s := range f.settings {
		flag := fs.VarPF(f.values[s.name], s.name, "", s.usage)
		flag.DefValue = s.def
		if s.kind == "" {
			flag.NoOptDefVal = "true"
		}
	}
}

// flagValue keeps a flag's words as they were given.
type flagValue struct {
	kind  string
	list  bool
	words []string
}

func (v *flagValue) Set(s string) error {
	if !v.list {
		v.words = []string{s}
		return nil
	}
	v.words = append(v.words, splitList(s)...)
	return nil
}

func (v *flagValue) String() string { return strings.Join(v.words, ",") }

func (v *flagValue) Type() string {
	if v.kind == "" {
		return "bool"
	}
	return v.kind
}

// splitList splits at commas; empty parts are dropped, so "" is no element.
func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// A given value and the place that it was given at, for messages.
type given struct {
	words  []string
	where  string
	unread bool // its value is of another kind, which has been reported
}

// Load brings flags, environment, file and defaults together and checks the
// result. The error joins all problems; each says where the value came from.
func (f *Flags) Load(env Env) (Config, error) {
	file, problems := f.readFile(env)
	problems = append(problems, f.unknownVariables(env)...)
	var c Config
	bad := map[string]bool{} // settings whose value could not be read
	where := map[string]string{}
	for _, s := range f.settings {
		g, ok := f.find(s, env, file)
		if !ok {
			continue
		}
		where[s.name] = g.where
		if g.unread {
			bad[s.name] = true
			continue
		}
		if err := s.set(&c, g.words); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", g.where, err))
			bad[s.name] = true
		}
	}
	c.complete()
	for _, p := range c.problems(env) {
		if slices.ContainsFunc(p.about, func(name string) bool { return bad[name] }) {
			continue // said already, or not to be judged
		}
		at := where[p.about[0]]
		if at == "" || at == "default" {
			at = "--" + p.about[0]
		}
		problems = append(problems, fmt.Errorf("%s: %s", at, p.text))
	}
	if len(problems) > 0 {
		return Config{}, errors.Join(problems...)
	}
	return c, nil
}

// find returns the setting's value from the first place that has one.
func (f *Flags) find(s setting, env Env, file map[string]given) (given, bool) {
	if f.set != nil && f.set.Changed(s.name) {
		return given{words: orEmpty(s, f.values[s.name].words), where: "--" + s.name}, true
	}
	if v, ok := env.lookup(s.env()); ok {
		words := []string{v}
		if s.list {
			words = splitList(v)
		}
		return given{words: orEmpty(s, words), where: s.env()}, true
	}
	if g, ok := file[s.name]; ok {
		g.words = orEmpty(s, g.words)
		return g, true
	}
	def := s.def
	switch s.name {
	case "data-dir":
		def = env.dataDir()
	case "region":
		for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
			if v, _ := env.lookup(name); v != "" {
				return given{words: []string{v}, where: name}, true
			}
		}
	}
	if def == "" {
		return given{}, false
	}
	return given{words: []string{def}, where: "default"}, true
}

// orEmpty gives a single setting its one word.
func orEmpty(s setting, words []string) []string {
	if len(words) == 0 && !s.list {
		return []string{""}
	}
	return words
}

// unknownVariables reports PODID_ variables that are almost a setting's: a
// slip of the pen must not be a setting that is silently ignored. Variables of
// other podid programs share the prefix, so only near misses are refused.
func (f *Flags) unknownVariables(env Env) []error {
	var problems []error
	known := make([]string, 0, len(f.settings))
	for _, s := range f.settings {
		known = append(known, s.env())
	}
	for _, name := range env.Names {
		if !strings.HasPrefix(name, "PODID_") || slices.Contains(known, name) || name == "PODID_CONFIG" {
			continue
		}
		if near, d := nearest(name, known); d <= 2 {
			problems = append(problems, fmt.Errorf("%s: no such setting; did you mean %s?", name, near))
		}
	}
	return problems
}

// Usage is the help on all settings, in groups.
func (f *Flags) Usage() string {
	var b strings.Builder
	b.WriteString("Every setting is a flag, a variable (--data-dir is PODID_DATA_DIR) and a field of the YAML file of --config\n(data-dir: …); the first of them that is there wins.\n\n")
	fmt.Fprintf(&b, "%-36s %s\n", "  --config file", "YAML file with settings by their flag names (PODID_CONFIG)")
	for _, g := range groups {
		b.WriteString("\n" + g + ":\n")
		for _, s := range f.settings {
			if s.group == g {
				s.help(&b)
			}
		}
	}
	return b.String()
}

func (s setting) help(b *strings.Builder) {
	head := "  --" + s.name
	if s.kind != "" {
		head += " " + s.kind
	}
	tail := s.usage
	if s.list {
		tail += " (repeatable)"
	}
	switch {
	case s.shown != "":
		tail += " (default " + s.shown + ")"
	case s.def != "":
		tail += " (default " + s.def + ")"
	}
	fmt.Fprintf(b, "%-36s %s\n", head, tail)
}

// Names are those of all settings, and of the flag that names a file of them.
func (f *Flags) Names() []string {
	out := []string{"config"}
	for _, s := range f.settings {
		out = append(out, s.name)
	}
	return out
}
