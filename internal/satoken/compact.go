// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package satoken

// compact reads claims in the one form that API servers write: JSON without
// white space, strings of printable ASCII without escapes, whole numbers, no
// member twice and none that is not known. Everything else, right or wrong, is
// left to encoding/json: ok is false, and nothing is decided here. It exists
// because encoding/json made up a fifth of an exchange beyond the signature.
func compact(payload []byte) (w wire, ok bool) {
	s := scanner{rest: string(payload)} // all strings of the claims are parts of this one
	var seen uint16
	times := new([3]float64)
	s.object(func(name string) bool {
		bit := uint16(0)
		switch name {
		case "aud":
			bit, w.Audiences = 1<<0, s.audiences()
		case "exp":
			bit, times[0], w.Expires = 1<<1, s.number(), &times[0]
		case "iat":
			bit, times[1], w.IssuedAt = 1<<2, s.number(), &times[1]
		case "nbf":
			bit, times[2], w.NotBefore = 1<<3, s.number(), &times[2]
		case "iss":
			bit, w.Issuer = 1<<4, s.str()
		case "sub":
			bit, w.Subject = 1<<5, s.str()
		case "jti":
			bit, w.ID = 1<<6, s.str()
		case "kubernetes.io":
			bit, w.Kubernetes = 1<<7, s.kubernetes()
		}
		return once(&seen, bit)
	})
	return w, !s.failed && s.rest == ""
}

// once notes a member; false when it is unknown (no bit) or came before.
func once(seen *uint16, bit uint16) bool {
	fresh := bit != 0 && *seen&bit == 0
	*seen |= bit
	return fresh
}

// scanner takes JSON off the front of rest. After a failure every value is zero.
type scanner struct {
	rest   string
	failed bool
}

func (s *scanner) fail() { s.failed, s.rest = true, "" }

// next takes one byte if it is c.
func (s *scanner) next(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// object takes an object of at least one member; member takes the value.
func (s *scanner) object(member func(name string) bool) {
	if !s.next('{') {
		s.fail()
		return
	}
	for {
		name := s.str()
		if !s.next(':') || !member(name) || s.failed {
			s.fail()
			return
		}
		if s.next('}') {
			return
		}
		if !s.next(',') {
			s.fail()
			return
		}
	}
}

// str takes a string of printable ASCII without escapes.
func (s *scanner) str() string {
	if !s.next('"') {
		s.fail()
		return ""
	}
	for i := range len(s.rest) {
		switch c := s.rest[i]; {
		case c == '"':
			v := s.rest[:i]
			s.rest = s.rest[i+1:]
			return v
		case c < 0x20 || c > 0x7e || c == '\\':
			s.fail()
			return ""
		}
	}
	s.fail()
	return ""
}

// number takes a whole number of at most 15 digits, which a float64 holds
// exactly.
func (s *scanner) number() float64 {
	n, i := int64(0), 0
	for i < len(s.rest) && i < 16 && s.rest[i] >= '0' && s.rest[i] <= '9' {
		n = n*10 + int64(s.rest[i]-'0')
		i++
	}
	if i == 0 || i > 15 || i > 1 && s.rest[0] == '0' {
		s.fail()
		return 0
	}
	s.rest = s.rest[i:] // a fraction or exponent is no comma or brace, so it fails there
	return float64(n)
}

func (s *scanner) audiences() audiences {
	if !s.next('[') {
		return audiences{s.str()}
	}
	var out audiences
	for {
		out = append(out, s.str())
		if s.next(']') {
			return out
		}
		if s.failed || !s.next(',') {
			s.fail()
			return nil
		}
	}
}

func (s *scanner) kubernetes() *kubernetes {
	k := new(kubernetes)
	var seen uint16
	s.object(func(name string) bool {
		bit := uint16(0)
		switch name {
		case "namespace":
			bit, k.Namespace = 1<<0, s.str()
		case "serviceaccount":
			bit, k.ServiceAccount = 1<<1, s.reference()
		case "pod":
			bit, k.Pod = 1<<2, s.reference()
		case "node":
			bit, k.Node = 1<<3, s.reference()
		case "warnafter": // when the API server begins to complain of the token's age
			bit = 1 << 4
			s.number()
		}
		return once(&seen, bit)
	})
	return k
}

func (s *scanner) reference() object {
	var o object
	var seen uint16
	s.object(func(name string) bool {
		bit := uint16(0)
		switch name {
		case "name":
			bit, o.Name = 1<<0, s.str()
		case "uid":
			bit, o.UID = 1<<1, s.str()
		}
		return once(&seen, bit)
	})
	return o
}
