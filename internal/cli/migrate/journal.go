// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"fmt"
	"time"

	"podid/internal/cli/undofile"
)

// Head is the head of a plan's undo file.
func Head(p *Plan, now time.Time) undofile.Head {
	return undofile.Head{Import: p.Import, Account: p.Target.Account, ClusterARN: p.Target.ClusterARN, StartedAt: now.UTC()}
}

// The names of changes in undo files.
const (
	nameTrust       = "trust"
	namePolicy      = "policy"
	nameRole        = "role"
	nameAssociation = "association"
)

// made is a change of an undo file that may have to be taken back.
type made struct {
	n      int
	change change
	id     string
}

// changesOf makes changes of all the entries of an undo file, or of none.
func changesOf(entries []undofile.Entry) ([]made, error) {
	out := make([]made, len(entries))
	for i, e := range entries {
		out[i] = made{n: e.N, id: e.Made}
		switch e.Change {
		case nameTrust:
			out[i].change = &trustChange{}
		case namePolicy:
			out[i].change = &policyChange{}
		case nameRole:
			out[i].change = &roleChange{}
		case nameAssociation:
			out[i].change = &associationChange{}
		default:
			return nil, fmt.Errorf("change %d: unknown kind %q", e.N, e.Change)
		}
		if err := undofile.Strict(e.What, out[i].change); err != nil {
			return nil, fmt.Errorf("change %d: %w", e.N, err)
		}
	}
	return out, nil
}
