// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
)

const stsHost = "sts.us-west-2.amazonaws.com"

// presigned makes the URL in a token with AWS' client, as eksctl does.
func presigned(t *testing.T, cp *controlplanetest.ControlPlane, p aws.CredentialsProvider, headers map[string]string) string {
	t.Helper()
	cfg := cp.Config(p)
	cfg.BaseEndpoint = aws.String("https://" + stsHost)
	out, err := sts.NewPresignClient(sts.NewFromConfig(cfg)).PresignGetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, func(o *sts.Options) {
			for k, v := range headers {
				o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue(k, v))
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.URL
}

func tokenOf(u string) string { return "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(u)) }

func kubeToken(t *testing.T, cp *controlplanetest.ControlPlane, p aws.CredentialsProvider, cluster string) string {
	t.Helper()
	return tokenOf(presigned(t, cp, p, map[string]string{"x-k8s-aws-id": cluster, "X-Amz-Expires": "60"}))
}

type reviewed struct {
	Status int `json:"-"`
	Result struct {
		Authenticated bool
		Error         string
		User          struct {
			Username, UID string
			Groups        []string
			Extra         map[string][]string
		}
	} `json:"status"`
	Raw string `json:"-"`
}

func review(t *testing.T, cp *controlplanetest.ControlPlane, cluster, bearer string, body any) reviewed {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, cp.Endpoint+"/podid/v1/clusters/"+cluster+"/token-review", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := cp.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := reviewed{Status: res.StatusCode, Raw: string(raw)}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(raw, &out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func tokenReview(token string) object {
	return object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": object{"token": token, "audiences": []string{"https://kubernetes.default.svc"}}}
}

// bearerOf makes the bearer token of a cluster's API server.
func bearerOf(t *testing.T, cp *controlplanetest.ControlPlane, cluster string) string {
	t.Helper()
	a := rest(t, cp, cp.Admin, "podid", http.MethodPost, "/podid/v1/clusters/"+cluster+"/review-token", nil)
	a.Want(t, http.StatusOK, "", "")
	return a.Body["token"].(string)
}

func reviewing(t *testing.T, now func() time.Time) *controlplanetest.ControlPlane {
	cp := controlplanetest.Start(t, controlplanetest.Options{Now: now, Settings: map[string]string{"PODID_TOKEN_REVIEW": "true", "PODID_TOKEN_REVIEW_HOST": stsHost}})
	cp.Register("my-cluster", nil)
	cp.Register("other", nil)
	return cp
}

func letIn(t *testing.T, cp *controlplanetest.ControlPlane, in *eks.CreateAccessEntryInput) {
	t.Helper()
	in.ClusterName = aws.String("my-cluster")
	if _, err := cp.EKS().CreateAccessEntry(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

// TestTokenReview: a user and a role session become who their entries say,
// until the entry, the key, the role or the user is gone.
func TestTokenReview(t *testing.T) {
	t.Parallel()
	cp := reviewing(t, nil)
	bearer, other := bearerOf(t, cp, "my-cluster"), bearerOf(t, cp, "other")
	role, ann := cp.Role("dev", accountTrust()), cp.User("ann", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"sts:AssumeRole"}, "*", nil)))
	annARN := "arn:aws:iam::111122223333:user/ann"
	session, err := assumeRole(t, cp, ann, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("ann@example.com")})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, token, reason string) {
		t.Helper()
		got := review(t, cp, "my-cluster", bearer, tokenReview(token))
		if got.Status != http.StatusOK || got.Result.Authenticated || got.Result.User.Username != "" || got.Result.Error == "" || cp.LastReason("ReviewToken") != reason {
			t.Errorf("%s: %s, reason %q, want %q", what, got.Raw, cp.LastReason("ReviewToken"), reason)
		}
	}
	token, sessionToken := kubeToken(t, cp, ann, "my-cluster"), kubeToken(t, cp, session, "my-cluster")
	refused("no entry", token, "access-entry-none")
	letIn(t, cp, &eks.CreateAccessEntryInput{PrincipalArn: &annARN, Username: aws.String("ann"), KubernetesGroups: []string{"devs"}})
	letIn(t, cp, &eks.CreateAccessEntryInput{PrincipalArn: &role, Username: aws.String("{{AccountID}}:{{SessionName}}")})
	if _, err := cp.EKS().AssociateAccessPolicy(t.Context(), &eks.AssociateAccessPolicyInput{
		ClusterName: aws.String("my-cluster"), PrincipalArn: &role, PolicyArn: aws.String(viewPolicy), AccessScope: &types.AccessScope{Type: types.AccessScopeTypeNamespace, Namespaces: []string{"b", "a"}},
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a token is a bearer's: it may be shown again
		got := review(t, cp, "my-cluster", bearer, tokenReview(token))
		if u := got.Result.User; !got.Result.Authenticated || u.Username != "ann" || !slices.Equal(u.Groups, []string{"devs"}) || !strings.HasPrefix(u.UID, "aws-iam-authenticator:111122223333:AIDA") || u.Extra["arn"][0] != annARN {
			t.Errorf("user: %s", got.Raw)
		}
	}
	got := review(t, cp, "my-cluster", bearer, tokenReview(sessionToken))
	u := got.Result.User
	if !got.Result.Authenticated || u.Username != "111122223333:ann-example.com" || !strings.HasPrefix(u.UID, "aws-iam-authenticator:111122223333:AROA") || strings.Contains(u.UID[20:], "ann") ||
		!slices.Equal(u.Groups, []string{"podid.dev:namespace:a:AmazonEKSViewPolicy", "podid.dev:namespace:b:AmazonEKSViewPolicy"}) ||
		u.Extra["canonicalArn"][0] != role || u.Extra["sessionName"][0] != "ann@example.com" || !strings.HasPrefix(u.Extra["accessKeyId"][0], "ASIA") || u.Extra["podid.dev/access-policies"][0] != viewPolicy {
		t.Errorf("session: %s", got.Raw)
	}
	if e := cp.LastAudit("ReviewToken"); e.UserIdentity.ARN == "" || strings.Contains(controlplanetest.JSON(t, e), "X-Amz-Signature") || strings.Contains(controlplanetest.JSON(t, e), sessionToken[20:60]) {
		t.Errorf("audit %+v", e)
	}
	refused("another cluster's token", kubeToken(t, cp, ann, "other"), "signature-mismatch")
	refused("a service account's token", "eyJhbGciOi.J9.x", "kube-token-form")
	for what, b := range map[string]string{"none": "", "another cluster's": other, "made up": "podid-review.111122223333.AAAA", "of no account": "podid-review.999999999999.AAAA"} {
		if got := review(t, cp, "my-cluster", b, tokenReview(token)); got.Status != http.StatusUnauthorized || strings.Contains(got.Raw, "ann") {
			t.Errorf("bearer token %s: %d %s", what, got.Status, got.Raw)
		}
	}
	second := bearerOf(t, cp, "my-cluster")
	third := bearerOf(t, cp, "my-cluster")
	for b, want := range map[string]int{bearer: 401, second: 200, third: 200} {
		if got := review(t, cp, "my-cluster", b, tokenReview(token)); got.Status != want {
			t.Errorf("of three bearer tokens, one answers %d, want %d", got.Status, want)
		}
	}
	bearer = third
	if got := review(t, cp, "my-cluster", bearer, object{"apiVersion": "authentication.k8s.io/v1beta1", "kind": "TokenReview", "spec": object{"token": token}}); got.Status != http.StatusBadRequest {
		t.Errorf("v1beta1: %d %s", got.Status, got.Raw)
	}
	cp.DeleteRole("dev")
	refused("a deleted role", sessionToken, "session-role-deleted")
	cp.Role("dev", accountTrust())
	again, err := assumeRole(t, cp, ann, &sts.AssumeRoleInput{RoleArn: &role})
	if err != nil {
		t.Fatal(err)
	}
	refused("a role made again", kubeToken(t, cp, again, "my-cluster"), "access-entry-none")
	cp.DeleteUser("ann")
	refused("a deleted user", token, "access-key-unknown")
}

// TestTokenReviewOff: without the setting there is no such path.
func TestTokenReviewOff(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	cp.Register("my-cluster", nil)
	if got := review(t, cp, "my-cluster", bearerOf(t, cp, "my-cluster"), tokenReview("x")); got.Status != http.StatusNotFound {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
}

// TestForgedTokens: what is not exactly such a token is refused, with a reason.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	cp := reviewing(t, nil)
	bearer, admin := bearerOf(t, cp, "my-cluster"), "arn:aws:iam::111122223333:user/podid-admin"
	letIn(t, cp, &eks.CreateAccessEntryInput{PrincipalArn: &admin})
	good := presigned(t, cp, cp.Admin, map[string]string{"x-k8s-aws-id": "my-cluster", "X-Amz-Expires": "60"})
	if got := review(t, cp, "my-cluster", bearer, tokenReview(tokenOf(good))); !got.Result.Authenticated {
		t.Fatalf("the good one: %s", got.Raw)
	}
	swap := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return tokenOf(strings.Replace(good, old, with, 1))
	}
	for name, tc := range map[string]struct{ token, reason string }{
		"no prefix":          {base64.RawURLEncoding.EncodeToString([]byte(good)), "kube-token-form"},
		"no base64":          {"k8s-aws-v1.!!!", "kube-token-encoding"},
		"line end":           {tokenOf(good)[:40] + "\n" + tokenOf(good)[40:], "kube-token-encoding"},
		"padding":            {"k8s-aws-v1." + base64.URLEncoding.EncodeToString([]byte(good+strings.Repeat("x", 2-(len(good)+1)%3))), "kube-token-encoding"},
		"too long":           {tokenOf(good + strings.Repeat("x", 16<<10)), "kube-token-size"},
		"http":               {swap("https:", "http:"), "kube-token-url"},
		"another host":       {swap(stsHost, "sts.eu-west-1.amazonaws.com"), "kube-token-host"},
		"another port":       {swap(stsHost, stsHost+":8443"), "kube-token-host"},
		"upper case":         {swap(stsHost, strings.ToUpper(stsHost)), "kube-token-host"},
		"user":               {swap("https://", "https://"+stsHost+"@evil.example"), "kube-token-url"},
		"beginning of host":  {swap(stsHost, stsHost+".evil.example"), "kube-token-host"},
		"own name":           {swap(stsHost, strings.TrimPrefix(cp.Endpoint, "https://")), "signature-mismatch"},
		"path":               {swap("/?", "/x?"), "kube-token-url"},
		"fragment":           {tokenOf(good + "#x"), "kube-token-url"},
		"space":              {tokenOf(good + " x"), "kube-token-url"},
		"action":             {swap("Action=GetCallerIdentity", "Action=AssumeRole"), "kube-token-action"},
		"version":            {swap("2011-06-15", "2012-06-15"), "kube-token-action"},
		"action twice":       {tokenOf(good + "&Action=GetCallerIdentity"), "kube-token-parameter"},
		"action in disguise": {tokenOf(good + "&%41ction=AssumeRole"), "kube-token-parameter"},
		"further parameter":  {tokenOf(good + "&RoleArn=x"), "kube-token-parameter"},
		"empty parameter":    {tokenOf(good + "&"), "kube-token-parameter"},
		"case":               {swap("X-Amz-Date", "x-amz-date"), "kube-token-parameter"},
		"no expiry":          {swap("X-Amz-Expires=60&", ""), "kube-token-parameter"},
		"expiry of a day":    {swap("X-Amz-Expires=60", "X-Amz-Expires=86400"), "kube-token-expires"},
		"expiry of 901 s":    {swap("X-Amz-Expires=60", "X-Amz-Expires=901"), "kube-token-expires"},
		"expiry altered":     {swap("X-Amz-Expires=60", "X-Amz-Expires=900"), "signature-mismatch"},
		"headers altered":    {swap("host%3Bx-k8s-aws-id", "host"), "kube-token-headers"},
		"cluster not signed": {tokenOf(presigned(t, cp, cp.Admin, map[string]string{"X-Amz-Expires": "60"})), "kube-token-headers"},
		"further header":     {tokenOf(presigned(t, cp, cp.Admin, map[string]string{"x-k8s-aws-id": "my-cluster", "X-Amz-Expires": "60", "x-other": "y"})), "kube-token-headers"},
		"another service":    {swap("%2Fsts%2F", "%2Feks%2F"), "signature-scope"},
		"another region":     {swap("us-west-2%2Fsts", "eu-west-1%2Fsts"), "signature-scope"},
		"another key":        {swap(cp.AdminID, "AKIAIOSFODNN7EXAMPLE"), "access-key-unknown"},
		"signature":          {tokenOf(good[:len(good)-1] + map[bool]string{true: "1", false: "0"}[good[len(good)-1] == '0']), "signature-mismatch"},
	} {
		got := review(t, cp, "my-cluster", bearer, tokenReview(tc.token))
		if got.Status != http.StatusOK || got.Result.Authenticated || cp.LastReason("ReviewToken") != tc.reason {
			t.Errorf("%s: %d %s, reason %q, want %q", name, got.Status, got.Raw, cp.LastReason("ReviewToken"), tc.reason)
		}
		if strings.Contains(got.Raw, "X-Amz-Signature") || strings.Contains(got.Raw, cp.AdminID) {
			t.Errorf("%s: the answer shows the token: %s", name, got.Raw)
		}
	}
}

// TestTokenLife: 15 minutes, whatever shorter life the URL names.
func TestTokenLife(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	cp := reviewing(t, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	bearer, admin := bearerOf(t, cp, "my-cluster"), "arn:aws:iam::111122223333:user/podid-admin"
	letIn(t, cp, &eks.CreateAccessEntryInput{PrincipalArn: &admin})
	token := kubeToken(t, cp, cp.Admin, "my-cluster")
	for _, tc := range []struct {
		ahead time.Duration
		in    bool
	}{{0, true}, {2 * time.Minute, true}, {14 * time.Minute, true}, {16 * time.Minute, false}, {-10 * time.Minute, false}} {
		ahead.Store(int64(tc.ahead))
		if got := review(t, cp, "my-cluster", bearer, tokenReview(token)); got.Result.Authenticated != tc.in {
			t.Errorf("%v later: %s", tc.ahead, got.Raw)
		}
	}
}

// TestPresignedNowhereElse: no operation but GetCallerIdentity takes a
// presigned request, whoever signs it.
func TestPresignedNowhereElse(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{Tokens: noTokens{}})
	presign := func(service, method, target string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		return presignRequest(t, cp, r, service)
	}
	do := func(r *http.Request) (int, string) {
		res, err := cp.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(raw)
	}
	routes, services := controlplane.Surface()
	x := aim{own: cp.AccountID, names: "my", account: cp.AccountID, mark: "my", associationID: "a-00000000000000000", updateID: "00000000-0000-4000-8000-000000000000", clusterARN: true}
	for _, r := range routes {
		status, raw := do(presign(r.Operation.Service, r.Method, cp.Endpoint+x.path(t, r)))
		if status < 400 || !strings.Contains(raw, "GetCallerIdentity only") {
			t.Errorf("%s %s: %d %s", r.Method, r.Pattern, status, raw)
		}
	}
	for _, s := range services {
		for _, op := range s.Operations {
			if op.Anonymous {
				continue // it has no signature to be judged
			}
			q := url.Values{"Action": {op.Name}, "Version": {s.Version}}
			status, raw := do(presign(s.Name, http.MethodGet, cp.Endpoint+"/?"+q.Encode()))
			if op.Name == "GetCallerIdentity" {
				if status != http.StatusOK {
					t.Errorf("GetCallerIdentity: %d %s", status, raw)
				}
			} else if status < 400 || !strings.Contains(raw, "GetCallerIdentity only") {
				t.Errorf("%s %s: %d %s", s.Name, op.Name, status, raw)
			}
		}
	}
}

func presignRequest(t *testing.T, cp *controlplanetest.ControlPlane, r *http.Request, service string) *http.Request {
	t.Helper()
	creds, err := cp.Admin.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const none = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), creds, r, none, service, controlplanetest.Region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}
	out := r.Clone(t.Context())
	out.URL = u
	return out
}
