// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The first byte of a payload is its version; one that is not among these is
// another release's and is refused. A session that has nothing of version 2 is
// written in version 1, which every release reads: while replicas are being
// replaced, the tokens of pods and agents open on all of them.
const (
	payloadVersion = 1
	payloadLineage = 2 // version 1, then kind, user, pod, chain and padding
)

// wellKnown are the keys of the six tags of EKS Pod Identity, which travel as
// one byte. The order is part of the format: append only.
var wellKnown = [...]string{
	"eks-cluster-arn", "eks-cluster-name", tagNamespace,
	"kubernetes-service-account", tagPodName, "kubernetes-pod-uid",
}

// The tags that name a pod.
const (
	tagNamespace = "kubernetes-namespace"
	tagPodName   = "kubernetes-pod-name"
)

// errPayload is the answer to every payload that cannot be read. An
// authentic payload that cannot be read was written by another release.
var errPayload = errors.New("session payload is malformed")

// writer appends fields: strings behind their length, integers as varints.
type writer struct{ b []byte }

func (w *writer) str(s string) {
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.b = binary.AppendVarint(w.b, 0)
		return
	}
	w.b = binary.AppendVarint(w.b, t.UnixMilli())
}

func (w *writer) tag(t Tag) {
	head := byte(0)
	for i, k := range wellKnown {
		if t.Key == k {
			head = byte(i + 1)
		}
	}
	if t.Transitive {
		head |= 0x80
	}
	w.b = append(w.b, head)
	if head&0x7f == 0 {
		w.str(t.Key)
	}
	w.str(t.Value)
}

// encode writes s in podid's own compact form: far smaller than JSON, and
// with nothing in it that a token's 4,096 bytes would be wasted on. The payload
// is padded to at least atLeast bytes.
func encode(dst []byte, s *Session, atLeast int) []byte {
	start := len(dst)
	out := encodeBase(append(dst, payloadVersion, flags(s)), s)
	if s.Kind == OfRole && s.UserID == "" && s.Origin.Pod == "" && len(s.Chain) == 0 && len(out)-start >= atLeast {
		return out
	}
	out[start] = payloadLineage
	w := writer{append(out, byte(s.Kind))}
	w.str(s.UserID)
	w.str(s.Origin.Pod)
	w.b = binary.AppendUvarint(w.b, uint64(len(s.Chain)))
	for _, a := range s.Chain {
		w.ancestor(a, s.Account)
	}
	missing := max(0, atLeast-(len(w.b)-start)-1) // its length takes a byte at least
	w.b = binary.AppendUvarint(w.b, uint64(missing))
	return append(w.b, make([]byte, missing)...)
}

// ancestor leaves out the account that is the session's own, as it mostly is.
func (w *writer) ancestor(a Ancestor, account string) {
	if a.Account == account {
		a.Account = ""
	}
	w.str(a.Account)
	w.str(a.PrincipalID)
	w.time(a.Issued)
}

func encodeBase(dst []byte, s *Session) []byte {
	w := writer{dst}
	for _, v := range [...]string{
		s.Partition, s.Account, s.RoleID, s.RolePath, s.RoleName, s.Name, s.SourceIdentity, s.FederatedProvider, s.Policy,
		s.Node.ClusterUID, s.Node.Name, s.Node.UID, s.Origin.ClusterUID, s.Origin.AssociationID, s.Origin.PodUID,
	} {
		w.str(v)
	}
	w.time(s.Issued)
	w.time(s.Expires)
	w.b = binary.AppendUvarint(w.b, uint64(len(s.Tags)))
	for _, t := range s.Tags {
		w.tag(t)
	}
	w.b = binary.AppendUvarint(w.b, uint64(len(s.PolicyARNs)))
	for _, p := range s.PolicyARNs {
		w.str(p)
	}
	return w.b
}

func flags(s *Session) byte {
	if s.Chained {
		return 1
	}
	return 0
}

// reader takes fields off; after the first fault every field is empty. It reads
// a string, so that texts are parts of it and cost no memory of their own.
type reader struct {
	b   string
	bad bool
}

func (r *reader) fail() { r.b, r.bad = "", true }

func (r *reader) uint() uint64 {
	var v uint64
	for i := 0; i < len(r.b) && i < binary.MaxVarintLen64; i++ {
		c := r.b[i]
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				break // more than 64 bits
			}
			r.b = r.b[i+1:]
			return v | uint64(c)<<(7*i)
		}
		v |= uint64(c&0x7f) << (7 * i)
	}
	r.fail()
	return 0
}

// int undoes the zigzag of binary.AppendVarint.
func (r *reader) int() int64 {
	u := r.uint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) str() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) time() time.Time {
	if v := r.int(); v != 0 {
		return time.UnixMilli(v).UTC()
	}
	return time.Time{}
}

func (r *reader) tag() Tag {
	head := r.byte()
	t := Tag{Transitive: head&0x80 != 0}
	switch k := int(head & 0x7f); {
	case k == 0:
		t.Key = r.str()
	case k <= len(wellKnown):
		t.Key = wellKnown[k-1]
	default:
		r.bad = true
	}
	t.Value = r.str()
	return t
}

// count reads the length of a list, each entry of which takes a byte at least.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

// lineage reads what version 2 has beyond version 1.
func (r *reader) lineage(s *Session) {
	s.Kind = Kind(r.byte())
	s.UserID, s.Origin.Pod = r.str(), r.str()
	if n := r.count(); n > 0 {
		s.Chain = make([]Ancestor, n)
		for i := range s.Chain {
			a := Ancestor{Account: r.str(), PrincipalID: r.str(), Issued: r.time()}
			if a.Account == "" {
				a.Account = s.Account
			}
			s.Chain[i] = a
		}
	}
	_ = r.str() // padding
	r.bad = r.bad || s.Kind > Federated
}

func decode(b []byte) (*Session, error) {
	r := reader{b: string(b)}
	version := r.byte()
	if version != payloadVersion && version != payloadLineage {
		return nil, fmt.Errorf("%w: version %d, this release reads %d and %d", errPayload, version, payloadVersion, payloadLineage)
	}
	f := r.byte()
	s := &Session{Chained: f&1 != 0}
	for _, p := range [...]*string{
		&s.Partition, &s.Account, &s.RoleID, &s.RolePath, &s.RoleName, &s.Name, &s.SourceIdentity, &s.FederatedProvider, &s.Policy,
		&s.Node.ClusterUID, &s.Node.Name, &s.Node.UID, &s.Origin.ClusterUID, &s.Origin.AssociationID, &s.Origin.PodUID,
	} {
		*p = r.str()
	}
	s.Issued, s.Expires = r.time(), r.time()
	if n := r.count(); n > 0 {
		s.Tags = make([]Tag, n)
		for i := range s.Tags {
			s.Tags[i] = r.tag()
		}
	}
	if n := r.count(); n > 0 {
		s.PolicyARNs = make([]string, n)
		for i := range s.PolicyARNs {
			s.PolicyARNs[i] = r.str()
		}
	}
	if version == payloadLineage {
		r.lineage(s)
	}
	if r.bad || len(r.b) != 0 || f > 1 {
		return nil, errPayload
	}
	return s, nil
}
