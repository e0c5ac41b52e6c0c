// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"go.uber.org/goleak"

	"podid/internal/controlplane/controlplanetest"
)

// TestNothingIsLeft: a stop leaves no goroutine behind. No other test runs
// meanwhile.
func TestNothingIsLeft(t *testing.T) {
	before := goleak.IgnoreCurrent()
	w := newWorld(t, controlplanetest.Options{})
	w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	w.Stop()
	goleak.VerifyNone(t, before)
}

// raw is one request as bytes, and what is answered to it.
type raw struct {
	name, send string
	status     int    // 0: the connection ends without an answer
	code       string // x-amzn-ErrorType or, in XML, the Code
}

func head(method, path string, more ...string) string {
	return method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + strings.Join(append(more, ""), "\r\n") + "\r\n"
}

// badRequests are what no client of ours sends, unsigned.
func badRequests() []raw {
	const auth, form = "/clusters/c/assume-role-for-pod-identity", "Content-Type: application/x-www-form-urlencoded"
	long := strings.Repeat("a", 300<<10)
	return []raw{
		{"no route", head("GET", "/nothing"), 404, "UnknownOperationException"},
		{"route of another method", head("PUT", "/clusters"), 404, "UnknownOperationException"},
		{"invented method", head("BREW", "/clusters"), 404, "UnknownOperationException"},
		{"way out", head("GET", "/../../etc/passwd"), 404, "UnknownOperationException"},
		{"empty segments", head("GET", "//clusters//"), 404, "UnknownOperationException"},
		{"bad escape", head("GET", "/clusters/%zz"), 400, ""},
		{"zero byte in a name", head("GET", "/clusters/%00"), 403, "MissingAuthenticationTokenException"},
		{"console", head("GET", "/console"), 404, "UnknownOperationException"},
		{"own API, unknown", head("GET", "/podid/v1/nothing"), 404, "UnknownOperationException"},
		{"long path", head("GET", "/"+long[:60<<10]), 404, "UnknownOperationException"},
		{"huge header", head("GET", "/clusters", "X-Long: "+long[:100<<10]), 431, ""},
		{"many headers", head("GET", "/clusters", strings.Repeat("A: b\r\n", 20000)+"B: c"), 431, ""},
		{"huge body", head("POST", auth, "Content-Length: 307200") + long, 413, "RequestEntityTooLargeException"},
		{"huge form", head("POST", "/", form, "Content-Length: 307200") + long, 413, "RequestEntityTooLarge"},
		{"huge length announced", head("POST", auth, "Content-Length: 99999999999") + "{}", 413, "RequestEntityTooLargeException"},
		{"body shorter than said", head("POST", auth, "Content-Length: 10") + "{}", 400, "InvalidRequestException"},
		{"length twice", head("POST", auth, "Content-Length: 2", "Content-Length: 3") + "{}", 400, ""},
		{"length and chunks", head("POST", auth, "Content-Length: 2", "Transfer-Encoding: chunked") + "0\r\n\r\n", 403, "MissingAuthenticationTokenException"},
		{"bad chunk", head("POST", auth, "Transfer-Encoding: chunked") + "zz\r\n", 400, "InvalidRequestException"},
		{"negative length", head("POST", auth, "Content-Length: -1") + "{}", 400, ""},
		{"no host", "GET /clusters HTTP/1.1\r\n\r\n", 400, ""},
		{"no HTTP", "hello\r\n\r\n", 400, ""},
		{"binary", "\x00\x01\x02\xff\xfe\r\n\r\n", 400, ""},
		{"HTTP/9", "GET / HTTP/9.9\r\n\r\n", 505, ""},
		{"form twice", head("POST", "/", form, "Content-Length: 25") + "Action=AssumeRole&Action=", 400, "MalformedInput"},
		{"form not escaped", head("POST", "/", form, "Content-Length: 10") + "Action=%zz", 400, "MalformedInput"},
		{"form as JSON", head("POST", "/", "Content-Type: application/json", "Content-Length: 2") + "{}", 400, "MalformedInput"},
		{"empty form", head("POST", "/", form, "Content-Length: 0"), 400, "MissingAction"},
		{"two signatures", head("GET", "/clusters?X-Amz-Signature=a&X-Amz-Algorithm=AWS4-HMAC-SHA256", "Authorization: AWS4-HMAC-SHA256 Credential=a/b/c/d/e"), 403, "IncompleteSignatureException"},
		{"signature without parts", head("GET", "/clusters", "Authorization: AWS4-HMAC-SHA256 x"), 403, "IncompleteSignatureException"},
		{"bearer", head("GET", "/clusters", "Authorization: Bearer x"), 403, "IncompleteSignatureException"},
	}
}

// TestBadInput: documented answers; nothing panics, hangs or grows. No other
// test runs meanwhile.
func TestBadInput(t *testing.T) {
	var log buffer
	w := newWorld(t, controlplanetest.Options{Log: &log, Settings: map[string]string{"PODID_REQUEST_TIMEOUT": "1s"}})
	idle := func() int { w.HTTP.CloseIdleConnections(); runtime.GC(); return runtime.NumGoroutine() }
	before := idle()
	for _, tc := range badRequests() {
		t.Run(tc.name, func(t *testing.T) { testRaw(t, w, tc) })
	}
	t.Run("signed", func(t *testing.T) { testBadSigned(t, w) })
	t.Run("slow body", func(t *testing.T) {
		testRaw(t, w, raw{"", head("POST", "/clusters/c/assume-role-for-pod-identity", "Content-Length: 10") + "{", -1, ""})
	})
	t.Run("no TLS", func(t *testing.T) {
		c, err := net.Dial("tcp", strings.TrimPrefix(w.Endpoint, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := converse(t, c, head("GET", "/clusters")); status != 400 {
			t.Errorf("status %d", status)
		}
	})
	w.cl.Exchange(w.node, w.cl.Token(pod{})).Credentials(t)
	waitFor(t, "goroutines to end", func() bool { return idle() <= before+4 })
	if strings.Contains(strings.ToLower(log.String()), "panic") {
		t.Errorf("something panicked:\n%s", log.String())
	}
}

func testRaw(t *testing.T, w *world, tc raw) {
	t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(w.Endpoint, "https://"), &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	status, code := converse(t, c, tc.send)
	if tc.status >= 0 && (status != tc.status || code != tc.code) {
		t.Errorf("got %d %q, want %d %q", status, code, tc.status, tc.code)
	}
}

// converse sends bytes, says that no more come, and reads the answer. The
// server has to end it in seconds, with an answer or without (0).
func converse(t *testing.T, c net.Conn, send string) (status int, code string) {
	t.Helper()
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(8 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// A server that has heard enough stops reading: the answer counts.
	_, _ = io.WriteString(c, send)
	if h, ok := c.(interface{ CloseWrite() error }); ok && !strings.HasSuffix(send, "{") {
		_ = h.CloseWrite()
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		if n := net.Error(nil); errors.As(err, &n) && n.Timeout() {
			t.Errorf("no answer and no end: %v", err)
		}
		return 0, ""
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	code = resp.Header.Get("X-Amzn-Errortype")
	if _, rest, ok := strings.Cut(string(body), "<Code>"); ok {
		code, _, _ = strings.Cut(rest, "</Code>")
	}
	return resp.StatusCode, code
}

// testBadSigned: bad bodies and queries of callers who may.
func testBadSigned(t *testing.T, w *world) {
	const create, auth = "/clusters/my-cluster/pod-identity-associations", "/clusters/my-cluster/assume-role-for-pod-identity"
	for _, tc := range []struct {
		name, service, method, path, body string
		status                            int
		code                              string
	}{
		{"truncated JSON", "eks", "POST", create, `{"namespace":"a`, 400, "SerializationException"},
		{"no object", "eks", "POST", create, `[]`, 400, "SerializationException"},
		{"no body", "eks", "POST", create, ``, 400, "InvalidParameterException"},
		{"two objects", "eks", "POST", create, `{}{}`, 400, "SerializationException"},
		{"member twice", "eks", "POST", create, `{"namespace":"a","namespace":"b"}`, 400, "SerializationException"},
		{"wrong type", "eks", "POST", create, `{"namespace":7}`, 400, "SerializationException"},
		{"deep nesting", "eks", "POST", create, strings.Repeat(`{"a":`, 20000), 400, "SerializationException"},
		{"zero in a name", "eks", "POST", create, `{"namespace":"a\u0000","serviceAccount":"b","roleArn":"arn:aws:iam::111122223333:role/x"}`, 400, "InvalidParameterException"},
		{"slash in a name", "eks", "POST", create, `{"namespace":"a/b","serviceAccount":"b","roleArn":"arn:aws:iam::111122223333:role/x"}`, 400, "InvalidParameterException"},
		{"no UTF-8", "eks", "POST", create, "{\"namespace\":\"\xff\",\"serviceAccount\":\"b\",\"roleArn\":\"arn:aws:iam::111122223333:role/x\"}", 400, "SerializationException"},
		{"role no ARN", "eks", "POST", create, `{"namespace":"a","serviceAccount":"b","roleArn":"x"}`, 400, "InvalidParameterException"},
		{"role elsewhere", "eks", "POST", create, `{"namespace":"a","serviceAccount":"b","roleArn":"arn:aws:iam::444455556666:role/x"}`, 403, "AccessDeniedException"},
		{"51 tags", "eks", "POST", create, `{"namespace":"a","serviceAccount":"b","roleArn":"arn:aws:iam::111122223333:role/s3-app-eks-pod-identity-role","tags":{` + manyTags(51) + `}}`, 400, "InvalidParameterException"},
		{"reserved tag", "eks", "POST", create, `{"namespace":"a","serviceAccount":"b","roleArn":"arn:aws:iam::111122223333:role/s3-app-eks-pod-identity-role","tags":{"AWS:x":"y"}}`, 400, "InvalidParameterException"},
		{"policy with tags", "eks", "POST", create, `{"namespace":"a","serviceAccount":"b","roleArn":"arn:aws:iam::111122223333:role/s3-app-eks-pod-identity-role","policy":"{}"}`, 400, "InvalidParameterException"},
		{"issuer of plain HTTP", "podid", "POST", "/podid/v1/clusters", `{"name":"x","issuer":"http://oidc.example.com","discover":true}`, 400, "InvalidParameterException"},
		{"issuer on loopback", "podid", "POST", "/podid/v1/clusters", `{"name":"x","issuer":"https://127.0.0.1:1","discover":true}`, 400, "InvalidRequestException"},
		{"issuer at the metadata service", "podid", "POST", "/podid/v1/clusters", `{"name":"x","issuer":"https://169.254.169.254","discover":true}`, 400, "InvalidRequestException"},
		{"cluster name", "podid", "POST", "/podid/v1/clusters", `{"name":"-x","issuer":"https://x","jwks":{"keys":[]}}`, 400, "InvalidParameterException"},
		{"no keys", "podid", "POST", "/podid/v1/clusters", `{"name":"x","issuer":"https://x"}`, 400, "InvalidParameterException"},
		{"empty key set", "podid", "POST", "/podid/v1/clusters", `{"name":"x","issuer":"https://x","jwks":{"keys":[]}}`, 400, "InvalidParameterException"},
		{"name taken", "podid", "POST", "/podid/v1/clusters", `{"name":"my-cluster","issuer":"https://x","jwks":{"keys":[]}}`, 400, "InvalidParameterException"},
		{"token no string", "eks-auth", "POST", auth, `{"token":{}}`, 400, "SerializationException"},
		{"token null", "eks-auth", "POST", auth, `{"token":null}`, 400, "InvalidParameterException"},
		{"maxResults 0", "eks", "GET", create + "?maxResults=0", "", 400, "InvalidParameterException"},
		{"maxResults 101", "eks", "GET", create + "?maxResults=101", "", 400, "InvalidParameterException"},
		{"maxResults no number", "eks", "GET", create + "?maxResults=x", "", 400, "SerializationException"},
		{"parameter twice", "eks", "GET", create + "?maxResults=1&maxResults=2", "", 400, "SerializationException"},
		{"page token made up", "eks", "GET", create + "?nextToken=abc", "", 400, "InvalidParameterException"},
		{"association id too short", "eks", "GET", create + "/a-1", "", 400, "InvalidParameterException"},
		{"ARN of nothing", "eks", "GET", "/tags/arn%3Aaws%3Aeks", "", 400, "BadRequestException"},
		{"ARN elsewhere", "eks", "GET", "/tags/arn%3Aaws%3Aeks%3Aus-west-2%3A444455556666%3Acluster%2Fx", "", 400, "BadRequestException"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			signedRaw(t, w, tc.service, tc.method, tc.path, tc.body).Want(t, tc.status, tc.code, "")
		})
	}
}

func manyTags(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(`"k%d":"v"`, i))
	}
	return strings.Join(out, ",")
}

// signedRaw signs a body as it stands, as the admin.
func signedRaw(t *testing.T, w *world, service, method, path, body string) controlplanetest.Answer {
	t.Helper()
	u, err := url.Parse(w.Endpoint + path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, u.String(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	cred, err := w.Admin.Retrieve(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := v4.NewSigner().SignHTTP(context.Background(), cred, r, sha256Hex(body), service, controlplanetest.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := w.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return controlplanetest.Answer{Status: resp.StatusCode, Code: resp.Header.Get("x-amzn-ErrorType"), Raw: text, Body: map[string]any{"message": string(text)}}
}
