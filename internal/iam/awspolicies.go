// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/store"
)

// AWS' own policies are those that are embedded, as a floor, and those that
// somebody has imported, which count before them. Imported ones stand in the
// store once, for all accounts. An import writes all of them anew under a
// generation of its own and then makes that the current one, so that nobody
// ever sees half of it.

// PolicySet says which generation of imported policies counts.
type PolicySet struct {
	Generation string    `cbor:"1,keyasint"`
	Policies   int       `cbor:"2,keyasint"`
	Imported   time.Time `cbor:"3,keyasint"`
}

// Tables of imported policies, both in the installation's scope.
var (
	// AWSPolicies holds policies by generation and name: generation/name.
	AWSPolicies = store.NewTable[Policy]("aws-policy", nil)
	// PolicySets holds one record, currentSet.
	PolicySets = store.NewTable[PolicySet]("aws-policy-set", nil)
)

const currentSet = "current"

func importedKey(generation, name string) string { return generation + "/" + id(name) }

// imported returns the imported policy of a name.
func imported(r store.Reader, name string) (*Policy, bool) {
	set, ok := PolicySets.Get(r, allAccounts, currentSet)
	if !ok {
		return nil, false
	}
	return AWSPolicies.Get(r, allAccounts, importedKey(set.Generation, name))
}

// allImported walks the imported policies in the order of their names.
func allImported(r store.Reader) iter.Seq[*Policy] {
	return func(yield func(*Policy) bool) {
		set, ok := PolicySets.Get(r, allAccounts, currentSet)
		if !ok {
			return
		}
		for _, p := range AWSPolicies.List(r, allAccounts, set.Generation+"/", "") {
			if !yield(p) {
				return
			}
		}
	}
}

// namedAWSPolicy returns the policy of AWS of a name, imported or embedded.
func namedAWSPolicy(r store.Reader, name string) (*Policy, bool) {
	if p, ok := imported(r, name); ok {
		return p, true
	}
	read, ok := managedPolicies()[name]
	if !ok {
		return nil, false
	}
	p, err := read()
	return p, err == nil
}

// awsPolicy returns the policy of AWS that an ARN of any partition names. The
// record is shared: it must not be changed.
func awsPolicy(r store.Reader, policyARN string) (*Policy, bool) {
	a, err := arn.Parse(policyARN)
	if err != nil {
		return nil, false
	}
	path, name := policyPathName(policyARN)
	p, ok := namedAWSPolicy(r, name)
	if !ok || p.Path != path || p.Name != name || !strings.HasPrefix(a.Resource, "policy/") {
		return nil, false
	}
	return inPartition(p, a.Partition), true
}

func inPartition(p *Policy, partition string) *Policy {
	if partition == p.Partition {
		return p
	}
	n := *p
	n.Partition = partition
	return &n
}

// allAWSPolicies returns AWS' policies in the order of their names.
func allAWSPolicies(r store.Reader, partition string) ([]*Policy, error) {
	all := map[string]*Policy{}
	for _, read := range managedPolicies() {
		p, err := read()
		if err != nil {
			return nil, err
		}
		all[id(p.Name)] = p
	}
	for p := range allImported(r) {
		all[id(p.Name)] = p
	}
	out := make([]*Policy, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, inPartition(all[name], partition))
	}
	return out, nil
}
