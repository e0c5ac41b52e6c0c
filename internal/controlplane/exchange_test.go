// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
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

// TestTextbook walks the path of the textbook example with AWS' own clients.
func TestTextbook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	t.Run("answer", func(t *testing.T) { testTextbookAnswer(t, w) })
	t.Run("audit", func(t *testing.T) { testTextbookAudit(t, w) })
	t.Run("callers", func(t *testing.T) { testExchangeCallers(t, w) })
	t.Run("tokens", func(t *testing.T) { testExchangeTokens(t, w) })
	t.Run("trust", func(t *testing.T) { testExchangeTrust(t, w) })
	t.Run("explain", func(t *testing.T) { testExplain(t, w) })
	t.Run("explain steps", func(t *testing.T) { testExplainSteps(t, w) })
	t.Run("session", func(t *testing.T) { testPodSession(t, w) })
	// Last: it takes the nodes' right away.
	t.Run("worker policy detached", func(t *testing.T) { testWorkerPolicy(t, w) })
}

func testTextbookAnswer(t *testing.T, w *world) {
	before := time.Now()
	a := w.cl.Exchange(w.node, w.cl.Token(pod{}))
	p := a.Credentials(t)
	text := func(path ...string) string {
		v := any(a.Body)
		for _, k := range path {
			m, _ := v.(map[string]any)
			v = m[k]
		}
		s, _ := v.(string)
		return s
	}
	name := `eks-my-cluster-app1-v1-56-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
	for got, want := range map[string]string{
		text("subject", "namespace"):                                "s3-app-ns",
		text("subject", "serviceAccount"):                           "s3-app-sa",
		text("audience"):                                            podService,
		text("podIdentityAssociation", "associationArn"):            `arn:aws:eks:us-west-2:111122223333:podidentityassociation/my-cluster/a-[a-z0-9]{17}`,
		text("podIdentityAssociation", "associationId"):             `a-[a-z0-9]{17}`,
		text("assumedRoleUser", "arn"):                              `arn:aws:sts::111122223333:assumed-role/s3-app-eks-pod-identity-role/` + name,
		text("assumedRoleUser", "assumeRoleId"):                     `AROA[A-Z0-9]{17}:` + name,
		text("credentials", "accessKeyId"):                          `ASIA[A-Z2-7]{16}`,
		text("credentials", "secretAccessKey"):                      `[A-Za-z0-9+/]{40}`,
		strings.TrimRight(text("credentials", "sessionToken"), "="): `[A-Za-z0-9+/]{200,900}`,
	} {
		if !regexp.MustCompile(`^` + want + `$`).MatchString(got) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	creds, _ := a.Body["credentials"].(map[string]any)
	exp, ok := creds["expiration"].(float64)
	if life := time.Unix(int64(exp), 0).Sub(before); !ok || life < 6*time.Hour-2*time.Second || life > 6*time.Hour+5*time.Second {
		t.Errorf("expiration %v is %s away, want 6 h", creds["expiration"], life)
	}
	id, err := sts.NewFromConfig(w.Config(p)).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if *id.Arn != text("assumedRoleUser", "arn") || *id.UserId != text("assumedRoleUser", "assumeRoleId") || *id.Account != controlplanetest.Account {
		t.Errorf("identity %s %s, exchange said %s", *id.Arn, *id.UserId, a.Raw)
	}
}

// sixTags are the session tags of the textbook's pod, in AWS' order.
func sixTags(cl *controlplanetest.Cluster) []audit.Tag {
	return []audit.Tag{
		{Key: "eks-cluster-arn", Value: cl.ARN()},
		{Key: "eks-cluster-name", Value: cl.Name},
		{Key: "kubernetes-namespace", Value: "s3-app-ns"},
		{Key: "kubernetes-service-account", Value: "s3-app-sa"},
		{Key: "kubernetes-pod-name", Value: "app1-v1-56b9f94b4-dvd5c"},
		{Key: "kubernetes-pod-uid", Value: "0b1c2d3e-0000-4000-8000-1234567890ab"},
	}
}

func testTextbookAudit(t *testing.T, w *world) {
	token := w.cl.Token(pod{})
	a := w.cl.Exchange(w.node, token)
	a.Credentials(t)
	e := w.LastAudit("AssumeRoleForPodIdentity")
	if diff := cmp.Diff(sixTags(w.cl), e.Podid.SessionTags); diff != "" {
		t.Errorf("session tags (-want +got):\n%s", diff)
	}
	if e.EventSource != "eks-auth.amazonaws.com" || !e.ReadOnly || e.ResponseElements != nil || e.ErrorCode != "" || e.EventType != "AwsApiCall" || e.RecipientAccountID != controlplanetest.Account {
		t.Errorf("event %+v", e)
	}
	if diff := cmp.Diff(any(map[string]any{"clusterName": "my-cluster", "token": audit.Hidden}), e.RequestParameters); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]audit.Resource{{AccountID: controlplanetest.Account, Type: "AWS::EKS::Cluster", ARN: w.cl.ARN()}}, e.Resources); diff != "" {
		t.Error(diff)
	}
	if u := e.UserIdentity; u.Type != "AssumedRole" || u.ARN != "arn:aws:sts::111122223333:assumed-role/podid-node-my-cluster/node-1" || u.SessionContext.SessionIssuer.ARN != w.nodeRole {
		t.Errorf("identity %+v", u)
	}
	creds, _ := a.Body["credentials"].(map[string]any)
	x := e.Podid
	if x.Pod != "app1-v1-56b9f94b4-dvd5c" || x.Node != "node-1" || x.CallerNode != "node-1" || x.AccessKeyIDIssued != creds["accessKeyId"] || x.RoleARN != w.role ||
		x.ClusterUID != w.cl.UID || !strings.HasPrefix(x.AssociationID, "a-") || x.Namespace != "s3-app-ns" || x.ServiceAccount != "s3-app-sa" {
		t.Errorf("podid block %+v", x)
	}
}

func testExchangeCallers(t *testing.T, w *world) {
	token := w.cl.Token(pod{})
	session := w.cl.Exchange(w.node, token).Credentials(t)
	nobody := w.User("nobody", nil)
	other := w.User("other-cluster", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"eks-auth:*"}, strings.ReplaceAll(w.cl.ARN(), "my-cluster", "another"), nil)))
	for name, tc := range map[string]struct {
		caller  aws.CredentialsProvider
		token   string
		status  int
		code    string
		message string
	}{
		"unsigned":              {nil, token, 403, "MissingAuthenticationTokenException", ""},
		"user without policies": {nobody, token, 400, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/nobody is not authorized to perform: eks-auth:AssumeRoleForPodIdentity on resource: " + w.cl.ARN() + " because no identity-based policy allows the eks-auth:AssumeRoleForPodIdentity action"},
		"right elsewhere":       {other, token, 400, "AccessDeniedException", ""},
		"the pod itself":        {session, token, 400, "AccessDeniedException", ""},
		// The caller's right is checked before anything of the token is read.
		"right before token": {nobody, "a.b.c", 400, "AccessDeniedException", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w.cl.Exchange(tc.caller, tc.token).Want(t, tc.status, tc.code, tc.message)
		})
	}
	path := func(cluster string) string { return "/clusters/" + cluster + "/assume-role-for-pod-identity" }
	t.Run("unknown cluster", func(t *testing.T) {
		a := rest(t, w.ControlPlane, w.Admin, "eks-auth", http.MethodPost, path("nowhere"), object{"token": token})
		a.Want(t, 404, "ResourceNotFoundException", "No cluster found for name: nowhere.")
	})
	t.Run("unknown cluster tells strangers nothing", func(t *testing.T) {
		a := rest(t, w.ControlPlane, nobody, "eks-auth", http.MethodPost, path("nowhere"), object{"token": token})
		a.Want(t, 400, "AccessDeniedException", "")
	})
	t.Run("cluster name out of form", func(t *testing.T) {
		a := rest(t, w.ControlPlane, w.node, "eks-auth", http.MethodPost, path("-x"), object{"token": token})
		a.Want(t, 400, "InvalidParameterException", "")
	})
	t.Run("no association", func(t *testing.T) {
		w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "other"})).Want(t, 404, "ResourceNotFoundException",
			"No association found for service account s3-app-ns/other in cluster my-cluster.")
	})
	t.Run("signed for another service", func(t *testing.T) {
		a := rest(t, w.ControlPlane, w.Admin, "eks", http.MethodPost, path("my-cluster"), object{"token": token})
		a.Want(t, 403, "InvalidSignatureException", "")
	})
}

func testExchangeTrust(t *testing.T, w *world) {
	w.Role("conditions", podTrust(nil))
	w.cl.Associate("conditions", "arn:aws:iam::111122223333:role/conditions", nil)
	str := func(key, value string) map[string]any { return podTrust(object{"StringEquals": object{key: value}}) }
	both := func(cond object) map[string]any { return podTrust(cond) }
	for name, tc := range map[string]struct {
		trust  map[string]any
		reason string // "" = issued
	}{
		"namespace holds":        {str("aws:RequestTag/kubernetes-namespace", "s3-app-ns"), ""},
		"namespace other":        {str("aws:RequestTag/kubernetes-namespace", "prod"), "trust-policy-denied"},
		"pod name holds":         {both(object{"StringLike": object{"aws:RequestTag/kubernetes-pod-name": "app1-*"}}), ""},
		"pod name other":         {str("aws:RequestTag/kubernetes-pod-name", "app2"), "trust-policy-denied"},
		"pod uid other":          {str("aws:RequestTag/kubernetes-pod-uid", "x"), "trust-policy-denied"},
		"cluster arn tag":        {str("aws:RequestTag/eks-cluster-arn", w.cl.ARN()), ""},
		"source account other":   {str("aws:SourceAccount", "444455556666"), "trust-policy-denied"},
		"source arn holds":       {both(object{"ArnLike": object{"aws:SourceArn": "arn:aws:eks:*:111122223333:cluster/my-*"}}), ""},
		"source arn other":       {both(object{"ArnEquals": object{"aws:SourceArn": w.cl.ARN() + "2"}}), "trust-policy-denied"},
		"every tag is there":     {both(object{"ForAllValues:StringEquals": object{"aws:TagKeys": []string{"eks-cluster-arn", "eks-cluster-name", "kubernetes-namespace", "kubernetes-service-account", "kubernetes-pod-name", "kubernetes-pod-uid"}}, "Null": object{"aws:TagKeys": "false"}}), ""},
		"a tag is not foreseen":  {both(object{"ForAllValues:StringEquals": object{"aws:TagKeys": []string{"eks-cluster-arn"}}}), "trust-policy-denied"},
		"all are transitive":     {both(object{"ForAnyValue:StringEquals": object{"sts:TransitiveTagKeys": "kubernetes-pod-uid"}}), ""},
		"no TagSession":          {controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"Service": podService}, "Action": "sts:AssumeRole"}), "trust-policy-denied-tag-session"},
		"explicit deny":          {controlplanetest.Document(podTrust(nil)["Statement"].([]map[string]any)[0], object{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole", "Condition": object{"StringEquals": object{"aws:RequestTag/kubernetes-namespace": "s3-app-ns"}}}), "trust-policy-denied"},
		"another service":        {controlplanetest.Document(object{"Effect": "Allow", "Principal": object{"Service": "ec2.amazonaws.com"}, "Action": []string{"sts:AssumeRole", "sts:TagSession"}}), "trust-policy-denied"},
		"session name foreseen":  {both(object{"StringLikeIfExists": object{"sts:RoleSessionName": "eks-my-cluster-*"}}), ""},
		"principal is a service": {both(object{"Bool": object{"aws:PrincipalIsAWSService": "true"}}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			w.Trust("conditions", tc.trust)
			a := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "conditions"}))
			if tc.reason == "" {
				a.Credentials(t)
				return
			}
			a.Want(t, 400, "AccessDeniedException", denied)
			if got := w.LastReason("AssumeRoleForPodIdentity"); got != tc.reason {
				t.Errorf("reason %q, want %q", got, tc.reason)
			}
			if w.LastAudit("AssumeRoleForPodIdentity").Podid.Detail == nil {
				t.Error("audit does not say which statement refused")
			}
		})
	}
	t.Run("role deleted", func(t *testing.T) {
		if _, err := w.IAM().DeleteRole(context.Background(), &iam.DeleteRoleInput{RoleName: aws.String("conditions")}); err != nil {
			t.Fatal(err)
		}
		w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "conditions"})).Want(t, 400, "AccessDeniedException", denied)
		if got := w.LastReason("AssumeRoleForPodIdentity"); got != "role-not-found" {
			t.Errorf("reason %q", got)
		}
	})
}

// testPodSession: the policies of the role bind what the pod may do, tags and
// all.
func testPodSession(t *testing.T, w *world) {
	w.Role("tagged", podTrust(nil))
	w.RolePolicy("tagged", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"iam:GetRole"}, "arn:aws:iam::111122223333:role/${aws:PrincipalTag/kubernetes-namespace}-role", nil)))
	w.Role("s3-app-ns-role", podTrust(nil))
	w.cl.Associate("tagged", "arn:aws:iam::111122223333:role/tagged", nil)
	tagged := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "tagged"})).Credentials(t)
	w.cl.Associate("untagged", "arn:aws:iam::111122223333:role/tagged", func(in *eks.CreatePodIdentityAssociationInput) { in.DisableSessionTags = aws.Bool(true) })
	untagged := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "untagged"})).Credentials(t)
	if tags := w.LastAudit("AssumeRoleForPodIdentity").Podid.SessionTags; len(tags) != 0 {
		t.Errorf("session tags %v of an association without", tags)
	}
	w.cl.Associate("bounded", "arn:aws:iam::111122223333:role/tagged", func(in *eks.CreatePodIdentityAssociationInput) {
		in.DisableSessionTags = aws.Bool(true)
		in.Policy = aws.String(controlplanetest.JSON(t, controlplanetest.Document(controlplanetest.Statement("Allow", []string{"iam:GetRole"}, "arn:aws:iam::111122223333:role/nothing", nil))))
	})
	w.RolePolicy("tagged", controlplanetest.Document(
		controlplanetest.Statement("Allow", []string{"iam:GetRole"}, "arn:aws:iam::111122223333:role/${aws:PrincipalTag/kubernetes-namespace}-role", nil),
		controlplanetest.Statement("Allow", []string{"iam:GetRole"}, "arn:aws:iam::111122223333:role/tagged", nil)))
	bounded := w.cl.Exchange(w.node, w.cl.Token(pod{ServiceAccount: "bounded"})).Credentials(t)
	for name, tc := range map[string]struct {
		caller  aws.CredentialsProvider
		role    string
		allowed bool
	}{
		"tag in the policy":              {tagged, "s3-app-ns-role", true},
		"other resource":                 {tagged, "podid-node-my-cluster", false},
		"no tag, no match":               {untagged, "s3-app-ns-role", false},
		"no tag needed":                  {untagged, "tagged", true},
		"session policy does not permit": {bounded, "tagged", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := iam.NewFromConfig(w.Config(tc.caller)).GetRole(context.Background(), &iam.GetRoleInput{RoleName: &tc.role})
			if (err == nil) != tc.allowed {
				t.Errorf("GetRole: %v", err)
			}
		})
	}
}

func testWorkerPolicy(t *testing.T, w *world) {
	role, worker := "podid-node-my-cluster", "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"
	w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	if _, err := w.IAM().DetachRolePolicy(context.Background(), &iam.DetachRolePolicyInput{RoleName: &role, PolicyArn: &worker}); err != nil {
		t.Fatal(err)
	}
	w.cl.Exchange(w.node, w.cl.Token(pod{})).Want(t, 400, "AccessDeniedException",
		"User: arn:aws:sts::111122223333:assumed-role/podid-node-my-cluster/node-1 is not authorized to perform: eks-auth:AssumeRoleForPodIdentity on resource: "+
			w.cl.ARN()+" because no identity-based policy allows the eks-auth:AssumeRoleForPodIdentity action")
	if a := explained(t, w, object{"namespace": "s3-app-ns", "serviceAccount": "s3-app-sa"}); a.Body["wouldIssue"] != false || !strings.Contains(string(a.Raw), `{"step":"caller","verdict":"fail"`) {
		t.Errorf("the explanation does not tell: %s", a.Raw)
	}
	if _, err := w.IAM().AttachRolePolicy(context.Background(), &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: &worker}); err != nil {
		t.Fatal(err)
	}
	w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
}
