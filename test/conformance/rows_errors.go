// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// errorRows are the classes of refusals: code, status and text on the wire, code and type in the client.
func errorRows() section {
	return section{
		ID: "errors", Title: "EKS: errors", Clients: sdks,
		Note: "Each is looked at on the wire (status, request id) and in the client (code, text, and the client's own type where it has one).",
		Rows: []row{
			{"duplicate", "409 ResourceInUseException: `Association already exists: a-…`", playDuplicate},
			{"no-cluster", "404 ResourceNotFoundException: `No cluster found for name: …`", func(ctx context.Context, s *session) error {
				return s.refusedCreate(ctx, M{"clusterName": "nope"}, "ResourceNotFoundException", 404, "No cluster found for name: nope.")
			}},
			{"no-association", "404 ResourceNotFoundException: an unknown association", func(ctx context.Context, s *session) error {
				in := M{"clusterName": clusterName, "associationId": "a-zzzzzzzzzzzzzzzzz"}
				return s.refused(ctx, "eks", "DescribePodIdentityAssociation", in, "ResourceNotFoundException", 404, "a-zzzzzzzzzzzzzzzzz")
			}},
			{"no-role", "400 InvalidParameterException: `Role provided in the request does not exist.`", func(ctx context.Context, s *session) error {
				return s.refusedCreate(ctx, M{"roleArn": s.roleARN("none")}, "InvalidParameterException", 400, "Role provided in the request does not exist.")
			}},
			{"bad-trust", "400 InvalidParameterException: `Trust policy of the role provided is invalid. …`", playBadTrust},
			{"other-account", "403 AccessDeniedException: `Cross-account pass role is not allowed.`", func(ctx context.Context, s *session) error {
				return s.refusedCreate(ctx, M{"roleArn": "arn:aws:iam::999988887777:role/x"}, "AccessDeniedException", 403, "Cross-account pass role is not allowed.")
			}},
			{"id-length", "400 InvalidParameterException: `… should be 19 characters long.`", func(ctx context.Context, s *session) error {
				in := M{"clusterName": clusterName, "associationId": "a-1"}
				return s.refused(ctx, "eks", "DescribePodIdentityAssociation", in, "InvalidParameterException", 400, "should be 19 characters long")
			}},
			{"policy-tags", "400 InvalidParameterException: `policy` without `disableSessionTags`", func(ctx context.Context, s *session) error {
				return s.refusedCreate(ctx, M{"policy": `{"Version":"2012-10-17","Statement":[]}`}, "InvalidParameterException", 400, "")
			}},
			{"bad-role-arn", "400 InvalidParameterException: a role that is no ARN", func(ctx context.Context, s *session) error {
				return s.refusedCreate(ctx, M{"roleArn": "no-arn"}, "InvalidParameterException", 400, "")
			}},
			{"tag-limit", "400: a fifty-first tag", playTagLimit},
			{"limit", "400 ResourceLimitExceededException: one association more than a cluster may have", playLimit},
			{"denied", "403 AccessDeniedException: a user without rights", playDenied},
			{"unknown-key", "403 UnrecognizedClientException: a key that nobody has", func(ctx context.Context, s *session) error {
				return s.refusedKey(ctx, "AKIAIOSFODNN7EXAMPLE", s.bed.env["AWS_SECRET_ACCESS_KEY"], "UnrecognizedClientException")
			}},
			{"wrong-secret", "403 InvalidSignatureException: another secret", func(ctx context.Context, s *session) error {
				return s.refusedKey(ctx, s.bed.env["AWS_ACCESS_KEY_ID"], "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "InvalidSignatureException")
			}},
		},
	}
}

// associationLimit is the quota of the suite's podid dev: all clients together make far fewer in the one cluster, and the
// one for this row can be filled.
const associationLimit = 600

// playLimit fills that cluster, for all clients, and tries once more.
func playLimit(ctx context.Context, s *session) error {
	role, err := s.role(ctx, "full", trustOf(M{"Service": "pods.eks.amazonaws.com"}, "sts:AssumeRole", "sts:TagSession"))
	if err != nil {
		return err
	}
	if err := s.bed.fill(ctx, role); err != nil {
		return err
	}
	in := M{"clusterName": fullName, "namespace": "full", "serviceAccount": s.name("one-more"), "roleArn": role}
	return s.refused(ctx, "eks", "CreatePodIdentityAssociation", in, "ResourceLimitExceededException", 400, "")
}

// fill gives the cluster fullName all that it may have, for the first client that asks.
func (b *bed) fill(ctx context.Context, role string) error {
	b.filling.Lock()
	defer b.filling.Unlock()
	if b.full {
		return nil
	}
	var file strings.Builder
	fmt.Fprintf(&file, "apiVersion: eksctl.io/v1alpha5\nkind: ClusterConfig\nmetadata: {name: %s, region: %s}\niam:\n  podIdentityAssociations:\n", fullName, b.region)
	for i := range associationLimit {
		fmt.Fprintf(&file, "  - {namespace: full, serviceAccountName: sa-%d, roleARN: %q}\n", i, role)
	}
	if err := os.WriteFile(b.path("full.yaml"), []byte(file.String()), 0o600); err != nil {
		return err
	}
	_, err := b.podid(ctx, "create", "podidentityassociation", "-f", b.path("full.yaml"))
	b.full = err == nil
	return err
}

// refusedCreate tries to make an association with something wrong in it.
func (s *session) refusedCreate(ctx context.Context, wrong M, code string, status int, words string) error {
	role, err := s.podRole(ctx)
	if err != nil {
		return err
	}
	in := with(M{"clusterName": clusterName, "namespace": s.name("ns"), "serviceAccount": "refused", "roleArn": role}, wrong)
	return s.refused(ctx, "eks", "CreatePodIdentityAssociation", in, code, status, words)
}

func playDuplicate(ctx context.Context, s *session) error {
	a, err := s.association(ctx, "app", nil)
	if err != nil {
		return err
	}
	return s.refusedCreate(ctx, M{"serviceAccount": "app"}, "ResourceInUseException", 409, "Association already exists: "+text(a, "associationId"))
}

func playBadTrust(ctx context.Context, s *session) error {
	role, err := s.role(ctx, "half-trusted", trustOf(M{"Service": "pods.eks.amazonaws.com"}, "sts:AssumeRole"))
	if err != nil {
		return err
	}
	return s.refusedCreate(ctx, M{"roleArn": role}, "InvalidParameterException", 400,
		"Trust policy of the role provided is invalid. Follow the official documentation to resolve the issue.")
}

func playTagLimit(ctx context.Context, s *session) error {
	tags := M{}
	for i := range 51 {
		tags[fmt.Sprint("key", i)] = ""
	}
	return s.refusedCreate(ctx, M{"tags": tags}, "InvalidParameterException", 400, "")
}

// nobody is a caller whose user has no rights at all.
func (s *session) nobody(ctx context.Context) (caller, error) {
	return once(s, "nobody", func() (caller, error) {
		user := M{"UserName": s.name("nobody")}
		if _, err := s.do(ctx, "iam", "CreateUser", user); err != nil {
			return nil, err
		}
		key, err := s.do(ctx, "iam", "CreateAccessKey", user)
		if err != nil {
			return nil, err
		}
		return s.as(ctx, text(key, "AccessKey.AccessKeyId"), text(key, "AccessKey.SecretAccessKey"), "")
	})
}

func playDenied(ctx context.Context, s *session) error {
	nobody, err := s.nobody(ctx)
	if err != nil {
		return err
	}
	return s.refusedAs(ctx, nobody, "eks", "DescribeCluster", M{"name": clusterName}, "AccessDeniedException", 403,
		fmt.Sprintf("User: arn:aws:iam::%s:user/%s is not authorized to perform: eks:DescribeCluster on resource: %s", s.bed.account, s.name("nobody"), s.clusterARN()))
}

func (s *session) refusedKey(ctx context.Context, id, secret, code string) error {
	who, err := s.as(ctx, id, secret, "")
	if err != nil {
		return err
	}
	return s.refusedAs(ctx, who, "eks", "ListClusters", M{}, code, 403, "")
}

// pageRows are pages and retries.
func pageRows() section {
	return section{
		ID: "retries", Title: "EKS: pages and retries", Clients: sdks,
		Rows: []row{
			{"pages", "the client's paginator gets all pages", playPages},
			{"bad-page", "400: a `nextToken` that podid did not give", func(ctx context.Context, s *session) error {
				in := M{"clusterName": clusterName, "nextToken": "bm9uZQ"}
				return s.refused(ctx, "eks", "ListPodIdentityAssociations", in, "InvalidParameterException", 400, "")
			}},
			{"same-token", "the same `clientRequestToken` again: the same association", playSameToken},
			{"other-input", "the same `clientRequestToken` with other input is refused", playOtherInput},
			{"own-token", "the client makes a `clientRequestToken` of its own", playOwnToken},
			{"lost-answer", "an answer is lost: the client's retry gets the association that was made", playLostAnswer},
			{"server-error", "a 500 is tried again", func(ctx context.Context, s *session) error {
				return s.survives(ctx, http.StatusInternalServerError, "ServerException")
			}},
			{"busy", "a 429 is tried again", func(ctx context.Context, s *session) error {
				return s.survives(ctx, http.StatusTooManyRequests, "ThrottlingException")
			}},
		},
	}
}

func playPages(ctx context.Context, s *session) error {
	role, err := s.podRole(ctx)
	if err != nil {
		return err
	}
	made := map[string]bool{}
	for n := range 5 {
		in := M{"clusterName": clusterName, "namespace": s.name("pages"), "serviceAccount": fmt.Sprint("sa", n), "roleArn": role}
		out, err := s.do(ctx, "eks", "CreatePodIdentityAssociation", in)
		if err != nil {
			return err
		}
		made[text(out, "association.associationId")] = true
	}
	s.witness.reset()
	in := M{"clusterName": clusterName, "namespace": s.name("pages"), "maxResults": 2}
	out, err := s.admin.call(ctx, request{Service: "eks", Operation: "ListPodIdentityAssociations", Input: in, Paginate: true, Attempts: 1})
	if err != nil {
		return classify(err)
	}
	for _, page := range list(out, "pages") {
		for _, a := range list(page, "associations") {
			delete(made, text(a, "associationId"))
		}
	}
	if n := len(s.witness.exchanges()); n != 3 || len(made) != 0 {
		return fmt.Errorf("%d pages, and %d of 5 associations are in none", n, len(made))
	}
	return nil
}

// tokenInput is an association that is made twice with one token.
func (s *session) tokenInput(ctx context.Context) (M, error) {
	role, err := s.podRole(ctx)
	return M{
		"clusterName": clusterName, "namespace": s.name("ns"), "serviceAccount": "token", "roleArn": role, "clientRequestToken": s.name("request"),
	}, err
}

func playSameToken(ctx context.Context, s *session) error {
	in, err := s.tokenInput(ctx)
	if err != nil {
		return err
	}
	first, err := s.do(ctx, "eks", "CreatePodIdentityAssociation", in)
	if err != nil {
		return err
	}
	again, err := s.do(ctx, "eks", "CreatePodIdentityAssociation", in)
	if err != nil {
		return err
	}
	return want(again, M{"association": field(first, "association")})
}

func playOtherInput(ctx context.Context, s *session) error {
	in, err := s.tokenInput(ctx)
	if err != nil {
		return err
	}
	return s.refused(ctx, "eks", "CreatePodIdentityAssociation", with(in, M{"serviceAccount": "another"}), "InvalidParameterException", 400, "")
}

const createPath = "POST /clusters/" + clusterName + "/pod-identity-associations"

func playOwnToken(ctx context.Context, s *session) error {
	s.witness.reset()
	if _, err := s.association(ctx, "own-token", nil); err != nil {
		return err
	}
	var sent M
	if err := decode([]byte(s.witness.last().Body), &sent); err != nil {
		return err
	}
	if token := text(sent, "clientRequestToken"); len(token) != 36 {
		return fmt.Errorf("the client sent the token %q", token)
	}
	return nil
}

func playLostAnswer(ctx context.Context, s *session) error {
	role, err := s.podRole(ctx)
	if err != nil {
		return err
	}
	s.witness.reset()
	s.witness.inject(fault{match: func(e exchange) bool { return e.Operation == createPath }, drop: true})
	in := M{"clusterName": clusterName, "namespace": s.name("ns"), "serviceAccount": "lost", "roleArn": role}
	out, err := s.admin.call(ctx, request{Service: "eks", Operation: "CreatePodIdentityAssociation", Input: in, Attempts: 3})
	if err != nil {
		return classify(err)
	}
	seen := s.witness.exchanges()
	if len(seen) != 2 || seen[0].Status != 200 || seen[1].Status != 200 {
		return fmt.Errorf("%d requests reached podid, want 2 that it answered with 200", len(seen))
	}
	if id := text(out, "association.associationId"); !strings.Contains(seen[0].Answer, id) {
		return fmt.Errorf("the retry gave %s, the lost answer was %s", id, seen[0].Answer)
	}
	return nil
}

// survives makes one request fail before it reaches podid.
func (s *session) survives(ctx context.Context, status int, code string) error {
	s.witness.reset()
	s.witness.inject(fault{match: func(exchange) bool { return true }, code: status, body: toJSON(M{"message": "once", "__type": code})})
	out, err := s.admin.call(ctx, request{Service: "eks", Operation: "DescribeCluster", Input: M{"name": clusterName}, Attempts: 3})
	if err != nil {
		return classify(err)
	}
	if n := len(s.witness.exchanges()); n != 2 {
		return fmt.Errorf("%d requests, want 2", n)
	}
	return want(out, M{"cluster.name": clusterName})
}
