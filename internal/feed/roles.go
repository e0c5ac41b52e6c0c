// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/store"
)

// rolesMemo keeps the last answer to "whose role is one of these": all
// followers of a cluster ask that at the same moment.
type rolesMemo struct {
	mu    sync.Mutex
	asked string // the cluster, the view's revision and the roles
	ids   []string
}

// changes are the ids of associations that changed, or whose role did where
// that is asked for; false where that is not remembered.
func (s *Service) changes(v *store.View, c *cluster.Cluster, in Input) ([]string, bool) {
	ids, known := association.Associations.Changes(v, s.Rights.Scope(), c.UID+"/", in.After)
	if !known || !in.OnlyChanges {
		return ids, known
	}
	roles, known := iam.Roles.Changes(v, store.Scope{Account: s.Rights.Account, Region: store.Global}, "", in.After)
	if len(roles) > 0 {
		ids = append(slices.Clone(ids), s.withRoles(v, c, roles)...)
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	return ids, known
}

// withRoles are the ids of the cluster's associations with one of the roles,
// which may not be there any more.
func (s *Service) withRoles(v *store.View, c *cluster.Cluster, roles []string) []string {
	asked := c.UID + " " + strconv.FormatInt(v.Revision(), 10) + " " + strings.Join(roles, " ")
	s.roles.mu.Lock()
	defer s.roles.mu.Unlock()
	if s.roles.asked == asked {
		return s.roles.ids
	}
	var ids []string
	for id, a := range association.Associations.List(v, s.Rights.Scope(), c.UID+"/", "") {
		name := strings.ToLower(a.RoleARN[strings.LastIndexByte(a.RoleARN, '/')+1:])
		if _, found := slices.BinarySearch(roles, name); found {
			ids = append(ids, id)
		}
	}
	s.roles.asked, s.roles.ids = asked, ids
	return ids
}
