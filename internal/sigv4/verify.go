// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Verify reports whether key signed r. payloadSHA256 is the lower-case hex
// SHA-256 of the body that the caller has read; s is what Parse returned for
// the same request. The signing time may be at most skew away from now; a
// presigned request lives for its Expires instead, and may also be at most
// skew early. The error is an *Error; comparison takes constant time.
//
// The time is checked before the signature, as AWS does, so that a wrong clock
// is told apart from a wrong key.
func (s *Signed) Verify(r *http.Request, payloadSHA256 string, key SigningKey, now time.Time, skew time.Duration) error {
	if err := s.checkTime(now.UTC(), skew); err != nil {
		return err
	}
	if err := s.checkPayload(r, payloadSHA256); err != nil {
		return err
	}
	var stack [2048]byte
	canonical, err := s.appendCanonical(stack[:0], r, payloadSHA256)
	if err != nil {
		return err
	}
	var text [256]byte
	want := key.sign(s.appendStringToSign(text[:0], canonical))
	var got [sha256.Size]byte
	if n, err := hex.Decode(got[:], []byte(s.signature)); err != nil || n != len(got) ||
		key.k == nil || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return refuse(CodeSignatureDoesNotMatch, ReasonMismatch,
			"The request signature we calculated does not match the signature you provided. "+
				"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

func (s *Signed) appendStringToSign(out, canonical []byte) []byte {
	sum := sha256.Sum256(canonical)
	out = append(out, algorithm+"\n"...)
	out = append(append(out, s.stamp...), '\n')
	for _, part := range [...]string{s.Date, s.Region, s.Service} {
		out = append(append(out, part...), '/')
	}
	out = append(out, terminator+"\n"...)
	return hex.AppendEncode(out, sum[:])
}

func (s *Signed) checkTime(now time.Time, skew time.Duration) error {
	if s.Time.After(now.Add(skew)) {
		return refuse(CodeSignatureDoesNotMatch, ReasonNotYetCurrent,
			"Signature not yet current: %s is still later than %s (%s + %s.)",
			s.stamp, now.Add(skew).Format(isoBasic), now.Format(isoBasic), minutes(skew))
	}
	if s.Expires > 0 {
		if end := s.Time.Add(s.Expires); now.After(end) {
			return refuse(CodeSignatureDoesNotMatch, ReasonExpired,
				"Signature expired: %s is now earlier than %s", end.Format(isoBasic), now.Format(isoBasic))
		}
		return nil
	}
	if oldest := now.Add(-skew); s.Time.Before(oldest) {
		return refuse(CodeSignatureDoesNotMatch, ReasonExpired,
			"Signature expired: %s is now earlier than %s (%s - %s.)",
			s.stamp, oldest.Format(isoBasic), now.Format(isoBasic), minutes(skew))
	}
	return nil
}

// minutes writes a window as AWS does: "5 min".
func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return d.String()
}

// checkPayload holds a stated payload hash against the body's own. Without a
// statement the body's hash is what is signed.
func (s *Signed) checkPayload(r *http.Request, payloadSHA256 string) error {
	if len(payloadSHA256) != 2*sha256.Size || !isLowerHex(payloadSHA256) {
		return refuse(CodeSignatureDoesNotMatch, ReasonPayload, "The body's hash must be 64 lower-case hexadecimal digits.")
	}
	stated, err := single(r.Header, headerPayload)
	if err != nil {
		return err
	}
	if err := matchPayload(stated, payloadSHA256); err != nil || !s.Presigned {
		return err
	}
	params, err := amzParams(r.URL.RawQuery)
	if err != nil {
		return err
	}
	return matchPayload(params.get(queryPayload), payloadSHA256)
}

func matchPayload(stated, actual string) error {
	switch {
	case stated == "" || subtle.ConstantTimeCompare([]byte(stated), []byte(actual)) == 1:
		return nil
	case stated == "UNSIGNED-PAYLOAD" || strings.HasPrefix(stated, "STREAMING-"):
		return refuse(CodeSignatureDoesNotMatch, ReasonPayload, "The payload must be signed: x-amz-content-sha256 must be the body's SHA-256.")
	}
	return refuse(CodeSignatureDoesNotMatch, ReasonPayload, "The provided 'x-amz-content-sha256' header does not match what was computed.")
}

// SigningKey is a key derived for one day, region and service. It cannot print
// itself. The zero value verifies nothing.
type SigningKey struct{ k *[sha256.Size]byte }

// String hides the key.
func (SigningKey) String() string { return "[secret]" }

// GoString hides the key.
func (SigningKey) GoString() string { return "[secret]" }

// MarshalText hides the key from encoders and structured logs.
func (SigningKey) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

func (k SigningKey) sign(message []byte) (out [sha256.Size]byte) {
	if k.k == nil {
		return out
	}
	mac := hmac.New(sha256.New, k.k[:])
	mac.Write(message)
	mac.Sum(out[:0])
	return out
}

// DeriveKey derives the signing key of a secret access key for a scope.
func DeriveKey(secretAccessKey, date, region, service string) SigningKey {
	k := make([]byte, 0, 4+len(secretAccessKey))
	k = append(append(k, "AWS4"...), secretAccessKey...)
	for _, part := range []string{date, region, service, terminator} {
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(part))
		k = mac.Sum(nil)
	}
	return SigningKey{k: (*[sha256.Size]byte)(k)}
}
