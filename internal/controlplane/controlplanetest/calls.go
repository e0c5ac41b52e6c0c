// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplanetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/audit"
)

// Credentials are those of a good exchange.
func (a Answer) Credentials(tb testing.TB) aws.CredentialsProvider {
	tb.Helper()
	if a.Status != http.StatusOK {
		tb.Fatalf("no credentials: %d %s %s", a.Status, a.Code, a.Raw)
	}
	c, ok := a.Body["credentials"].(map[string]any)
	if !ok {
		tb.Fatalf("no credentials in %s", a.Raw)
	}
	text := func(k string) string { s, _ := c[k].(string); return s }
	return credentials.NewStaticCredentialsProvider(text("accessKeyId"), text("secretAccessKey"), text("sessionToken"))
}

// Message is the message of a refusal.
func (a Answer) Message() string { s, _ := a.Body["message"].(string); return s }

// Want fails the test unless the answer is a refusal of that status, code and
// message; "" is any message.
func (a Answer) Want(tb testing.TB, status int, code, message string) {
	tb.Helper()
	if a.Status != status || a.Code != code || message != "" && a.Message() != message {
		tb.Errorf("got %d %s %q, want %d %s %q", a.Status, a.Code, a.Message(), status, code, message)
	}
}

// QueryAnswer is what a Query call came to.
type QueryAnswer struct {
	Status        int
	Code, Message string // of an error
	Raw           []byte
}

// Query makes a signed Query call ("sts", "iam"). version is that of the API.
// A nil provider sends it unsigned.
func (c *ControlPlane) Query(p aws.CredentialsProvider, service, version string, form url.Values) QueryAnswer {
	c.tb.Helper()
	ctx := context.Background()
	form = url.Values(http.Header(form).Clone())
	if form.Get("Version") == "" {
		form.Set("Version", version)
	}
	body := []byte(form.Encode())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoint+"/", bytes.NewReader(body))
	if err != nil {
		c.tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if p != nil {
		cred, err := p.Retrieve(ctx)
		if err != nil {
			c.tb.Fatal(err)
		}
		sum := sha256.Sum256(body)
		if err := v4.NewSigner().SignHTTP(ctx, cred, r, hex.EncodeToString(sum[:]), service, Region, c.now()); err != nil {
			c.tb.Fatal(err)
		}
	}
	return c.DoQuery(r)
}

// STSQuery is Query for STS.
func (c *ControlPlane) STSQuery(p aws.CredentialsProvider, form url.Values) QueryAnswer {
	c.tb.Helper()
	return c.Query(p, "sts", "2011-06-15", form)
}

// DoQuery sends a request that the test made itself.
func (c *ControlPlane) DoQuery(r *http.Request) QueryAnswer {
	c.tb.Helper()
	resp, err := c.HTTP.Do(r)
	if err != nil {
		c.tb.Fatal(err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		c.tb.Fatal(err)
	}
	out := QueryAnswer{Status: resp.StatusCode, Raw: raw}
	if resp.StatusCode != http.StatusOK {
		var e struct {
			Error struct{ Code, Message string }
		}
		if err := xml.Unmarshal(raw, &e); err != nil {
			c.tb.Fatalf("error answer %d %.300q is not XML: %v", resp.StatusCode, raw, err)
		}
		out.Code, out.Message = e.Error.Code, e.Error.Message
	}
	return out
}

// Want fails the test unless the answer is a refusal of that status, code and
// message; "" is any message.
func (a QueryAnswer) Want(tb testing.TB, status int, code, message string) {
	tb.Helper()
	if a.Status != status || a.Code != code || message != "" && a.Message != message {
		tb.Errorf("got %d %s %q, want %d %s %q", a.Status, a.Code, a.Message, status, code, message)
	}
}

// User makes an IAM user with an inline policy, and a key for it.
func (c *ControlPlane) User(name string, policy any) aws.CredentialsProvider {
	c.tb.Helper()
	ctx := context.Background()
	if _, err := c.IAM().CreateUser(ctx, &iam.CreateUserInput{UserName: &name}); err != nil {
		c.tb.Fatal(err)
	}
	if policy != nil {
		c.UserPolicy(name, policy)
	}
	key, err := c.IAM().CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
	if err != nil {
		c.tb.Fatal(err)
	}
	return credentials.NewStaticCredentialsProvider(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
}

// UserPolicy puts the inline policy "test" on a user.
func (c *ControlPlane) UserPolicy(name string, policy any) {
	c.tb.Helper()
	_, err := c.IAM().PutUserPolicy(context.Background(), &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("test"), PolicyDocument: aws.String(JSON(c.tb, policy))})
	if err != nil {
		c.tb.Fatal(err)
	}
}

// RolePolicy puts the inline policy "test" on a role.
func (c *ControlPlane) RolePolicy(name string, policy any) {
	c.tb.Helper()
	_, err := c.IAM().PutRolePolicy(context.Background(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("test"), PolicyDocument: aws.String(JSON(c.tb, policy))})
	if err != nil {
		c.tb.Fatal(err)
	}
}

// Trust replaces a role's trust policy.
func (c *ControlPlane) Trust(role string, trust any) {
	c.tb.Helper()
	_, err := c.IAM().UpdateAssumeRolePolicy(context.Background(), &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: aws.String(JSON(c.tb, trust))})
	if err != nil {
		c.tb.Fatal(err)
	}
}

// JSON is v as text.
func JSON(tb testing.TB, v any) string {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// Statement is a statement of a policy; further members come in more.
func Statement(effect string, actions []string, resource string, more map[string]any) map[string]any {
	s := map[string]any{"Effect": effect, "Action": actions}
	if resource != "" {
		s["Resource"] = resource
	}
	for k, v := range more {
		s[k] = v
	}
	return s
}

// Document is a policy document.
func Document(statements ...map[string]any) map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": statements}
}

// Associate makes an association in the namespace s3-app-ns.
func (cl *Cluster) Associate(serviceAccount, role string, change func(*eks.CreatePodIdentityAssociationInput)) *types.PodIdentityAssociation {
	cl.cp.tb.Helper()
	in := &eks.CreatePodIdentityAssociationInput{ClusterName: &cl.Name, Namespace: aws.String("s3-app-ns"), ServiceAccount: &serviceAccount, RoleArn: &role}
	if change != nil {
		change(in)
	}
	out, err := cl.cp.EKS().CreatePodIdentityAssociation(context.Background(), in)
	if err != nil {
		cl.cp.tb.Fatal(err)
	}
	return out.Association
}

// Audit reads the events that were recorded so far.
func (c *ControlPlane) Audit() []audit.Event {
	c.tb.Helper()
	f, err := os.Open(filepath.Join(c.Dir, "audit", "audit.log"))
	if err != nil {
		c.tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out []audit.Event
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e audit.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			c.tb.Fatalf("audit line %.200q: %v", lines.Text(), err)
		}
		out = append(out, e)
	}
	if err := lines.Err(); err != nil {
		c.tb.Fatal(err)
	}
	return out
}

// LastAudit is the last event of that name.
func (c *ControlPlane) LastAudit(name string) audit.Event {
	c.tb.Helper()
	events := c.Audit()
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].EventName == name {
			return events[i]
		}
	}
	c.tb.Fatalf("no audit event %s", name)
	return audit.Event{}
}

// LastReason is the reason of the last event of that name, "" when it went
// well.
func (c *ControlPlane) LastReason(name string) string {
	c.tb.Helper()
	e := c.LastAudit(name)
	if e.Podid == nil {
		return ""
	}
	return e.Podid.Reason
}

// Name is the last part of an ARN.
func Name(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
