// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/encoding/httpbinding"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	isoBasic   = "20060102T150405Z"
	dayLength  = len("20060102")

	contentType = "application/json"

	signedHeaders      = "content-length;content-type;host;x-amz-date"
	signedHeadersToken = signedHeaders + ";x-amz-security-token"
)

// call is the request to one endpoint. All tries differ in body, date and signature only, so what they share is made
// once, for the request and for its canonical form. AWS' signer, which the agent's rare calls use, begins anew each time.
// What the control plane verifies with is not used either: one misreading would cancel the other.
//
// Rules: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
type call struct {
	request *http.Request
	region  string
	path    string   // as it is signed: each byte of the escaped path escaped once more
	json    []string // the content type as a header, shared by all tries
	key     atomic.Pointer[signingKey]
}

// signingKey is derived for a day and one secret.
type signingKey struct {
	secret, day string
	key         []byte
}

// newCall is of an address: a URL made by joining paths may lack the first slash, which is there once it was written down.
func newCall(address, region string) (*call, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("address of the call: %w", err)
	}
	return &call{
		request: &http.Request{Method: http.MethodPost, URL: u, Host: hostOf(u), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1},
		region:  region,
		path:    httpbinding.EscapePath(u.EscapedPath(), false),
		json:    []string{contentType},
	}, nil
}

// hostOf is the Host header: without the scheme's own port, as AWS' clients send and sign it.
func hostOf(u *url.URL) string {
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Host
}

// sign returns the request for one try, with the signature in its headers.
func (c *call) sign(ctx context.Context, creds aws.Credentials, body []byte, now time.Time) *http.Request {
	req := c.request.WithContext(ctx)
	req.ContentLength = int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody() // which never fails

	date := now.UTC().Format(isoBasic)
	values := []string{date, c.authorization(creds, body, date), creds.SessionToken}
	req.Header = make(http.Header, 8)
	req.Header["X-Amz-Date"] = values[0:1:1]
	req.Header["Authorization"] = values[1:2:2]
	if creds.SessionToken != "" {
		req.Header["X-Amz-Security-Token"] = values[2:3:3]
	}
	req.Header["Content-Type"] = c.json
	return req
}

// authorization is the header's value.
func (c *call) authorization(creds aws.Credentials, body []byte, date string) string {
	signed := signedHeaders
	if creds.SessionToken != "" {
		signed = signedHeadersToken
	}
	day := date[:dayLength]
	canonical := c.canonical(creds.SessionToken, signed, body, date)

	text := make([]byte, 0, 256)
	text = append(append(append(text, algorithm+"\n"...), date...), '\n')
	scope := len(text)
	for _, part := range [...]string{day, c.region, SigningName} {
		text = append(append(text, part...), '/')
	}
	text = append(text, terminator...)
	end := len(text)
	text = hex.AppendEncode(append(text, '\n'), canonical[:])

	header := make([]byte, 0, 512)
	header = append(append(header, algorithm+" Credential="...), creds.AccessKeyID...)
	header = append(append(header, '/'), text[scope:end]...)
	header = append(append(header, ", SignedHeaders="...), signed...)
	header = append(header, ", Signature="...)
	return string(hex.AppendEncode(header, mac(c.keyOf(creds.SecretAccessKey, day), text)))
}

// canonical is the hash of the canonical request.
func (c *call) canonical(sessionToken, signed string, body []byte, date string) [sha256.Size]byte {
	payload := sha256.Sum256(body)
	var stack [2048]byte
	b := append(append(stack[:0], http.MethodPost+"\n"...), c.path...)
	b = append(b, "\n\ncontent-length:"...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(append(b, "\ncontent-type:"...), contentType...)
	b = append(append(b, "\nhost:"...), c.request.Host...)
	b = append(append(b, "\nx-amz-date:"...), date...)
	if sessionToken != "" {
		b = append(append(b, "\nx-amz-security-token:"...), sessionToken...)
	}
	b = append(append(b, "\n\n"...), signed...)
	b = hex.AppendEncode(append(b, '\n'), payload[:])
	return sha256.Sum256(b)
}

// keyOf derives the key for a day, or finds the last one derived.
func (c *call) keyOf(secret, day string) []byte {
	if k := c.key.Load(); k != nil && k.day == day && k.secret == secret {
		return k.key
	}
	key := []byte("AWS4" + secret)
	for _, part := range [...]string{day, c.region, SigningName, terminator} {
		key = mac(key, []byte(part))
	}
	c.key.Store(&signingKey{secret: secret, day: day, key: key})
	return key
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}
