// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// stsRows are STS' operations.
func stsRows() section {
	return section{
		ID: "sts", Title: "STS", Clients: sdks,
		Rows: []row{
			{"identity", "GetCallerIdentity", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "sts", "GetCallerIdentity", nil)
				if err != nil {
					return err
				}
				return want(out, M{"Account": s.bed.account})
			}},
			{"assume-role", "AssumeRole, and the session calls", playAssumeRole},
			{"assume-refused", "403 AccessDenied: a role that trusts pods only", func(ctx context.Context, s *session) error {
				role, err := s.podRole(ctx)
				if err != nil {
					return err
				}
				in := M{"RoleArn": role, "RoleSessionName": "refused"}
				return s.refused(ctx, "sts", "AssumeRole", in, "AccessDenied", 403, "is not authorized to perform: sts:AssumeRole on resource: "+role)
			}},
			{"duration", "400 ValidationError: a duration beyond the role's", func(ctx context.Context, s *session) error {
				role, err := s.accountRole(ctx)
				if err != nil {
					return err
				}
				in := M{"RoleArn": role, "RoleSessionName": "long", "DurationSeconds": 40000}
				return s.refused(ctx, "sts", "AssumeRole", in, "ValidationError", 400, "DurationSeconds exceeds the MaxSessionDuration set for this role.")
			}},
			{"session-token", "GetSessionToken", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "sts", "GetSessionToken", M{"DurationSeconds": 900})
				if err != nil {
					return err
				}
				return soon(out, "Credentials.Expiration", 900)
			}},
			{"federation-token", "GetFederationToken", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "sts", "GetFederationToken", M{"Name": "bob"})
				if err != nil {
					return err
				}
				return want(out, M{"FederatedUser.Arn": fmt.Sprintf("arn:aws:sts::%s:federated-user/bob", s.bed.account)})
			}},
			{"web-identity", "AssumeRoleWithWebIdentity with a service account's token", playWebIdentity},
			{"web-identity-bad", "400 InvalidIdentityToken: what is no token", func(ctx context.Context, s *session) error {
				role, err := s.podRole(ctx)
				if err != nil {
					return err
				}
				in := M{"RoleArn": role, "RoleSessionName": "web", "WebIdentityToken": "not.a.token"}
				return s.refused(ctx, "sts", "AssumeRoleWithWebIdentity", in, "InvalidIdentityToken", 400, "")
			}},
			{"key-info", "GetAccessKeyInfo", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "sts", "GetAccessKeyInfo", M{"AccessKeyId": s.bed.env["AWS_ACCESS_KEY_ID"]})
				if err != nil {
					return err
				}
				return want(out, M{"Account": s.bed.account})
			}},
			{"sts-unknown-key", "403 InvalidClientTokenId: a key that nobody has", func(ctx context.Context, s *session) error {
				who, err := s.as(ctx, "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "")
				if err != nil {
					return err
				}
				return s.refusedAs(ctx, who, "sts", "GetCallerIdentity", nil, "InvalidClientTokenId", 403, "The security token included in the request is invalid")
			}},
			{"sts-wrong-secret", "403 SignatureDoesNotMatch: another secret", func(ctx context.Context, s *session) error {
				who, err := s.as(ctx, s.bed.env["AWS_ACCESS_KEY_ID"], "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "")
				if err != nil {
					return err
				}
				return s.refusedAs(ctx, who, "sts", "GetCallerIdentity", nil, "SignatureDoesNotMatch", 403, "")
			}},
		},
	}
}

// soon reports a time that is not so many seconds ahead.
func soon(out M, path string, seconds float64) error {
	t, err := moment(field(out, path))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if d := time.Until(t).Seconds(); d < seconds-60 || d > seconds+60 {
		return fmt.Errorf("%s is in %.0f s, want %.0f", path, d, seconds)
	}
	return nil
}

// accountRole trusts the account; the admin may assume it.
func (s *session) accountRole(ctx context.Context) (string, error) {
	return s.role(ctx, "account", trustOf(M{"AWS": fmt.Sprintf("arn:aws:iam::%s:root", s.bed.account)}, "sts:AssumeRole", "sts:TagSession"))
}

func playAssumeRole(ctx context.Context, s *session) error {
	role, err := s.accountRole(ctx)
	if err != nil {
		return err
	}
	out, err := s.do(ctx, "sts", "AssumeRole", M{"RoleArn": role, "RoleSessionName": "conformance", "DurationSeconds": 900})
	if err != nil {
		return err
	}
	if err := soon(out, "Credentials.Expiration", 900); err != nil {
		return err
	}
	who, err := s.as(ctx, text(out, "Credentials.AccessKeyId"), text(out, "Credentials.SecretAccessKey"), text(out, "Credentials.SessionToken"))
	if err != nil {
		return err
	}
	identity, err := s.doAs(ctx, who, "sts", "GetCallerIdentity", nil)
	if err != nil {
		return err
	}
	arn := fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/conformance", s.bed.account, s.name("account"))
	if err := want(out, M{"AssumedRoleUser.Arn": arn}); err != nil {
		return err
	}
	return want(identity, M{"Arn": arn})
}

// irsaRole trusts one service account by the cluster's OIDC provider.
func (s *session) irsaRole(ctx context.Context, serviceAccount string) (string, error) {
	cluster, err := s.bed.podid(ctx, "get", "cluster", clusterName, "-o", "json")
	if err != nil {
		return "", err
	}
	var c struct{ ProviderARN string }
	if err := decode([]byte(cluster), &c); err != nil {
		return "", err
	}
	_, host, _ := strings.Cut(c.ProviderARN, ":oidc-provider/")
	return s.role(ctx, "irsa", toJSON(M{"Version": "2012-10-17", "Statement": []M{{
		"Effect": "Allow", "Principal": M{"Federated": c.ProviderARN}, "Action": "sts:AssumeRoleWithWebIdentity",
		"Condition": M{"StringEquals": M{
			host + ":sub": fmt.Sprintf("system:serviceaccount:%s:%s", s.name("ns"), serviceAccount), host + ":aud": "sts.amazonaws.com",
		}},
	}}}))
}

// token is a service account's, as kubelet would project it.
func (s *session) token(ctx context.Context, serviceAccount string, more ...string) (string, error) {
	args := []string{"create", "token", "--cluster", clusterName, "--namespace", s.name("ns"), "--service-account-name", serviceAccount}
	out, err := s.bed.podid(ctx, append(args, more...)...)
	return strings.TrimSpace(out), err
}

func playWebIdentity(ctx context.Context, s *session) error {
	role, err := s.irsaRole(ctx, "irsa")
	if err != nil {
		return err
	}
	token, err := s.token(ctx, "irsa", "--audience", "sts.amazonaws.com")
	if err != nil {
		return err
	}
	out, err := s.do(ctx, "sts", "AssumeRoleWithWebIdentity", M{"RoleArn": role, "RoleSessionName": "web", "WebIdentityToken": token})
	if err != nil {
		return err
	}
	if err := soon(out, "Credentials.Expiration", 3600); err != nil {
		return err
	}
	return want(out, M{"SubjectFromWebIdentityToken": fmt.Sprintf("system:serviceaccount:%s:irsa", s.name("ns")), "Audience": "sts.amazonaws.com"})
}

// exchangeRows are EKS Auth, which only Python's clients know: AWS publishes no other.
func exchangeRows() section {
	return section{
		ID: "eks-auth", Title: "EKS Auth", Clients: sdks,
		Note: "No client of it is published for Go and JavaScript; there the agents and pods below are what calls it.",
		Rows: []row{
			{"exchange", "AssumeRoleForPodIdentity", playExchange},
			{"exchange-none", "404 ResourceNotFoundException: a service account without an association", func(ctx context.Context, s *session) error {
				return s.refusedExchange(ctx, "nobody", func(token string) string { return token }, "ResourceNotFoundException", 404)
			}},
			{"exchange-forged", "400 InvalidTokenException: another signature", func(ctx context.Context, s *session) error {
				return s.refusedExchange(ctx, "app", func(token string) string { return token[:strings.LastIndexByte(token, '.')] + ".AAAA" }, "InvalidTokenException", 400)
			}},
			{"exchange-untrusted", "400 AccessDeniedException: the role no longer trusts pods", playUntrusted},
		},
	}
}

func playExchange(ctx context.Context, s *session) error {
	a, err := s.association(ctx, "app", nil)
	if err != nil {
		return err
	}
	token, err := s.token(ctx, "app")
	if err != nil {
		return err
	}
	out, err := s.do(ctx, "eks-auth", "AssumeRoleForPodIdentity", M{"clusterName": clusterName, "token": token})
	if err != nil {
		return err
	}
	if err := soon(out, "credentials.expiration", 6*3600); err != nil {
		return err
	}
	return want(out, M{
		"subject": M{"namespace": s.name("ns"), "serviceAccount": "app"}, "audience": "pods.eks.amazonaws.com",
		"podIdentityAssociation": M{"associationArn": text(a, "associationArn"), "associationId": text(a, "associationId")},
	})
}

func (s *session) refusedExchange(ctx context.Context, serviceAccount string, change func(string) string, code string, status int) error {
	token, err := s.token(ctx, serviceAccount)
	if err != nil {
		return err
	}
	return s.refused(ctx, "eks-auth", "AssumeRoleForPodIdentity", M{"clusterName": clusterName, "token": change(token)}, code, status, "")
}

func playUntrusted(ctx context.Context, s *session) error {
	role, err := s.role(ctx, "untrusted", s.podTrust())
	if err != nil {
		return err
	}
	if _, err := s.association(ctx, "untrusted", M{"roleArn": role}); err != nil {
		return err
	}
	in := M{"RoleName": s.name("untrusted"), "PolicyDocument": trustOf(M{"Service": "ec2.amazonaws.com"}, "sts:AssumeRole")}
	if _, err := s.do(ctx, "iam", "UpdateAssumeRolePolicy", in); err != nil {
		return err
	}
	token, err := s.token(ctx, "untrusted")
	if err != nil {
		return err
	}
	return s.refused(ctx, "eks-auth", "AssumeRoleForPodIdentity", M{"clusterName": clusterName, "token": token}, "AccessDeniedException", 400,
		"Unauthorized Exception! EKS does not have permissions to assume the associated role.")
}
