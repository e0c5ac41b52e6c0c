// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
)

// tfInput is the provider's request for an association.
func (s *session) tfInput(ctx context.Context, serviceAccount string) (M, error) {
	role, err := s.role(ctx, "tf", podsTrust())
	return M{
		"clusterName": clusterName, "namespace": s.name("tf"), "serviceAccount": serviceAccount, "roleArn": role,
		"clientRequestToken": "terraform-" + s.name(serviceAccount), "disableSessionTags": false, "tags": M{"team": "data"},
	}, err
}

// tfMade is the association that the sequence made.
func (s *session) tfMade(ctx context.Context) (M, error) {
	return once(s, "tf association", func() (M, error) {
		in, err := s.tfInput(ctx, "app")
		if err != nil {
			return nil, err
		}
		out, err := s.do(ctx, "eks", "CreatePodIdentityAssociation", in)
		a, _ := field(out, "association").(M)
		return a, err
	})
}

func tfCreateSequence(ctx context.Context, s *session) error {
	made, err := s.tfMade(ctx)
	if err != nil {
		return err
	}
	a, err := s.describe(ctx, made)
	if err != nil {
		return err
	}
	return want(a, M{"tags": M{"team": "data"}, "disableSessionTags": false, "roleArn": s.roleARN(s.name("tf"))})
}

// tfUnchangedSequence reads twice: what does not change must not look as if it did.
func tfUnchangedSequence(ctx context.Context, s *session) error {
	made, err := s.tfMade(ctx)
	if err != nil {
		return err
	}
	first, err := s.describe(ctx, made)
	if err != nil {
		return err
	}
	again, err := s.describe(ctx, made)
	if err != nil {
		return err
	}
	return want(again, first)
}

func tfLateSequence(ctx context.Context, s *session) error {
	in, err := s.tfInput(ctx, "late")
	if err != nil {
		return err
	}
	in = with(in, M{"roleArn": s.roleARN(s.name("tf-late"))})
	for range 2 { // with one token, as the provider's loop does
		if err := s.refused(ctx, "eks", "CreatePodIdentityAssociation", in, "InvalidParameterException", 400, "Role provided in the request does not exist"); err != nil {
			return err
		}
	}
	if _, err := s.role(ctx, "tf-late", podsTrust()); err != nil {
		return err
	}
	_, err = s.do(ctx, "eks", "CreatePodIdentityAssociation", in)
	return err
}

func tfDriftSequence(ctx context.Context, s *session) error {
	made, err := s.tfMade(ctx)
	if err != nil {
		return err
	}
	other, err := s.role(ctx, "tf-other", podsTrust())
	if err != nil {
		return err
	}
	drifted, err := s.update(ctx, made, M{"roleArn": other})
	if err != nil {
		return err
	}
	if err := want(drifted, M{"roleArn": other, "tags": M{"team": "data"}}); err != nil {
		return err
	}
	mended, err := s.update(ctx, made, M{
		"roleArn": text(made, "roleArn"), "clientRequestToken": "terraform-" + s.name("mend"), "disableSessionTags": false,
	})
	if err != nil {
		return err
	}
	if err := want(mended, M{"roleArn": text(made, "roleArn")}); err != nil {
		return err
	}
	arn := M{"resourceArn": text(made, "associationArn")}
	if _, err := s.do(ctx, "eks", "TagResource", with(arn, M{"tags": M{"stray": "1"}})); err != nil {
		return err
	}
	if _, err := s.do(ctx, "eks", "UntagResource", with(arn, M{"tagKeys": []string{"stray"}})); err != nil {
		return err
	}
	return tfCreateSequence(ctx, s)
}

// tfGoneSequence: the provider drops what Describe says is not there, by this error alone.
func tfGoneSequence(ctx context.Context, s *session) error {
	made, err := s.tfMade(ctx)
	if err != nil {
		return err
	}
	one := M{"clusterName": clusterName, "associationId": text(made, "associationId")}
	if _, err := s.do(ctx, "eks", "DeletePodIdentityAssociation", one); err != nil {
		return err
	}
	if err := s.refused(ctx, "eks", "DescribePodIdentityAssociation", one, "ResourceNotFoundException", 404, ""); err != nil {
		return err
	}
	delete(s.made, "tf association")
	in, err := s.tfInput(ctx, "app")
	if err != nil {
		return err
	}
	out, err := s.do(ctx, "eks", "CreatePodIdentityAssociation", with(in, M{"clientRequestToken": "terraform-" + s.name("again")}))
	if err != nil {
		return err
	}
	a, _ := field(out, "association").(M)
	s.made["tf association"] = a
	return nil
}

func tfDestroySequence(ctx context.Context, s *session) error {
	made, err := s.tfMade(ctx)
	if err != nil {
		return err
	}
	one := M{"clusterName": clusterName, "associationId": text(made, "associationId")}
	if _, err := s.do(ctx, "eks", "DeletePodIdentityAssociation", one); err != nil {
		return err
	}
	// A second destroy takes this for done.
	return s.refused(ctx, "eks", "DeletePodIdentityAssociation", one, "ResourceNotFoundException", 404, "")
}

// ackRows are the requests of ACK's EKS controller.
func ackRows() section {
	return section{
		ID: "ack", Title: "ACK", Clients: []string{"sequences"},
		Note: "The requests of the EKS controller's `PodIdentityAssociation`, sent by the SDK that it is made of; the controller itself needs a cluster.",
		Rows: []row{
			{"ack-create", "create, then describe by `status.associationID`", ackCreate},
			{"ack-adopt", "adoption: one association by namespace and service account; of none it is not found", ackAdopt},
			{"ack-target", "update: `targetRoleArn: \"\"` with every update that has no target role", ackTarget},
			{"ack-tags", "tags are brought to what is asked for", ackTags},
			{"ack-delete", "delete, and `ResourceNotFoundException` after it", ackDelete},
		},
	}
}

// ackMade is the association that the controller made.
func (s *session) ackMade(ctx context.Context) (M, error) {
	return once(s, "ack association", func() (M, error) {
		role, err := s.role(ctx, "ack", podsTrust())
		if err != nil {
			return nil, err
		}
		target, err := s.role(ctx, "ack-target", trustOf(M{"AWS": role}, "sts:AssumeRole", "sts:TagSession"))
		if err != nil {
			return nil, err
		}
		out, err := s.do(ctx, "eks", "CreatePodIdentityAssociation", M{
			"clusterName": clusterName, "namespace": s.name("ack"), "serviceAccount": "app", "roleArn": role, "targetRoleArn": target,
			"tags": M{"services.k8s.aws/controller-version": "eks-v1.9.0", "services.k8s.aws/namespace": "default"},
		})
		a, _ := field(out, "association").(M)
		return a, err
	})
}

func ackCreate(ctx context.Context, s *session) error {
	made, err := s.ackMade(ctx)
	if err != nil {
		return err
	}
	got, err := s.describe(ctx, made)
	if err != nil {
		return err
	}
	return want(got, made)
}

func ackAdopt(ctx context.Context, s *session) error {
	made, err := s.ackMade(ctx)
	if err != nil {
		return err
	}
	in := M{"clusterName": clusterName, "namespace": s.name("ack"), "serviceAccount": "app"}
	out, err := s.do(ctx, "eks", "ListPodIdentityAssociations", in)
	if err != nil {
		return err
	}
	if n := len(list(out, "associations")); n != 1 {
		return fmt.Errorf("%d associations are listed, want the one", n)
	}
	if err := want(out, M{"associations.0.associationId": text(made, "associationId")}); err != nil {
		return err
	}
	if out, err = s.do(ctx, "eks", "ListPodIdentityAssociations", with(in, M{"serviceAccount": "ap"})); err != nil {
		return err
	}
	if n := len(list(out, "associations")); n != 0 {
		return errors.New("a part of a name is taken for the name")
	}
	return nil
}

func ackTarget(ctx context.Context, s *session) error {
	made, err := s.ackMade(ctx)
	if err != nil {
		return err
	}
	role := text(made, "roleArn")
	for range 2 { // the second has nothing to take away, and is sent all the same
		got, err := s.update(ctx, made, M{"roleArn": role, "targetRoleArn": ""})
		if err != nil {
			return err
		}
		if err := want(got, M{"roleArn": role, "targetRoleArn": nil, "externalId": nil}); err != nil {
			return err
		}
	}
	return nil
}

func ackTags(ctx context.Context, s *session) error {
	made, err := s.ackMade(ctx)
	if err != nil {
		return err
	}
	arn := M{"resourceArn": text(made, "associationArn")}
	if _, err := s.do(ctx, "eks", "UntagResource", with(arn, M{"tagKeys": []string{"services.k8s.aws/namespace"}})); err != nil {
		return err
	}
	if _, err := s.do(ctx, "eks", "TagResource", with(arn, M{"tags": M{"team": "data"}})); err != nil {
		return err
	}
	got, err := s.describe(ctx, made)
	if err != nil {
		return err
	}
	return want(got, M{"tags": M{"services.k8s.aws/controller-version": "eks-v1.9.0", "team": "data"}})
}

func ackDelete(ctx context.Context, s *session) error {
	made, err := s.ackMade(ctx)
	if err != nil {
		return err
	}
	one := M{"clusterName": clusterName, "associationId": text(made, "associationId")}
	if _, err := s.do(ctx, "eks", "DeletePodIdentityAssociation", one); err != nil {
		return err
	}
	return s.refused(ctx, "eks", "DescribePodIdentityAssociation", one, "ResourceNotFoundException", 404, "")
}

// crossplaneRows are the requests of Crossplane's provider, which has Terraform's code in it.
func crossplaneRows() section {
	return section{
		ID: "crossplane", Title: "Crossplane", Clients: []string{"sequences"},
		Note: "The requests of provider-aws-eks' `PodIdentityAssociation`; the provider itself needs a cluster.",
		Rows: []row{
			{"xp-observe-none", "observe before create: an id that is none is not there", func(ctx context.Context, s *session) error {
				one := M{"clusterName": clusterName, "associationId": "a-00000000000000000"}
				return s.refused(ctx, "eks", "DescribePodIdentityAssociation", one, "ResourceNotFoundException", 404, "")
			}},
			{"xp-create", "create, and observe by the id that became the external name", xpCreate},
			{"xp-conflict", "`Association already exists: a-…` gives the external name to adopt by", xpConflict},
			{"xp-tags", "its own tags, `crossplane-name` and others, are kept", xpTags},
			{"xp-delete", "delete, until it is not there", xpDelete},
		},
	}
}

// xpMade is the association that the provider made.
func (s *session) xpMade(ctx context.Context) (M, error) {
	return once(s, "xp association", func() (M, error) {
		role, err := s.role(ctx, "xp", podsTrust())
		if err != nil {
			return nil, err
		}
		out, err := s.do(ctx, "eks", "CreatePodIdentityAssociation", s.xpInput(role))
		a, _ := field(out, "association").(M)
		return a, err
	})
}

func (s *session) xpInput(role string) M {
	return M{
		"clusterName": clusterName, "namespace": s.name("xp"), "serviceAccount": "app", "roleArn": role, "disableSessionTags": false,
		"clientRequestToken": "terraform-" + newTag(s.name("xp")),
		"tags":               M{"crossplane-kind": "podidentityassociation.eks.aws.upbound.io", "crossplane-name": "app", "crossplane-providerconfig": "podid"},
	}
}

func xpCreate(ctx context.Context, s *session) error {
	made, err := s.xpMade(ctx)
	if err != nil {
		return err
	}
	got, err := s.describe(ctx, made)
	if err != nil {
		return err
	}
	return want(got, made)
}

func xpConflict(ctx context.Context, s *session) error {
	made, err := s.xpMade(ctx)
	if err != nil {
		return err
	}
	// A second attempt after a restart has a token of its own.
	return s.refused(ctx, "eks", "CreatePodIdentityAssociation", s.xpInput(text(made, "roleArn")), "ResourceInUseException", 409,
		"Association already exists: "+text(made, "associationId"))
}

func xpTags(ctx context.Context, s *session) error {
	made, err := s.xpMade(ctx)
	if err != nil {
		return err
	}
	if _, err := s.do(ctx, "eks", "TagResource", M{"resourceArn": text(made, "associationArn"), "tags": M{"team": "data"}}); err != nil {
		return err
	}
	got, err := s.describe(ctx, made)
	if err != nil {
		return err
	}
	tags, _ := field(made, "tags").(M)
	return want(got, M{"tags": with(tags, M{"team": "data"})})
}

func xpDelete(ctx context.Context, s *session) error {
	made, err := s.xpMade(ctx)
	if err != nil {
		return err
	}
	one := M{"clusterName": clusterName, "associationId": text(made, "associationId")}
	if _, err := s.do(ctx, "eks", "DeletePodIdentityAssociation", one); err != nil {
		return err
	}
	return s.refused(ctx, "eks", "DescribePodIdentityAssociation", one, "ResourceNotFoundException", 404, "")
}
