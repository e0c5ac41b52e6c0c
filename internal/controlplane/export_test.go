// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"net/http"

	"podid/internal/api/awsquery"
	"podid/internal/api/restjson"
)

// Surface lists everything that the listener serves.
func Surface() ([]restjson.Route, []awsquery.Service) {
	v := &services{shared: &shared{}, tokens: &tokenRoute{}}
	return v.routes(), v.queries()
}

// Holdings says which table keeps an account from being deleted.
var Holdings = holdings

// Handler is what the listener serves.
func (cp *ControlPlane) Handler() http.Handler { return cp.server.Handler() }
