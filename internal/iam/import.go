// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"io"
	"slices"
	"strings"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/store"
)

// A transaction of an import holds few records and little text, so that it
// keeps to the limits of any etcd: 128 operations and 1.5 MB by default.
const (
	importBatch      = 50
	importBatchBytes = 512 << 10
)

// ImportResult says what an import has done or, when dry, would do.
type ImportResult struct {
	Policies  int      `json:"policies"`  // in the file
	Versions  int      `json:"versions"`  // of them
	Added     []string `json:"added"`     // names that AWS' policies did not have here
	Updated   []string `json:"updated"`   // names whose policy becomes another
	Unchanged int      `json:"unchanged"` // policies that are here as they are in the file
	Total     int      `json:"total"`     // policies of AWS afterwards
	DryRun    bool     `json:"dryRun"`
}

// ImportManagedPolicies takes over AWS' own policies from what `aws iam
// get-account-authorization-details --filter AWSManagedPolicy` prints, for all
// accounts. It takes all or nothing. Attached policies take effect with the
// imported document. Versions and policies that are here already and not in
// the file stay. Importing the same again changes nothing. open gives the file
// once the caller is known to be allowed; it is read to its end, and nothing is
// changed if that is an error. Action: podid:ImportManagedPolicies
// on arn:…:iam::aws:policy/*; the caller has to be of the first account.
func (m *Manager) ImportManagedPolicies(ctx context.Context, caller Caller, dry bool, open func() (io.Reader, error)) (*ImportResult, error) {
	const action = "podid:ImportManagedPolicies"
	all := arn.IAM(m.Partition, managedAccount, "policy", "/", "*")
	if err := m.Authz.Authorize(ctx, caller, Query{Action: action, Resource: all}); err != nil {
		return nil, err
	}
	if m.Account != m.First || caller.Account != m.First {
		return nil, fault.New(fault.AccessDenied, "User: %s is not authorized to perform: %s on resource: %s because only the first account of the installation may", caller.ARN, action, all).
			WithReason("not-first-account")
	}
	file, err := open()
	if err != nil {
		return nil, err
	}
	policies, err := readImport(file, m.Partition)
	if err != nil {
		return nil, err
	}
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	merged, out, err := m.mergeImport(v, policies)
	if err != nil {
		return nil, err
	}
	out.DryRun = dry
	if dry || len(out.Added)+len(out.Updated) == 0 {
		return out, nil
	}
	return out, m.replaceImported(ctx, v, merged)
}

// mergeImport lays a file over the policies that are here, and returns all
// that the store is to hold.
func (m *Manager) mergeImport(r store.Reader, file []*Policy) ([]*Policy, *ImportResult, error) {
	out := &ImportResult{Policies: len(file), Added: []string{}, Updated: []string{}}
	here, err := allAWSPolicies(r, m.Partition)
	if err != nil {
		return nil, nil, err
	}
	known := make(map[string]*Policy, len(here))
	for _, p := range here {
		known[id(p.Name)] = p
	}
	all := map[string]*Policy{}
	for p := range allImported(r) {
		all[id(p.Name)] = p
	}
	for _, p := range file {
		out.Versions += len(p.Versions)
		old, ok := known[id(p.Name)]
		if ok {
			p.keepVersions(old)
		}
		switch {
		case !ok:
			out.Added = append(out.Added, p.Name)
		case samePolicy(old, p):
			out.Unchanged++
			continue
		default:
			out.Updated = append(out.Updated, p.Name)
		}
		all[id(p.Name)], known[id(p.Name)] = p, p
	}
	out.Total = len(known)
	merged := make([]*Policy, 0, len(all))
	for _, p := range all {
		merged = append(merged, p)
	}
	slices.SortFunc(merged, func(a, b *Policy) int { return strings.Compare(id(a.Name), id(b.Name)) })
	return merged, out, nil
}

// keepVersions adds the versions that an older state of the policy has, as
// long as the record does not get too big.
func (p *Policy) keepVersions(old *Policy) {
	size := 0
	for _, v := range p.Versions {
		size += len(v.Document)
	}
	for _, v := range slices.Backward(old.Versions) {
		if _, ok := p.version(v.ID); ok {
			continue
		}
		if size += len(v.Document); size > maxImportedPolicy {
			break
		}
		p.Versions = append(p.Versions, v)
	}
	p.sortVersions()
}

// replaceImported writes a new generation, makes it the current one if
// nobody else has imported meanwhile, and removes the others.
func (m *Manager) replaceImported(ctx context.Context, seen store.Reader, policies []*Policy) error {
	generation, err := newID(m.Rand, "SET")
	if err != nil {
		return err
	}
	for rest := policies; len(rest) > 0; {
		n := batchOf(rest)
		batch := rest[:n]
		rest = rest[n:]
		if err := m.update(ctx, func(tx *store.Tx) error {
			for _, p := range batch {
				AWSPolicies.Put(tx, allAccounts, importedKey(generation, p.Name), p)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	before, _ := PolicySets.Get(seen, allAccounts, currentSet)
	set := &PolicySet{Generation: generation, Policies: len(policies), Imported: m.now()}
	err = m.update(ctx, func(tx *store.Tx) error {
		cur, _ := PolicySets.Get(tx, allAccounts, currentSet)
		n := 0
		for range AWSPolicies.List(tx, allAccounts, generation+"/", "") {
			n++
		}
		if n != len(policies) || generationOf(cur) != generationOf(before) {
			return fault.New(fault.Unavailable, "Another import ran at the same time. Try again.").WithReason("import-concurrent")
		}
		PolicySets.Put(tx, allAccounts, currentSet, set)
		return nil
	})
	if err != nil {
		return err
	}
	return m.removeGenerations(ctx, generation)
}

func generationOf(s *PolicySet) string {
	if s == nil {
		return ""
	}
	return s.Generation
}

// batchOf is how many policies the next transaction takes.
func batchOf(policies []*Policy) int {
	size := 0
	for i, p := range policies {
		for _, v := range p.Versions {
			size += len(v.Document)
		}
		if i == importBatch || i > 0 && size > importBatchBytes {
			return i
		}
	}
	return len(policies)
}

// removeGenerations removes what earlier imports, and such as broke off, have
// left.
func (m *Manager) removeGenerations(ctx context.Context, but string) error {
	var old []string
	for key := range AWSPolicies.List(m.Store.View(), allAccounts, "", "") {
		if !strings.HasPrefix(key, but+"/") {
			old = append(old, key)
		}
	}
	for batch := range slices.Chunk(old, importBatch) {
		if err := m.update(ctx, func(tx *store.Tx) error {
			for _, key := range batch {
				AWSPolicies.Delete(tx, allAccounts, key)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
