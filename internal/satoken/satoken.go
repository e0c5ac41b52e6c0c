// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package satoken verifies Kubernetes service account tokens, the projected
// kind that TokenRequest issues, and says which workload holds one.
//
// It owns the claims and their rules: signature (by jwt) under the keys of one
// cluster, the cluster's issuer, one audience, times with a leeway, a longest
// life, and a subject that agrees with the kubernetes.io claims. It refuses
// legacy tokens, which have no such claims and no end, and, when asked, tokens
// that are not bound to a pod.
//
// In the exchange it stands after the caller's own signature and before the
// association: everything behind it may rely on Claims. Whoever calls it picks
// issuer and keys by the cluster in the request, never by the token.
package satoken

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"podid/internal/jwt"
)

const (
	// DefaultLeeway is what clocks may differ.
	DefaultLeeway = 60 * time.Second
	// DefaultMaxLife is the longest life of a token that EKS Auth takes.
	DefaultMaxLife = 24 * time.Hour

	// lifeSlack allows for an issuer that rounds iat and exp apart.
	lifeSlack = 10 * time.Second

	subjectPrefix = "system:serviceaccount:"
	maxTime       = 253402300799 // the end of the year 9999
	maxAudiences  = 64
)

// Claims are what a verified token says.
type Claims struct {
	Issuer    string
	Audiences []string
	Subject   string // system:serviceaccount:<namespace>:<name>

	Namespace         string
	ServiceAccount    string
	ServiceAccountUID string
	PodName, PodUID   string // empty when the token is not bound to a pod
	// NodeName and NodeUID are empty below Kubernetes 1.32, or when the pod was
	// not scheduled yet.
	NodeName, NodeUID string
	ID                string // jti, may be empty

	IssuedAt, Expires time.Time
	NotBefore         time.Time // zero when the token has none
}

// Params say what a token has to be. Keys, Issuer, Audience and Now are required.
type Params struct {
	Keys     *jwt.KeySet
	Issuer   string // equal, letter by letter
	Audience string // one of the token's audiences
	// Leeway is added on both sides of the times; zero means DefaultLeeway.
	Leeway time.Duration
	// MaxLife bounds exp − iat; zero means DefaultMaxLife.
	MaxLife time.Duration
	// RequirePod refuses tokens that are not bound to a pod.
	RequirePod bool
	Now        func() time.Time
}

// Verify checks token and returns its claims. A refusal is an *Error; any other
// error is a mistake in p.
func Verify(token string, p Params) (Claims, error) {
	p, err := p.complete()
	if err != nil {
		return Claims{}, err
	}
	payload, _, err := p.Keys.Verify(token)
	if err != nil {
		return Claims{}, ofSignature(err)
	}
	c, err := parse(payload)
	if err != nil {
		return Claims{}, err
	}
	if c.Issuer != p.Issuer {
		return Claims{}, refuse(ReasonIssuer, "Issuer of the token is %.200q, the cluster's is %.200q", c.Issuer, p.Issuer)
	}
	if !slices.Contains(c.Audiences, p.Audience) {
		return Claims{}, refuse(ReasonAudience, "Audience of the token is %.200q, want %q", strings.Join(c.Audiences, " "), p.Audience)
	}
	if err := checkTimes(c, p); err != nil {
		return Claims{}, err
	}
	if life := c.Expires.Sub(c.IssuedAt); life > p.MaxLife+lifeSlack {
		return Claims{}, refuse(ReasonLife, "Token was issued for %s, at most %s is accepted", life, p.MaxLife)
	}
	if p.RequirePod && c.PodUID == "" {
		return Claims{}, refuse(ReasonNotPodBound, "Token is not bound to a pod; use a projected service account token volume")
	}
	return c, nil
}

func (p Params) complete() (Params, error) {
	if p.Keys == nil || p.Issuer == "" || p.Audience == "" || p.Now == nil {
		return p, errors.New("verify service account token: keys, issuer, audience and clock are required")
	}
	if p.Leeway == 0 {
		p.Leeway = DefaultLeeway
	}
	if p.MaxLife == 0 {
		p.MaxLife = DefaultMaxLife
	}
	return p, nil
}

func checkTimes(c Claims, p Params) error {
	now := p.Now()
	switch {
	case now.After(c.Expires.Add(p.Leeway)):
		return refuse(ReasonExpired, "Token expired at %s, it is %s", stamp(c.Expires), stamp(now))
	case c.NotBefore.After(now.Add(p.Leeway)):
		return refuse(ReasonNotYetValid, "Token is not valid before %s, it is %s", stamp(c.NotBefore), stamp(now))
	case c.IssuedAt.After(now.Add(p.Leeway)):
		return refuse(ReasonNotYetValid, "Token was issued in the future, at %s, it is %s", stamp(c.IssuedAt), stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// wire is the payload as the API server writes it.
type wire struct {
	Issuer     string      `json:"iss"`
	Subject    string      `json:"sub"`
	Audiences  audiences   `json:"aud"`
	ID         string      `json:"jti"`
	IssuedAt   *float64    `json:"iat"`
	NotBefore  *float64    `json:"nbf"`
	Expires    *float64    `json:"exp"`
	Kubernetes *kubernetes `json:"kubernetes.io"`
}

type kubernetes struct {
	Namespace      string `json:"namespace"`
	ServiceAccount object `json:"serviceaccount"`
	Pod            object `json:"pod"`
	Node           object `json:"node"`
}

type object struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// audiences is a string or a list of strings (RFC 7519 section 4.1.3).
type audiences []string

// UnmarshalJSON takes both forms.
func (a *audiences) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*a = make(audiences, 1)
		return json.Unmarshal(data, &(*a)[0])
	}
	return json.Unmarshal(data, (*[]string)(a))
}

func parse(payload []byte) (Claims, error) {
	w, ok := compact(payload)
	if !ok {
		w = wire{}
		if err := json.Unmarshal(payload, &w); err != nil {
			// The decoder's text can quote a value of the token: leave it out.
			return Claims{}, refuse(ReasonMalformed, "Claims of the token are not the JSON of a service account token")
		}
	}
	if w.Kubernetes == nil {
		return Claims{}, refuse(ReasonSubject, "Token has no kubernetes.io claims: it is no projected service account token")
	}
	k := w.Kubernetes
	c := Claims{
		Issuer: w.Issuer, Audiences: w.Audiences, Subject: w.Subject, ID: w.ID,
		Namespace: k.Namespace, ServiceAccount: k.ServiceAccount.Name, ServiceAccountUID: k.ServiceAccount.UID,
		PodName: k.Pod.Name, PodUID: k.Pod.UID, NodeName: k.Node.Name, NodeUID: k.Node.UID,
	}
	if len(c.Audiences) > maxAudiences {
		return Claims{}, refuse(ReasonMalformed, "Token names more than %d audiences", maxAudiences)
	}
	if err := parseTimes(&c, w); err != nil {
		return Claims{}, err
	}
	return c, checkNames(c)
}

func parseTimes(c *Claims, w wire) error {
	for _, field := range []struct {
		name     string
		value    *float64
		into     *time.Time
		required bool
	}{
		{"exp", w.Expires, &c.Expires, true},
		{"iat", w.IssuedAt, &c.IssuedAt, true},
		{"nbf", w.NotBefore, &c.NotBefore, false},
	} {
		switch {
		case field.value == nil && field.required:
			return refuse(ReasonMalformed, "Token has no %s claim", field.name)
		case field.value == nil:
		case *field.value < 0 || *field.value > maxTime:
			return refuse(ReasonMalformed, "The %s claim of the token is no date", field.name)
		default:
			*field.into = time.Unix(int64(*field.value), 0).UTC()
		}
	}
	if !c.Expires.After(c.IssuedAt) {
		return refuse(ReasonMalformed, "Token ends before it begins")
	}
	return nil
}

// checkNames holds the subject against the kubernetes.io claims and every name
// against the rules of Kubernetes, so that none can carry a separator into an
// ARN, a tag or a key.
func checkNames(c Claims) error {
	if !isName(c.Namespace, 63, false) || !isName(c.ServiceAccount, 253, true) {
		return refuse(ReasonSubject, "Token names no valid namespace and service account")
	}
	if c.Subject != subjectPrefix+c.Namespace+":"+c.ServiceAccount {
		return refuse(ReasonSubject, "Subject of the token differs from its kubernetes.io claims")
	}
	if (c.PodName == "") != (c.PodUID == "") {
		return refuse(ReasonNotPodBound, "Token names a pod without its uid or a uid without its pod")
	}
	if c.PodName != "" && !isName(c.PodName, 253, true) || c.NodeName != "" && !isName(c.NodeName, 253, true) {
		return refuse(ReasonMalformed, "Token names a pod or node that cannot exist")
	}
	for _, uid := range []string{c.ServiceAccountUID, c.PodUID, c.NodeUID, c.ID} {
		if !isUID(uid) {
			return refuse(ReasonMalformed, "A uid of the token is not valid")
		}
	}
	return nil
}

// isName is a DNS label or, with dots, a DNS subdomain (RFC 1123).
func isName(v string, maxLen int, dots bool) bool {
	if v == "" || len(v) > maxLen {
		return false
	}
	edge := true // a letter or digit must come next
	for i := range len(v) {
		switch c := v[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			edge = false
		case c == '-' && !edge:
		case c == '.' && dots && !edge && v[i-1] != '-':
			edge = true
		default:
			return false
		}
	}
	return !edge && v[len(v)-1] != '-'
}

func isUID(v string) bool {
	if len(v) > 128 {
		return false
	}
	for i := range len(v) {
		if c := v[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// String names the workload.
func (c Claims) String() string {
	return fmt.Sprintf("%s/%s pod %s", c.Namespace, c.ServiceAccount, c.PodName)
}
