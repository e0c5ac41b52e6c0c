// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package podenv owns the environment that a pod with pod identity has: what
// the webhook adds, and nothing of the AWS settings of whoever runs podid. It
// refuses to pass on anything that an SDK's default chain would look at
// before the container credentials.
package podenv

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// Settings are what differs from pod to pod.
type Settings struct {
	AgentEndpoint string // base URL of the node agent
	TokenFile     string // holds the pod's token
	Region        string // "" keeps the caller's
	Nowhere       string // path of a file without settings, for the shared files
}

// credentialsPath is the one path of the node agent.
const credentialsPath = "/v1/credentials"

// drop are the variables that give an SDK credentials or say where to find
// them: static keys, profiles, IRSA, ECS and IMDS. Source: AWS SDKs and Tools
// Reference Guide, "Standardized credential providers".
var drop = []string{
	"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
	"AWS_CREDENTIAL_EXPIRATION", "AWS_CREDENTIAL_FILE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCOUNT_ID",
	"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_SDK_LOAD_CONFIG", "AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
	"AWS_METADATA_SERVICE_ENDPOINT", "AWS_STS_REGIONAL_ENDPOINTS",
}

// Of returns the environment of a pod, made of the caller's own. Endpoint, CA
// and region stay.
func Of(environ []string, s Settings) []string {
	env := slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(drop, name)
	})
	env = exempt(env, s.AgentEndpoint)
	add := func(name, value string) { env = append(env, name+"="+value) }
	add("AWS_STS_REGIONAL_ENDPOINTS", "regional")
	region := s.Region
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if v, ok := lookup(env, name); ok && region == "" {
			region = v
		}
	}
	for _, name := range []string{"AWS_DEFAULT_REGION", "AWS_REGION"} {
		if _, ok := lookup(env, name); !ok && region != "" {
			add(name, region)
		}
	}
	add("AWS_CONTAINER_CREDENTIALS_FULL_URI", strings.TrimRight(s.AgentEndpoint, "/")+credentialsPath)
	add("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", s.TokenFile)
	add("AWS_SHARED_CREDENTIALS_FILE", s.Nowhere)
	add("AWS_CONFIG_FILE", s.Nowhere)
	add("AWS_EC2_METADATA_DISABLED", "true")
	return env
}

func lookup(env []string, name string) (string, bool) {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// exempt adds the agent to the hosts that no proxy serves, where a proxy is
// set at all.
func exempt(env []string, endpoint string) []string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" {
		return env
	}
	proxied := slices.ContainsFunc(env, func(v string) bool {
		name, value, _ := strings.Cut(v, "=")
		return value != "" && slices.Contains([]string{"http_proxy", "https_proxy", "all_proxy"}, strings.ToLower(name))
	})
	if !proxied {
		return env
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		env = join(env, name, u.Hostname())
	}
	return env
}

func join(env []string, name, host string) []string {
	if net.ParseIP(host) != nil && strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	for i, v := range env {
		old, ok := strings.CutPrefix(v, name+"=")
		if !ok {
			continue
		}
		if old != "" && !slices.Contains(strings.Split(old, ","), host) {
			host = old + "," + host
		} else if old != "" {
			host = old
		}
		env[i] = name + "=" + host
		return env
	}
	return append(env, name+"="+host)
}
