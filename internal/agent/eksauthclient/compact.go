// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import "podid/internal/compactjson"

// compact reads an answer in the form that EKS Auth, AWS' and podid's, writes. Everything else, right or wrong, is left to
// encoding/json: ok is false, and nothing is decided here. It exists because encoding/json made up a fourteenth of a fetch.
func compact(answer []byte) (in responseJSON, ok bool) {
	s := compactjson.New(string(answer)) // all strings of the answer are parts of this one
	type member = compactjson.Member
	s.Object(func(name string) uint {
		switch name {
		case "subject":
			s.Texts(member{Name: "namespace", To: &in.Subject.Namespace}, member{Name: "serviceAccount", To: &in.Subject.ServiceAccount})
			return 1 << 0
		case "audience":
			s.Text()
			return 1 << 1
		case "podIdentityAssociation":
			s.Texts(member{Name: "associationArn"}, member{Name: "associationId", To: &in.PodIdentityAssociation.AssociationID})
			return 1 << 2
		case "assumedRoleUser":
			s.Texts(member{Name: "arn", To: &in.AssumedRoleUser.ARN}, member{Name: "assumeRoleId"})
			return 1 << 3
		case "credentials":
			s.Object(func(name string) uint { return takeCredentials(s, name, &in) })
			return 1 << 4
		}
		return 0
	})
	return in, s.Done()
}

func takeCredentials(s *compactjson.Scanner, name string, in *responseJSON) uint {
	switch name {
	case "accessKeyId":
		in.Credentials.AccessKeyID = s.Text()
		return 1 << 0
	case "secretAccessKey":
		in.Credentials.SecretAccessKey = s.Text()
		return 1 << 1
	case "sessionToken":
		in.Credentials.SessionToken = s.Text()
		return 1 << 2
	case "expiration":
		seconds := s.Number()
		in.Credentials.Expiration = &seconds
		return 1 << 3
	}
	return 0
}
