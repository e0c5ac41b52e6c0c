// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The first byte of a payload is its version; another one is another release's
// and is refused.
const payloadVersion = 1

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
	w := writer{append(dst, payloadVersion, flags(s), byte(s.Kind))}
	for _, v := range [...]string{
		s.Partition, s.Account, s.RoleID, s.RolePath, s.RoleName, s.Name, s.SourceIdentity, s.FederatedProvider, s.Policy,
		s.Node.ClusterUID, s.Node.Name, s.Node.UID, s.Origin.ClusterUID, s.Origin.AssociationID, s.Origin.PodUID, s.Origin.Pod, s.UserID,
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

// ancestor gives an ancestor that names no account the session's own.
func (r *reader) ancestor(account string) Ancestor {
	a := Ancestor{Account: r.str(), PrincipalID: r.str(), Issued: r.time()}
	if a.Account == "" {
		a.Account = account
	}
	return a
}

func decode(b []byte) (*Session, error) {
	r := reader{b: string(b)}
	if version := r.byte(); version != payloadVersion {
		return nil, fmt.Errorf("%w: version %d, this release reads %d", errPayload, version, payloadVersion)
	}
	f, kind := r.byte(), Kind(r.byte())
	s := &Session{Chained: f&1 != 0, Kind: kind}
	for _, p := range [...]*string{
		&s.Partition, &s.Account, &s.RoleID, &s.RolePath, &s.RoleName, &s.Name, &s.SourceIdentity, &s.FederatedProvider, &s.Policy,
		&s.Node.ClusterUID, &s.Node.Name, &s.Node.UID, &s.Origin.ClusterUID, &s.Origin.AssociationID, &s.Origin.PodUID, &s.Origin.Pod, &s.UserID,
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
	if n := r.count(); n > 0 {
		s.Chain = make([]Ancestor, n)
		for i := range s.Chain {
			s.Chain[i] = r.ancestor(s.Account)
		}
	}
	_ = r.str() // padding
	if r.bad || len(r.b) != 0 || f > 1 || kind > Federated {
		return nil, errPayload
	}
	return s, nil
}
