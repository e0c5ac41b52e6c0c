// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"slices"
	"strings"

	"podid/internal/cluster"
)

// Known is an add-on of the catalog.
type Known struct {
	Name      string
	Type      string   // EKS' category: "networking", "storage"…
	Versions  []string // newest first; the first is the default
	Namespace string   // where its pods run, unless namespaceConfig says another
	Accounts  []PodIdentity
}

// PodIdentity is a service account of an add-on that takes a role.
type PodIdentity struct {
	ServiceAccount string
	Policies       []string // path and name of AWS managed policies that AWS recommends
}

// Catalog lists the add-ons by name. Names, namespaces, service accounts and
// policies are those of the EKS User Guide, "AWS add-ons"; versions are some
// that EKS has had, since clients want to name one.
func Catalog() []Known {
	const kube = "kube-system"
	return []Known{
		{"adot", "observability", []string{"v0.117.0-eksbuild.1"}, "opentelemetry-operator-system", []PodIdentity{
			{"adot-col-container-logs", []string{"CloudWatchAgentServerPolicy"}},
			{"adot-col-otlp-ingest", []string{"AWSXrayWriteOnlyAccess"}},
			{"adot-col-prom-metrics", []string{"AmazonPrometheusRemoteWriteAccess"}},
		}},
		{"amazon-cloudwatch-observability", "observability", []string{"v4.4.0-eksbuild.1", "v3.6.0-eksbuild.2"}, "amazon-cloudwatch", []PodIdentity{
			{"cloudwatch-agent", []string{"CloudWatchAgentServerPolicy", "AWSXrayWriteOnlyAccess"}},
		}},
		{"aws-ebs-csi-driver", "storage", []string{"v1.48.0-eksbuild.1", "v1.44.0-eksbuild.1"}, kube, []PodIdentity{
			{"ebs-csi-controller-sa", []string{"service-role/AmazonEBSCSIDriverPolicy"}},
		}},
		{"aws-efs-csi-driver", "storage", []string{"v2.1.11-eksbuild.1", "v2.1.8-eksbuild.1"}, kube, []PodIdentity{
			{"efs-csi-controller-sa", []string{"service-role/AmazonEFSCSIDriverPolicy"}},
		}},
		{"aws-mountpoint-s3-csi-driver", "storage", []string{"v2.0.0-eksbuild.1", "v1.15.0-eksbuild.1"}, kube, []PodIdentity{{"s3-csi-driver-sa", nil}}},
		{"coredns", "networking", []string{"v1.12.3-eksbuild.1", "v1.11.4-eksbuild.2"}, kube, nil},
		{Agent, "security", []string{"v1.3.10-eksbuild.2", "v1.3.8-eksbuild.2"}, kube, nil},
		{"external-dns", "networking", []string{"v0.18.0-eksbuild.1"}, "external-dns", []PodIdentity{
			{"external-dns", []string{"AmazonRoute53FullAccess"}},
		}},
		{"kube-proxy", "networking", []string{"v1.34.0-eksbuild.2", "v1.33.3-eksbuild.4"}, kube, nil},
		{"metrics-server", "observability", []string{"v0.8.0-eksbuild.2"}, kube, nil},
		{"snapshot-controller", "storage", []string{"v8.3.0-eksbuild.1"}, kube, nil},
		{"vpc-cni", "networking", []string{"v1.20.4-eksbuild.2", "v1.19.6-eksbuild.7"}, kube, []PodIdentity{
			{"aws-node", []string{"AmazonEKS_CNI_Policy"}},
		}},
	}
}

// Lookup finds an add-on of the catalog.
func Lookup(name string) (Known, bool) {
	all := Catalog()
	i := slices.IndexFunc(all, func(k Known) bool { return k.Name == name })
	if i < 0 {
		return Known{}, false
	}
	return all[i], true
}

// PolicyARNs are the ARNs of a service account's recommended policies.
func (p PodIdentity) PolicyARNs(partition string) []string {
	out := make([]string, len(p.Policies))
	for i, name := range p.Policies {
		out[i] = "arn:" + partition + ":iam::aws:policy/" + name
	}
	return out
}

func (k Known) has(serviceAccount string) bool {
	return slices.ContainsFunc(k.Accounts, func(p PodIdentity) bool { return p.ServiceAccount == serviceAccount })
}

// After is the catalog behind a name, in its order.
func After(name string) []Known {
	all := Catalog()
	i, found := slices.BinarySearchFunc(all, name, func(k Known, n string) int { return strings.Compare(k.Name, n) })
	if found {
		i++
	}
	return all[i:]
}

// KubernetesVersions are those that the catalog names: every usual one.
func KubernetesVersions() []string { return cluster.UsualVersions() }
