// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/cli/clients"
	"podid/internal/cli/trust"
)

// The agent's service account, as podid's manifests name it.
const (
	AgentNamespace      = "podid-system"
	AgentServiceAccount = "podid-agent"
)

// maxRoleName is the longest name of an IAM role.
const maxRoleName = 64

// ClusterInput describes a cluster to register.
type ClusterInput struct {
	Name, Issuer string
	JWKS         json.RawMessage // or Discover, or Connect
	Discover     bool
	Connect      bool   // the cluster brings its keys with an activation code
	NodeBinding  string // required, ifPresent, off; "" for the default
	Version      string
	Endpoint     string
	CA           string // base64 of PEM
	Tags         map[string]string
	EnrolmentKey json.RawMessage // public half, a JWK; nil for none

	NoNodeRole          bool
	AgentNamespace      string // AgentNamespace by default
	AgentServiceAccount string // AgentServiceAccount by default

	NoOperatorRole         bool
	OperatorNamespace      string   // OperatorNamespace by default
	OperatorServiceAccount string   // OperatorServiceAccount by default
	PassRoles              []string // ARNs or patterns of the roles that the operator may pass; none by default

	Progress func(string) // told what was done; may be nil
}

// Registered is a registered cluster and its roles, if made.
type Registered struct {
	Cluster         *clients.Cluster
	NodeRoleARN     string
	OperatorRoleARN string
}

// NodeRoleName is the name of a cluster's node role; names that would be too
// long end in a hash of the cluster's name.
func NodeRoleName(cluster string) string { return fit("podid-node-", cluster, maxRoleName) }

func nodeBoundaryName(cluster string) string { return "podid-node-boundary-" + cluster }

func fit(prefix, name string, limit int) string {
	if len(prefix)+len(name) <= limit {
		return prefix + name
	}
	sum := sha256.Sum256([]byte(name))
	return prefix + name[:limit-len(prefix)-9] + "-" + hex.EncodeToString(sum[:4])
}

// RegisterCluster registers a cluster and makes the roles of its two parts:
// that of the node agents, with AmazonEKSWorkerNodePolicy, bounded to exchanges
// of this cluster; and that of the operator, which keeps the cluster's
// associations and exchanges nothing. Each is trusted for exactly one service
// account of this cluster. All or nothing.
func RegisterCluster(ctx context.Context, c *clients.Clients, in ClusterInput) (*Registered, error) {
	if err := CheckPassRoles(in.PassRoles); err != nil {
		return nil, err
	}
	ch := &change{progress: in.Progress}
	out := &Registered{}
	err := ch.do("cluster "+in.Name, "registered cluster "+in.Name, func() error {
		var err error
		out.Cluster, err = c.Podid.RegisterCluster(ctx, clients.RegisterInput{
			Name: in.Name, Connect: in.Connect, Issuer: in.Issuer, JWKS: in.JWKS, Discover: in.Discover, NodeBinding: in.NodeBinding, Version: in.Version,
			Endpoint: in.Endpoint, CertificateAuthority: in.CA, Tags: in.Tags, EnrolmentKey: in.EnrolmentKey,
		})
		return err
	}, func(ctx context.Context) error {
		_, err := c.EKS.DeleteCluster(ctx, &eks.DeleteClusterInput{Name: &in.Name})
		return err
	})
	if err != nil {
		return nil, ch.failed(ctx, err)
	}
	if !in.NoNodeRole {
		if out.NodeRoleARN, err = ch.nodeRole(ctx, c, &in, out.Cluster); err != nil {
			return nil, ch.failed(ctx, err)
		}
	}
	if !in.NoOperatorRole {
		if out.OperatorRoleARN, err = ch.createRole(ctx, c, operatorRole(&in, out.Cluster)); err != nil {
			return nil, ch.failed(ctx, remains(in.Name, err))
		}
	}
	return out, nil
}

func (ch *change) nodeRole(ctx context.Context, c *clients.Clients, in *ClusterInput, cluster *clients.Cluster) (string, error) {
	boundary, err := ch.nodeBoundary(ctx, c, in, cluster)
	if err != nil {
		return "", remains(in.Name, err)
	}
	roleARN, err := ch.createRole(ctx, c, nodeRole(in, cluster, boundary))
	return roleARN, remains(in.Name, err)
}

func (ch *change) nodeBoundary(ctx context.Context, c *clients.Clients, in *ClusterInput, cluster *clients.Cluster) (boundary string, err error) {
	name := nodeBoundaryName(in.Name)
	err = ch.do("policy "+name, "created policy "+name, func() error {
		out, err := c.IAM.CreatePolicy(ctx, &iam.CreatePolicyInput{
			PolicyName: &name, PolicyDocument: aws.String(trust.NodeBoundary(cluster.Arn)),
			Description: aws.String("Bounds the node role of cluster " + in.Name),
			Tags: []iamtypes.Tag{
				{Key: aws.String(TagCluster), Value: &in.Name}, {Key: aws.String(TagCreatedBy), Value: aws.String(CreatedBy)},
			},
		})
		if err == nil {
			boundary = aws.ToString(out.Policy.Arn)
		}
		return err
	}, func(ctx context.Context) error {
		_, err := c.IAM.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: &boundary})
		return err
	})
	return boundary, err
}

// nodeRole is the role that a cluster's node agents assume.
func nodeRole(in *ClusterInput, cluster *clients.Cluster, boundary string) RoleInput {
	partition := strings.SplitN(cluster.Arn, ":", 3)[1]
	return RoleInput{
		Name: NodeRoleName(in.Name), Description: "Node agents of cluster " + in.Name, Boundary: boundary, Tags: map[string]string{TagCluster: in.Name},
		Trust:      trust.ForAgent(cluster.ProviderArn, or(in.AgentNamespace, AgentNamespace), or(in.AgentServiceAccount, AgentServiceAccount)),
		PolicyARNs: []string{"arn:" + partition + ":iam::aws:policy/AmazonEKSWorkerNodePolicy"},
		Inline:     []InlinePolicy{{agentPolicy, trust.AgentPolicy(cluster.Arn)}},
	}
}

// remains adds the way out where an earlier cluster of the name left its role.
func remains(cluster string, err error) error {
	if !clients.IsConflict(err) {
		return err
	}
	return &Failure{err, fmt.Sprintf("an earlier cluster of that name has left its node role or operator role: podid delete cluster %s --node-role-only, or register with --no-node-role and --no-operator-role", cluster)}
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// ClusterNames lists all clusters, those that are PENDING too.
func ClusterNames(ctx context.Context, c *clients.Clients) ([]string, error) {
	var names []string
	pages := eks.NewListClustersPaginator(c.EKS, &eks.ListClustersInput{Include: []string{"all"}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list clusters: %w", err)
		}
		names = append(names, page.Clusters...)
	}
	return names, nil
}

// DeleteClusterRoles deletes the roles and the boundary that RegisterCluster
// made for a cluster, and nothing that lacks its tags. It returns what it
// deleted; it can be repeated until all are gone.
func DeleteClusterRoles(ctx context.Context, c *clients.Clients, cluster string) ([]string, error) {
	var gone []string
	for _, name := range []string{NodeRoleName(cluster), OperatorRoleName(cluster)} {
		role, err := DescribeRole(ctx, c, name)
		switch {
		case clients.IsNotFound(err):
		case err != nil:
			return gone, fmt.Errorf("look for role %s: %w", name, err)
		case !role.madeFor(cluster):
		default:
			if err := DeleteRole(ctx, c, role); err != nil {
				return gone, fmt.Errorf("delete role %s: %w", name, err)
			}
			gone = append(gone, "role "+name)
		}
	}
	deleted, err := deleteBoundary(ctx, c, cluster)
	if deleted {
		gone = append(gone, "policy "+nodeBoundaryName(cluster))
	}
	return gone, err
}

// madeFor reports whether podid made the role for the cluster.
func (r *Role) madeFor(cluster string) bool {
	return r.CreatedByPodid() && r.Tag(TagCluster) == cluster
}

func deleteBoundary(ctx context.Context, c *clients.Clients, cluster string) (bool, error) {
	id, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return false, fmt.Errorf("ask for the account: %w", err)
	}
	partition := strings.SplitN(aws.ToString(id.Arn), ":", 3)[1]
	policyARN := fmt.Sprintf("arn:%s:iam::%s:policy/%s", partition, aws.ToString(id.Account), nodeBoundaryName(cluster))
	out, err := c.IAM.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &policyARN})
	if clients.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for policy %s: %w", policyARN, err)
	}
	tags := (&Role{Role: iamtypes.Role{Tags: out.Policy.Tags}})
	if !tags.madeFor(cluster) {
		return false, nil
	}
	if _, err := c.IAM.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: &policyARN}); err != nil && !clients.IsNotFound(err) {
		return false, fmt.Errorf("delete policy %s: %w", policyARN, err)
	}
	return true, nil
}
