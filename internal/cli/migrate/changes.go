// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/cli/clients"
	"podid/internal/cli/clusterconfig"
	"podid/internal/cli/setup"
)

// A change is one thing that is done to a control plane and can be taken back.
// It is written to the undo file as it is.
type change interface {
	// make makes the change, whole or not at all, and returns an id by which
	// it is known again.
	make(ctx context.Context, c *clients.Clients) (id string, err error)
	// undo takes it back. id is "" when it is not known whether the change was
	// made. errGone says that there was nothing to take back, errChanged that
	// it is somebody else's by now.
	undo(ctx context.Context, c *clients.Clients, id string) error
	// line says what the change is about.
	line() *Line
	// name is what undo files call this kind of change.
	name() string
}

// Outcomes of undo.
var (
	errGone    = errors.New("it is not there")
	errChanged = errors.New("it was changed since")
)

func changed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errChanged}, args...)...)
}

// lostOr is errGone for what does not exist.
func lostOr(err error) error {
	if clients.IsNotFound(err) {
		return errGone
	}
	return err
}

// notMade is an error before anything was changed.
type notMade struct{ error }

func (e *notMade) Unwrap() error { return e.error }

// trustChange replaces a role's trust policy.
type trustChange struct {
	Role string `json:"role"`
	Old  string `json:"oldTrustPolicy"`
	New  string `json:"newTrustPolicy"`
}

func (x *trustChange) name() string { return nameTrust }

func (x *trustChange) line() *Line {
	return &Line{Kind: KindRole, Name: x.Role, Action: Extend}
}

// make refuses when the policy is not the one that was judged.
func (x *trustChange) make(ctx context.Context, c *clients.Clients) (string, error) {
	now, err := setup.DescribeRole(ctx, c, x.Role)
	if err != nil {
		return "", &notMade{err}
	}
	if now.Trust != x.Old {
		return "", &notMade{errors.New("the trust policy was changed by somebody else meanwhile; plan again")}
	}
	return aws.ToString(now.RoleId), x.put(ctx, c, x.New)
}

func (x *trustChange) put(ctx context.Context, c *clients.Clients, text string) error {
	_, err := c.IAM.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &x.Role, PolicyDocument: &text})
	return err
}

func (x *trustChange) undo(ctx context.Context, c *clients.Clients, id string) error {
	now, err := setup.DescribeRole(ctx, c, x.Role)
	if err != nil {
		return lostOr(err)
	}
	if id != "" && aws.ToString(now.RoleId) != id {
		return changed("role %s is another role of that name", x.Role)
	}
	switch {
	case same(now.Trust, x.Old):
		return errGone
	case !same(now.Trust, x.New):
		return changed("the trust policy of role %s is not the one that was written", x.Role)
	}
	return x.put(ctx, c, x.Old)
}

// same compares documents by what they say.
func same(a, b string) bool { return clusterconfig.SameDocument(a, b) }

// policyChange creates a managed policy.
type policyChange struct {
	ARN         string            `json:"arn"`
	Name        string            `json:"name"`
	Path        string            `json:"path"`
	Description string            `json:"description,omitempty"`
	Document    string            `json:"document"`
	Tags        map[string]string `json:"tags,omitempty"`
}

func (x *policyChange) name() string { return namePolicy }

func (x *policyChange) line() *Line {
	return &Line{Kind: KindPolicy, Name: x.Name, Action: Create}
}

func (x *policyChange) make(ctx context.Context, c *clients.Clients) (string, error) {
	in := &iam.CreatePolicyInput{PolicyName: &x.Name, Path: &x.Path, PolicyDocument: &x.Document, Tags: setup.IAMTags(marked(x.Tags))}
	if x.Description != "" {
		in.Description = &x.Description
	}
	out, err := c.IAM.CreatePolicy(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Policy.PolicyId), nil
}

func (x *policyChange) undo(ctx context.Context, c *clients.Clients, id string) error {
	now, err := setup.DescribePolicy(ctx, c, x.ARN)
	if err != nil {
		return lostOr(err)
	}
	if id != "" && aws.ToString(now.PolicyId) != id || id == "" && setup.TagMap(now.Tags)[setup.TagCreatedBy] != setup.CreatedBy {
		return changed("policy %s is another policy of that name", x.Name)
	}
	if !same(now.Document, x.Document) {
		return changed("policy %s has another document", x.Name)
	}
	_, err = c.IAM.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: &x.ARN}) // refused while it is attached or has versions
	return lostOr(err)
}

// associationChange creates an association.
type associationChange struct {
	Cluster        string            `json:"cluster"`
	Namespace      string            `json:"namespace"`
	ServiceAccount string            `json:"serviceAccount"`
	Role           string            `json:"roleArn"`
	TargetRole     string            `json:"targetRoleArn,omitempty"`
	Policy         string            `json:"policy,omitempty"`
	DisableTags    bool              `json:"disableSessionTags,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"`
}

func (x *associationChange) name() string { return nameAssociation }

func (x *associationChange) line() *Line {
	return &Line{Kind: KindAssociation, Name: x.Namespace + "/" + x.ServiceAccount, Action: Create}
}

func (x *associationChange) make(ctx context.Context, c *clients.Clients) (string, error) {
	in := &eks.CreatePodIdentityAssociationInput{
		ClusterName: &x.Cluster, Namespace: &x.Namespace, ServiceAccount: &x.ServiceAccount, RoleArn: &x.Role, Tags: x.Tags,
	}
	if x.TargetRole != "" {
		in.TargetRoleArn = &x.TargetRole
	}
	if x.Policy != "" {
		in.Policy = &x.Policy
	}
	if x.DisableTags {
		in.DisableSessionTags = &x.DisableTags
	}
	out, err := c.EKS.CreatePodIdentityAssociation(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Association.AssociationId), nil
}

// differs names the fields in which an association is not the one described.
func (x *associationChange) differs(a *ekstypes.PodIdentityAssociation) []string {
	var out []string
	for _, f := range []struct{ name, got, want string }{
		{"role", aws.ToString(a.RoleArn), x.Role},
		{"target role", aws.ToString(a.TargetRoleArn), x.TargetRole},
		{"session tags", fmt.Sprint(aws.ToBool(a.DisableSessionTags)), fmt.Sprint(x.DisableTags)},
	} {
		if f.got != f.want {
			out = append(out, f.name)
		}
	}
	if got := aws.ToString(a.Policy); (got != "" || x.Policy != "") && !same(got, x.Policy) {
		out = append(out, "session policy")
	}
	return out
}

func (x *associationChange) undo(ctx context.Context, c *clients.Clients, id string) error {
	now, err := x.find(ctx, c, id)
	if err != nil {
		return lostOr(err)
	}
	if d := x.differs(now); len(d) > 0 {
		return changed("association %s has another %s", aws.ToString(now.AssociationId), d[0])
	}
	_, err = c.EKS.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: &x.Cluster, AssociationId: now.AssociationId})
	return lostOr(err)
}

// find finds the association by its id, or, when the answer that named it was
// lost, by its service account: there was none before.
func (x *associationChange) find(ctx context.Context, c *clients.Clients, id string) (*ekstypes.PodIdentityAssociation, error) {
	if id != "" {
		out, err := c.EKS.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: &x.Cluster, AssociationId: &id})
		if err != nil {
			return nil, err
		}
		return out.Association, nil
	}
	out, err := setup.FindAssociation(ctx, c, x.Cluster, x.Namespace, x.ServiceAccount)
	if errors.Is(err, setup.ErrNoAssociation) {
		return nil, errGone
	}
	return out, err
}

// subset reports the first of list that is not in of.
func subset(list, of []string) (string, bool) {
	for _, s := range list {
		if !slices.Contains(of, s) {
			return s, false
		}
	}
	return "", true
}
