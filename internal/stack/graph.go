// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"maps"
	"slices"
	"strings"
)

// A graph says what each member depends on. What it depends on may be listed twice and in any order.
type graph map[string][]string

// order returns the members, each after what it depends on, and otherwise by name; or names those that depend on one another.
func (g graph) order() ([]string, error) {
	done, left := g.sort()
	if len(left) > 0 {
		return nil, refuse(reasonCircular, "Circular dependency between resources: [%s]", strings.Join(g.tight(left), ", "))
	}
	return done, nil
}

// cycle returns the members that depend on one another, by name.
func (g graph) cycle() []string {
	_, left := g.sort()
	return g.tight(left)
}

// sort returns the members in order, and those that cannot be ordered.
func (g graph) sort() (done, left []string) {
	waiting := make(map[string]int, len(g))
	users := make(map[string][]string, len(g))
	var ready []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		for _, on := range g[name] {
			if _, ok := g[on]; ok {
				waiting[name]++
				users[on] = append(users[on], name)
			}
		}
		if waiting[name] == 0 {
			ready = append(ready, name)
		}
	}
	for len(ready) > 0 {
		name := ready[0]
		ready = ready[1:]
		done = append(done, name)
		for _, user := range users[name] {
			if waiting[user]--; waiting[user] == 0 {
				i, _ := slices.BinarySearch(ready, user)
				ready = slices.Insert(ready, i, user)
			}
		}
	}
	for name, n := range waiting {
		if n > 0 {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	return done, left
}

// tight leaves out those of left that only depend on a cycle: nothing in left needs them.
func (g graph) tight(left []string) []string {
	for {
		needed := map[string]bool{}
		for _, name := range left {
			for _, on := range g[name] {
				needed[on] = true
			}
		}
		kept := slices.DeleteFunc(slices.Clone(left), func(name string) bool { return !needed[name] })
		if len(kept) == len(left) {
			return left
		}
		left = kept
	}
}
