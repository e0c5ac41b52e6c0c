// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// payloadVersion is the first byte of a payload. Another version is another
// release's and is refused.
const payloadVersion = 1

// wellKnown are the keys of the six tags of EKS Pod Identity, which travel as
// one byte. The order is part of the format: append only.
var wellKnown = [...]string{
	"eks-cluster-arn", "eks-cluster-name", "kubernetes-namespace",
	"kubernetes-service-account", "kubernetes-pod-name", "kubernetes-pod-uid",
}

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
// with nothing in it that a token's 4,096 bytes would be wasted on.
func encode(dst []byte, s *Session) []byte {
	w := writer{append(dst, payloadVersion, flags(s))}
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

// reader takes fields off; after the first fault every field is empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
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
		r.b, r.bad = nil, true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) time() time.Time {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return time.Time{}
	}
	r.b = r.b[n:]
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
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
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}

func decode(b []byte) (*Session, error) {
	r := &reader{b: b}
	if v := r.byte(); v != payloadVersion {
		return nil, fmt.Errorf("%w: version %d, this release reads %d", errPayload, v, payloadVersion)
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
	if r.bad || len(r.b) != 0 || f > 1 {
		return nil, errPayload
	}
	return s, nil
}
