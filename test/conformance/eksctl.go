// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// eksctlRows are eksctl's commands: by the binary where there is one, by what it was seen to send everywhere.
func eksctlRows() section {
	sec := section{
		ID: "eksctl", Title: "eksctl", Clients: []string{"eksctl", "captures"},
		Note: "The binary runs against `podid dev` and an API server of the suite. The captures are the AWS requests of the same commands, in order; " +
			"what eksctl needs of each answer is compared, and of the requests to Kubernetes they have none.",
	}
	for _, c := range []struct {
		id, title string
		binary    func(context.Context, *session) error
	}{
		{"eksctl-create", "`create podidentityassociation --role-name --permission-policy-arns`, as in the textbook", playEksctlCreate},
		{"eksctl-create-role-arn", "`create podidentityassociation --role-arn --create-service-account`", playEksctlRoleARN},
		{"eksctl-get", "`get podidentityassociation`", playEksctlGet},
		{"eksctl-update-role-arn", "`update podidentityassociation --role-arn`", playEksctlUpdate},
		{"eksctl-create-config", "`create podidentityassociation -f`: inline and well-known policies", playEksctlConfig},
		{"eksctl-update-config", "`update podidentityassociation -f`: nothing to change", playEksctlNoChange},
		{"eksctl-update-config-changed", "`update podidentityassociation -f`: a change set", playEksctlChange},
		{"eksctl-delete", "`delete podidentityassociation`: role and stack go with it", playEksctlDelete},
		{"eksctl-migrate", "`utils migrate-to-pod-identity --approve`", playEksctlMigrate},
		{"eksctl-create-addon", "`create addon --name eks-pod-identity-agent`", playEksctlAddon},
	} {
		sec.Rows = append(sec.Rows, row{c.id, c.title, func(ctx context.Context, s *session) error {
			if s.player.ID == "captures" {
				return s.replay(ctx, c.id)
			}
			return c.binary(ctx, s)
		}})
	}
	return sec
}

func findEksctl(ctx context.Context, b *bed) (version, absent string) {
	if b.o.eksctl == "" {
		return "", "EKSCTL names none"
	}
	line, err := probe(ctx, b, b.o.eksctl, "version")
	if err != nil {
		return "", "it does not start: " + err.Error()
	}
	return line, ""
}

// eksctl runs the binary as the admin, through the witness; it sees podid and the suite's API server.
func (s *session) eksctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.bed.o.eksctl, args...)
	cmd.Env = append(s.bed.adminEnv(s.witness.url), "EKSCTL_ENABLE_CREDENTIAL_CACHE=0")
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	s.witness.reset()
	err := cmd.Run()
	said := out.String()
	for _, e := range s.witness.exchanges() {
		if c := e.code(); slices.Contains([]string{"InvalidAction", "UnknownOperationException"}, c) {
			return said, fmt.Errorf("%w: %s of %s", errAbsent, e.Operation, e.Service)
		}
	}
	if err != nil {
		return said, fmt.Errorf("eksctl %s: %w\n%s", strings.Join(args, " "), err, tail(said, 1500))
	}
	return said, s.bed.kube.complaints()
}

// asked compares the requests that were made with those that were captured, by their order.
func (s *session) asked(operations ...string) error {
	var got []string
	for _, e := range s.witness.exchanges() {
		got = append(got, e.Operation)
	}
	rest := got
	for _, op := range operations {
		i := slices.Index(rest, op)
		if i < 0 {
			return fmt.Errorf("%s was not asked, or not in this order: %s", op, strings.Join(got, ", "))
		}
		rest = rest[i+1:]
	}
	return nil
}

// eksctlFlags names the session's association of a service account.
func (s *session) eksctlFlags(serviceAccount string) []string {
	return []string{"--cluster", clusterName, "--namespace", s.name("ns"), "--service-account-name", serviceAccount}
}

// found is the one association of a service account, described.
func (s *session) found(ctx context.Context, serviceAccount string) (M, error) {
	at := "/clusters/" + clusterName + "/pod-identity-associations"
	e, err := s.send(ctx, step{Service: "eks", Method: "GET", Path: at, Query: "namespace=" + s.name("ns") + "&serviceAccount=" + serviceAccount})
	if err != nil {
		return nil, err
	}
	all, err := readAnswer(e)
	if err != nil {
		return nil, err
	}
	if n := len(list(all, "associations")); n != 1 {
		return nil, fmt.Errorf("%s has %d associations", serviceAccount, n)
	}
	if e, err = s.send(ctx, step{Service: "eks", Method: "GET", Path: at + "/" + text(all, "associations.0.associationId")}); err != nil {
		return nil, err
	}
	one, err := readAnswer(e)
	a, _ := field(one, "association").(M)
	return a, err
}

// ask sends a form to IAM or CloudFormation, as the admin.
func (s *session) ask(ctx context.Context, service, action string, members map[string]string) (M, error) {
	version := map[string]string{"iam": "2010-05-08", "cloudformation": "2010-05-15"}[service]
	form := map[string]string{"Action": action, "Version": version}
	for k, v := range members {
		form[k] = v
	}
	e, err := s.send(ctx, step{Service: service, Form: form})
	if err != nil {
		return nil, err
	}
	if e.Status != 200 {
		return nil, &refusal{Code: e.code(), Status: e.Status, Message: e.Answer}
	}
	return readAnswer(e)
}

func (s *session) askRole(ctx context.Context, what, trust string) (string, error) {
	return once(s, "role "+what, func() (string, error) {
		out, err := s.ask(ctx, "iam", "CreateRole", map[string]string{"RoleName": s.name(what), "AssumeRolePolicyDocument": trust})
		return text(out, "Role.Arn"), err
	})
}

func podsTrust() string {
	return trustOf(M{"Service": "pods.eks.amazonaws.com"}, "sts:AssumeRole", "sts:TagSession")
}

func playEksctlCreate(ctx context.Context, s *session) error {
	args := append([]string{"create", "podidentityassociation"}, s.eksctlFlags("app")...)
	if _, err := s.eksctl(ctx, append(args, "--role-name", s.name("eksctl"), "--permission-policy-arns", s3ReadOnly)...); err != nil {
		return err
	}
	if err := s.asked("GetCallerIdentity", "GET /clusters/"+clusterName, "GET /cluster-versions", "CreateStack", "DescribeStacks", createPath); err != nil {
		return err
	}
	a, err := s.found(ctx, "app")
	if err != nil {
		return err
	}
	if err := want(a, M{"roleArn": s.roleARN(s.name("eksctl"))}); err != nil {
		return err
	}
	out, err := s.ask(ctx, "iam", "ListAttachedRolePolicies", map[string]string{"RoleName": s.name("eksctl")})
	if err != nil {
		return err
	}
	return want(out, M{"AttachedPolicies.0.PolicyArn": s3ReadOnly})
}

func playEksctlRoleARN(ctx context.Context, s *session) error {
	role, err := s.askRole(ctx, "given", podsTrust())
	if err != nil {
		return err
	}
	args := append([]string{"create", "podidentityassociation"}, s.eksctlFlags("given")...)
	if _, err := s.eksctl(ctx, append(args, "--role-arn", role, "--create-service-account")...); err != nil {
		return err
	}
	if _, ok := s.bed.kube.get(s.name("ns"), "given"); !ok {
		return errors.New("eksctl made no service account")
	}
	a, err := s.found(ctx, "given")
	if err != nil {
		return err
	}
	return want(a, M{"roleArn": role})
}

func playEksctlGet(ctx context.Context, s *session) error {
	said, err := s.eksctl(ctx, "get", "podidentityassociation", "--cluster", clusterName, "--namespace", s.name("ns"), "-o", "json")
	if err != nil {
		return err
	}
	a, err := s.found(ctx, "given")
	if err != nil {
		return err
	}
	if !strings.Contains(said, text(a, "associationArn")) || !strings.Contains(said, text(a, "roleArn")) {
		return fmt.Errorf("eksctl shows %s", tail(said, 600))
	}
	return nil
}

func playEksctlUpdate(ctx context.Context, s *session) error {
	role, err := s.askRole(ctx, "given2", podsTrust())
	if err != nil {
		return err
	}
	args := append([]string{"update", "podidentityassociation"}, s.eksctlFlags("given")...)
	if _, err := s.eksctl(ctx, append(args, "--role-arn", role)...); err != nil {
		return err
	}
	a, err := s.found(ctx, "given")
	if err != nil {
		return err
	}
	return want(a, M{"roleArn": role})
}

// configFile writes a ClusterConfig with one association that has an inline policy of an action and one well-known policy.
func (s *session) configFile(action string) (string, error) {
	config := M{
		"apiVersion": "eksctl.io/v1alpha5", "kind": "ClusterConfig", "metadata": M{"name": clusterName, "region": s.bed.region},
		"iam": M{"podIdentityAssociations": []M{{
			"namespace": s.name("ns"), "serviceAccountName": "config", "tags": M{"team": "data"}, "wellKnownPolicies": M{"externalDNS": true},
			"permissionPolicy": M{"Version": "2012-10-17", "Statement": []M{{"Effect": "Allow", "Action": []string{action}, "Resource": "*"}}},
		}}},
	}
	path := s.bed.path("config.yaml")
	return path, os.WriteFile(path, []byte(toJSON(config)), 0o600)
}

// withConfig runs a command with the configuration file.
func (s *session) withConfig(ctx context.Context, verb, action string) (string, error) {
	path, err := s.configFile(action)
	if err != nil {
		return "", err
	}
	return s.eksctl(ctx, verb, "podidentityassociation", "-f", path)
}

// inlinePolicies are the documents of all inline policies of the association's role.
func (s *session) inlinePolicies(ctx context.Context) (string, error) {
	a, err := s.found(ctx, "config")
	if err != nil {
		return "", err
	}
	arn := text(a, "roleArn")
	role := arn[strings.LastIndexByte(arn, '/')+1:]
	out, err := s.ask(ctx, "iam", "ListRolePolicies", map[string]string{"RoleName": role})
	if err != nil {
		return "", err
	}
	var all []string
	for _, name := range list(out, "PolicyNames") {
		p, err := s.ask(ctx, "iam", "GetRolePolicy", map[string]string{"RoleName": role, "PolicyName": fmt.Sprint(name)})
		if err != nil {
			return "", err
		}
		all = append(all, document(field(p, "PolicyDocument")))
	}
	return strings.Join(all, "\n"), nil
}

func (s *session) policiesHave(ctx context.Context, actions ...string) error {
	documents, err := s.inlinePolicies(ctx)
	if err != nil {
		return err
	}
	for _, action := range actions {
		if !strings.Contains(documents, action) {
			return fmt.Errorf("%s is in none of %s", action, documents)
		}
	}
	return nil
}

func playEksctlConfig(ctx context.Context, s *session) error {
	if _, err := s.withConfig(ctx, "create", "s3:GetObject"); err != nil {
		return err
	}
	return s.policiesHave(ctx, "s3:GetObject", "route53:ChangeResourceRecordSets")
}

func playEksctlNoChange(ctx context.Context, s *session) error {
	said, err := s.withConfig(ctx, "update", "s3:GetObject")
	if err != nil {
		return err
	}
	if s.witness.count("CreateChangeSet") != 1 || s.witness.count("ExecuteChangeSet") != 0 {
		return fmt.Errorf("change sets were not as they should: %s", tail(said, 600))
	}
	return nil
}

func playEksctlChange(ctx context.Context, s *session) error {
	wait(ctx, 1100*time.Millisecond) // eksctl names change sets by the second
	if _, err := s.withConfig(ctx, "update", "s3:ListBucket"); err != nil {
		return err
	}
	if err := s.asked("CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet", "DescribeStacks"); err != nil {
		return err
	}
	return s.policiesHave(ctx, "s3:ListBucket")
}

func playEksctlDelete(ctx context.Context, s *session) error {
	if _, err := s.eksctl(ctx, append([]string{"delete", "podidentityassociation"}, s.eksctlFlags("app")...)...); err != nil {
		return err
	}
	if err := s.asked("ListStacks", "UpdateTerminationProtection", "DeleteStack"); err != nil {
		return err
	}
	if _, err := s.found(ctx, "app"); err == nil {
		return errors.New("the association is still there")
	}
	if _, err := s.ask(ctx, "iam", "GetRole", map[string]string{"RoleName": s.name("eksctl")}); !isCode(err, "NoSuchEntity") {
		return fmt.Errorf("the role is still there: %w", err)
	}
	return nil
}

func playEksctlMigrate(ctx context.Context, s *session) error {
	// The cluster's own provider is not one of IAM's; migration wants one of the issuer that DescribeCluster names.
	out, err := s.bed.podid(ctx, "get", "cluster", clusterName, "-o", "json")
	if err != nil {
		return err
	}
	var c struct{ Issuer string }
	if err := decode([]byte(out), &c); err != nil {
		return err
	}
	provider, err := s.ask(ctx, "iam", "CreateOpenIDConnectProvider", map[string]string{"Url": c.Issuer, "ClientIDList.member.1": "sts.amazonaws.com"})
	if err != nil {
		return fmt.Errorf("make a provider of %s: %w", c.Issuer, err)
	}
	role, err := s.askRole(ctx, "irsa", trustOf(M{"Federated": text(provider, "OpenIDConnectProviderArn")}, "sts:AssumeRoleWithWebIdentity"))
	if err != nil {
		return err
	}
	s.bed.kube.put(s.name("ns"), "irsa", map[string]string{"eks.amazonaws.com/role-arn": role})
	if _, err := s.eksctl(ctx, "utils", "migrate-to-pod-identity", "--cluster", clusterName, "--approve"); err != nil {
		return err
	}
	a, err := s.found(ctx, "irsa")
	if err != nil {
		return err
	}
	if err := want(a, M{"roleArn": role}); err != nil {
		return err
	}
	got, err := s.ask(ctx, "iam", "GetRole", map[string]string{"RoleName": s.name("irsa")})
	if err != nil {
		return err
	}
	if trust := document(field(got, "Role.AssumeRolePolicyDocument")); !strings.Contains(trust, "pods.eks.amazonaws.com") {
		return fmt.Errorf("the trust policy is %s", trust)
	}
	return nil
}

func playEksctlAddon(ctx context.Context, s *session) error {
	said, err := s.eksctl(ctx, "create", "addon", "--cluster", clusterName, "--name", agentAddon)
	if err != nil {
		return err
	}
	if err := s.asked("GET /addons/supported-versions"); err == nil {
		return nil
	}
	// It is ACTIVE before anybody creates it; eksctl then has nothing to do.
	if !strings.Contains(said, "already") && !strings.Contains(said, agentAddon) {
		return fmt.Errorf("eksctl says %s", tail(said, 600))
	}
	return nil
}
