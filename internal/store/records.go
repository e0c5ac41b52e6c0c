// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// Tables returns the names of the schema's tables in their order.
func (s *Schema) Tables() []string { return slices.Sorted(maps.Keys(s.tables)) }

// Record is a record of whatever table, as those see it who look after all
// records of an account.
type Record struct {
	Table, ID string
	Scope     Scope
	Value     any
}

// Records walks every record of an account, in the order of the keys. In a Tx
// all of them count as read: a record added by another is a lost race.
func Records(r Reader, account string) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for key, v := range r.scan(account+"/", "") {
			p := strings.SplitN(key, "/", 4) // the schema has read it, so it has four parts
			if !yield(Record{Table: p[2], ID: p[3], Scope: Scope{p[0], p[1]}, Value: v}) {
				return
			}
		}
	}
}

// Remove removes the record at commit, whatever its table.
func (r Record) Remove(tx *Tx) { tx.remove(r.Scope.prefix() + r.Table + "/" + r.ID) }
