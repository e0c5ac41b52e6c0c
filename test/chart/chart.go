// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chart renders charts/podid with Helm's own engine, as `helm install` does on a cluster of a given version, and makes
// the static manifest of it. It refuses what Helm refuses: values that the schema does not permit, and templates that do not
// give YAML. What the objects are good for is decided by an API server, in test/cluster.
package chart

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
)

// KubeVersion is the oldest that the chart takes.
const KubeVersion = "v1.34.0"

// Where things are, from the root of the repository.
const (
	ChartDir     = "charts/podid"
	CRDSource    = "api/v1alpha1/crds"
	CRDCopy      = "charts/podid/files/crds"
	ManifestFile = "deploy/podid.yaml"
)

// Release says which release to render.
type Release struct {
	Namespace string         // default: "default"
	Service   string         // who manages the objects; default: "Helm"
	Values    map[string]any // over the chart's own
}

// Rendered is what Helm would send: objects in the order of installation, and hooks apart.
type Rendered struct {
	Objects []releaseutil.Manifest
	Hooks   []*release.Hook
	Notes   string
}

// Render renders the chart in dir.
func Render(dir string, r Release) (*Rendered, error) {
	c, err := loader.LoadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("load chart: %w", err)
	}
	version, err := chartutil.ParseKubeVersion(KubeVersion)
	if err != nil {
		return nil, err
	}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = *version
	if !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, version.String()) {
		return nil, fmt.Errorf("chart wants Kubernetes %s, not %s", c.Metadata.KubeVersion, version)
	}
	namespace, service := r.Namespace, r.Service
	if namespace == "" {
		namespace = "default"
	}
	options := chartutil.ReleaseOptions{Name: "podid", Namespace: namespace, Revision: 1, IsInstall: true}
	values, err := chartutil.ToRenderValuesWithSchemaValidation(c, r.Values, options, caps, false)
	if err != nil {
		return nil, fmt.Errorf("check values: %w", err)
	}
	if service != "" {
		values["Release"].(map[string]any)["Service"] = service
	}
	var e engine.Engine
	files, err := e.Render(c, values)
	if err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	out := &Rendered{}
	for name, text := range files {
		if path.Base(name) == "NOTES.txt" {
			out.Notes = text
		}
		if strings.HasPrefix(path.Base(name), "_") || path.Ext(name) == ".txt" {
			delete(files, name)
		}
	}
	// Helm sorts by kind and keeps the order of a map among those of one kind; here that is the order of the files.
	for _, name := range slices.Sorted(maps.Keys(files)) {
		hooks, objects, err := releaseutil.SortManifests(map[string]string{name: files[name]}, nil, releaseutil.InstallOrder)
		if err != nil {
			return nil, fmt.Errorf("read what %s renders: %w", name, err)
		}
		out.Hooks, out.Objects = append(out.Hooks, hooks...), append(out.Objects, objects...)
	}
	rank := make(map[string]int, len(releaseutil.InstallOrder))
	for i, kind := range releaseutil.InstallOrder {
		rank[kind] = i + 1
	}
	unknown := len(rank) + 1
	of := func(m releaseutil.Manifest) int {
		if n := rank[m.Head.Kind]; n > 0 {
			return n
		}
		return unknown
	}
	slices.SortStableFunc(out.Objects, func(a, b releaseutil.Manifest) int { return of(a) - of(b) })
	return out, nil
}

// Write writes the objects as one file of YAML.
func (r *Rendered) Write(w io.Writer) error {
	for _, m := range r.Objects {
		if _, err := fmt.Fprintf(w, "---\n# %s\n%s\n", strings.TrimPrefix(m.Name, "podid/"), strings.TrimSpace(m.Content)); err != nil {
			return err
		}
	}
	return nil
}

// manifestHead is what the static manifest begins with.
const manifestHead = `# podid for one cluster: control plane, operator and agents. Generated from charts/podid with its defaults: make manifest.
#
#   kubectl apply -f podid.yaml
#
# Cluster (my-cluster), account (111122223333) and region (us-west-2) are in arguments and variables of the three programs; the
# chart has them as values.
# To take it away: docs/install/README.md.
`

// Manifest renders the static manifest. Hooks are Helm's and not in it.
func Manifest(dir string, w io.Writer) error {
	r, err := Render(dir, Release{Service: "kubectl"})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, manifestHead); err != nil {
		return err
	}
	return r.Write(w)
}
