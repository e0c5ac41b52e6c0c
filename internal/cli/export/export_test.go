// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"podid/internal/cli/clusterconfig"
	"podid/internal/cli/setup"
	"podid/internal/cli/trust"
	"podid/internal/cli/wellknown"
)

const (
	account    = "111122223333"
	clusterARN = "arn:aws:eks:us-west-2:111122223333:cluster/c"
	roleARN    = "arn:aws:iam::111122223333:role/r"
)

func wellKnown(t *testing.T, name string) []setup.InlinePolicy {
	t.Helper()
	p, err := wellknown.Set{name: true}.Policies("aws")
	if err != nil {
		t.Fatal(err)
	}
	var out []setup.InlinePolicy
	for _, x := range p.Inline {
		out = append(out, setup.InlinePolicy{Name: x.Name, Document: string(x.Document)})
	}
	return out
}

// made is the role that podid makes for n/s in cluster c.
func made(change func(*setup.Role)) *setup.Role {
	r := &setup.Role{Trust: trust.ForPods(account, clusterARN), Role: iamtypes.Role{
		RoleName: aws.String("r"), Arn: aws.String(roleARN), Path: aws.String("/"), MaxSessionDuration: aws.Int32(3600),
		Description: aws.String("Pods of n/s in cluster c"), Tags: setup.IAMTags(map[string]string{setup.TagCreatedBy: setup.CreatedBy, "a": "b"}),
	}}
	change(r)
	return r
}

// TestTextbook tells the roles that eksctl's schema can say from those that
// would come back otherwise.
func TestTextbook(t *testing.T) {
	own := []setup.InlinePolicy{{Name: "mine", Document: `{"Statement":[]}`}}
	for _, tc := range []struct {
		name   string
		role   *setup.Role
		inline []setup.InlinePolicy
		want   bool
	}{
		{"as podid makes it", made(func(*setup.Role) {}), nil, true},
		{"with a policy of its own", made(func(*setup.Role) {}), own, true},
		{"with managed policies", made(func(r *setup.Role) { r.Attached = []string{"a", "b"} }), nil, true},
		{"with well-known policies", made(func(*setup.Role) {}), append(wellKnown(t, "certManager"), own...), true},
		{"with half of a well-known policy", made(func(*setup.Role) {}), wellKnown(t, "certManager")[:2], false},
		{"with two policies of its own", made(func(*setup.Role) {}), append(own, setup.InlinePolicy{Name: "more", Document: "{}"}), false},
		{"with another trust policy", made(func(r *setup.Role) { r.Trust = trust.ForPods(account) }), nil, false},
		{"under a path", made(func(r *setup.Role) { r.Path = aws.String("/team/") }), nil, false},
		{"with another description", made(func(r *setup.Role) { r.Description = nil }), nil, false},
		{"with longer sessions", made(func(r *setup.Role) { r.MaxSessionDuration = aws.Int32(7200) }), nil, false},
		{"with other tags", made(func(r *setup.Role) { r.Tags = setup.IAMTags(map[string]string{setup.TagCreatedBy: setup.CreatedBy}) }), nil, false},
		{"made by somebody else", made(func(r *setup.Role) { r.Tags = setup.IAMTags(map[string]string{"a": "b"}) }), nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := clusterconfig.Association{Namespace: "n", ServiceAccountName: "s", RoleARN: roleARN, Tags: map[string]string{"a": "b"}}
			a := before
			got := textbook(&user{"c", clusterARN, &a}, tc.role, tc.inline, "edge", account)
			if got != tc.want {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
			if d := cmp.Diff(before, a); !got && d != "" {
				t.Errorf("changed all the same: %s", d)
			}
			if got && (a.RoleARN != "" || a.RoleName != "r" || a.PermissionsBoundaryARN != "edge" || !cmp.Equal(a.PermissionPolicyARNs, tc.role.Attached)) {
				t.Errorf("got %+v", a)
			}
		})
	}
}

func TestKnown(t *testing.T) {
	dns := wellKnown(t, "externalDNS")
	changed := append([]setup.InlinePolicy{}, dns...)
	changed[0].Document = `{"Statement":[]}`
	for _, tc := range []struct {
		name   string
		inline []setup.InlinePolicy
		want   wellknown.Set
		rest   int
	}{
		{"none", nil, nil, 0},
		{"one", dns, wellknown.Set{"externalDNS": true}, 0},
		{"two", append(dns, wellKnown(t, "autoScaler")...), wellknown.Set{"externalDNS": true, "autoScaler": true}, 0},
		{"changed", changed, nil, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, rest := known(tc.inline, roleARN)
			if d := cmp.Diff(tc.want, got); d != "" || len(rest) != tc.rest {
				t.Errorf("%s; %d left, want %d", d, len(rest), tc.rest)
			}
		})
	}
}
