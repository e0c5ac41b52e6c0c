// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"crypto/sha1" //nolint:gosec // thumbprints are SHA-1 by AWS' definition
	"encoding/hex"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"podid/internal/audit"
	"podid/internal/controlplane/controlplanetest"
)

const (
	baseARN  = "arn:aws:iam::111122223333:user/podid-base"
	cloudARN = roleARN + "cloud"
)

// pair is a podid whose account has another podid for its STS.
type pair struct {
	*world
	up   *controlplanetest.ControlPlane
	log  *buffer
	keys map[string]string // of the base credentials, by name
}

// baseTrust lets the base credentials assume a role for pods of s3-app-ns.
func baseTrust() map[string]any {
	return controlplanetest.Document(object{
		"Effect": "Allow", "Principal": object{"AWS": baseARN}, "Action": []string{"sts:AssumeRole", "sts:TagSession"},
		"Condition": object{"StringEquals": object{"aws:RequestTag/kubernetes-namespace": "s3-app-ns"}},
	})
}

func newPair(t *testing.T, upstream controlplanetest.Options) *pair {
	t.Helper()
	p := &pair{log: &buffer{}, up: controlplanetest.Start(t, upstream)}
	base := p.up.User("podid-base", controlplanetest.Document(
		controlplanetest.Statement("Allow", []string{"sts:AssumeRole", "sts:TagSession", "iam:GetRole"}, roleARN+"*", nil)))
	p.up.Role("cloud", baseTrust())
	k, err := base.Retrieve(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p.keys = map[string]string{"secret": k.SecretAccessKey}
	file := filepath.Join(t.TempDir(), "credentials")
	text := "[cloud]\naws_access_key_id = " + k.AccessKeyID + "\naws_secret_access_key = " + k.SecretAccessKey +
		"\n[wrong]\naws_access_key_id = " + k.AccessKeyID + "\naws_secret_access_key = wrong\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// The server finds base credentials as every AWS program does.
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	p.world = &world{ControlPlane: controlplanetest.Start(t, controlplanetest.Options{Log: p.log})}
	p.cl = p.Register("my-cluster", nil)
	p.nodeRole = p.cl.NodeRole()
	p.node = p.cl.Node(p.nodeRole, "node-1")
	p.choose(t, nil)
	return p
}

// choose makes the upstream the issuer of the account; more replaces members.
func (p *pair) choose(t *testing.T, more object) object {
	t.Helper()
	ca, err := os.ReadFile(p.up.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	in := object{"issuer": "awssts", "stsEndpoint": p.up.Endpoint, "profile": "cloud", "certificateAuthority": string(ca)}
	for k, v := range more {
		in[k] = v
	}
	a := rest(t, p.ControlPlane, p.Admin, "podid", http.MethodPut, "/podid/v1/accounts/"+controlplanetest.Account+"/issuer", in)
	out, ok := a.Body["issuer"].(object)
	if a.Status != http.StatusOK || !ok {
		t.Fatalf("set issuer: %d %s", a.Status, a.Raw)
	}
	return out
}

func (p *pair) reason() string { return p.LastReason("AssumeRoleForPodIdentity") }

// TestAWSIssuer: credentials of one podid are sessions of the other.
func TestAWSIssuer(t *testing.T) {
	p := newPair(t, controlplanetest.Options{})
	t.Run("status", func(t *testing.T) {
		if got := p.choose(t, nil); got["baseArn"] != baseARN || got["problem"] != nil {
			t.Errorf("%v", got)
		}
		a := rest(t, p.ControlPlane, p.Admin, "podid", http.MethodGet, "/podid/v1/accounts/111122223333/issuer", nil)
		if a.Status != http.StatusOK || !strings.Contains(string(a.Raw), `"issuer":"awssts"`) {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	})
	t.Run("session", func(t *testing.T) { testUpstreamSession(t, p) })
	t.Run("without tags", func(t *testing.T) { testUpstreamExternalID(t, p) })
	t.Run("target role", func(t *testing.T) { testUpstreamTarget(t, p) })
	t.Run("check at create", func(t *testing.T) { testUpstreamCheck(t, p) })
	t.Run("explain", func(t *testing.T) { testUpstreamExplain(t, p) })
	t.Run("refused", func(t *testing.T) { testUpstreamRefuses(t, p) })
	t.Run("back to the embedded issuer", func(t *testing.T) {
		a := rest(t, p.ControlPlane, p.Admin, "podid", http.MethodPut, "/podid/v1/accounts/111122223333/issuer", object{"issuer": "embedded"})
		if a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Raw)
		}
		p.Role("cloud", p.cl.PodTrust())
		k, err := p.cl.Exchange(p.node, p.cl.Token(pod{})).Credentials(t).Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		own := p.Config(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return k, nil }))
		if _, err := sts.NewFromConfig(own).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
			t.Error(err)
		}
	})
}

func testUpstreamSession(t *testing.T, p *pair) {
	p.cl.Associate("s3-app-sa", cloudARN, nil)
	a := p.cl.Exchange(p.node, p.cl.Token(pod{}))
	creds := a.Credentials(t)
	id, err := sts.NewFromConfig(p.up.Config(creds)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "arn:aws:sts::111122223333:assumed-role/cloud/eks-my-cluster-app1-v1-56-"
	if !strings.HasPrefix(*id.Arn, prefix) {
		t.Errorf("identity at the upstream %s", *id.Arn)
	}
	if u, _ := a.Body["assumedRoleUser"].(object); u["arn"] != *id.Arn {
		t.Errorf("the answer says %v, the upstream %s", u, *id.Arn)
	}
	up := controlplanetest.JSON(t, p.up.LastAudit("AssumeRole").RequestParameters)
	for _, want := range []string{controlplanetest.Name(*id.Arn), "kubernetes-pod-uid", "0b1c2d3e-0000-4000-8000-1234567890ab", p.cl.ARN(), "s3-app-ns", "s3-app-sa", "app1-v1-56b9f94b4-dvd5c"} {
		if !strings.Contains(up, want) {
			t.Errorf("the upstream's audit has no %s: %s", want, up)
		}
	}
	own := p.LastAudit("AssumeRoleForPodIdentity").Podid
	if diff := cmp.Diff(sixTags(p.cl), own.SessionTags); diff != "" || own.SessionARN != *id.Arn {
		t.Errorf("own audit: %s\n%s", own.SessionARN, diff)
	}
	k, err := creds.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{k.SecretAccessKey, k.SessionToken, p.keys["secret"]} {
		if strings.Contains(p.log.String(), secret) || strings.Contains(controlplanetest.JSON(t, p.Audit()), secret) {
			t.Error("a secret is in the log or in the audit log")
		}
	}
}

// untagged trusts by the external id, which says whom the session is for.
func untagged(id string) map[string]any {
	return controlplanetest.Document(object{
		"Effect": "Allow", "Principal": object{"AWS": baseARN}, "Action": "sts:AssumeRole", "Condition": object{"StringEquals": object{"sts:ExternalId": id}},
	})
}

func testUpstreamExternalID(t *testing.T, p *pair) {
	role := p.up.Role("untagged", untagged("us-west-2/111122223333/my-cluster/s3-app-ns/untagged"))
	policy := controlplanetest.JSON(t, controlplanetest.Document(controlplanetest.Statement("Allow", []string{"iam:GetRole"}, "*", nil)))
	p.cl.Associate("untagged", role, func(in *eks.CreatePodIdentityAssociationInput) {
		in.DisableSessionTags, in.Policy = aws.Bool(true), &policy
	})
	key := func(name string) string {
		k, err := p.cl.Exchange(p.node, p.cl.Token(pod{ServiceAccount: "untagged", Name: name, UID: name})).Credentials(t).Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return k.AccessKeyID
	}
	if first, second := key("one"), key("two"); first != second {
		t.Errorf("two pods of an association without tags have sessions of their own, %s and %s", first, second)
	}
	e := p.up.LastAudit("AssumeRole")
	up := controlplanetest.JSON(t, e.RequestParameters)
	if strings.Contains(strings.ToLower(up), "kubernetes-") || !strings.Contains(up, "my-cluster/s3-app-ns/untagged") || !strings.Contains(up, "iam:GetRole") {
		t.Errorf("request %s", up)
	}
	if tags := p.LastAudit("AssumeRoleForPodIdentity").Podid.SessionTags; len(tags) > 0 {
		t.Errorf("own audit has tags %v", tags)
	}
}

func testUpstreamTarget(t *testing.T, p *pair) {
	p.up.Role("first", baseTrust())
	p.up.RolePolicy("first", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"sts:AssumeRole", "sts:TagSession"}, roleARN+"target", nil)))
	target := p.up.Role("target", controlplanetest.Document(object{
		"Effect": "Allow", "Principal": object{"AWS": roleARN + "first"}, "Action": []string{"sts:AssumeRole", "sts:TagSession"},
		"Condition": object{"StringEquals": object{"aws:RequestTag/kubernetes-service-account": "chained"}},
	}))
	p.cl.Associate("chained", roleARN+"first", func(in *eks.CreatePodIdentityAssociationInput) { in.TargetRoleArn = &target })
	before := time.Now()
	a := p.cl.Exchange(p.node, p.cl.Token(pod{ServiceAccount: "chained"}))
	id, err := sts.NewFromConfig(p.up.Config(a.Credentials(t))).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || !strings.Contains(*id.Arn, ":assumed-role/target/eks-my-cluster-") {
		t.Errorf("%v, %v", id, err)
	}
	k, err := a.Credentials(t).Retrieve(t.Context())
	creds, _ := a.Body["credentials"].(object)
	exp, _ := creds["expiration"].(float64)
	if life := time.Unix(int64(exp), 0).Sub(before); err != nil || k.SessionToken == "" || life < 58*time.Minute || life > 60*time.Minute {
		t.Errorf("life %s, %v", life, err)
	}
	var chain []audit.Event
	for _, e := range p.up.Audit() {
		if e.EventName == "AssumeRole" {
			chain = append(chain, e)
		}
	}
	if last := controlplanetest.JSON(t, chain[len(chain)-1].RequestParameters); strings.Contains(last, "chained") {
		t.Errorf("transitive tags are given again: %s", last)
	}
}

func testUpstreamCheck(t *testing.T, p *pair) {
	p.up.Role("for-eks", podTrust(nil))
	p.up.Role("for-others", controlplanetest.Document(object{
		"Effect": "Allow", "Principal": object{"AWS": baseARN}, "Action": []string{"sts:AssumeRole", "sts:TagSession"},
		"Condition": object{"StringEquals": object{"aws:RequestTag/kubernetes-namespace": "other"}},
	}))
	p.up.Role("untaggable", controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"AWS": baseARN}, "Action": "sts:AssumeRole"}))
	p.up.Role("later", controlplanetest.Document(object{
		"Effect": "Allow", "Principal": object{"AWS": baseARN}, "Action": []string{"sts:AssumeRole", "sts:TagSession"},
		"Condition": object{"StringEquals": object{"aws:RequestTag/kubernetes-pod-name": "x", "aws:PrincipalTag/team": "y", "aws:SourceVpc": "vpc-1"}},
	}))
	create := func(role string) error {
		_, err := p.EKS().CreatePodIdentityAssociation(t.Context(), &eks.CreatePodIdentityAssociationInput{
			ClusterName: &p.cl.Name, Namespace: aws.String("s3-app-ns"), ServiceAccount: aws.String("check-" + role), RoleArn: aws.String(roleARN + role),
		})
		return err
	}
	for role, want := range map[string]string{
		"absent": "does not exist", "for-eks": "Trust policy of the role provided is invalid", "for-others": "Trust policy of the role provided is invalid",
		"untaggable": "Trust policy of the role provided is invalid", "later": "",
	} {
		if err := create(role); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("role %s: %v, want %q", role, err, want)
		}
	}
	p.up.UserPolicy("podid-base", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"sts:*"}, "*", nil)))
	if err := create("unseen"); err != nil {
		t.Errorf("a role that podid may not look at: %v", err)
	}
	if !strings.Contains(p.log.String(), "role of an association not checked") || !strings.Contains(p.log.String(), "iam:GetRole of the role is answered with AccessDenied") {
		t.Errorf("the log does not say what was not checked: %s", p.log)
	}
}

func testUpstreamExplain(t *testing.T, p *pair) {
	for sa, wants := range map[string][]string{
		"s3-app-sa": {
			`{"step":"trust policy of the role: sts:TagSession","verdict":"pass"`, "is decided by " + p.up.Endpoint, "the policies of the session are not podid's",
		},
		"check-unseen": {"not checked: iam:GetRole of the role is answered with AccessDenied"},
		"chained":      {"the trust policy of the target role are judged by"},
	} {
		got := string(explained(t, p.world, object{"namespace": "s3-app-ns", "serviceAccount": sa, "actions": []object{{"action": "s3:GetObject", "resource": "*"}}}).Raw)
		for _, want := range append(wants, `"wouldIssue":true`, `{"step":"base credentials","verdict":"pass","note":"`+baseARN) {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in %s", sa, want, got)
			}
		}
	}
}

func testUpstreamRefuses(t *testing.T, p *pair) {
	exchange := func() controlplanetest.Answer { return p.cl.Exchange(p.node, p.cl.Token(pod{})) }
	exchange().Credentials(t)
	p.up.Trust("cloud", podTrust(nil))
	exchange().Want(t, 400, "AccessDeniedException", denied)
	if got := p.reason(); got != "upstream-denied" {
		t.Errorf("reason %q", got)
	}
	if detail := controlplanetest.JSON(t, p.LastAudit("AssumeRoleForPodIdentity").Podid.Detail); !strings.Contains(detail, "podid-base is not authorized to perform: sts:AssumeRole") {
		t.Errorf("detail %s", detail)
	}
	p.up.Trust("cloud", baseTrust())
	// The server's own credentials are no fault of the pod's.
	if got := p.choose(t, object{"profile": "wrong"}); got["problem"] == nil || got["baseArn"] != nil {
		t.Errorf("%v", got)
	}
	exchange().Want(t, 503, "ServiceUnavailableException", "The credentials with which this account's STS is asked are missing or not accepted.")
	if got := p.reason(); got != "upstream-credentials" {
		t.Errorf("reason %q", got)
	}
	p.choose(t, object{"profile": "absent"})
	exchange().Want(t, 503, "ServiceUnavailableException", "")
	p.choose(t, object{"stsEndpoint": p.Endpoint, "certificateAuthority": ""}) // a certificate nobody vouches for
	exchange().Want(t, 503, "ServiceUnavailableException", "The STS that issues for this account does not answer.")
	if got := p.reason(); got != "upstream-unreachable" {
		t.Errorf("reason %q", got)
	}
	p.choose(t, nil)
	exchange().Credentials(t)
}

// TestAWSIssuerClock: where the clocks differ and nothing tells by how much, no
// signature is accepted. That is the server's trouble, and no pod is refused.
func TestAWSIssuerClock(t *testing.T) {
	var ahead atomic.Int64
	p := newPair(t, controlplanetest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	p.cl.Associate("s3-app-sa", cloudARN, nil)
	ahead.Store(int64(30 * time.Minute))
	p.cl.Exchange(p.node, p.cl.Token(pod{})).Want(t, 503, "ServiceUnavailableException", "")
	if got := p.reason(); got != "upstream-credentials" {
		t.Errorf("reason %q", got)
	}
	ahead.Store(0)
	p.cl.Exchange(p.node, p.cl.Token(pod{})).Credentials(t)
}

// TestAWSIssuerAway: an upstream that is away is said to be, with a time to
// wait, and no credentials are taken for refused.
func TestAWSIssuerAway(t *testing.T) {
	p := newPair(t, controlplanetest.Options{})
	role := p.up.Role("shared", untagged("us-west-2/111122223333/my-cluster/s3-app-ns/shared"))
	p.cl.Associate("s3-app-sa", cloudARN, nil)
	p.cl.Associate("shared", role, func(in *eks.CreatePodIdentityAssociationInput) { in.DisableSessionTags = aws.Bool(true) })
	shared := func() controlplanetest.Answer {
		return p.cl.Exchange(p.node, p.cl.Token(pod{ServiceAccount: "shared"}))
	}
	shared().Credentials(t)
	p.up.Stop()
	for range 5 {
		p.cl.Exchange(p.node, p.cl.Token(pod{})).Want(t, 503, "ServiceUnavailableException", "The STS that issues for this account does not answer.")
	}
	if got := p.reason(); got != "upstream-unreachable" {
		t.Errorf("reason %q", got)
	}
	p.cl.Exchange(p.node, p.cl.Token(pod{})).Want(t, 503, "ServiceUnavailableException", "")
	if got := p.reason(); got != "upstream-circuit-open" {
		t.Errorf("reason %q", got)
	}
	if !strings.Contains(p.log.String(), "circuit breaker of the issuer opened") {
		t.Error("the log does not say that the breaker opened")
	}
	shared().Credentials(t) // half of its life is not over
}

// TestWebIdentityIssuer: no credentials of the upstream's are anywhere; it
// reads podid's keys and takes podid's tokens.
func TestWebIdentityIssuer(t *testing.T) {
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	base := "https://localhost:" + port + "/oidc"
	p := &pair{log: &buffer{}, up: controlplanetest.Start(t, controlplanetest.Options{Settings: map[string]string{"PODID_ALLOW_ISSUER_CIDR": "127.0.0.0/8,::1/128"}})}
	p.world = &world{ControlPlane: controlplanetest.Start(t, controlplanetest.Options{Log: p.log, Settings: map[string]string{
		"PODID_LISTEN": address, "PODID_OIDC_ISSUER_URL": base,
	}})}
	p.cl = p.Register("my-cluster", nil)
	p.nodeRole = p.cl.NodeRole()
	p.node = p.cl.Node(p.nodeRole, "node-1")
	got := p.choose(t, object{"issuer": "webidentity", "profile": ""})
	host := strings.TrimPrefix(base, "https://") + "/111122223333"
	provider := "arn:aws:iam::111122223333:oidc-provider/" + host
	if got["baseArn"] != provider {
		t.Fatalf("%v, want %s", got, provider)
	}
	p.cl.Associate("s3-app-sa", cloudARN, nil)
	p.up.Role("cloud", controlplanetest.Document(object{
		"Effect": "Allow", "Principal": object{"Federated": provider}, "Action": []string{"sts:AssumeRoleWithWebIdentity", "sts:TagSession"},
		"Condition": object{"StringEquals": object{
			host + ":aud": "sts.amazonaws.com", host + ":sub": "us-west-2/111122223333/my-cluster/s3-app-ns/s3-app-sa", "aws:RequestTag/kubernetes-namespace": "s3-app-ns",
		}},
	}))
	waitFor(t, "a key to sign tokens with", func() bool {
		p.cl.Exchange(p.node, p.cl.Token(pod{}))
		return p.reason() != "oidc-key-missing"
	})
	// Until the provider is registered the server's own papers are not good.
	p.cl.Exchange(p.node, p.cl.Token(pod{})).Want(t, 503, "ServiceUnavailableException", "")
	if got := p.reason(); got != "upstream-credentials" {
		t.Errorf("reason %q", got)
	}
	registerProvider(t, p, base+"/111122223333")
	id, err := sts.NewFromConfig(p.up.Config(p.cl.Exchange(p.node, p.cl.Token(pod{})).Credentials(t))).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || !strings.HasPrefix(*id.Arn, "arn:aws:sts::111122223333:assumed-role/cloud/eks-my-cluster-app1-v1-56-") {
		t.Fatalf("%v, %v", id, err)
	}
	if diff := cmp.Diff(sixTags(p.cl), p.LastAudit("AssumeRoleForPodIdentity").Podid.SessionTags); diff != "" {
		t.Error(diff)
	}
	up := controlplanetest.JSON(t, p.up.LastAudit("AssumeRoleWithWebIdentity"))
	if !strings.Contains(up, "my-cluster/s3-app-ns/s3-app-sa") || strings.Contains(up, "eyJ") {
		t.Errorf("the upstream's audit: %s", up)
	}
	if strings.Contains(p.log.String(), "eyJ") {
		t.Error("a token is in the log")
	}
	explained := string(explained(t, p.world, object{"namespace": "s3-app-ns", "serviceAccount": "s3-app-sa"}).Raw)
	for _, want := range []string{`"wouldIssue":true`, provider, "tokens open the STS, and not IAM"} {
		if !strings.Contains(explained, want) {
			t.Errorf("no %q in %s", want, explained)
		}
	}
	// Of another service account the trust policy is not.
	p.cl.Associate("other", cloudARN, nil)
	p.cl.Exchange(p.node, p.cl.Token(pod{ServiceAccount: "other"})).Want(t, 400, "AccessDeniedException", denied)
}

// registerProvider makes podid's issuer an identity provider of the upstream,
// pinned to podid's own CA as no public one vouches for it.
func registerProvider(t *testing.T, p *pair, issuer string) {
	t.Helper()
	text, err := os.ReadFile(p.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	sum := sha1.Sum(block.Bytes)
	_, err = p.up.IAM().CreateOpenIDConnectProvider(t.Context(), &iam.CreateOpenIDConnectProviderInput{
		Url: &issuer, ClientIDList: []string{"sts.amazonaws.com"}, ThumbprintList: []string{hex.EncodeToString(sum[:])},
	})
	if err != nil {
		t.Fatal(err)
	}
}
