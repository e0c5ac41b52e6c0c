// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func testClient(t *testing.T, h http.HandlerFunc) *Podid {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return &Podid{
		Endpoint: srv.URL + "/", Region: "us-west-2", Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		HTTP: srv.Client(), Signer: v4.NewSigner(), Now: func() time.Time { return now },
	}
}

// TestSigned signs each request anew on the server's side and compares.
func TestSigned(t *testing.T) {
	var got []string
	p := testClient(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		again, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.URL.RequestURI(), strings.NewReader(string(body)))
		if err != nil {
			t.Error(err)
		}
		for _, name := range []string{"Content-Type", "X-Amz-Content-Sha256"} {
			if v := r.Header.Get(name); v != "" {
				again.Header.Set(name, v)
			}
		}
		sum := sha256.Sum256(body)
		if err := v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, again, hex.EncodeToString(sum[:]), "podid", "us-west-2", now); err != nil {
			t.Error(err)
		}
		if a, b := r.Header.Get("Authorization"), again.Header.Get("Authorization"); a != b {
			t.Errorf("signature differs:\n%s\n%s", a, b)
		}
		got = append(got, r.Method+" "+r.URL.EscapedPath()+" "+string(body))
		fmt.Fprint(w, `{"cluster":{"name":"c","keyIds":["k"],"createdAt":1700862734.922},"token":"t","expiration":1700862734.5,"wouldIssue":true}`)
	})
	ctx := context.Background()
	c, err := p.RegisterCluster(ctx, RegisterInput{Name: "c", Issuer: "https://i", JWKS: json.RawMessage(`{"keys":[]}`)})
	if err != nil || c.Name != "c" || !Epoch(c.CreatedAt).Equal(time.Date(2023, 11, 24, 21, 52, 14, 922e6, time.UTC)) {
		t.Errorf("register: %+v, %v", c, err)
	}
	off := "off"
	if _, err := p.UpdateCluster(ctx, "c", UpdateInput{NodeBinding: &off}); err != nil {
		t.Error(err)
	}
	if _, err := p.DescribeCluster(ctx, "a/b"); err != nil {
		t.Error(err)
	}
	tok, err := p.CreateToken(ctx, "c", TokenInput{Namespace: "n", ServiceAccount: "s"})
	if err != nil || string(tok.Token) != "t" || strings.Contains(fmt.Sprintf("%v %+v %#v", tok.Token, *tok, tok.Token), `"t"`) {
		t.Errorf("token: %+v, %v", tok, err)
	}
	if x, err := p.Explain(ctx, "c", ExplainInput{Token: "x"}); err != nil || !x.WouldIssue {
		t.Errorf("explain: %+v, %v", x, err)
	}
	want := []string{
		`POST /podid/v1/clusters {"name":"c","issuer":"https://i","jwks":{"keys":[]}}`, `PATCH /podid/v1/clusters/c {"nodeBinding":"off"}`,
		`GET /podid/v1/clusters/a%2Fb `, `POST /podid/v1/clusters/c/token {"namespace":"n","serviceAccount":"s"}`, `POST /podid/v1/clusters/c/explain {"token":"x"}`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("requests:\n%s", strings.Join(got, "\n"))
	}
}

func TestAnswers(t *testing.T) {
	for _, tc := range []struct {
		name, header, body, code, text string
		status                         int
	}{
		{"a refusal", "AccessDeniedException", `{"message":"no"}`, "AccessDeniedException", "AccessDeniedException: no", 403},
		{"a code with a suffix", "ResourceInUseException:http://x/", `{"message":"is"}`, "ResourceInUseException", "ResourceInUseException: is", 409},
		{"not from podid", "", `<html>`, "UnknownError", "UnknownError: the server answered 502 Bad Gateway", 502},
		{"a cut answer", "", `{"cluster":`, "", "read answer", 200},
		{"too long an answer", "", strings.Repeat(" ", maxAnswer+1), "", "longer than", 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := testClient(t, func(w http.ResponseWriter, _ *http.Request) {
				if tc.header != "" {
					w.Header().Set("X-Amzn-Errortype", tc.header)
				}
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			})
			_, err := p.DescribeCluster(context.Background(), "c")
			if err == nil || Code(err) != tc.code || !strings.Contains(err.Error(), strings.TrimPrefix(tc.text, tc.code+": ")) {
				t.Errorf("code %q, error %v", Code(err), err)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CA_BUNDLE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	var setup *SetupError
	if _, err := Load(context.Background(), Options{Region: "us-west-2"}); !errors.As(err, &setup) || !strings.Contains(setup.Hint, "AWS_ENDPOINT_URL") {
		t.Errorf("without an endpoint: %v", err)
	}
	if _, err := Load(context.Background(), Options{EndpointURL: "https://localhost"}); !errors.As(err, &setup) || !strings.Contains(setup.Hint, "AWS_REGION") {
		t.Errorf("without a region: %v", err)
	}
	if _, err := Load(context.Background(), Options{EndpointURL: "https://localhost", Region: "us-west-2", CABundle: "/does/not/exist"}); err == nil || !strings.Contains(err.Error(), "CA bundle") {
		t.Errorf("without the CA: %v", err)
	}
	if _, err := Load(context.Background(), Options{EndpointURL: "https://localhost", Region: "us-west-2"}); err != nil {
		t.Error(err)
	}
}
