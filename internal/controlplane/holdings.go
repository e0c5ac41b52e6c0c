// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"podid/internal/accessentry"
	"podid/internal/account"
	"podid/internal/addon"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/issuer"
	"podid/internal/issuer/webidentity"
	"podid/internal/keyring"
	"podid/internal/refusal"
	"podid/internal/revocation"
	"podid/internal/stackrun"
)

// holdings says of every table what its records mean to an account that is to
// be deleted. A table that is not here keeps any account with a record of it
// from being deleted: nothing goes unnoticed.
var holdings = map[string]account.Holding{
	cluster.Clusters.Name(): {Noun: "cluster"},
	association.Associations.Name(): {Noun: "pod identity association", Name: called(func(a *association.Association) string {
		return a.ClusterName + "/" + a.Namespace + "/" + a.ServiceAccount
	})},
	accessentry.Entries.Name():  {Noun: "access entry", Name: called(func(e *accessentry.Entry) string { return e.ClusterName + "/" + e.PrincipalARN })},
	iam.Roles.Name():            {Noun: "role", Name: called(func(r *iam.Role) string { return r.Name })},
	iam.Users.Name():            {Noun: "user", Name: called(func(u *iam.User) string { return u.Name })},
	iam.Groups.Name():           {Noun: "group", Name: called(func(g *iam.Group) string { return g.Name })},
	iam.Policies.Name():         {Noun: "policy", Name: called(func(p *iam.Policy) string { return p.Name })},
	iam.InstanceProfiles.Name(): {Noun: "instance profile", Name: called(func(p *iam.InstanceProfile) string { return p.Name })},
	iam.OIDCProviders.Name():    {Noun: "OIDC provider", Name: called(func(p *iam.OIDCProvider) string { return p.URL })},
	iam.Aliases.Name():          {Noun: "account alias"},
	addon.Addons.Name():         {Noun: "add-on", Name: called(func(a *addon.Addon) string { return a.ClusterName + "/" + a.Name })},
	stackrun.Stacks.Name():      {Noun: "stack", Name: called(func(r *stackrun.Record) string { return r.Name })},
	// These go with the account.
	addon.Seen.Name():            {Goes: true},
	refusal.Refusals.Name():      {Goes: true},
	association.Requests.Name():  {Goes: true},
	accessentry.Reviewers.Name(): {Goes: true},
	iam.KeyUses.Name():           {Goes: true},
	issuer.Choices.Name():        {Goes: true},
	stackrun.Deleted.Name():      {Goes: true},
	stackrun.Resources.Name():    {Goes: true},
	stackrun.Templates.Name():    {Goes: true},
	stackrun.Events.Name():       {Goes: true},
	stackrun.ChangeSets.Name():   {Goes: true},
	// These are the installation's and in no other account.
	iam.AWSPolicies.Name():   {Noun: "imported policy"},
	iam.PolicySets.Name():    {Noun: "set of imported policies"},
	account.Accounts.Name():  {Noun: "account"},
	keyring.Keys.Name():      {Noun: "session key"},
	webidentity.Keys.Name():  {Noun: "token key"},
	revocation.Epochs.Name(): {Noun: "revocation"},
}

// called makes a name of a record of the type.
func called[T any](name func(*T) string) func(any) string {
	return func(record any) string {
		if v, ok := record.(*T); ok {
			return name(v)
		}
		return ""
	}
}
