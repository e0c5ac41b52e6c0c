// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/controlplane/controlplanetest"
)

// signedForm is a Query request signed as the test says.
func signedForm(t *testing.T, w *world, form, service, region string, at time.Time, key, secret string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.Endpoint+"/", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	cred := aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}
	if err := v4.NewSigner().SignHTTP(context.Background(), cred, r, sha256Hex(form), service, region, at); err != nil {
		t.Fatal(err)
	}
	return r
}

func testSignatures(t *testing.T, w *world) {
	const who, iamWho = "Action=GetCallerIdentity&Version=2011-06-15", "Action=ListRoles&Version=2010-05-08"
	now := time.Now
	for name, tc := range map[string]struct {
		form, service, region string
		at                    time.Time
		key, secret           string
		status                int
		code                  string
	}{
		"good":                  {who, "sts", "us-west-2", now(), w.AdminID, w.Secret, 200, ""},
		"4 min late":            {who, "sts", "us-west-2", now().Add(-4 * time.Minute), w.AdminID, w.Secret, 200, ""},
		"6 min late":            {who, "sts", "us-west-2", now().Add(-6 * time.Minute), w.AdminID, w.Secret, 403, "SignatureDoesNotMatch"},
		"6 min early":           {who, "sts", "us-west-2", now().Add(6 * time.Minute), w.AdminID, w.Secret, 403, "SignatureDoesNotMatch"},
		"other region":          {who, "sts", "us-east-1", now(), w.AdminID, w.Secret, 403, "SignatureDoesNotMatch"},
		"other service":         {who, "iam", "us-west-2", now(), w.AdminID, w.Secret, 400, "InvalidAction"},
		"no service of ours":    {who, "s3", "us-west-2", now(), w.AdminID, w.Secret, 403, "SignatureDoesNotMatch"},
		"IAM in the region":     {iamWho, "iam", "us-west-2", now(), w.AdminID, w.Secret, 200, ""},
		"IAM in us-east-1":      {iamWho, "iam", "us-east-1", now(), w.AdminID, w.Secret, 200, ""},
		"IAM elsewhere":         {iamWho, "iam", "eu-west-1", now(), w.AdminID, w.Secret, 403, "SignatureDoesNotMatch"},
		"other secret":          {who, "sts", "us-west-2", now(), w.AdminID, w.Secret[1:] + "x", 403, "SignatureDoesNotMatch"},
		"unknown key":           {who, "sts", "us-west-2", now(), "AKIAIOSFODNN7EXAMPLE", w.Secret, 403, "InvalidClientTokenId"},
		"session without token": {who, "sts", "us-west-2", now(), "ASIAIOSFODNN7EXAMPLE", w.Secret, 403, "InvalidClientTokenId"},
	} {
		t.Run(name, func(t *testing.T) {
			w.DoQuery(signedForm(t, w, tc.form, tc.service, tc.region, tc.at, tc.key, tc.secret)).Want(t, tc.status, tc.code, "")
		})
	}
	t.Run("body changed", func(t *testing.T) {
		r := signedForm(t, w, who, "sts", "us-west-2", now(), w.AdminID, w.Secret)
		other := strings.NewReader(strings.Replace(who, "Identity", "identity", 1))
		r2, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.Endpoint+"/?", other)
		if err != nil {
			t.Fatal(err)
		}
		r2.Header = r.Header
		w.DoQuery(r2).Want(t, 400, "InvalidAction", "") // the operation is not known before the signature is
		same, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.Endpoint+"/", strings.NewReader(who+"&x=y"))
		if err != nil {
			t.Fatal(err)
		}
		same.Header = r.Header
		w.DoQuery(same).Want(t, 403, "SignatureDoesNotMatch", "")
	})
	t.Run("unsigned payload", func(t *testing.T) {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.Endpoint+"/", strings.NewReader(who))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: w.AdminID, SecretAccessKey: w.Secret}, r, "UNSIGNED-PAYLOAD", "sts", "us-west-2", now()); err != nil {
			t.Fatal(err)
		}
		if a := w.DoQuery(r); a.Status != 403 {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	})
	t.Run("token not signed", func(t *testing.T) {
		cred, err := w.node.Retrieve(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		r := signedForm(t, w, who, "sts", "us-west-2", now(), cred.AccessKeyID, cred.SecretAccessKey)
		r.Header.Set("X-Amz-Security-Token", cred.SessionToken)
		if a := w.DoQuery(r); a.Status != 403 {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	})
}

// testPresigned: GetCallerIdentity is what AWS' tools presign; nothing else.
func testPresigned(t *testing.T, w *world) {
	ctx := context.Background()
	p, err := sts.NewPresignClient(w.STS()).PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(u string) controlplanetest.QueryAnswer {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		return w.DoQuery(r)
	}
	if a := get(p.URL); a.Status != 200 || !strings.Contains(string(a.Raw), "user/podid-admin") {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
	get(strings.Replace(p.URL, "user%2F", "", 1)+"&X=y").Want(t, 403, "SignatureDoesNotMatch", "")
	for _, tc := range []struct{ query, service string }{
		{"Action=ListRoles&Version=2010-05-08", "iam"},
		{"Action=AssumeRole&Version=2011-06-15&RoleSessionName=me&RoleArn=" + url.QueryEscape(roleARN+"any"), "sts"},
	} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Endpoint+"/?"+tc.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, _, err := v4.NewSigner().PresignHTTP(ctx, aws.Credentials{AccessKeyID: w.AdminID, SecretAccessKey: w.Secret}, r, sha256Hex(""), tc.service, "us-west-2", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		get(signed).Want(t, 400, "IncompleteSignature", "Presigned requests are accepted for GetCallerIdentity only.")
	}
}
