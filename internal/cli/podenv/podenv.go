// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package podenv owns the environment of a command that poses as a pod: what
// the admission webhook gives a pod's containers, and nothing of the caller's
// own identity. It removes every variable and shared file from which an AWS
// SDK would take other credentials, and keeps what says where and how to call.
package podenv

import (
	"net/url"
	"os"
	"slices"
	"strings"
)

// Settings are what the webhook would know.
type Settings struct {
	AgentEndpoint string // of the node agent, without path
	TokenFile     string
	Region        string // for those of AWS_REGION and AWS_DEFAULT_REGION that are not set; "" leaves them
	RegionGiven   bool   // Region replaces those that are set
	EndpointURL   string // replaces AWS_ENDPOINT_URL; "" keeps it
	CABundle      string // replaces AWS_CA_BUNDLE; "" keeps it
}

// removed are the variables from which SDKs take credentials, profiles or
// other sources of them. Source: AWS SDKs and Tools Reference Guide,
// "Settings reference"; sources of the Go, Python, JavaScript and Java SDKs.
var removed = []string{
	"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_ACCOUNT_ID", "AWS_CREDENTIAL_EXPIRATION", "AWS_CREDENTIAL_FILE", "AWS_CREDENTIAL_SCOPE",
	"AWS_DEFAULT_PROFILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "AWS_IMDSV1_DISABLED",
	"AWS_PROFILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_SDK_LOAD_CONFIG", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY",
	"AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "BOTO_CONFIG",
}

// removedPrefixes are families of such variables: ECS and pod identity, SSO
// logins, bearer tokens, and IAM roles by their older names.
var removedPrefixes = []string{"AWS_BEARER_TOKEN", "AWS_CONTAINER_", "AWS_IAM_ROLE_", "AWS_LOGIN_", "AWS_SSO_"}

// Path is the agent's path of credentials.
const Path = "/v1/credentials"

// Build makes the environment from the caller's. Order is kept; what is added
// comes last.
func Build(environ []string, s Settings) []string {
	drop := func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(removed, name) || slices.ContainsFunc(removedPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	e := &env{slices.DeleteFunc(slices.Clone(environ), drop)}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if s.Region != "" && (s.RegionGiven || e.get(name) == "") {
			e.set(name, s.Region)
		}
	}
	if s.EndpointURL != "" {
		e.set("AWS_ENDPOINT_URL", s.EndpointURL)
	}
	if s.CABundle != "" {
		e.set("AWS_CA_BUNDLE", s.CABundle)
		e.set("NODE_EXTRA_CA_CERTS", s.CABundle)
	}
	e.set("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	e.set("AWS_CONFIG_FILE", os.DevNull)
	e.set("AWS_EC2_METADATA_DISABLED", "true")
	e.set("AWS_STS_REGIONAL_ENDPOINTS", "regional")
	e.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", strings.TrimRight(s.AgentEndpoint, "/")+Path)
	e.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", s.TokenFile)
	e.bypassProxy(s.AgentEndpoint)
	return e.vars
}

type env struct{ vars []string }

func (e *env) get(name string) string {
	for _, v := range slices.Backward(e.vars) { // the last one wins, as in exec
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

func (e *env) set(name, value string) {
	e.vars = slices.DeleteFunc(e.vars, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	e.vars = append(e.vars, name+"="+value)
}

// bypassProxy keeps the token from a proxy: the agent is on this machine.
func (e *env) bypassProxy(agent string) {
	u, err := url.Parse(agent)
	if err != nil || u.Hostname() == "" {
		return
	}
	proxied := slices.ContainsFunc([]string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"}, func(n string) bool {
		return e.get(n) != ""
	})
	if !proxied {
		return
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		hosts := e.get(name)
		if slices.Contains(strings.Split(hosts, ","), u.Hostname()) {
			continue
		}
		if hosts != "" {
			hosts += ","
		}
		e.set(name, hosts+u.Hostname())
	}
}
