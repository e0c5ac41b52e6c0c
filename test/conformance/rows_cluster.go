// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// clusterRows are what is asked of clusters.
func clusterRows() section {
	return section{
		ID: "clusters", Title: "EKS: clusters", Clients: sdks,
		Rows: []row{
			{"describe-cluster", "DescribeCluster: ACTIVE, with endpoint, CA and issuer", playDescribeCluster},
			{"list-clusters", "ListClusters, page by page", playListClusters},
			{"cluster-versions", "DescribeClusterVersions", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "eks", "DescribeClusterVersions", nil)
				if err != nil {
					return err
				}
				if text(out, "clusterVersions.0.clusterVersion") == "" {
					return fmt.Errorf("no version in %s", toJSON(out))
				}
				return want(out, M{"clusterVersions.0.versionStatus": "STANDARD_SUPPORT"})
			}},
			{"register-cluster", "RegisterCluster: PENDING, with an activation code", playRegister},
			{"deregister-cluster", "DeregisterCluster", playDeregister},
			{"create-cluster", "CreateCluster", func(ctx context.Context, s *session) error {
				in := M{"name": s.name("new"), "roleArn": s.roleARN("eks"), "resourcesVpcConfig": M{"subnetIds": []string{"subnet-1"}}}
				_, err := s.do(ctx, "eks", "CreateCluster", in)
				return err
			}},
		},
	}
}

func playDescribeCluster(ctx context.Context, s *session) error {
	out, err := s.do(ctx, "eks", "DescribeCluster", M{"name": clusterName})
	if err != nil {
		return err
	}
	for _, path := range []string{"cluster.endpoint", "cluster.certificateAuthority.data", "cluster.identity.oidc.issuer", "cluster.version"} {
		if text(out, path) == "" {
			return fmt.Errorf("%s is empty", path)
		}
	}
	if err := recent(field(out, "cluster.createdAt")); err != nil {
		return err
	}
	return want(out, M{"cluster.name": clusterName, "cluster.arn": s.clusterARN(), "cluster.status": "ACTIVE", "cluster.connectorConfig": nil})
}

func playListClusters(ctx context.Context, s *session) error {
	out, err := s.admin.call(ctx, request{Service: "eks", Operation: "ListClusters", Input: M{"maxResults": 1}, Paginate: true, Attempts: 1})
	if err != nil {
		return classify(err)
	}
	var names []string
	for _, page := range list(out, "pages") {
		for _, name := range list(page, "clusters") {
			names = append(names, fmt.Sprint(name))
		}
	}
	if !slices.Contains(names, clusterName) || !slices.Contains(names, otherName) {
		return fmt.Errorf("listed %s", strings.Join(names, ", "))
	}
	return nil
}

func playRegister(ctx context.Context, s *session) error {
	role, err := s.role(ctx, "connector", trustOf(M{"Service": "eks-connector.amazonaws.com"}, "sts:AssumeRole"))
	if err != nil {
		return err
	}
	in := M{"name": s.name("edge"), "connectorConfig": M{"roleArn": role, "provider": "OTHER"}}
	out, err := s.do(ctx, "eks", "RegisterCluster", in)
	if err != nil {
		return err
	}
	if text(out, "cluster.connectorConfig.activationId") == "" || text(out, "cluster.connectorConfig.activationCode") == "" {
		return fmt.Errorf("no activation in %s", tail(toJSON(out), 300))
	}
	return want(out, M{"cluster.name": s.name("edge"), "cluster.status": "PENDING"})
}

func playDeregister(ctx context.Context, s *session) error {
	out, err := s.do(ctx, "eks", "DeregisterCluster", M{"name": s.name("edge")})
	if err != nil {
		return err
	}
	if err := want(out, M{"cluster.name": s.name("edge")}); err != nil {
		return err
	}
	return s.refused(ctx, "eks", "DescribeCluster", M{"name": s.name("edge")}, "ResourceNotFoundException", 404, "No cluster found for name")
}

const agentAddon = "eks-pod-identity-agent"

// addonRows are add-ons that own associations.
func addonRows() section {
	return section{
		ID: "addons", Title: "EKS: add-ons", Clients: sdks,
		Note: "An add-on's name is its identity in a cluster: each client has an add-on of its own.",
		Rows: []row{
			{"agent-addon", "DescribeAddon: podid's agent is `eks-pod-identity-agent`, ACTIVE", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "eks", "DescribeAddon", M{"clusterName": clusterName, "addonName": agentAddon})
				if err != nil {
					return err
				}
				return want(out, M{"addon.addonName": agentAddon, "addon.status": "ACTIVE", "addon.health.issues": []any{}})
			}},
			{"list-addons", "ListAddons", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "eks", "ListAddons", M{"clusterName": clusterName})
				if err == nil && !slices.Contains(list(out, "addons"), any(agentAddon)) {
					err = fmt.Errorf("listed %s", toJSON(out))
				}
				return err
			}},
			{"addon-versions", "DescribeAddonVersions", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "eks", "DescribeAddonVersions", M{"addonName": agentAddon})
				if err == nil && text(out, "addons.0.addonVersions.0.addonVersion") == "" {
					err = fmt.Errorf("no version in %s", tail(toJSON(out), 300))
				}
				return err
			}},
			{"addon-configuration", "DescribeAddonConfiguration: service accounts and policies", playAddonConfiguration},
			{"create-addon", "CreateAddon: its associations have `ownerArn`", playCreateAddon},
			{"update-addon", "UpdateAddon with `[]` and DescribeUpdate: the associations go", playUpdateAddon},
			{"delete-addon", "DeleteAddon", playDeleteAddon},
		},
	}
}

// addonOf is the add-on that a client makes: an add-on has to be of the catalog.
func (s *session) addonOf() string {
	return map[string]string{"go": "vpc-cni", "js": "aws-ebs-csi-driver", "boto3": "aws-efs-csi-driver", "cli": "adot"}[s.player.ID]
}

func (s *session) addonVersion(ctx context.Context) (string, error) {
	return once(s, "addon version", func() (string, error) {
		out, err := s.do(ctx, "eks", "DescribeAddonVersions", M{"addonName": s.addonOf()})
		return text(out, "addons.0.addonVersions.0.addonVersion"), err
	})
}

func playAddonConfiguration(ctx context.Context, s *session) error {
	version, err := s.addonVersion(ctx)
	if err != nil {
		return err
	}
	out, err := s.do(ctx, "eks", "DescribeAddonConfiguration", M{"addonName": s.addonOf(), "addonVersion": version})
	if err != nil {
		return err
	}
	account := text(out, "podIdentityConfiguration.0.serviceAccount")
	s.made["addon account"] = account
	if account == "" {
		return fmt.Errorf("no podIdentityConfiguration in %s", tail(toJSON(out), 300))
	}
	return want(out, M{"addonName": s.addonOf()})
}

func playCreateAddon(ctx context.Context, s *session) error {
	role, err := s.role(ctx, "addon", trustOf(M{"Service": "pods.eks.amazonaws.com"}, "sts:AssumeRole", "sts:TagSession"))
	if err != nil {
		return err
	}
	account, _ := s.made["addon account"].(string)
	in := M{"clusterName": clusterName, "addonName": s.addonOf(), "podIdentityAssociations": []M{{"serviceAccount": account, "roleArn": role}}}
	out, err := s.do(ctx, "eks", "CreateAddon", in)
	if err != nil {
		return err
	}
	arn := text(out, "addon.podIdentityAssociations.0")
	a, err := s.describe(ctx, M{"associationId": arn[strings.LastIndexByte(arn, '/')+1:]})
	if err != nil {
		return err
	}
	s.made["owned"] = a
	change := M{"clusterName": clusterName, "associationId": text(a, "associationId"), "roleArn": role}
	if err := s.refused(ctx, "eks", "UpdatePodIdentityAssociation", change, "InvalidRequestException", 400, ""); err != nil {
		return err
	}
	return want(a, M{"ownerArn": text(out, "addon.addonArn"), "serviceAccount": account, "roleArn": role})
}

func playUpdateAddon(ctx context.Context, s *session) error {
	out, err := s.do(ctx, "eks", "UpdateAddon", M{"clusterName": clusterName, "addonName": s.addonOf(), "podIdentityAssociations": []M{}})
	if err != nil {
		return err
	}
	in := M{"name": clusterName, "addonName": s.addonOf(), "updateId": text(out, "update.id")}
	if out, err = s.do(ctx, "eks", "DescribeUpdate", in); err != nil {
		return err
	}
	if err := want(out, M{"update.status": "Successful"}); err != nil {
		return err
	}
	owned, _ := s.made["owned"].(M)
	in = M{"clusterName": clusterName, "associationId": text(owned, "associationId")}
	return s.refused(ctx, "eks", "DescribePodIdentityAssociation", in, "ResourceNotFoundException", 404, "")
}

func playDeleteAddon(ctx context.Context, s *session) error {
	in := M{"clusterName": clusterName, "addonName": s.addonOf()}
	out, err := s.do(ctx, "eks", "DeleteAddon", in)
	if err != nil {
		return err
	}
	if err := want(out, M{"addon.addonName": s.addonOf()}); err != nil {
		return err
	}
	return s.refused(ctx, "eks", "DescribeAddon", in, "ResourceNotFoundException", 404, "")
}

const viewPolicy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"

// accessRows are access entries.
func accessRows() section {
	return section{
		ID: "access", Title: "EKS: access entries", Clients: sdks,
		Rows: []row{
			{"create-entry", "CreateAccessEntry, DescribeAccessEntry", playCreateEntry},
			{"policies", "ListAccessPolicies", func(ctx context.Context, s *session) error {
				out, err := s.do(ctx, "eks", "ListAccessPolicies", nil)
				if err == nil && !strings.Contains(toJSON(out), viewPolicy) {
					err = fmt.Errorf("listed %s", tail(toJSON(out), 300))
				}
				return err
			}},
			{"associate-policy", "AssociateAccessPolicy, ListAssociatedAccessPolicies, DisassociateAccessPolicy", playAccessPolicy},
			{"delete-entry", "DeleteAccessEntry", func(ctx context.Context, s *session) error {
				role, err := s.podRole(ctx)
				if err != nil {
					return err
				}
				in := M{"clusterName": clusterName, "principalArn": role}
				if _, err := s.do(ctx, "eks", "DeleteAccessEntry", in); err != nil {
					return err
				}
				return s.refused(ctx, "eks", "DescribeAccessEntry", in, "ResourceNotFoundException", 404, "")
			}},
		},
	}
}

func playCreateEntry(ctx context.Context, s *session) error {
	role, err := s.podRole(ctx)
	if err != nil {
		return err
	}
	in := M{"clusterName": clusterName, "principalArn": role}
	if _, err := s.do(ctx, "eks", "CreateAccessEntry", with(in, M{"kubernetesGroups": []string{"viewers"}})); err != nil {
		return err
	}
	out, err := s.do(ctx, "eks", "DescribeAccessEntry", in)
	if err != nil {
		return err
	}
	return want(out, M{"accessEntry.principalArn": role, "accessEntry.kubernetesGroups": []any{"viewers"}, "accessEntry.type": "STANDARD"})
}

func playAccessPolicy(ctx context.Context, s *session) error {
	role, err := s.podRole(ctx)
	if err != nil {
		return err
	}
	entry := M{"clusterName": clusterName, "principalArn": role}
	one := with(entry, M{"policyArn": viewPolicy})
	if _, err := s.do(ctx, "eks", "AssociateAccessPolicy", with(one, M{"accessScope": M{"type": "cluster"}})); err != nil {
		return err
	}
	out, err := s.do(ctx, "eks", "ListAssociatedAccessPolicies", entry)
	if err != nil {
		return err
	}
	if err := want(out, M{"associatedAccessPolicies.0.policyArn": viewPolicy, "associatedAccessPolicies.0.accessScope.type": "cluster"}); err != nil {
		return err
	}
	_, err = s.do(ctx, "eks", "DisassociateAccessPolicy", one)
	return err
}
