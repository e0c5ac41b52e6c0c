// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// pod is the sample program's command line under podid exec.
func (s *stage) pod(clusterName, ns, sa string, flags ...string) []string {
	args := append([]string{"exec", "--cluster", clusterName, "--namespace", ns, "--service-account-name", sa}, flags...)
	return append(args, "--", s.app)
}

func (s *stage) associate(ctx context.Context) error {
	if _, err := s.must(ctx, "create", "podidentityassociation", "--cluster", cluster, "--namespace", namespace, "--service-account-name", account,
		"--role-name", role, "--permission-policy-arns", readOnly); err != nil {
		return err
	}
	_, err := s.must(ctx, "get", "podidentityassociation", "--cluster", cluster)
	return err
}

// identity is what the sample program prints.
type identity struct {
	Arn         string `json:"arn"`
	AccessKeyID string `json:"accessKeyId"`
}

// runAs runs the sample program and checks whom it became.
func (s *stage) runAs(ctx context.Context, clusterName, ns, sa string) (identity, error) {
	r, err := s.must(ctx, s.pod(clusterName, ns, sa)...)
	if err != nil {
		return identity{}, err
	}
	var id identity
	if err := json.Unmarshal([]byte(r.stdout), &id); err != nil {
		return id, err
	}
	if want := ":assumed-role/" + role + "/eks-" + clusterName[:min(10, len(clusterName))] + "-"; !strings.Contains(id.Arn, want) {
		return id, fmt.Errorf("the pod became %s, not …%s…", id.Arn, want)
	}
	return id, nil
}

func (s *stage) runPod(ctx context.Context) error {
	id, err := s.runAs(ctx, cluster, namespace, account)
	if err != nil {
		return err
	}
	e, err := s.issued(id.AccessKeyID)
	if err != nil {
		return err
	}
	fmt.Println("  its session tags, all transitive (audit log):")
	want := []string{"eks-cluster-arn", "eks-cluster-name", "kubernetes-namespace", "kubernetes-service-account", "kubernetes-pod-name", "kubernetes-pod-uid"}
	for i, t := range e.Podid.SessionTags {
		fmt.Printf("    %-28s %s\n", t.Key, t.Value)
		if i >= len(want) || t.Key != want[i] || t.Value == "" {
			return fmt.Errorf("tag %d is %s=%q", i+1, t.Key, t.Value)
		}
	}
	if len(e.Podid.SessionTags) != len(want) {
		return fmt.Errorf("%d session tags instead of six", len(e.Podid.SessionTags))
	}
	return nil
}

func explain(clusterName, ns, sa string, more ...string) []string {
	return append([]string{"explain", "--cluster", clusterName, "--namespace", ns, "--service-account-name", sa}, more...)
}

func (s *stage) decisions(ctx context.Context) error {
	const object = "arn:aws:s3:::my-bucket/my-object"
	may, err := s.do(ctx, explain(cluster, namespace, account, "--pod", "app-1", "--action", "s3:GetObject", "--resource", object)...)
	if err != nil {
		return err
	}
	if may.status != 0 || !strings.Contains(may.stdout, "AmazonS3ReadOnlyAccess") {
		return fmt.Errorf("s3:GetObject should be allowed by AmazonS3ReadOnlyAccess (exit status %d)", may.status)
	}
	mayNot, err := s.do(ctx, explain(cluster, namespace, account, "--pod", "app-1", "--action", "s3:PutObject", "--resource", object)...)
	if err != nil {
		return err
	}
	return refused(mayNot, "s3:PutObject")
}

// refused wants exit status 3 (refused) and every text in what was printed.
func refused(r result, texts ...string) error {
	if r.status != 3 {
		return fmt.Errorf("exit status %d instead of 3 (refused)", r.status)
	}
	for _, t := range texts {
		if !strings.Contains(r.stdout+r.stderr, t) {
			return fmt.Errorf("what was printed does not name %q", t)
		}
	}
	return nil
}

func (s *stage) share(ctx context.Context) error {
	r, err := s.ask(ctx, "get", "role", role, "-o", "json")
	if err != nil {
		return err
	}
	if s.roleARN, err = roleARN(r.stdout); err != nil {
		return err
	}
	for _, a := range []struct{ cluster, ns, sa string }{{cluster, namespace, "reporting"}, {cluster, "batch", "nightly"}, {"other", namespace, account}} {
		args := []string{"create", "podidentityassociation", "--cluster", a.cluster, "--namespace", a.ns, "--service-account-name", a.sa, "--role-arn", s.roleARN}
		if a.cluster == "other" {
			args = append(args, "--extend-trust", "--yes")
		}
		if _, err := s.must(ctx, args...); err != nil {
			return err
		}
		if _, err := s.runAs(ctx, a.cluster, a.ns, a.sa); err != nil {
			return err
		}
	}
	return nil
}

func roleARN(text string) (string, error) {
	const mark = ":role/" + role
	end := strings.Index(text, mark+`"`)
	begin := strings.LastIndex(text[:max(end, 0)], `"`)
	if end < 0 || begin < 0 {
		return "", fmt.Errorf("no ARN of %s in %.300q", role, text)
	}
	return text[begin+1:end] + mark, nil
}

// fails wants the pod to get nothing, and to be told a text.
func (s *stage) fails(ctx context.Context, text string, args []string) error {
	r, err := s.do(ctx, args...)
	switch {
	case err != nil:
		return err
	case r.status == 0:
		return errors.New("the pod got credentials")
	case !strings.Contains(r.stderr, text):
		return fmt.Errorf("the pod was not told %q", text)
	}
	return nil
}

func (s *stage) noAssociation(ctx context.Context) error {
	if err := s.fails(ctx, "ResourceNotFoundException", s.pod(cluster, namespace, "stranger")); err != nil {
		return err
	}
	r, err := s.do(ctx, explain(cluster, namespace, "stranger")...)
	if err != nil {
		return err
	}
	return refused(r, "association", "association-not-found")
}

func (s *stage) otherAccount(ctx context.Context) error {
	if _, err := s.must(ctx, "create", "podidentityassociation", "--cluster", cluster, "--namespace", namespace, "--service-account-name", "strict",
		"--role-name", "strict-role", "--permission-policy-arns", readOnly); err != nil {
		return err
	}
	// The owner of the role now wants pods of another account's clusters only.
	trust := `{"Version":"2012-10-17","Statement":[{"Sid":"OtherAccountOnly","Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},` +
		`"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"aws:SourceAccount":"444455556666"}}}]}`
	if _, err := s.must(ctx, "update", "role", "strict-role", "--trust-policy", trust); err != nil {
		return err
	}
	if err := s.fails(ctx, "Unauthorized Exception! EKS does not have permissions to assume the associated role.", s.pod(cluster, namespace, "strict")); err != nil {
		return err
	}
	r, err := s.do(ctx, explain(cluster, namespace, "strict")...)
	if err != nil {
		return err
	}
	return refused(r, "aws:SourceAccount", "444455556666", "OtherAccountOnly")
}

func (s *stage) forgedToken(ctx context.Context) error {
	r, err := s.ask(ctx, "create", "token", "--cluster", cluster, "--namespace", namespace, "--service-account-name", account)
	if err != nil {
		return err
	}
	parts := strings.Split(strings.TrimSpace(r.stdout), ".")
	if len(parts) != 3 {
		return fmt.Errorf("create token printed no token (exit status %d)", r.status)
	}
	// The same claims under a signature that somebody made up.
	parts[2] = strings.Repeat("A", len(parts[2]))
	path := filepath.Join(s.dir, "forged-token")
	if err := os.WriteFile(path, []byte(strings.Join(parts, ".")), 0o600); err != nil {
		return err
	}
	if err := s.fails(ctx, "InvalidTokenException", s.pod(cluster, namespace, account, "--token-file", path)); err != nil {
		return err
	}
	r, err = s.do(ctx, explain(cluster, namespace, account, "--token-file", path)...)
	if err != nil {
		return err
	}
	return refused(r, "token-signature")
}
