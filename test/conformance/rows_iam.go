// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

const s3ReadOnly = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"

// iamRows are IAM's operations that make roles for pods.
func iamRows() section {
	return section{
		ID: "iam", Title: "IAM", Clients: sdks,
		Rows: []row{
			{"role", "CreateRole, GetRole: the trust policy comes back as it was", playRole},
			{"update-trust", "UpdateAssumeRolePolicy", playUpdateTrust},
			{"attach", "AttachRolePolicy, ListAttachedRolePolicies, DetachRolePolicy: `AmazonS3ReadOnlyAccess`", playAttach},
			{"inline", "PutRolePolicy, GetRolePolicy, DeleteRolePolicy", playInline},
			{"inline-pages", "ListRolePolicies by the client's paginator", playPolicyPages},
			{"managed", "CreatePolicy, GetPolicy, GetPolicyVersion, ListPolicyVersions", playManaged},
			{"role-tags", "TagRole, ListRoleTags, UntagRole", playRoleTags},
			{"oidc-provider", "CreateOpenIDConnectProvider, Get, Delete", playProvider},
			{"user", "CreateUser, CreateAccessKey: the key calls", func(ctx context.Context, s *session) error {
				nobody, err := s.nobody(ctx)
				if err != nil {
					return err
				}
				out, err := s.doAs(ctx, nobody, "sts", "GetCallerIdentity", nil)
				if err != nil {
					return err
				}
				return want(out, M{"Arn": fmt.Sprintf("arn:aws:iam::%s:user/%s", s.bed.account, s.name("nobody"))})
			}},
			{"role-exists", "409 EntityAlreadyExists", func(ctx context.Context, s *session) error {
				if _, err := s.podRole(ctx); err != nil {
					return err
				}
				in := M{"RoleName": s.name("pod"), "AssumeRolePolicyDocument": s.podTrust()}
				return s.refused(ctx, "iam", "CreateRole", in, "EntityAlreadyExists", 409, "Role with name "+s.name("pod")+" already exists.")
			}},
			{"no-entity", "404 NoSuchEntity", func(ctx context.Context, s *session) error {
				return s.refused(ctx, "iam", "GetRole", M{"RoleName": s.name("none")}, "NoSuchEntity", 404, "The role with name "+s.name("none")+" cannot be found.")
			}},
			{"malformed", "400 MalformedPolicyDocument", func(ctx context.Context, s *session) error {
				return s.refused(ctx, "iam", "CreateRole", M{"RoleName": s.name("bad"), "AssumeRolePolicyDocument": "{"}, "MalformedPolicyDocument", 400, "")
			}},
			{"delete-role", "409 DeleteConflict while policies are attached, then DeleteRole", playDeleteRole},
		},
	}
}

// document reads a policy document as clients show it: decoded, or in the wire's percent-encoding.
func document(in any) string {
	v, ok := in.(string)
	if !ok {
		return toJSON(in)
	}
	if plain, err := url.QueryUnescape(v); err == nil && strings.HasPrefix(v, "%") {
		v = plain
	}
	var doc any
	if err := decode([]byte(v), &doc); err != nil {
		return v
	}
	return toJSON(doc)
}

func sameDocument(got any, wanted string) error {
	if g, w := document(got), document(wanted); g != w {
		return fmt.Errorf("the document is %s, want %s", g, w)
	}
	return nil
}

func playRole(ctx context.Context, s *session) error {
	if _, err := s.podRole(ctx); err != nil {
		return err
	}
	out, err := s.do(ctx, "iam", "GetRole", M{"RoleName": s.name("pod")})
	if err != nil {
		return err
	}
	if err := recent(field(out, "Role.CreateDate")); err != nil {
		return err
	}
	if err := want(out, M{"Role.Arn": s.roleARN(s.name("pod")), "Role.Path": "/", "Role.MaxSessionDuration": 3600}); err != nil {
		return err
	}
	return sameDocument(field(out, "Role.AssumeRolePolicyDocument"), s.podTrust())
}

func playUpdateTrust(ctx context.Context, s *session) error {
	if _, err := s.role(ctx, "trust", s.podTrust()); err != nil {
		return err
	}
	trust := trustOf(M{"Service": "pods.eks.amazonaws.com"}, "sts:AssumeRole", "sts:TagSession")
	if _, err := s.do(ctx, "iam", "UpdateAssumeRolePolicy", M{"RoleName": s.name("trust"), "PolicyDocument": trust}); err != nil {
		return err
	}
	out, err := s.do(ctx, "iam", "GetRole", M{"RoleName": s.name("trust")})
	if err != nil {
		return err
	}
	return sameDocument(field(out, "Role.AssumeRolePolicyDocument"), trust)
}

func playAttach(ctx context.Context, s *session) error {
	if _, err := s.podRole(ctx); err != nil {
		return err
	}
	role := M{"RoleName": s.name("pod")}
	if _, err := s.do(ctx, "iam", "AttachRolePolicy", with(role, M{"PolicyArn": s3ReadOnly})); err != nil {
		return err
	}
	out, err := s.do(ctx, "iam", "ListAttachedRolePolicies", role)
	if err != nil {
		return err
	}
	if err := want(out, M{"AttachedPolicies.0.PolicyArn": s3ReadOnly, "AttachedPolicies.0.PolicyName": "AmazonS3ReadOnlyAccess"}); err != nil {
		return err
	}
	_, err = s.do(ctx, "iam", "DetachRolePolicy", with(role, M{"PolicyArn": s3ReadOnly}))
	return err
}

const readPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::data/*"}]}`

func playInline(ctx context.Context, s *session) error {
	if _, err := s.role(ctx, "inline", s.podTrust()); err != nil {
		return err
	}
	one := M{"RoleName": s.name("inline"), "PolicyName": "read"}
	if _, err := s.do(ctx, "iam", "PutRolePolicy", with(one, M{"PolicyDocument": readPolicy})); err != nil {
		return err
	}
	out, err := s.do(ctx, "iam", "GetRolePolicy", one)
	if err != nil {
		return err
	}
	if err := sameDocument(field(out, "PolicyDocument"), readPolicy); err != nil {
		return err
	}
	if _, err := s.do(ctx, "iam", "DeleteRolePolicy", one); err != nil {
		return err
	}
	return s.refused(ctx, "iam", "GetRolePolicy", one, "NoSuchEntity", 404, "")
}

func playPolicyPages(ctx context.Context, s *session) error {
	if _, err := s.role(ctx, "inline", s.podTrust()); err != nil {
		return err
	}
	for n := range 3 {
		in := M{"RoleName": s.name("inline"), "PolicyName": fmt.Sprint("p", n), "PolicyDocument": readPolicy}
		if _, err := s.do(ctx, "iam", "PutRolePolicy", in); err != nil {
			return err
		}
	}
	s.witness.reset()
	in := M{"RoleName": s.name("inline"), "MaxItems": 2}
	out, err := s.admin.call(ctx, request{Service: "iam", Operation: "ListRolePolicies", Input: in, Paginate: true, Attempts: 1})
	if err != nil {
		return classify(err)
	}
	var names []any
	for _, page := range list(out, "pages") {
		names = append(names, list(page, "PolicyNames")...)
	}
	if n := s.witness.count("ListRolePolicies"); n != 2 || toJSON(names) != `["p0","p1","p2"]` {
		return fmt.Errorf("%d pages with %s", n, toJSON(names))
	}
	return nil
}

func playManaged(ctx context.Context, s *session) error {
	out, err := s.do(ctx, "iam", "CreatePolicy", M{"PolicyName": s.name("managed"), "PolicyDocument": readPolicy})
	if err != nil {
		return err
	}
	one := M{"PolicyArn": text(out, "Policy.Arn")}
	if out, err = s.do(ctx, "iam", "GetPolicy", one); err != nil {
		return err
	}
	if err := want(out, M{"Policy.DefaultVersionId": "v1", "Policy.AttachmentCount": 0, "Policy.IsAttachable": true}); err != nil {
		return err
	}
	if out, err = s.do(ctx, "iam", "GetPolicyVersion", with(one, M{"VersionId": "v1"})); err != nil {
		return err
	}
	if err := sameDocument(field(out, "PolicyVersion.Document"), readPolicy); err != nil {
		return err
	}
	if out, err = s.do(ctx, "iam", "ListPolicyVersions", one); err != nil {
		return err
	}
	return want(out, M{"Versions.0.VersionId": "v1", "Versions.0.IsDefaultVersion": true})
}

func playRoleTags(ctx context.Context, s *session) error {
	if _, err := s.podRole(ctx); err != nil {
		return err
	}
	role := M{"RoleName": s.name("pod")}
	if _, err := s.do(ctx, "iam", "TagRole", with(role, M{"Tags": []M{{"Key": "team", "Value": "data"}, {"Key": "env", "Value": "dev"}}})); err != nil {
		return err
	}
	if _, err := s.do(ctx, "iam", "UntagRole", with(role, M{"TagKeys": []string{"env"}})); err != nil {
		return err
	}
	out, err := s.do(ctx, "iam", "ListRoleTags", role)
	if err != nil {
		return err
	}
	return want(out, M{"Tags": []M{{"Key": "team", "Value": "data"}}})
}

func playProvider(ctx context.Context, s *session) error {
	in := M{"Url": "https://" + s.name("oidc") + ".example.com", "ClientIDList": []string{"sts.amazonaws.com"}, "ThumbprintList": []string{strings.Repeat("a1", 20)}}
	out, err := s.do(ctx, "iam", "CreateOpenIDConnectProvider", in)
	if err != nil {
		return err
	}
	one := M{"OpenIDConnectProviderArn": text(out, "OpenIDConnectProviderArn")}
	if out, err = s.do(ctx, "iam", "GetOpenIDConnectProvider", one); err != nil {
		return err
	}
	if err := want(out, M{"Url": s.name("oidc") + ".example.com", "ClientIDList": []any{"sts.amazonaws.com"}}); err != nil {
		return err
	}
	if _, err := s.do(ctx, "iam", "DeleteOpenIDConnectProvider", one); err != nil {
		return err
	}
	return s.refused(ctx, "iam", "GetOpenIDConnectProvider", one, "NoSuchEntity", 404, "")
}

func playDeleteRole(ctx context.Context, s *session) error {
	if _, err := s.role(ctx, "leaving", s.podTrust()); err != nil {
		return err
	}
	role := M{"RoleName": s.name("leaving")}
	attached := with(role, M{"PolicyArn": s3ReadOnly})
	if _, err := s.do(ctx, "iam", "AttachRolePolicy", attached); err != nil {
		return err
	}
	if err := s.refused(ctx, "iam", "DeleteRole", role, "DeleteConflict", 409, "Cannot delete entity, must detach all policies first."); err != nil {
		return err
	}
	for _, step := range []struct {
		operation string
		in        M
	}{{"DetachRolePolicy", attached}, {"DeleteRole", role}} {
		if _, err := s.do(ctx, "iam", step.operation, step.in); err != nil {
			return err
		}
	}
	return s.refused(ctx, "iam", "GetRole", role, "NoSuchEntity", 404, "")
}
