// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ekssource owns what is read of an EKS cluster that is to be taken
// over: its pod identity associations, the roles that they name, and the
// policies of these. It reads the answers that the AWS CLI wrote to files (FromFiles);
// its inner room live asks AWS' own API. It
// leaves nothing out in silence: what could not be read is noted with the
// association, role or policy that lacks it, so that nobody takes over half of
// a role. What becomes of all this is planned by internal/cli/migrate.
package ekssource

import (
	"fmt"
	"slices"
	"strings"
)

// Snapshot is a cluster with its associations, and the roles and policies that
// they need.
type Snapshot struct {
	Account      string // of the cluster, twelve digits
	Cluster      string // name
	ClusterARN   string
	Associations []Association      // by namespace and service account
	Roles        map[string]*Role   // by ARN
	Policies     map[string]*Policy // those of the account itself, by ARN
}

// Association is a pod identity association.
type Association struct {
	ID, Namespace, ServiceAccount string
	RoleARN, TargetRoleARN        string
	Policy                        string // session policy
	DisableSessionTags            bool
	Tags                          map[string]string
	OwnerARN                      string   // of the add-on that it belongs to
	Missing                       []string // what could not be read
}

// Document is a named policy document.
type Document struct{ Name, Text string }

// Role is a role with all that belongs to it.
type Role struct {
	ARN, Name, Path string
	Description     string
	MaxSession      int32 // seconds; 0 is not known
	Trust           string
	BoundaryARN     string
	Attached        []string // ARNs
	Inline          []Document
	Tags            map[string]string
	Missing         []string // what could not be read
}

// Policy is a managed policy in its default version.
type Policy struct {
	ARN, Name, Path string
	Description     string
	Document        string
	Tags            map[string]string
	Missing         []string // what could not be read
}

// OfAWS reports whether a managed policy's ARN is one of AWS' own.
func OfAWS(policyARN string) bool {
	parts := strings.SplitN(policyARN, ":", arnParts)
	return len(parts) == arnParts && parts[4] == "aws"
}

const arnParts = 6

// AccountOf is the account in an ARN, "" if it is none.
func AccountOf(arn string) string {
	parts := strings.SplitN(arn, ":", arnParts)
	if len(parts) != arnParts || parts[0] != "arn" {
		return ""
	}
	return parts[4]
}

// clusterOf makes the cluster's ARN of an association's.
func clusterOf(associationARN, cluster string) (string, error) {
	parts := strings.SplitN(associationARN, ":", arnParts)
	if len(parts) != arnParts || parts[2] != "eks" || !strings.HasPrefix(parts[5], "podidentityassociation/"+cluster+"/") {
		return "", fmt.Errorf("%q is not the ARN of an association of cluster %s", associationARN, cluster)
	}
	parts[5] = "cluster/" + cluster
	return strings.Join(parts, ":"), nil
}

// PathOf is the path in the ARN of a role or policy: "/" or "/a/b/".
func PathOf(arn string) string {
	first, last := strings.IndexByte(arn, '/'), strings.LastIndexByte(arn, '/')
	if first < 0 {
		return "/"
	}
	return arn[first : last+1]
}

// NameOf is the name at the end of an ARN.
func NameOf(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// Needed lists the ARNs of the account's own policies that the roles name.
func (s *Snapshot) Needed() []string {
	var out []string
	seen := map[string]bool{}
	add := func(arn string) {
		if arn != "" && !OfAWS(arn) && !seen[arn] {
			seen[arn] = true
			out = append(out, arn)
		}
	}
	for _, a := range s.Associations {
		if r := s.Roles[a.RoleARN]; r != nil {
			for _, p := range r.Attached {
				add(p)
			}
			add(r.BoundaryARN)
		}
	}
	return out
}

// Sort puts the associations in order.
func (s *Snapshot) Sort() {
	slices.SortFunc(s.Associations, func(a, b Association) int {
		return strings.Compare(a.Namespace+"/"+a.ServiceAccount, b.Namespace+"/"+b.ServiceAccount)
	})
}
