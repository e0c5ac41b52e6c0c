// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"podid/internal/arn"
	"podid/internal/jwt"
)

// Enrolment is the key that a cluster's operator proves itself with when it
// brings the cluster's keys. It does not hang on those: they may all be gone.
type Enrolment struct {
	Key     []byte    `cbor:"1,keyasint"` // public, a JWK
	ID      string    `cbor:"2,keyasint"` // its RFC 7638 thumbprint
	Created time.Time `cbor:"3,keyasint"`
	Last    int64     `cbor:"4,keyasint,omitempty"` // milliseconds of the proof that was taken last
}

// EnrolmentAudience is what a proof says that it is for.
const EnrolmentAudience = "podid.dev/put-cluster-keys"

// maxProof bounds a proof in characters.
const maxProof = 4096

// newEnrolment reads the public half of an enrolment key: a JWK on P-256.
func newEnrolment(jwk []byte, now time.Time) (*Enrolment, error) {
	if len(jwk) > maxProof {
		return nil, invalid("enrolment-key", "The enrolment key is longer than %d bytes.", maxProof)
	}
	set, err := single(jwk)
	if err != nil {
		return nil, invalid("enrolment-key", "The enrolment key is not valid: %s.", err).Because(err)
	}
	key := set.Keys()[0]
	public, ok := key.Public.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, invalid("enrolment-key", "The enrolment key is not an EC key on P-256.")
	}
	point, err := public.Bytes()
	if err != nil {
		return nil, invalid("enrolment-key", "The enrolment key is not valid: %s.", err).Because(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	x, y := encode(point[1:33]), encode(point[33:])
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, x, y))
	id := encode(sum[:])
	return &Enrolment{
		Key: fmt.Appendf(nil, `{"kty":"EC","crv":"P-256","x":%q,"y":%q,"alg":"ES256","use":"sig","kid":%q}`, x, y, id), ID: id, Created: now,
	}, nil
}

// proof is what the operator has signed.
type proof struct {
	Audience string `json:"aud"`
	Cluster  string `json:"sub"` // ARN
	UID      string `json:"uid"`
	IssuedAt int64  `json:"issuedAtMs"` // milliseconds since 1970
	Body     string `json:"bodySha256"` // of the request's body, in hexadecimal
}

// parseProof reads what a proof says, and verifies nothing. It refuses what it
// does not know: the form has one reading.
func parseProof(text string) (*proof, bool) {
	if len(text) > maxProof {
		return nil, false
	}
	_, payload, err := jwt.PeekUnverified(text)
	if err != nil {
		return nil, false
	}
	p := &proof{}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil || d.InputOffset() != int64(len(payload)) {
		return nil, false
	}
	return p, p.Audience == EnrolmentAudience
}

// account is that of the cluster that the proof names, "" where there is none.
func (p *proof) account() string {
	a, err := arn.Parse(p.Cluster)
	if err != nil || !arn.IsAccount(a.Account) {
		return ""
	}
	return a.Account
}

// proves reports whether the proof was signed with the key.
func (e *Enrolment) proves(text string) bool {
	set, err := single(e.Key)
	if err != nil {
		return false
	}
	_, header, err := set.Verify(text)
	return err == nil && header.KeyID == e.ID
}

// isOf reports whether the proof is over the body.
func (p *proof) isOf(body []byte) bool {
	sum := sha256.Sum256(body)
	return p.Body == hex.EncodeToString(sum[:])
}
