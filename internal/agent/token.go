// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"podid/internal/agent/credcache"
	"podid/internal/agent/eksauthclient"
)

// maxTokenBytes is the longest token that podid's EKS Auth verifies, and far beyond those of Kubernetes: a longer one is
// not worth a call.
const maxTokenBytes = 20000

var (
	errTokenExpired     = errors.New("token is expired")
	errTokenNotYetValid = errors.New("token is not valid yet")
)

type headerJSON struct {
	Algorithm string `json:"alg"`
}

type claimsJSON struct {
	Expiry     *float64 `json:"exp"`
	NotBefore  *float64 `json:"nbf"`
	Kubernetes struct {
		Namespace string `json:"namespace"`
		Pod       struct {
			UID string `json:"uid"`
		} `json:"pod"`
		ServiceAccount struct {
			Name string `json:"name"`
		} `json:"serviceaccount"`
	} `json:"kubernetes.io"`
}

// peek reads the claims of a token without verifying it. The result says what the bearer claims; only EKS Auth's answer
// makes it true.
func peek(raw string) (credcache.Token, error) {
	if len(raw) > maxTokenBytes {
		return credcache.Token{}, fmt.Errorf("token is longer than %d bytes", maxTokenBytes)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return credcache.Token{}, errors.New("token is malformed: want three parts separated by dots")
	}
	var header headerJSON
	if err := decodePart(parts[0], &header); err != nil {
		return credcache.Token{}, fmt.Errorf("token is malformed: header: %w", err)
	}
	if header.Algorithm == "" {
		return credcache.Token{}, errors.New("token is malformed: header names no algorithm")
	}
	var claims claimsJSON
	if err := decodePart(parts[1], &claims); err != nil {
		return credcache.Token{}, fmt.Errorf("token is malformed: claims: %w", err)
	}
	if _, err := base64.RawURLEncoding.DecodeString(parts[2]); err != nil {
		return credcache.Token{}, errors.New("token is malformed: signature: not base64url")
	}
	expiry, err := instant(claims.Expiry)
	if err != nil {
		return credcache.Token{}, fmt.Errorf("token is malformed: exp: %w", err)
	}
	notBefore, err := instant(claims.NotBefore)
	if err != nil {
		return credcache.Token{}, fmt.Errorf("token is malformed: nbf: %w", err)
	}
	return credcache.Token{
		Raw: eksauthclient.Secret(raw),
		Pod: credcache.Pod{
			Namespace:      claims.Kubernetes.Namespace,
			ServiceAccount: claims.Kubernetes.ServiceAccount.Name,
			UID:            claims.Kubernetes.Pod.UID,
		},
		NotBefore: notBefore,
		Expiry:    expiry,
	}, nil
}

// checkTime refuses a token outside its own time, without leeway, as AWS' agent does.
func checkTime(t credcache.Token, now time.Time) error {
	switch {
	case !t.Expiry.IsZero() && !now.Before(t.Expiry):
		return errTokenExpired
	case now.Before(t.NotBefore):
		return errTokenNotYetValid
	}
	return nil
}

// decodePart decodes one part of a JWT. Its errors never quote the token.
func decodePart(part string, into any) error {
	plain, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return errors.New("not base64url")
	}
	if len(plain) == 0 || plain[0] != '{' || json.Unmarshal(plain, into) != nil {
		return errors.New("not the JSON object of a token")
	}
	return nil
}

// instant turns seconds since 1970 into a time; nil is the zero time. Numbers beyond year 9999 are refused.
func instant(seconds *float64) (time.Time, error) {
	switch {
	case seconds == nil:
		return time.Time{}, nil
	case *seconds < 0 || *seconds > 253402300799:
		return time.Time{}, errors.New("out of range")
	}
	return time.UnixMilli(int64(*seconds * 1000)), nil
}
