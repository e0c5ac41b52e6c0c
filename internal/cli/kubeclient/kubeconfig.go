// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// secret is text that no message shows.
type secret string

// String hides the text.
func (secret) String() string { return "[secret]" }

// GoString hides the text.
func (secret) GoString() string { return "[secret]" }

// LogValue hides the text.
func (secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// config is a kubeconfig, as far as a client needs it. Unknown members are
// left alone: other programs keep theirs there.
type config struct {
	CurrentContext string         `json:"current-context"`
	Clusters       []namedCluster `json:"clusters"`
	Contexts       []namedContext `json:"contexts"`
	Users          []namedUser    `json:"users"`
}

type namedCluster struct {
	Name    string        `json:"name"`
	Cluster clusterConfig `json:"cluster"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster   string `json:"cluster"`
		User      string `json:"user"`
		Namespace string `json:"namespace"`
	} `json:"context"`
}

type namedUser struct {
	Name string     `json:"name"`
	User userConfig `json:"user"`
}

type clusterConfig struct {
	Server     string      `json:"server"`
	ServerName string      `json:"tls-server-name"`
	Insecure   bool        `json:"insecure-skip-tls-verify"`
	CAFile     string      `json:"certificate-authority"`
	CAData     string      `json:"certificate-authority-data"` // base64 of PEM
	ProxyURL   secret      `json:"proxy-url"`                  // may hold a password
	Extensions []extension `json:"extensions"`
}

type extension struct {
	Name      string          `json:"name"`
	Extension json.RawMessage `json:"extension"`
}

type userConfig struct {
	CertFile     string              `json:"client-certificate"`
	CertData     string              `json:"client-certificate-data"`
	KeyFile      string              `json:"client-key"`
	KeyData      secret              `json:"client-key-data"`
	Token        secret              `json:"token"`
	TokenFile    string              `json:"tokenFile"`
	Username     string              `json:"username"`
	Password     secret              `json:"password"`
	Exec         *execConfig         `json:"exec"`
	AuthProvider json.RawMessage     `json:"auth-provider"`
	As           string              `json:"as"`
	AsUID        string              `json:"as-uid"`
	AsGroups     []string            `json:"as-groups"`
	AsUserExtra  map[string][]string `json:"as-user-extra"`
}

// MaxKubeconfig bounds a kubeconfig, in bytes.
const MaxKubeconfig = 4 << 20

// find names the files: the given one, those of KUBECONFIG, or the default.
func find(o *Options) (files []string, given bool) {
	if o.Kubeconfig != "" {
		return []string{o.Kubeconfig}, true
	}
	if list := o.lookup("KUBECONFIG"); list != "" {
		return filepath.SplitList(list), false
	}
	if home := o.lookup("HOME"); home != "" {
		return []string{filepath.Join(home, ".kube", "config")}, false
	}
	return nil, false
}

// loadConfig joins the files as kubectl does: what a file says first stays.
func loadConfig(o *Options) (*config, error) {
	files, given := find(o)
	out := &config{}
	found := false
	for _, name := range files {
		if name == "" {
			continue
		}
		c, err := readConfig(name)
		if errors.Is(err, fs.ErrNotExist) && !given {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = true
		if out.CurrentContext == "" {
			out.CurrentContext = c.CurrentContext
		}
		out.Clusters = append(out.Clusters, c.Clusters...)
		out.Contexts = append(out.Contexts, c.Contexts...)
		out.Users = append(out.Users, c.Users...)
	}
	if !found {
		return nil, ErrNoConfig
	}
	return out, nil
}

func readConfig(name string) (*config, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	if info.Size() > MaxKubeconfig {
		return nil, fmt.Errorf("kubeconfig %s is longer than %d bytes", name, MaxKubeconfig)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	c, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", name, err)
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", name, err)
	}
	c.resolve(dir)
	return c, nil
}

func parseConfig(text []byte) (*config, error) {
	c := &config{}
	if err := yaml.Unmarshal(text, c); err != nil {
		return nil, err
	}
	return c, nil
}

// resolve makes the paths of files relative to the kubeconfig absolute.
func (c *config) resolve(dir string) {
	abs := func(path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	for i := range c.Clusters {
		abs(&c.Clusters[i].Cluster.CAFile)
	}
	for i := range c.Users {
		u := &c.Users[i].User
		abs(&u.CertFile)
		abs(&u.KeyFile)
		abs(&u.TokenFile)
		if u.Exec != nil && strings.ContainsRune(u.Exec.Command, filepath.Separator) {
			abs(&u.Exec.Command) // a bare name is looked for in PATH
		}
	}
}

// choice is what one context names.
type choice struct {
	context string
	cluster clusterConfig
	user    userConfig
}

func (c *config) choose(name string) (*choice, error) {
	if name == "" {
		name = c.CurrentContext
	}
	if name == "" {
		return nil, errors.New("the kubeconfig has no current context: name one")
	}
	for _, x := range c.Contexts {
		if x.Name != name {
			continue
		}
		out := &choice{context: name}
		ok := false
		for _, k := range c.Clusters {
			if k.Name == x.Context.Cluster {
				out.cluster, ok = k.Cluster, true
				break
			}
		}
		if !ok {
			return nil, fmt.Errorf("context %q names cluster %q, which the kubeconfig does not have", name, x.Context.Cluster)
		}
		if x.Context.User == "" {
			return out, nil
		}
		for _, u := range c.Users {
			if u.Name == x.Context.User {
				out.user = u.User
				return out, nil
			}
		}
		return nil, fmt.Errorf("context %q names user %q, which the kubeconfig does not have", name, x.Context.User)
	}
	return nil, fmt.Errorf("the kubeconfig has no context %q", name)
}

// pem is inline data or a file's text, nil when neither is given.
func pem(what, data, file string) ([]byte, error) {
	if data != "" {
		out, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, fmt.Errorf("%s-data is not base64: %w", what, err)
		}
		return out, nil
	}
	if file == "" {
		return nil, nil
	}
	out, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return out, nil
}
