// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import "strconv"

// compact reads an answer in the form that EKS Auth, AWS' and podid's, writes: JSON without white space, strings of
// printable ASCII without escapes, no member twice and none that is not known. Everything else, right or wrong, is left
// to encoding/json: ok is false, and nothing is decided here. It exists because encoding/json, which goes over an answer
// twice, made up a fourteenth of a fetch.
func compact(answer []byte) (in responseJSON, ok bool) {
	s := scanner{rest: string(answer)} // all strings of the answer are parts of this one
	s.object(func(name string) int {
		switch name {
		case "subject":
			s.object(func(name string) int { return s.subject(name, &in) })
			return 1 << 0
		case "audience":
			s.str()
			return 1 << 1
		case "podIdentityAssociation":
			s.object(func(name string) int { return s.association(name, &in) })
			return 1 << 2
		case "assumedRoleUser":
			s.object(func(name string) int { return s.user(name, &in) })
			return 1 << 3
		case "credentials":
			s.object(func(name string) int { return s.credentials(name, &in) })
			return 1 << 4
		}
		return 0
	})
	return in, !s.failed && s.rest == ""
}

func (s *scanner) subject(name string, in *responseJSON) int {
	switch name {
	case "namespace":
		in.Subject.Namespace = s.str()
		return 1 << 0
	case "serviceAccount":
		in.Subject.ServiceAccount = s.str()
		return 1 << 1
	}
	return 0
}

func (s *scanner) association(name string, in *responseJSON) int {
	switch name {
	case "associationArn":
		s.str()
		return 1 << 0
	case "associationId":
		in.PodIdentityAssociation.AssociationID = s.str()
		return 1 << 1
	}
	return 0
}

func (s *scanner) user(name string, in *responseJSON) int {
	switch name {
	case "arn":
		in.AssumedRoleUser.ARN = s.str()
		return 1 << 0
	case "assumeRoleId":
		s.str()
		return 1 << 1
	}
	return 0
}

func (s *scanner) credentials(name string, in *responseJSON) int {
	switch name {
	case "accessKeyId":
		in.Credentials.AccessKeyID = s.str()
		return 1 << 0
	case "secretAccessKey":
		in.Credentials.SecretAccessKey = s.str()
		return 1 << 1
	case "sessionToken":
		in.Credentials.SessionToken = s.str()
		return 1 << 2
	case "expiration":
		seconds := s.number()
		in.Credentials.Expiration = &seconds
		return 1 << 3
	}
	return 0
}

// scanner takes JSON off the front of rest, until something is not compact.
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

// object takes an object of at least one member; member takes the value, and returns a bit of its own for each name that
// it knows.
func (s *scanner) object(member func(name string) int) {
	seen, more := 0, s.next('{')
	for more {
		name := s.str()
		if !s.next(':') {
			break
		}
		bit := member(name)
		if s.failed || bit == 0 || seen&bit != 0 {
			break
		}
		if s.next('}') {
			return
		}
		seen |= bit
		more = s.next(',')
	}
	s.fail()
}

// str takes a string of printable ASCII without escapes.
func (s *scanner) str() string {
	if s.next('"') {
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
	}
	s.fail()
	return ""
}

// number takes digits, with a fraction or without. Other numbers are left to encoding/json.
func (s *scanner) number() float64 {
	whole := s.digits()
	end := whole
	if end < len(s.rest) && s.rest[end] == '.' {
		rest := scanner{rest: s.rest[end+1:]}
		if end += 1 + rest.digits(); end == whole+1 {
			whole = 0
		}
	}
	if whole == 0 || whole > 1 && s.rest[0] == '0' {
		s.fail()
		return 0
	}
	v, err := strconv.ParseFloat(s.rest[:end], 64)
	if err != nil {
		s.fail()
		return 0
	}
	s.rest = s.rest[end:]
	return v
}

// digits is how many are in front.
func (s *scanner) digits() int {
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		n++
	}
	return n
}
