// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"podid/internal/fault"
	"podid/internal/jwt"
)

var versionRE = regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,3}$`)

const (
	maxName = 100
	maxURL  = 2048
	maxCA   = 64 << 10
	maxJWKS = 256 << 10
)

// nameCharacters are those of a cluster's name; the last two do not begin one.
const nameCharacters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"

// ValidName reports whether s may name a cluster: 1 to 100 of A-Z a-z 0-9 - _,
// beginning with a letter or digit (EKS API Reference, CreateCluster). Every
// exchange asks, so it is no regular expression.
func ValidName(s string) bool {
	return s != "" && len(s) <= maxName && s[0] != '-' && s[0] != '_' && strings.Trim(s, nameCharacters) == ""
}

func invalid(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason(reason)
}

func badName(name string) error {
	return invalid("cluster-name", "The cluster name %.100q is not valid: 1 to 100 letters, digits, '-' and '_', beginning with a letter or digit.", name)
}

func (in *RegisterInput) validate() error {
	if !ValidName(in.Name) {
		return badName(in.Name)
	}
	if err := checkURL("issuer", in.Issuer); err != nil {
		return err
	}
	if err := checkSettings(&in.NodeBinding, &in.Version, &in.Endpoint, &in.CA); err != nil {
		return err
	}
	if len(in.JWKS) == 0 && !in.Discover {
		return fault.New(fault.MissingParameter, "The cluster's keys are missing: give jwks, or discover to fetch them from the issuer.").WithReason("keys-missing")
	}
	return CheckTags(in.Tags)
}

func (in *UpdateInput) validate() error {
	if in.Issuer == nil && in.JWKS == nil && !in.FetchKeys && in.Discover == nil && in.NodeBinding == nil && in.Version == nil && in.Endpoint == nil && in.CA == nil && in.Enrolment == nil && !in.NoEnrolment {
		return fault.New(fault.InvalidRequest, "The update changes nothing.").WithReason("no-change")
	}
	if in.JWKS != nil && in.FetchKeys {
		return fault.New(fault.InvalidRequest, "Give jwks or fetchKeys, not both.").WithReason("keys-twice")
	}
	if in.Enrolment != nil && in.NoEnrolment {
		return fault.New(fault.InvalidRequest, "Give enrolmentKey or noEnrolmentKey, not both.").WithReason("enrolment-twice")
	}
	if in.KeepOld && in.JWKS == nil {
		return fault.New(fault.InvalidRequest, "keepOldKeys belongs to jwks: give the new keys.").WithReason("keys-missing")
	}
	return checkSettings(in.NodeBinding, in.Version, in.Endpoint, in.CA)
}

// checkSettings judges what is given; nil and, but for the binding, the empty
// string pass.
func checkSettings(b *NodeBinding, version, endpoint, ca *string) error {
	if b != nil && !slices.Contains([]NodeBinding{NodeBindingDefault, NodeBindingRequired, NodeBindingIfPresent, NodeBindingOff}, *b) {
		return invalid("node-binding", "nodeBinding is %.40q; default, required, ifPresent or off is wanted.", string(*b))
	}
	if version != nil && *version != "" && !versionRE.MatchString(*version) {
		return invalid("version", "The Kubernetes version %.40q is not of the form 1.34.", *version)
	}
	if endpoint != nil && *endpoint != "" {
		if err := checkURL("endpoint", *endpoint); err != nil {
			return err
		}
	}
	if ca != nil && *ca != "" {
		return checkCA(*ca)
	}
	return nil
}

func checkURL(what, s string) error {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxURL || u.Scheme != "https" || u.Host == "" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return invalid(what, "The %s %.200q is not valid: an https URL without user, query and fragment is wanted.", what, s)
	}
	return nil
}

// checkCA wants base64 of PEM certificates: Kubernetes clients read nothing else.
func checkCA(s string) error {
	if len(s) > maxCA {
		return invalid("certificate-authority", "The certificate authority data is longer than %d bytes.", maxCA)
	}
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return invalid("certificate-authority", "The certificate authority data is not base64.").Because(err)
	}
	for n := 0; ; n++ {
		block, rest := pem.Decode(data)
		if block == nil && (n == 0 || len(bytes.TrimSpace(rest)) > 0) {
			return invalid("certificate-authority", "The certificate authority data is not base64 of PEM certificates.")
		}
		if block == nil {
			return nil
		}
		if block.Type != "CERTIFICATE" {
			return invalid("certificate-authority", "The certificate authority data holds a PEM block %.40q; certificates only are wanted.", block.Type)
		}
		data = rest
	}
}

// keySet returns the key set to store: the one given, or the one that the
// issuer publishes. Only public keys of allowed kinds pass.
func (m *Manager) keySet(ctx context.Context, issuer string, given []byte, fetch bool) ([]byte, error) {
	set := given
	if len(set) == 0 && fetch {
		if m.Keys == nil {
			return nil, fault.New(fault.InvalidRequest, "Keys cannot be fetched here; give jwks.").WithReason("discovery-off")
		}
		var err error
		if set, _, err = m.Keys.Discover(ctx, issuer); err != nil {
			return nil, discoveryFault(issuer, err)
		}
	}
	compact, _, err := checkKeySet(set)
	return compact, err
}

// checkKeySet returns a key set as it is stored, and what it holds.
func checkKeySet(set []byte) ([]byte, *jwt.KeySet, error) {
	if len(set) > maxJWKS {
		return nil, nil, invalid("jwks", "The key set is longer than %d bytes.", maxJWKS)
	}
	keys, err := jwt.ParseKeySet(set)
	if err != nil {
		return nil, nil, invalid("jwks", "The key set is not valid: %s.", err).Because(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, set); err != nil {
		return nil, nil, invalid("jwks", "The key set is not JSON.").Because(err)
	}
	return compact.Bytes(), keys, nil
}

func discoveryFault(issuer string, err error) error {
	if fault.As(err).Kind != fault.Internal {
		return err
	}
	return fault.New(fault.IdPUnavailable, "The keys of the issuer %.200s could not be fetched: %s.", issuer, err).
		WithReason("discovery").Because(fmt.Errorf("discover keys: %w", err))
}

// KeyIDs lists the ids of a cluster's keys in their order, "" for a key
// without one.
func (c *Cluster) KeyIDs() []string {
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(c.JWKS, &set); err != nil {
		return nil // stored sets were parsed before
	}
	ids := make([]string, len(set.Keys))
	for i, k := range set.Keys {
		ids[i] = k.ID
	}
	return ids
}
