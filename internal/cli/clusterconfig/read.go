// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 8 << 20

// Read adds the documents of a file to the set. YAML has JSON in it; a List
// of documents counts as its items. The error joins all faults of the file,
// each with its line; name stands for the file in them.
func (s *Set) Read(name string, text []byte) error {
	if len(text) > MaxSize {
		return fmt.Errorf("%s is longer than %d bytes", name, MaxSize)
	}
	r := &reader{file: name, budget: maxNodes}
	out := &Set{}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var root yaml.Node
		err := dec.Decode(&root)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if len(root.Content) == 1 && !isNull(root.Content[0]) {
			r.top(out, root.Content[0], 0)
		}
	}
	for _, c := range out.Clusters {
		c.check(r)
	}
	for _, c := range out.IAM {
		c.check(r)
	}
	if len(r.faults) == 0 && len(out.Clusters)+len(out.IAM) == 0 {
		return fmt.Errorf("%s holds no %s and no %s", name, ConfigKind, IAMKind)
	}
	if err := errors.Join(r.faults...); err != nil {
		return err
	}
	s.Clusters, s.IAM, s.Ignored = append(s.Clusters, out.Clusters...), append(s.IAM, out.IAM...), append(s.Ignored, r.ignored...)
	return nil
}

func (r *reader) top(out *Set, n *yaml.Node, depth int) {
	o := r.object(n, "")
	if o == nil {
		return
	}
	var version, kind string
	o.text("apiVersion", &version)
	o.text("kind", &kind)
	switch {
	case version == ConfigVersion && kind == ConfigKind:
		out.Clusters = append(out.Clusters, o.cluster())
	case version == IAMVersion && kind == IAMKind:
		out.IAM = append(out.IAM, o.iam())
	case version == "v1" && kind == "List" && depth == 0:
		o.ignoreQuietly("metadata")
		o.list("items", func(n *yaml.Node, _ string) { r.top(out, n, depth+1) })
	default:
		r.fault(o.node, "%q of %q is no kind that is known here: %s of %s or %s of %s", kind, version, ConfigKind, ConfigVersion, IAMKind, IAMVersion)
		return
	}
	o.done()
}

func (o *object) ignoreQuietly(names ...string) { o.known = append(o.known, names...) }

// cluster reads a ClusterConfig. What eksctl's schema has beside
// associations is told and not used, as `eksctl create
// podidentityassociation` does not use it.
func (o *object) cluster() *ClusterConfig {
	c := &ClusterConfig{At: o.r.place(o.node)}
	if v := o.take("metadata"); v != nil {
		if m := o.r.object(v, "metadata."); m != nil {
			m.text("name", &c.Name)
			m.text("region", &c.Region)
			m.ignoreQuietly("version", "tags", "annotations", "forceUpdateVersion", "rollbackConfig")
			m.done()
		}
	}
	if v := o.take("iam"); v != nil {
		if m := o.r.object(v, "iam."); m != nil {
			m.list("podIdentityAssociations", func(n *yaml.Node, path string) {
				if a := o.r.object(n, path+"."); a != nil {
					c.Associations = append(c.Associations, a.association())
				}
			})
			m.ignore("serviceAccounts")
			m.ignoreQuietly("serviceRoleARN", "serviceRolePermissionsBoundary", "fargatePodExecutionRoleARN",
				"fargatePodExecutionRolePermissionsBoundary", "withOIDC", "vpcResourceControllerPolicy")
			m.done()
		}
	}
	o.ignore("addons", "iamIdentityMappings", "accessConfig")
	o.ignoreQuietly("addonsConfig", "autoModeConfig", "availabilityZones", "capabilities", "cloudWatch", "controlPlaneScalingConfig",
		"fargateProfiles", "gitops", "identityProviders", "karpenter", "kubeAPIServerConfig", "kubeControllerManagerConfig",
		"kubeSchedulerConfig", "kubernetesNetworkConfig", "localZones", "managedNodeGroups", "nodeGroups", "outpost", "privateCluster",
		"remoteNetworkConfig", "secretsEncryption", "upgradePolicy", "vpc", "zonalShiftConfig")
	return c
}

func (o *object) association() *Association {
	a := &Association{At: o.r.place(o.node)}
	o.text("namespace", &a.Namespace)
	o.text("serviceAccountName", &a.ServiceAccountName)
	o.truth("createServiceAccount", &a.CreateServiceAccount)
	o.text("roleARN", &a.RoleARN)
	o.text("roleName", &a.RoleName)
	o.texts("permissionPolicyARNs", &a.PermissionPolicyARNs)
	o.text("permissionPolicyName", &a.PermissionPolicyName)
	o.document("permissionPolicy", &a.PermissionPolicy)
	o.wellKnown("wellKnownPolicies", a)
	o.text("permissionsBoundaryARN", &a.PermissionsBoundaryARN)
	o.text("targetRoleARN", &a.TargetRoleARN)
	o.truth("disableSessionTags", &a.DisableSessionTags)
	o.text("policy", &a.Policy)
	o.tags("tags", &a.Tags)
	o.done()
	return a
}

func (o *object) wellKnown(name string, a *Association) {
	v := o.take(name)
	if v == nil {
		return
	}
	in := o.r.object(v, o.path+name+".")
	if in == nil {
		return
	}
	for _, k := range in.keys {
		wanted := false
		in.truth(k.Value, &wanted)
		if err := a.WellKnownPolicies.Add(k.Value, wanted); err != nil {
			o.r.fault(k, "%s%s.%s: %v", o.path, name, k.Value, err)
		}
	}
}

func (o *object) iam() *IAMConfig {
	c := &IAMConfig{At: o.r.place(o.node)}
	if v := o.take("metadata"); v != nil {
		if m := o.r.object(v, "metadata."); m != nil {
			m.digits("account", 12, &c.Account)
			m.done()
		}
	}
	o.list("policies", func(n *yaml.Node, path string) {
		if p := o.r.object(n, path+"."); p != nil {
			c.Policies = append(c.Policies, p.policy())
		}
	})
	o.list("roles", func(n *yaml.Node, path string) {
		if p := o.r.object(n, path+"."); p != nil {
			c.Roles = append(c.Roles, p.role())
		}
	})
	return c
}

func (o *object) policy() *ManagedPolicy {
	p := &ManagedPolicy{At: o.r.place(o.node)}
	o.text("name", &p.Name)
	o.text("path", &p.Path)
	o.text("description", &p.Description)
	o.document("document", &p.Document)
	o.tags("tags", &p.Tags)
	o.done()
	return p
}

func (o *object) role() *Role {
	x := &Role{At: o.r.place(o.node)}
	o.text("name", &x.Name)
	o.text("path", &x.Path)
	o.text("description", &x.Description)
	o.number("maxSessionDuration", &x.MaxSessionDuration)
	o.document("trustPolicy", &x.TrustPolicy)
	o.texts("permissionPolicyARNs", &x.PermissionPolicyARNs)
	o.list("inlinePolicies", func(n *yaml.Node, path string) {
		in := o.r.object(n, path+".")
		if in == nil {
			return
		}
		var p InlinePolicy
		in.text("name", &p.Name)
		in.document("document", &p.Document)
		in.done()
		if p.Name == "" || p.Document == nil {
			o.r.fault(n, "%s needs name and document", path)
		}
		x.InlinePolicies = append(x.InlinePolicies, p)
	})
	o.text("permissionsBoundaryARN", &x.PermissionsBoundaryARN)
	o.tags("tags", &x.Tags)
	o.done()
	return x
}
