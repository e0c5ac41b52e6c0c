// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// execConfig is a program that answers with credentials, as `aws eks
// get-token` does: client.authentication.k8s.io, versions v1 and v1beta1.
type execConfig struct {
	APIVersion string   `json:"apiVersion"`
	Command    string   `json:"command"`
	Args       []string `json:"args"`
	Env        []struct {
		Name  string `json:"name"`
		Value secret `json:"value"`
	} `json:"env"`
	InstallHint        string `json:"installHint"`
	ProvideClusterInfo bool   `json:"provideClusterInfo"`
	InteractiveMode    string `json:"interactiveMode"`
}

const (
	execGroup     = "client.authentication.k8s.io"
	execExtension = execGroup + "/exec"
	maxExecAnswer = 1 << 20
	execTime      = 2 * time.Minute // a person may have to answer
)

// execCredential is what passes between client and program.
type execCredential struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Spec       execSpec    `json:"spec"`
	Status     *execStatus `json:"status,omitempty"`
}

type execSpec struct {
	Cluster     *execCluster `json:"cluster,omitempty"`
	Interactive bool         `json:"interactive"`
}

type execCluster struct {
	Server     string          `json:"server"`
	ServerName string          `json:"tls-server-name,omitempty"`
	Insecure   bool            `json:"insecure-skip-tls-verify,omitempty"`
	CAData     string          `json:"certificate-authority-data,omitempty"`
	ProxyURL   string          `json:"proxy-url,omitempty"`
	Config     json.RawMessage `json:"config,omitempty"`
}

type execStatus struct {
	Expires *time.Time `json:"expirationTimestamp"`
	Token   secret     `json:"token"`
	Cert    string     `json:"clientCertificateData"` // PEM
	Key     secret     `json:"clientKeyData"`         // PEM
}

// plugin runs the program and keeps its answer until that expires.
type plugin struct {
	config  *execConfig
	cluster *execCluster
	environ []string
	stdin   io.Reader
	stderr  io.Writer
	now     func() time.Time

	mu     sync.Mutex
	answer *execStatus
}

func (p *plugin) check() error {
	c := p.config
	switch {
	case c.Command == "":
		return errors.New("the exec plugin has no command")
	case c.APIVersion != execGroup+"/v1" && c.APIVersion != execGroup+"/v1beta1":
		return fmt.Errorf("the exec plugin's apiVersion is %q: %s/v1 and v1beta1 are known", c.APIVersion, execGroup)
	case c.InteractiveMode == "" && c.APIVersion == execGroup+"/v1":
		return errors.New("the exec plugin needs interactiveMode: Never, IfAvailable or Always")
	case !slices.Contains([]string{"", "Never", "IfAvailable", "Always"}, c.InteractiveMode):
		return fmt.Errorf("the exec plugin's interactiveMode is %q: Never, IfAvailable or Always", c.InteractiveMode)
	case c.InteractiveMode == "Always" && !isTerminal(p.stdin):
		return errors.New("the exec plugin asks a person, and standard input is no terminal")
	}
	return nil
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}

// credentials gives the kept answer, or runs the program when there is none,
// when it is expired, or when the server has refused the one it was given.
func (p *plugin) credentials(ctx context.Context, refused *execStatus) (*execStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.answer; a != nil && a != refused && (a.Expires == nil || p.now().Before(*a.Expires)) {
		return a, nil
	}
	a, err := p.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("exec plugin %s: %w", p.config.Command, err)
	}
	p.answer = a
	return a, nil
}

func (p *plugin) run(ctx context.Context) (*execStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, execTime)
	defer cancel()
	interactive := p.config.InteractiveMode != "Never" && isTerminal(p.stdin)
	ask := execCredential{APIVersion: p.config.APIVersion, Kind: "ExecCredential", Spec: execSpec{Interactive: interactive}}
	if p.config.ProvideClusterInfo {
		ask.Spec.Cluster = p.cluster
	}
	info, err := json.Marshal(ask)
	if err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	cmd := exec.CommandContext(ctx, p.config.Command, p.config.Args...) // what the caller's kubeconfig names, as kubectl runs it
	cmd.Env = slices.Clone(p.environ)
	for _, e := range p.config.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+string(e.Value))
	}
	cmd.Env = append(cmd.Env, "KUBERNETES_EXEC_INFO="+string(info))
	if interactive {
		cmd.Stdin = p.stdin
	}
	var out limited
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, p.stderr, time.Second
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			if p.config.InstallHint != "" {
				return nil, fmt.Errorf("%w: %s", err, p.config.InstallHint)
			}
		}
		return nil, err
	}
	return p.read(out.Bytes())
}

func (p *plugin) read(text []byte) (*execStatus, error) {
	var got execCredential
	if err := json.Unmarshal(text, &got); err != nil {
		return nil, errors.New("its output is no ExecCredential") // the text may hold a token
	}
	switch {
	case got.Kind != "ExecCredential" || got.APIVersion != p.config.APIVersion:
		return nil, fmt.Errorf("it answered %q of %q, not ExecCredential of %s", got.Kind, got.APIVersion, p.config.APIVersion)
	case got.Status == nil || got.Status.Token == "" && got.Status.Cert == "" && got.Status.Key == "":
		return nil, errors.New("it answered without credentials")
	case (got.Status.Cert == "") != (got.Status.Key == ""):
		return nil, errors.New("it answered with half of a client certificate")
	case got.Status.Expires != nil && !p.now().Before(*got.Status.Expires):
		return nil, errors.New("it answered with credentials that are expired")
	}
	return got.Status, nil
}

// limited keeps no more than an answer may have.
type limited struct{ bytes.Buffer }

// Write refuses what is too long.
func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > maxExecAnswer {
		return 0, fmt.Errorf("its output is longer than %d bytes", maxExecAnswer)
	}
	return l.Buffer.Write(b)
}

// describeCluster is what the program may be told of the cluster.
func describeCluster(c *clusterConfig, ca []byte) *execCluster {
	out := &execCluster{Server: c.Server, ServerName: c.ServerName, Insecure: c.Insecure, ProxyURL: string(c.ProxyURL)}
	if ca != nil {
		out.CAData = base64.StdEncoding.EncodeToString(ca)
	}
	for _, e := range c.Extensions {
		if e.Name == execExtension {
			out.Config = e.Extension
		}
	}
	return out
}
