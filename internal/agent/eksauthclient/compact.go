// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import "podid/internal/compactjson"

// compact reads an answer in the form that EKS Auth, AWS' and podid's, writes. Everything else, right or wrong, is left to
// encoding/json: ok is false, and nothing is decided here. It exists because encoding/json made up a fourteenth of a fetch.
func compact(answer []byte) (in responseJSON, ok bool) {
	s := compactjson.New(string(answer)) // all strings of the answer are parts of this one
	s.Object(func(name string) uint {
		switch name {
		case "subject":
			s.Object(func(name string) uint { return takeSubject(s, name, &in) })
			return 1 << 0
		case "audience":
			s.Text()
			return 1 << 1
		case "podIdentityAssociation":
			s.Object(func(name string) uint { return takeAssociation(s, name, &in) })
			return 1 << 2
		case "assumedRoleUser":
			s.Object(func(name string) uint { return takeUser(s, name, &in) })
			return 1 << 3
		case "credentials":
			s.Object(func(name string) uint { return takeCredentials(s, name, &in) })
			return 1 << 4
		}
		return 0
	})
	return in, s.Done()
}

func takeSubject(s *compactjson.Scanner, name string, in *responseJSON) uint {
	switch name {
	case "namespace":
		in.Subject.Namespace = s.Text()
		return 1 << 0
	case "serviceAccount":
		in.Subject.ServiceAccount = s.Text()
		return 1 << 1
	}
	return 0
}

func takeAssociation(s *compactjson.Scanner, name string, in *responseJSON) uint {
	switch name {
	case "associationArn":
		s.Text()
		return 1 << 0
	case "associationId":
		in.PodIdentityAssociation.AssociationID = s.Text()
		return 1 << 1
	}
	return 0
}

func takeUser(s *compactjson.Scanner, name string, in *responseJSON) uint {
	switch name {
	case "arn":
		in.AssumedRoleUser.ARN = s.Text()
		return 1 << 0
	case "assumeRoleId":
		s.Text()
		return 1 << 1
	}
	return 0
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
