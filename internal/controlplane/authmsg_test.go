// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"podid/internal/api/call"
	"podid/internal/controlplane/controlplanetest"
)

// messageOf is what a refused caller is handed; "" is none.
func messageOf(t *testing.T, err error) string {
	t.Helper()
	var resp *awshttp.ResponseError
	var api smithy.APIError
	if !errors.As(err, &resp) || !errors.As(err, &api) || !strings.HasPrefix(api.ErrorCode(), "AccessDenied") {
		t.Fatalf("not refused: %v", err)
	}
	if strings.Contains(strings.ToLower(api.ErrorMessage()), "encoded") {
		t.Errorf("the text is not AWS': %s", api.ErrorMessage())
	}
	return resp.Response.Header.Get(call.MessageHeader)
}

type decoded struct {
	Allowed, ExplicitDeny bool
	MatchedStatements     struct {
		Items []struct{ StatementID, Effect string }
	}
	Context struct {
		Principal  struct{ ID, Name, ARN string }
		Action     string
		Resource   string
		Conditions struct {
			Items []struct {
				Key    string
				Values struct{ Items []struct{ Value string } }
			}
		}
	}
	Podid struct{ Reason string }
}

func (d *decoded) value(key string) string {
	for _, c := range d.Context.Conditions.Items {
		if c.Key == key && len(c.Values.Items) == 1 {
			return c.Values.Items[0].Value
		}
	}
	return ""
}

func decode(t *testing.T, client *sts.Client, message string) decoded {
	t.Helper()
	out, err := client.DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: &message})
	if err != nil {
		t.Fatal(err)
	}
	var d decoded
	if err := json.Unmarshal([]byte(*out.DecodedMessage), &d); err != nil {
		t.Fatalf("%s: %v", *out.DecodedMessage, err)
	}
	return d
}

func TestDecodeAuthorizationMessage(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	clock := time.Now()
	w := newWorld(t, controlplanetest.Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return clock }})
	deny := controlplanetest.Statement("Deny", []string{"eks:*"}, "*", map[string]any{"Sid": "NotHere", "Condition": object{"Bool": object{"aws:SecureTransport": "true"}}})
	caller := w.User("caller", controlplanetest.Document(allow("sts:GetFederationToken", "*", nil), deny))
	w.Role("app", podTrust(nil))
	ctx := t.Context()

	_, err := eks.NewFromConfig(w.Config(caller)).DescribeCluster(ctx, &eks.DescribeClusterInput{Name: aws.String("my-cluster")})
	explicit := messageOf(t, err)
	d := decode(t, w.STS(), explicit)
	if d.Allowed || !d.ExplicitDeny || len(d.MatchedStatements.Items) != 1 || d.MatchedStatements.Items[0].StatementID != "NotHere" || d.MatchedStatements.Items[0].Effect != "DENY" {
		t.Errorf("%+v", d)
	}
	if d.Context.Principal.Name != "caller" || d.Context.Principal.ARN != "arn:aws:iam::111122223333:user/caller" || !strings.HasPrefix(d.Context.Principal.ID, "AIDA") ||
		d.Context.Action != "eks:DescribeCluster" || d.Context.Resource != "arn:aws:eks:us-west-2:111122223333:cluster/my-cluster" || d.value("aws:SecureTransport") != "true" || d.value("aws:username") != "caller" {
		t.Errorf("%+v", d.Context)
	}

	_, err = iam.NewFromConfig(w.Config(caller)).GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String("app")})
	implicit := messageOf(t, err)
	if d = decode(t, w.STS(), implicit); d.ExplicitDeny || len(d.MatchedStatements.Items) != 0 || d.Context.Action != "iam:GetRole" || !strings.Contains(d.Podid.Reason, "no identity policy allows iam:GetRole") {
		t.Errorf("%+v", d)
	}

	// A role that is there and one that is not look alike.
	client := stsAs(w.ControlPlane, caller)
	var lengths []int
	for _, role := range []string{"app", "nobody"} {
		_, err = client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(roleARN + role), RoleSessionName: aws.String("s1")})
		m := messageOf(t, err)
		lengths = append(lengths, len(m))
		if d = decode(t, w.STS(), m); d.Context.Action != "sts:AssumeRole" || d.Context.Resource != roleARN+role {
			t.Errorf("%+v", d)
		}
	}
	if lengths[0] != lengths[1] || lengths[0] != len(explicit) || lengths[0] != len(implicit) {
		t.Errorf("lengths %v, %d, %d", lengths, len(explicit), len(implicit))
	}

	// The caller may not read his own, and nobody another text.
	_, err = client.DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: &explicit})
	wantAPIError(t, err, "AccessDenied", "sts:DecodeAuthorizationMessage")
	for _, text := range []string{"x", explicit[:len(explicit)-1], strings.ToLower(explicit), explicit + " ", w.Secret} {
		_, err = w.STS().DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: &text})
		wantAPIError(t, err, "InvalidAuthorizationMessageException", "Message is not valid.")
		var resp *awshttp.ResponseError
		if errors.As(err, &resp) && resp.HTTPStatusCode() != http.StatusBadRequest {
			t.Errorf("status %d", resp.HTTPStatusCode())
		}
	}
	_, err = w.STS().DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String(strings.Repeat("x", 10241))})
	wantAPIError(t, err, "ValidationError", "encodedMessage")
	_, err = w.STS().DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String("")})
	wantAPIError(t, err, "ValidationError", "encodedMessage")
	mu.Lock()
	clock = clock.Add(25 * time.Hour)
	mu.Unlock()
	form := url.Values{"Action": {"DecodeAuthorizationMessage"}, "EncodedMessage": {explicit}}
	w.STSQuery(w.Admin, form).Want(t, http.StatusBadRequest, "InvalidAuthorizationMessageException", "Message is not valid.")
}

// TestNoMessageForStrangers: who is not known, or refused for another reason
// than a policy, is handed nothing.
func TestNoMessageForStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Endpoint+"/clusters/my-cluster", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.Header.Get(call.MessageHeader) != "" {
		t.Errorf("%v, %v", err, resp.Header)
	}
	_, err = eks.NewFromConfig(w.Config(w.Admin)).DescribeCluster(t.Context(), &eks.DescribeClusterInput{Name: aws.String("nowhere")})
	var other *awshttp.ResponseError
	if !errors.As(err, &other) || other.Response.Header.Get(call.MessageHeader) != "" {
		t.Errorf("%v", err)
	}
}

// TestMessagesAcrossAccounts: a message is read in the account of the caller
// who was refused, and holds nothing of another account's policies; whether a
// role is there is not told by it either.
func TestMessagesAcrossAccounts(t *testing.T) {
	t.Parallel()
	a := controlplanetest.Start(t, controlplanetest.Options{})
	b := a.NewAccount(otherAccount)
	b.Role("there", trusting("arn:aws:iam::"+otherAccount+":root", nil))
	caller := a.User("caller", controlplanetest.Document(allow("sts:AssumeRole", "*", nil)))
	var texts []string
	for _, role := range []string{"there", "gone1"} {
		_, err := stsAs(a, caller).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + otherAccount + ":role/" + role), RoleSessionName: aws.String("s1")})
		message := messageOf(t, err)
		_, err = b.STS().DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: &message})
		wantAPIError(t, err, "InvalidAuthorizationMessageException", "")
		out, err := a.STS().DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: &message})
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(strings.ReplaceAll(*out.DecodedMessage, role, "ROLE"), `"podid":{"time"`)
		texts = append(texts, text)
		if strings.Contains(*out.DecodedMessage, `"reason"`) {
			t.Errorf("says why: %s", *out.DecodedMessage)
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("%s\ndiffers from\n%s", texts[0], texts[1])
	}
}
