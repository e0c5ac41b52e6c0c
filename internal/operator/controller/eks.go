// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"
	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"podid/internal/operator/podidclient"
)

// EKS are the calls of EKS' API that the controller makes; AWS' client is one.
type EKS interface {
	ListPodIdentityAssociations(context.Context, *eks.ListPodIdentityAssociationsInput, ...func(*eks.Options)) (*eks.ListPodIdentityAssociationsOutput, error)
	DescribePodIdentityAssociation(context.Context, *eks.DescribePodIdentityAssociationInput, ...func(*eks.Options)) (*eks.DescribePodIdentityAssociationOutput, error)
	CreatePodIdentityAssociation(context.Context, *eks.CreatePodIdentityAssociationInput, ...func(*eks.Options)) (*eks.CreatePodIdentityAssociationOutput, error)
	UpdatePodIdentityAssociation(context.Context, *eks.UpdatePodIdentityAssociationInput, ...func(*eks.Options)) (*eks.UpdatePodIdentityAssociationOutput, error)
	DeletePodIdentityAssociation(context.Context, *eks.DeletePodIdentityAssociationInput, ...func(*eks.Options)) (*eks.DeletePodIdentityAssociationOutput, error)
	TagResource(context.Context, *eks.TagResourceInput, ...func(*eks.Options)) (*eks.TagResourceOutput, error)
	UntagResource(context.Context, *eks.UntagResourceInput, ...func(*eks.Options)) (*eks.UntagResourceOutput, error)
}

// Roles finds roles; AWS' client of IAM is one.
type Roles interface {
	GetRole(context.Context, *iam.GetRoleInput, ...func(*iam.Options)) (*iam.GetRoleOutput, error)
}

// Limited spaces the calls of an AWS client: at most perSecond, with a burst
// of twice that.
func Limited(cfg aws.Config, perSecond int) aws.Config {
	cfg.HTTPClient = &spaced{cfg.HTTPClient, rate.NewLimiter(rate.Limit(perSecond), 2*perSecond)}
	return cfg
}

type spaced struct {
	next  aws.HTTPClient
	limit *rate.Limiter
}

// Do implements aws.HTTPClient.
func (s *spaced) Do(r *http.Request) (*http.Response, error) {
	if err := s.limit.Wait(r.Context()); err != nil {
		return nil, fmt.Errorf("wait for the operator's own limit of calls: %w", err)
	}
	return s.next.Do(r)
}

// The tags by which the controller knows its own associations.
const (
	// OwnerTag holds the unique id of the object that an association belongs to.
	OwnerTag = "podid.dev/owned-by"
	// ObjectTag holds that object's name, for people.
	ObjectTag = "podid.dev/object"
	// AdoptedTag is on associations that were there before their object:
	// AdoptedAsIs or AdoptedChanged.
	AdoptedTag = "podid.dev/adopted"
)

// The values of AdoptedTag.
const (
	AdoptedAsIs    = "as-is"   // it still is what it was
	AdoptedChanged = "changed" // its object has changed what it binds
)

// find returns the association of a service account, nil for none.
func (r *Reconciler) find(ctx context.Context, namespace, account string) (*ekstypes.PodIdentityAssociation, error) {
	in := &eks.ListPodIdentityAssociationsInput{ClusterName: &r.Cluster, Namespace: &namespace, ServiceAccount: &account}
	for {
		page, err := r.EKS.ListPodIdentityAssociations(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Associations {
			// An EKS that knows no filter, or more than equality, must not mislead.
			if aws.ToString(s.Namespace) != namespace || aws.ToString(s.ServiceAccount) != account {
				continue
			}
			return r.describe(ctx, aws.ToString(s.AssociationId))
		}
		if aws.ToString(page.NextToken) == "" {
			return nil, nil
		}
		in.NextToken = page.NextToken
	}
}

// describe returns nil for an association that is gone.
func (r *Reconciler) describe(ctx context.Context, id string) (*ekstypes.PodIdentityAssociation, error) {
	out, err := r.EKS.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: &r.Cluster, AssociationId: &id})
	var gone *ekstypes.ResourceNotFoundException
	switch {
	case errors.As(err, &gone) && !noCluster(gone):
		return nil, nil
	case err != nil:
		return nil, err
	case out.Association == nil:
		return nil, fmt.Errorf("the control plane described %s with nothing", id)
	}
	return out.Association, nil
}

// noCluster tells the cluster that is gone from the association that is.
// Source: EKS' message, which has no code of its own.
func noCluster(e *ekstypes.ResourceNotFoundException) bool {
	return strings.HasPrefix(e.ErrorMessage(), "No cluster found")
}

// roleKnown says whether IAM knows a role under exactly its ARN. The error is
// about everything but its absence.
func (r *Reconciler) roleKnown(ctx context.Context, arn string) (bool, error) {
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	out, err := r.Roles.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	var none *iamtypes.NoSuchEntityException
	switch {
	case errors.As(err, &none):
		return false, nil
	case err != nil:
		return false, err
	}
	return out.Role != nil && aws.ToString(out.Role.Arn) == arn, nil
}

// A setback is why an object is not where it should be.
type setback struct {
	status  metav1.ConditionStatus // of Ready: Unknown where nobody could be asked
	reason  string
	message string
	role    string // reason of RoleResolved=False; "" when the role is not to blame
	retry   retry
}

// A retry says when an object is tried again.
type retry int

const (
	retryBackoff retry = iota // soon, then ever later
	retrySlow                 // a refusal: another try changes little
	retryRace                 // at once: somebody was faster
)

// The reasons of Ready, and some of them of RoleResolved.
const (
	reasonReady            = "Ready"
	reasonNotAllowed       = "RoleNotAllowed"
	reasonConflict         = "Conflict"
	reasonAway             = "ControlPlaneAway"
	reasonThrottled        = "Throttled"
	reasonAccessDenied     = "AccessDenied"
	reasonRoleNotPassable  = "RoleNotPassable"
	reasonRoleNotFound     = "RoleNotFound"
	reasonRoleNotTrusting  = "RoleDoesNotTrust"
	reasonRoleAccepted     = "RoleAccepted"
	reasonRoleFound        = "RoleFound"
	reasonRoleDeleted      = "RoleDeleted"
	reasonInvalid          = "InvalidSpec"
	reasonClusterNotFound  = "ClusterNotFound"
	reasonLimit            = "LimitExceeded"
	reasonRefused          = "Refused"
	reasonNotPropagated    = "NotPropagated"
	reasonPropagated       = "Propagated"
	reasonFeedBehind       = "FeedBehind"
	reasonUnbound          = "NotBound"
	reasonNotJudged        = "NotJudged"
	reasonRetrying         = "Retrying"
	reasonDeletionHindered = "DeletionHindered"
)

// setbackOf reads what AWS' client says.
func setbackOf(err error) setback {
	text := err.Error()
	var api smithy.APIError
	if !errors.As(err, &api) {
		if podidclient.Away(err) || errors.Is(err, context.DeadlineExceeded) {
			return setback{status: metav1.ConditionUnknown, reason: reasonAway, message: "The control plane cannot be reached: " + text}
		}
		return setback{status: metav1.ConditionUnknown, reason: reasonRetrying, message: text}
	}
	code, message := api.ErrorCode(), api.ErrorMessage()
	s := setback{status: metav1.ConditionFalse, message: code + ": " + message, retry: retrySlow}
	switch {
	case strings.Contains(code, "Throttl"), code == "TooManyRequestsException":
		s.status, s.reason, s.retry = metav1.ConditionUnknown, reasonThrottled, retryBackoff
	case podidclient.Away(err):
		s.status, s.reason, s.retry = metav1.ConditionUnknown, reasonAway, retryBackoff
	case strings.Contains(code, "AccessDenied") && (strings.Contains(message, "iam:PassRole") || strings.Contains(message, "pass role")):
		s.reason, s.role = reasonRoleNotPassable, reasonRoleNotPassable
		s.message += " The operator's own role may pass only the roles that the cluster's registration named."
	case strings.Contains(code, "AccessDenied"):
		s.reason = reasonAccessDenied
	case code == "ResourceInUseException":
		s.reason, s.retry = reasonConflict, retryRace
	case code == "ResourceNotFoundException" && strings.HasPrefix(message, "No cluster found"):
		s.reason = reasonClusterNotFound
	case code == "ResourceNotFoundException":
		s.reason, s.retry = reasonRetrying, retryRace
	case code == "ResourceLimitExceededException":
		s.reason = reasonLimit
	case code == "InvalidParameterException" && strings.HasPrefix(message, "Role provided"):
		s.reason, s.role = reasonRoleNotFound, reasonRoleNotFound
	case code == "InvalidParameterException" && strings.HasPrefix(message, "Trust policy"):
		s.reason, s.role = reasonRoleNotTrusting, reasonRoleNotTrusting
		s.message += " The role has to trust pods.eks.amazonaws.com with sts:AssumeRole and sts:TagSession."
	case code == "InvalidParameterException", code == "InvalidRequestException":
		s.reason = reasonInvalid
	default:
		s.reason = reasonRefused
	}
	return s
}
