// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package satoken

import "podid/internal/compactjson"

// compact reads claims in the one form that API servers write, which is
// compactjson's with whole numbers. Everything else, right or wrong, is left to
// encoding/json: ok is false, and nothing is decided here. It exists because
// encoding/json made up a fifth of an exchange beyond the signature.
func compact(payload []byte) (w wire, ok bool) {
	s := compactjson.New(string(payload)) // all strings of the claims are parts of this one
	times := new([3]float64)
	s.Object(func(name string) uint {
		switch name {
		case "aud":
			w.Audiences = takeAudiences(s)
			return 1 << 0
		case "exp":
			times[0], w.Expires = s.Whole(), &times[0]
			return 1 << 1
		case "iat":
			times[1], w.IssuedAt = s.Whole(), &times[1]
			return 1 << 2
		case "nbf":
			times[2], w.NotBefore = s.Whole(), &times[2]
			return 1 << 3
		case "iss":
			w.Issuer = s.Text()
			return 1 << 4
		case "sub":
			w.Subject = s.Text()
			return 1 << 5
		case "jti":
			w.ID = s.Text()
			return 1 << 6
		case "kubernetes.io":
			w.Kubernetes = takeKubernetes(s)
			return 1 << 7
		}
		return 0
	})
	return w, s.Done()
}

func takeAudiences(s *compactjson.Scanner) audiences {
	if !s.Take('[') {
		return audiences{s.Text()}
	}
	var out audiences
	for {
		out = append(out, s.Text())
		if s.Take(']') {
			return out
		}
		if s.Failed() || !s.Take(',') {
			s.Fail()
			return nil
		}
	}
}

func takeKubernetes(s *compactjson.Scanner) *kubernetes {
	k := new(kubernetes)
	s.Object(func(name string) uint {
		switch name {
		case "namespace":
			k.Namespace = s.Text()
			return 1 << 0
		case "serviceaccount":
			k.ServiceAccount = takeReference(s)
			return 1 << 1
		case "pod":
			k.Pod = takeReference(s)
			return 1 << 2
		case "node":
			k.Node = takeReference(s)
			return 1 << 3
		case "warnafter": // when the API server begins to complain of the token's age
			s.Whole()
			return 1 << 4
		}
		return 0
	})
	return k
}

func takeReference(s *compactjson.Scanner) (o object) {
	s.Texts(compactjson.Member{Name: "name", To: &o.Name}, compactjson.Member{Name: "uid", To: &o.UID})
	return o
}
