// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package revocation

import (
	"context"
	"regexp"
	"strings"
	"time"

	"podid/internal/arn"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// Authorizer decides whether a caller may. Nil means yes; a refusal is a fault
// of kind AccessDenied.
type Authorizer interface {
	Authorize(ctx context.Context, c iam.Caller, q iam.Query) error
}

// Manager holds the verbs of one account. Fields are set once, before use.
type Manager struct {
	Store     store.Store
	Authz     Authorizer
	Now       func() time.Time
	Partition string
	Account   string
	Region    string
}

// RevokeInput names one subject: a role, a user, an association or a pod.
type RevokeInput struct {
	Role        string // name or ARN
	User        string // name or ARN
	Association string // id; it may be deleted already, if Cluster is given
	Pod         string // UID, or namespace/name
	Cluster     string // name; needed with Pod
	// At is the time up to which sessions are refused; zero is now. At most five
	// minutes ahead, and not so far back that no such session can be alive.
	At time.Time
}

// subject is what an epoch is about, found in the account's records.
type subject struct {
	kind   Kind
	id     string
	text   string // for people
	action iam.Query
}

const action = "podid:RevokeSessions"

// Revoke refuses, from now on and on every replica, the sessions of a subject
// that were issued up to in.At, and what was chained from them. A later epoch
// takes the place of an earlier one, never the other way round. Action:
// podid:RevokeSessions on the role, user, association or cluster of the pod.
func (m *Manager) Revoke(ctx context.Context, caller iam.Caller, in RevokeInput) (*Epoch, error) {
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	find, err := in.finder()
	if err != nil {
		return nil, err
	}
	sub, missing := find(m, v, in)
	if err := m.Authz.Authorize(ctx, caller, sub.action); err != nil {
		return nil, err
	}
	if missing != nil {
		return nil, missing
	}
	now := m.Now().UTC().Truncate(time.Millisecond)
	at, err := notBefore(in.At, now)
	if err != nil {
		return nil, err
	}
	e := &Epoch{Account: m.Account, Kind: sub.kind, ID: sub.id, Subject: sub.text, NotBefore: at, Created: now, By: caller.ARN}
	return m.keep(ctx, e)
}

func (m *Manager) keep(ctx context.Context, e *Epoch) (*Epoch, error) {
	out := e
	err := m.Store.Update(ctx, func(tx *store.Tx) error {
		out = e
		id := key(e.Account, e.Kind, e.ID)
		if old, ok := Epochs.Get(tx, scope, id); ok {
			if !old.until().Before(e.until()) {
				out = old
				return nil
			}
		} else if n := count(tx, m.Account); n >= perAccount {
			return fault.New(fault.LimitExceeded, "The account has %d revocations that have not ended, and cannot have more. Revoke the sessions of a role or of an association instead.", n).WithReason("revocation-limit")
		}
		Epochs.PutTTL(tx, scope, id, e, e.Ends().Sub(e.Created))
		return nil
	})
	return out, err
}

func count(r store.Reader, account string) int {
	n := 0
	for range Epochs.List(r, scope, account+"/", "") {
		n++
	}
	return n
}

// notBefore checks the time of an epoch.
func notBefore(at, now time.Time) (time.Time, error) {
	at = at.UTC().Truncate(time.Millisecond)
	switch {
	case at.IsZero():
		return now, nil
	case at.After(now.Add(ahead)):
		return at, invalid("revocation-time", "The time %s lies more than %s ahead: until then no new session would count either.", at.Format(time.RFC3339), ahead)
	case at.Before(now.Add(-Longest)):
		return at, invalid("revocation-time", "The time %s is more than %s ago: no session that was issued until then can be alive.", at.Format(time.RFC3339), Longest)
	}
	return at, nil
}

func invalid(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason(reason)
}

// A finder finds the subject that the input names. The subject that comes with
// an error has what authorisation needs: who may not revoke does not learn
// what there is.
type finder func(m *Manager, r store.Reader, in RevokeInput) (subject, error)

// finder returns how to find the one subject that is named.
func (in *RevokeInput) finder() (finder, error) {
	var found finder
	n := 0
	for _, x := range []struct {
		value string
		find  finder
	}{{in.Role, findRole}, {in.User, findUser}, {in.Association, findAssociation}, {in.Pod, findPod}} {
		if x.value != "" {
			found, n = x.find, n+1
		}
	}
	switch {
	case n != 1:
		return nil, invalid("revocation-subject", "Name one of role, user, association and pod, not %d of them.", n)
	case in.Pod != "" && in.Cluster == "":
		return nil, invalid("revocation-cluster", "A pod is named together with its cluster.")
	case in.Cluster != "" && in.Pod == "" && in.Association == "":
		return nil, invalid("revocation-cluster", "A cluster is named for an association or a pod only.")
	}
	return found, nil
}

// nameOf takes the name from an IAM ARN, or the name itself.
func nameOf(text string) string {
	if strings.HasPrefix(text, "arn:") {
		return text[strings.LastIndexByte(text, '/')+1:]
	}
	return text
}

func findRole(m *Manager, r store.Reader, in RevokeInput) (subject, error) {
	role, ok := iam.FindRole(r, m.Account, nameOf(in.Role))
	if !ok || strings.HasPrefix(in.Role, "arn:") && role.ARN() != in.Role {
		return m.absent("role", in.Role)
	}
	return subject{Role, role.ID, role.ARN(), iam.Query{Action: action, Resource: role.ARN(), Keys: tagKeys(role.Tags)}}, nil
}

func findUser(m *Manager, r store.Reader, in RevokeInput) (subject, error) {
	u, ok := iam.Users.Get(r, store.Scope{Account: m.Account, Region: store.Global}, strings.ToLower(nameOf(in.User)))
	if !ok || strings.HasPrefix(in.User, "arn:") && u.ARN() != in.User {
		return m.absent("user", in.User)
	}
	return subject{User, u.ID, u.ARN(), iam.Query{Action: action, Resource: u.ARN(), Keys: tagKeys(u.Tags)}}, nil
}

func tagKeys(tags []iam.Tag) []iam.ConditionKey {
	var out []iam.ConditionKey
	for _, t := range tags {
		out = append(out, iam.ConditionKey{Name: "aws:ResourceTag/" + t.Key, Values: []string{t.Value}})
	}
	return out
}

func (m *Manager) absent(kind, name string) (subject, error) {
	resource := name
	if !strings.HasPrefix(name, "arn:") {
		resource = arn.IAM(m.Partition, m.Account, kind, "/", name)
	}
	return subject{action: iam.Query{Action: action, Resource: resource}},
		fault.New(fault.NotFound, "The %s %.200s cannot be found.", kind, name).WithReason(kind + "-not-found")
}

var (
	associationRE = regexp.MustCompile(`^a-[a-z0-9]{17}$`)
	podNameRE     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	podUIDRE      = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,127}$`)
)

// findAssociation finds by id. One that is deleted has sessions all the same;
// then the cluster says whose it was.
func findAssociation(m *Manager, r store.Reader, in RevokeInput) (subject, error) {
	inRegion := store.Scope{Account: m.Account, Region: m.Region}
	name := in.Cluster
	_, a, ok := association.Associations.FindIndex(r, inRegion, in.Association)
	if ok && name == "" {
		name = a.ClusterName
	}
	if name == "" {
		name = "*" // what nobody may but who may all
	}
	resource := arn.Association(m.Partition, m.Region, m.Account, name, in.Association)
	sub := subject{Association, in.Association, resource, iam.Query{Action: action, Resource: resource}}
	if ok {
		for k, v := range a.Tags {
			sub.action.Keys = append(sub.action.Keys, iam.ConditionKey{Name: "aws:ResourceTag/" + k, Values: []string{v}})
		}
	}
	switch {
	case !associationRE.MatchString(in.Association):
		return sub, invalid("association-id", "The association id %.100q is not a- and 17 lower-case letters and digits.", in.Association)
	case ok && a.ClusterName != name:
		return sub, fault.New(fault.NotFound, "The association %s is not one of cluster %.100s.", in.Association, name).WithReason("association-not-found")
	case !ok && in.Cluster == "":
		return sub, fault.New(fault.NotFound, "No association has the id %s. If it was deleted, name its cluster too.", in.Association).WithReason("association-not-found")
	}
	if !ok {
		if _, known := cluster.Clusters.Get(r, inRegion, name); !known {
			return sub, noCluster(name)
		}
	}
	return sub, nil
}

func noCluster(name string) error {
	return fault.New(fault.NotFound, "No cluster found for name: %.100s.", name).WithReason("cluster-not-found")
}

// findPod needs no record of the pod: the control plane has none. A name covers
// every pod that had it.
func findPod(m *Manager, r store.Reader, in RevokeInput) (subject, error) {
	resource := arn.Cluster(m.Partition, m.Region, m.Account, in.Cluster)
	sub := subject{kind: Pod, text: in.Cluster + ": " + in.Pod, action: iam.Query{Action: action, Resource: resource}}
	c, ok := cluster.Clusters.Get(r, store.Scope{Account: m.Account, Region: m.Region}, in.Cluster)
	if ok {
		for k, v := range c.Tags {
			sub.action.Keys = append(sub.action.Keys, iam.ConditionKey{Name: "aws:ResourceTag/" + k, Values: []string{v}})
		}
	}
	switch {
	case strings.Contains(in.Pod, "/") && !podNameRE.MatchString(in.Pod):
		return sub, invalid("pod-name", "The pod %.100q is not a namespace and a name as Kubernetes has them.", in.Pod)
	case !strings.Contains(in.Pod, "/") && !podUIDRE.MatchString(in.Pod):
		return sub, invalid("pod-uid", "The pod %.100q is neither namespace/name nor a UID.", in.Pod)
	case !ok:
		return sub, noCluster(in.Cluster)
	}
	if strings.Contains(in.Pod, "/") {
		sub.kind = PodName
	}
	sub.id = podID(c.UID, in.Pod)
	return sub, nil
}

// List returns the account's epochs that have not ended, by kind and subject.
// Action: podid:ListRevocations.
func (m *Manager) List(ctx context.Context, caller iam.Caller) ([]*Epoch, error) {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "podid:ListRevocations", Resource: "arn:" + m.Partition + ":podid:" + m.Region + ":" + m.Account + ":revocation/*"}); err != nil {
		return nil, err
	}
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, fault.StoreUnread(err)
	}
	var out []*Epoch
	for _, e := range Epochs.List(v, scope, m.Account+"/", "") {
		if e.Ends().After(m.Now()) {
			out = append(out, e)
		}
	}
	return out, nil
}
