// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"regexp"
)

var associationID = regexp.MustCompile(`^a-[a-z0-9]{17}$`)

// associationRows are the verbs of pod identity associations.
func associationRows() section {
	return section{
		ID: "eks", Title: "EKS: pod identity associations", Clients: sdks,
		Rows: []row{
			{"create", "CreatePodIdentityAssociation", playCreate},
			{"describe", "DescribePodIdentityAssociation", playDescribe},
			{"list", "ListPodIdentityAssociations, by namespace and service account", playList},
			{"update", "UpdatePodIdentityAssociation: another role", playUpdate},
			{"target", "`targetRoleArn`: an external id comes with it, `\"\"` takes it away", playTarget},
			{"policy", "`policy` with `disableSessionTags`, `\"\"` takes it away", playPolicy},
			{"timestamps", "times are numbers on the wire and dates in the client", playTimestamps},
			{"delete", "DeletePodIdentityAssociation: answers with what is gone", playDelete},
		},
	}
}

// association makes an association of this session's, once.
func (s *session) association(ctx context.Context, what string, more M) (M, error) {
	return once(s, "association "+what, func() (M, error) {
		role, err := s.podRole(ctx)
		if err != nil {
			return nil, err
		}
		in := with(M{"clusterName": clusterName, "namespace": s.name("ns"), "serviceAccount": what, "roleArn": role}, more)
		out, err := s.do(ctx, "eks", "CreatePodIdentityAssociation", in)
		if err != nil {
			return nil, err
		}
		a, _ := field(out, "association").(M)
		return a, nil
	})
}

func (s *session) describe(ctx context.Context, a M) (M, error) {
	out, err := s.do(ctx, "eks", "DescribePodIdentityAssociation", M{"clusterName": clusterName, "associationId": text(a, "associationId")})
	got, _ := field(out, "association").(M)
	return got, err
}

func playCreate(ctx context.Context, s *session) error {
	role, err := s.podRole(ctx)
	if err != nil {
		return err
	}
	a, err := s.association(ctx, "app", M{"tags": M{"team": "data"}})
	if err != nil {
		return err
	}
	id := text(a, "associationId")
	if !associationID.MatchString(id) {
		return fmt.Errorf("associationId is %q", id)
	}
	return want(a, M{
		"clusterName": clusterName, "namespace": s.name("ns"), "serviceAccount": "app", "roleArn": role, "tags.team": "data", "disableSessionTags": false,
		"targetRoleArn": nil, "externalId": nil, "policy": nil, "ownerArn": nil,
		"associationArn": fmt.Sprintf("arn:aws:eks:%s:%s:podidentityassociation/%s/%s", s.bed.region, s.bed.account, clusterName, id),
	})
}

func playDescribe(ctx context.Context, s *session) error {
	a, err := s.association(ctx, "app", nil)
	if err != nil {
		return err
	}
	got, err := s.describe(ctx, a)
	if err != nil {
		return err
	}
	return want(got, a)
}

func playList(ctx context.Context, s *session) error {
	a, err := s.association(ctx, "app", nil)
	if err != nil {
		return err
	}
	if _, err := s.association(ctx, "second", nil); err != nil {
		return err
	}
	in := M{"clusterName": clusterName, "namespace": s.name("ns")}
	all, err := s.do(ctx, "eks", "ListPodIdentityAssociations", in)
	if err != nil {
		return err
	}
	one, err := s.do(ctx, "eks", "ListPodIdentityAssociations", with(in, M{"serviceAccount": "app"}))
	if err != nil {
		return err
	}
	if n, m := len(list(all, "associations")), len(list(one, "associations")); n != 2 || m != 1 {
		return fmt.Errorf("listed %d in the namespace and %d of the service account, want 2 and 1", n, m)
	}
	return want(one, M{
		"associations.0.associationId": text(a, "associationId"), "associations.0.associationArn": text(a, "associationArn"),
		"associations.0.namespace": s.name("ns"), "associations.0.serviceAccount": "app", "associations.0.roleArn": nil, "nextToken": nil,
	})
}

// update changes an association and describes it.
func (s *session) update(ctx context.Context, a, change M) (M, error) {
	in := with(M{"clusterName": clusterName, "associationId": text(a, "associationId")}, change)
	out, err := s.do(ctx, "eks", "UpdatePodIdentityAssociation", in)
	if err != nil {
		return nil, err
	}
	got, err := s.describe(ctx, a)
	if err != nil {
		return nil, err
	}
	answered, _ := field(out, "association").(M)
	return got, want(got, answered)
}

func playUpdate(ctx context.Context, s *session) error {
	a, err := s.association(ctx, "app", nil)
	if err != nil {
		return err
	}
	role, err := s.role(ctx, "pod2", s.podTrust())
	if err != nil {
		return err
	}
	got, err := s.update(ctx, a, M{"roleArn": role})
	if err != nil {
		return err
	}
	if err := want(got, M{"roleArn": role, "tags": field(a, "tags"), "createdAt": field(a, "createdAt")}); err != nil {
		return err
	}
	begun, err := moment(field(got, "createdAt"))
	if err != nil {
		return err
	}
	changed, err := moment(field(got, "modifiedAt"))
	if err == nil && !changed.After(begun) {
		err = fmt.Errorf("modifiedAt %s is not after createdAt %s", changed, begun)
	}
	return err
}

func playTarget(ctx context.Context, s *session) error {
	pod, err := s.podRole(ctx)
	if err != nil {
		return err
	}
	target, err := s.role(ctx, "target", trustOf(M{"AWS": pod}, "sts:AssumeRole", "sts:TagSession"))
	if err != nil {
		return err
	}
	a, err := s.association(ctx, "target", M{"targetRoleArn": target})
	if err != nil {
		return err
	}
	external := fmt.Sprintf("%s/%s/%s/%s/target", s.bed.region, s.bed.account, clusterName, s.name("ns"))
	if err := want(a, M{"targetRoleArn": target, "externalId": external}); err != nil {
		return err
	}
	got, err := s.update(ctx, a, M{"targetRoleArn": ""})
	if err != nil {
		return err
	}
	return want(got, M{"targetRoleArn": nil, "externalId": nil, "roleArn": pod})
}

func playPolicy(ctx context.Context, s *session) error {
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`
	a, err := s.association(ctx, "policy", M{"policy": policy, "disableSessionTags": true})
	if err != nil {
		return err
	}
	if err := want(a, M{"policy": policy, "disableSessionTags": true}); err != nil {
		return err
	}
	got, err := s.update(ctx, a, M{"policy": ""})
	if err != nil {
		return err
	}
	return want(got, M{"policy": nil, "disableSessionTags": true})
}

var wireTimes = regexp.MustCompile(`"(createdAt|modifiedAt)":\d{10}(\.\d{1,9})?[,}]`)

func playTimestamps(ctx context.Context, s *session) error {
	a, err := s.association(ctx, "app", nil)
	if err != nil {
		return err
	}
	s.witness.reset()
	got, err := s.describe(ctx, a)
	if err != nil {
		return err
	}
	if answer := s.witness.last().Answer; len(wireTimes.FindAllString(answer, -1)) != 2 {
		return fmt.Errorf("the wire has %s", answer)
	}
	if err := recent(field(got, "createdAt")); err != nil {
		return err
	}
	return recent(field(got, "modifiedAt"))
}

func playDelete(ctx context.Context, s *session) error {
	a, err := s.association(ctx, "gone", nil)
	if err != nil {
		return err
	}
	in := M{"clusterName": clusterName, "associationId": text(a, "associationId")}
	out, err := s.do(ctx, "eks", "DeletePodIdentityAssociation", in)
	if err != nil {
		return err
	}
	if err := want(out, M{"association.associationId": text(a, "associationId"), "association.serviceAccount": "gone"}); err != nil {
		return err
	}
	return s.refused(ctx, "eks", "DeletePodIdentityAssociation", in, "ResourceNotFoundException", 404, text(a, "associationId"))
}

// tagRows are the tags of an association, whose ARN SDKs put into the path percent-encoded.
func tagRows() section {
	return section{
		ID: "tags", Title: "EKS: tags", Clients: sdks,
		Rows: []row{
			{"tag", "TagResource adds, and replaces a value", func(ctx context.Context, s *session) error {
				return s.tagged(ctx, "TagResource", M{"tags": M{"team": "ops", "env": "dev"}}, M{"team": "ops", "env": "dev"})
			}},
			{"untag", "UntagResource", func(ctx context.Context, s *session) error {
				return s.tagged(ctx, "UntagResource", M{"tagKeys": []string{"team", "none"}}, M{"env": "dev"})
			}},
			{"tag-unknown", "NotFoundException for what is not there", func(ctx context.Context, s *session) error {
				arn := fmt.Sprintf("arn:aws:eks:%s:%s:podidentityassociation/%s/a-zzzzzzzzzzzzzzzzz", s.bed.region, s.bed.account, clusterName)
				return s.refused(ctx, "eks", "ListTagsForResource", M{"resourceArn": arn}, "NotFoundException", 404, "")
			}},
			{"tag-bad", "BadRequestException for what is no ARN", func(ctx context.Context, s *session) error {
				return s.refused(ctx, "eks", "TagResource", M{"resourceArn": "my-cluster", "tags": M{"a": "b"}}, "BadRequestException", 400, "")
			}},
		},
	}
}

func (s *session) tagged(ctx context.Context, operation string, change, now M) error {
	a, err := s.association(ctx, "tagged", M{"tags": M{"team": "data"}})
	if err != nil {
		return err
	}
	arn := text(a, "associationArn")
	if _, err := s.do(ctx, "eks", operation, with(M{"resourceArn": arn}, change)); err != nil {
		return err
	}
	out, err := s.do(ctx, "eks", "ListTagsForResource", M{"resourceArn": arn})
	if err != nil {
		return err
	}
	if err := want(out, M{"tags": now}); err != nil {
		return err
	}
	got, err := s.describe(ctx, a)
	if err != nil {
		return err
	}
	return want(got, M{"tags": now})
}
