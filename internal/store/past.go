// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"
	"sort"
	"strings"
)

// remembered is how many changes a view knows of at least, where there were
// so many: what a follower may be behind without having to read all anew.
const remembered = 8192

// past is what changed before a view, oldest first. Views that follow each
// other share the array; each sees only its own part of it.
type past struct {
	since   int64 // the revision after which all changes are known
	changes []pastChange
}

type pastChange struct {
	revision int64 // of the view that shows it, not below the change's own
	key      string
}

// and adds the changes that lead from the view at revision from to that at to.
func (p past) and(from, to int64, changes []Change) past {
	if from == 0 || len(changes) > remembered { // loaded anew: nothing before it is known
		return past{since: to}
	}
	if have := len(p.changes); have > 2*remembered {
		cut := have - remembered
		p = past{p.changes[cut-1].revision, slices.Clone(p.changes[cut:])}
	}
	for _, c := range changes {
		p.changes = append(p.changes, pastChange{to, c.Key})
	}
	return p
}

// Changes returns the ids, beginning with prefix and in their order, of the
// records that were written or deleted after the revision: what the view shows
// of them is how they are now. It may name records that did not change, and
// reports false when the view does not remember that far, or is older.
func (t *Table[T]) Changes(v *View, s Scope, prefix string, after int64) ([]string, bool) {
	if after < v.past.since || after > v.rev {
		return nil, false
	}
	base := t.key(s, "")
	first := sort.Search(len(v.past.changes), func(i int) bool { return v.past.changes[i].revision > after })
	var ids []string
	for _, c := range v.past.changes[first:] {
		if id, ours := strings.CutPrefix(c.key, base); ours && strings.HasPrefix(id, prefix) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), true
}
