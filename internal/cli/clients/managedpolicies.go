// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"net/http"
)

// MaxImport bounds a file of managed policies in bytes, as the server does.
const MaxImport = 32 << 20

// ImportResult says what an import has done or, when dry, would do.
type ImportResult struct {
	Policies  int      `json:"policies"`
	Versions  int      `json:"versions"`
	Added     []string `json:"added"`
	Updated   []string `json:"updated"`
	Unchanged int      `json:"unchanged"`
	Total     int      `json:"total"`
	DryRun    bool     `json:"dryRun"`
}

// ImportManagedPolicies calls podid:ImportManagedPolicies with a file as the
// AWS CLI prints it.
func (p *Podid) ImportManagedPolicies(ctx context.Context, file []byte, dry bool) (*ImportResult, error) {
	path := "/podid/v1/managed-policies"
	if dry {
		path += "?dryRun=true"
	}
	out := &ImportResult{}
	return out, p.send(ctx, http.MethodPost, path, file, out)
}
