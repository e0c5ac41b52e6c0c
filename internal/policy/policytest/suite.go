// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policytest

import (
	"errors"
	"fmt"
	"strings"

	"podid/internal/policy"
	"podid/internal/policy/source"
)

// defaultAccount is the account of roles that are given by name only, where the
// file sets none: the one that AWS' own examples use.
const defaultAccount = "123456789012"

// defaultPartition begins the ARNs that are made from names.
const defaultPartition = "aws"

// cacheBytes bounds the documents of one file that are kept compiled.
const cacheBytes = 4 << 20

// A Suite is one file of tests in the YAML form: who may act (roles and
// principals), on what (resources), and cases with what must be allowed and
// what denied. docs/policy-tests.md has the form.
type Suite struct {
	Name      string // the file's name, as reports show it
	partition string
	account   string
	region    string
	orgID     string
	texts     map[string]text
	roles     map[string]*actor
	others    map[string]*actor
	resources []*resource
	scps      [][]policy.Named
	rcps      [][]policy.Named
	cases     []*suiteCase
	cache     *policy.Cache
	order     []string // names of roles in the order of the file
}

// text is a document before it is parsed as some kind.
type text struct{ name, json string }

// actor is a role or another principal with all that bounds it.
type actor struct {
	name       string
	isRole     bool
	principal  policy.Principal
	arn        string // of the role, else of the principal
	identity   []policy.Named
	boundary   *policy.Named
	session    []policy.Named
	hasSession bool
	trust      *policy.Named
	scps, rcps [][]policy.Named
	tags       map[string]string
	given      map[string]bool // members that the file has
	sessionOf
}

// sessionOf is what a role's session is made of.
type sessionOf struct {
	sessionName string
	sessionTags map[string]string
	transitive  []string
	pod         *pod
}

// resource has a policy, tags or an account; it stands for its ARN and what is below it.
type resource struct {
	arn, account string
	policy       *policy.Named
	rcps         [][]policy.Named
	tags         map[string]string
}

// pod is the shorthand for what Pod Identity asks of STS for a pod.
type pod struct {
	cluster, namespace, serviceAccount string
	name, uid                          string
	account, region                    string
	noTags                             bool
}

// suiteCase is a case: a caller and what it must get.
type suiteCase struct {
	source.Pos
	name   string
	checks []*expectation
}

// expectation is one question with the answer that is wanted.
type expectation struct {
	source.Pos
	as               *actor
	session          sessionOf
	hasSessionOf     bool
	context          map[string]value
	action, resource string
	assume           *assume
	allow            bool
	because          string
	statement        string
	document         string
}

// assume is an AssumeRole request of a test.
type assume struct {
	role        *actor
	pod         *pod
	tags        map[string]string
	transitive  []string
	sessionName string
	externalID  string
	identity    string // source identity
	account     string // aws:SourceAccount
	arn         string // aws:SourceArn
	web         *webIdentity
}

// A ReadFile returns the content of a document that a suite names, relative to
// the suite's own file.
type ReadFile func(name string) ([]byte, error)

// Load reads a suite. It is strict: a member that the form does not have, a name
// that is not defined and a malformed document are errors with file and line;
// all are reported, joined. Documents in files are read by read.
func Load(name string, content []byte, read ReadFile) (*Suite, error) {
	roots, err := source.Parse(string(content))
	if err != nil {
		return nil, located(name, err)
	}
	if len(roots) != 1 {
		return nil, fmt.Errorf("%s: want one YAML document with cases, got %d", name, len(roots))
	}
	r := &reader{
		file: name, read: read,
		suite: &Suite{
			Name: name, partition: defaultPartition, account: defaultAccount, texts: map[string]text{},
			roles: map[string]*actor{}, others: map[string]*actor{}, cache: policy.NewCache(cacheBytes),
		},
	}
	r.readSuite(roots[0])
	if len(r.errs) == 0 && len(r.suite.cases) == 0 {
		r.fail(roots[0].Pos, "no cases: a test file has a list of them under cases")
	}
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	return r.suite, nil
}

// located puts the file's name before an error with a place.
func located(name string, err error) error {
	var at *source.SyntaxError
	if errors.As(err, &at) && at.Line > 0 {
		return fmt.Errorf("%s:%w", name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Cases returns the number of cases.
func (s *Suite) Cases() int { return len(s.cases) }

// arnOf makes an ARN of a name.
func (s *Suite) arnOf(service, region, rest string) string {
	return strings.Join([]string{"arn", s.partition, service, region, s.account, rest}, ":")
}

// find returns who a name, an ARN or a service's name stands for.
func (s *Suite) find(name string) (*actor, error) {
	if a := s.roles[name]; a != nil {
		return a, nil
	}
	if a := s.others[name]; a != nil {
		return a, nil
	}
	for _, actors := range []map[string]*actor{s.roles, s.others} {
		for _, a := range actors {
			if a.arn == name {
				return a, nil
			}
		}
	}
	if strings.EqualFold(name, "anonymous") {
		return &actor{name: name, principal: policy.AnonymousPrincipal()}, nil
	}
	p, err := policy.ParsePrincipal(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no role or principal of this file, no ARN and no service's name", name)
	}
	return &actor{name: name, principal: p, arn: name, isRole: p.Kind() == policy.RoleSessionKind, scps: s.scps}, nil
}

// tags are the six that Pod Identity gives a session, all of them transitive.
func (p *pod) tags(partition string) []policy.Tag {
	if p.noTags {
		return nil
	}
	return []policy.Tag{
		{Key: "eks-cluster-arn", Value: p.clusterARN(partition)},
		{Key: "eks-cluster-name", Value: p.cluster},
		{Key: "kubernetes-namespace", Value: p.namespace},
		{Key: "kubernetes-service-account", Value: p.serviceAccount},
		{Key: "kubernetes-pod-name", Value: p.name},
		{Key: "kubernetes-pod-uid", Value: p.uid},
	}
}

func (p *pod) clusterARN(partition string) string {
	return "arn:" + partition + ":eks:" + p.region + ":" + p.account + ":cluster/" + p.cluster
}

// maxSessionName is the longest name of a session, in characters.
const maxSessionName = 64

// sessionName is of the form that EKS gives: eks-<cluster>-<pod>-<uuid>, cut to fit.
func (p *pod) sessionName() string {
	name := "eks-" + p.cluster + "-" + p.name
	const uuid = "-00000000-0000-4000-8000-000000000000"
	return name[:min(len(name), maxSessionName-len(uuid))] + uuid
}
