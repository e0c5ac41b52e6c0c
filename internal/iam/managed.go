// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// managedAccount stands where an account would in the ARNs of AWS' policies.
const managedAccount = "aws"

// managedFiles holds AWS' own policies as data; see managed/README.md.
//
//go:embed managed/*.json
var managedFiles embed.FS

// managedPolicies knows the names; each policy is read when it is first asked
// for. It never changes.
var managedPolicies = sync.OnceValue(func() map[string]func() (*Policy, error) {
	entries, err := managedFiles.ReadDir("managed")
	if err != nil {
		panic(err) // embedded: cannot be absent
	}
	out := make(map[string]func() (*Policy, error), len(entries))
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".json")
		out[name] = sync.OnceValues(func() (*Policy, error) { return readManaged(name) })
	}
	return out
})

func readManaged(name string) (*Policy, error) {
	raw, err := managedFiles.ReadFile("managed/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("read managed policy: %w", err)
	}
	var f struct {
		Path, DefaultVersionId string //nolint:revive // AWS' member name
		CreateDate, UpdateDate time.Time
		Document               json.RawMessage
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("read managed policy %s: %w", name, err)
	}
	var doc bytes.Buffer
	if err := json.Compact(&doc, f.Document); err != nil {
		return nil, fmt.Errorf("read managed policy %s: %w", name, err)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(f.DefaultVersionId, "v"))
	if err != nil {
		return nil, fmt.Errorf("read version of managed policy %s: %w", name, err)
	}
	// AWS' own ids are not published: ours follow from the name.
	sum := sha256.Sum256([]byte("podid managed policy " + name))
	return &Policy{
		ID: prefixPolicy + base32ID.EncodeToString(sum[:11])[:17], Partition: "aws", Account: managedAccount, Path: f.Path, Name: name,
		Default: f.DefaultVersionId, Versions: []PolicyVersion{{f.DefaultVersionId, doc.String(), f.UpdateDate}},
		Created: f.CreateDate, Updated: f.UpdateDate, NextVersion: n + 1,
	}, nil
}
