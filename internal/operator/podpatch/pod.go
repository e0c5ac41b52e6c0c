// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package podpatch makes the changes that give a pod its credentials, by the
// rules of AWS' mutating webhook: a projected token, its mount, and the
// variables by which an AWS SDK finds them. It owns what is added and in which
// form; whether a pod has an identity is decided by its caller, the webhook.
//
// It patches narrowly: single elements, never a list that somebody else may
// have written too, so that no field unknown to podid is lost. It changes
// nothing that a pod says itself, but for a proxy exception that keeps the
// agent reachable, and a pod that was patched before is left as it is. It
// refuses no pod.
package podpatch

import "slices"

// Pod is the part of a pod's JSON that decides about it or is changed.
type Pod struct {
	Metadata Metadata `json:"metadata"`
	Spec     Spec     `json:"spec"`
}

// Metadata is that of a pod which is being created: a controller's pods have
// no name yet, and no pod needs to say its namespace.
type Metadata struct {
	Name         string            `json:"name"`
	GenerateName string            `json:"generateName"`
	Namespace    string            `json:"namespace"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
}

// Spec is the part of a pod's specification that is looked at.
type Spec struct {
	ServiceAccountName string            `json:"serviceAccountName"`
	OS                 OS                `json:"os"`
	NodeSelector       map[string]string `json:"nodeSelector"`
	InitContainers     []Container       `json:"initContainers"`
	Containers         []Container       `json:"containers"`
	Volumes            []Volume          `json:"volumes"`
}

// OS is what a pod says of the operating system that it needs.
type OS struct {
	Name string `json:"name"`
}

// Container is a container or an init container, sidecars included.
type Container struct {
	Name         string   `json:"name"`
	Env          []EnvVar `json:"env"`
	VolumeMounts []Mount  `json:"volumeMounts"`
}

// EnvVar is a variable of a container. A value that comes from elsewhere is
// known by its presence only.
type EnvVar struct {
	Name      string    `json:"name"`
	Value     string    `json:"value"`
	ValueFrom *struct{} `json:"valueFrom"`
}

// Mount is a volume's place in a container.
type Mount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
}

// Volume is a volume by its name: what it holds is never looked at.
type Volume struct {
	Name string `json:"name"`
}

const windows = "windows"

// isWindows looks at the field that Kubernetes made for it, and at the node
// labels that AWS' webhook goes by.
func (s *Spec) isWindows() bool {
	return s.OS.Name == windows || s.NodeSelector["kubernetes.io/os"] == windows || s.NodeSelector["beta.kubernetes.io/os"] == windows
}

func (s *Spec) hasVolume(name string) bool {
	for i := range s.Volumes {
		if s.Volumes[i].Name == name {
			return true
		}
	}
	return false
}

// hasEnv reports whether a variable of one of the names is there, wherever its
// value comes from.
func (c *Container) hasEnv(names ...string) bool {
	for i := range c.Env {
		if slices.Contains(names, c.Env[i].Name) {
			return true
		}
	}
	return false
}

func (c *Container) hasMount(volume string) bool {
	for i := range c.VolumeMounts {
		if c.VolumeMounts[i].Name == volume {
			return true
		}
	}
	return false
}
