// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package podpatch

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Addresses at which the node agent answers pods, and the path of credentials.
const (
	CredentialsURIv4 = "http://169.254.170.23/v1/credentials"
	CredentialsURIv6 = "http://[fd00:ec2::23]/v1/credentials"
)

// Annotations and labels, as AWS' webhook reads and writes them.
const (
	AnnotationRole           = "eks.amazonaws.com/role-arn"                  // of a service account
	AnnotationAudience       = "eks.amazonaws.com/audience"                  // of a service account
	AnnotationRegionalSTS    = "eks.amazonaws.com/sts-regional-endpoints"    // of a service account
	AnnotationExpiration     = "eks.amazonaws.com/token-expiration"          // of a pod or a service account
	AnnotationSkipContainers = "eks.amazonaws.com/skip-containers"           // of a pod: names with commas between
	LabelSkip                = "eks.amazonaws.com/skip-pod-identity-webhook" // of a pod
	LabelEnabled             = "eks.amazonaws.com/pod-identity"              // put on pods
	AudiencePodIdentity      = "pods.eks.amazonaws.com"
	AudienceSTS              = "sts.amazonaws.com"
)

// Limits of a token's life: Kubernetes issues none for less than ten minutes
// and takes no request for more than 2^32 seconds.
const (
	MinExpiration     = 10 * time.Minute
	DefaultExpiration = 24 * time.Hour
	maxExpiration     = 1 << 32 * time.Second
)

// Settings are those of a cluster. The zero value is not usable; see
// DefaultSettings.
type Settings struct {
	CredentialsURI string        // of the node agent; absolute, http
	Expiration     time.Duration // of tokens where neither pod nor service account says
	Region         string        // put into containers that name none; "" for nothing
	RegionalSTS    bool          // AWS_STS_REGIONAL_ENDPOINTS=regional where the service account says nothing
	DisableIMDS    bool          // AWS_EC2_METADATA_DISABLED=true
	STSEndpoint    string        // AWS_ENDPOINT_URL_STS; "" for nothing
	CA             CA            // the one certificate authority that pods are to trust
}

// CA is the ConfigMap of a pod's namespace that holds the certificates which
// the control plane is trusted by. The zero value means none. AWS' SDKs for
// Python then trust nothing else (AWS_CA_BUNDLE replaces their own list):
// pods that call AWS too need its roots in the ConfigMap.
type CA struct {
	ConfigMap string
	Key       string // and the file's name
}

// DefaultSettings are those of AWS' webhook.
func DefaultSettings() Settings {
	return Settings{CredentialsURI: CredentialsURIv4, Expiration: DefaultExpiration}
}

// Validate returns the first thing that is wrong with the settings.
func (s *Settings) Validate() error {
	u, err := url.Parse(s.CredentialsURI)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("credentials URI %q is not an absolute http URL", s.CredentialsURI)
	case s.Expiration < MinExpiration || s.Expiration > maxExpiration:
		return fmt.Errorf("token expiration %s is not between %s and %s", s.Expiration, MinExpiration, maxExpiration)
	case (s.CA.ConfigMap == "") != (s.CA.Key == ""):
		return fmt.Errorf("the CA needs both a ConfigMap and a key in it")
	}
	if s.STSEndpoint != "" {
		if u, err := url.Parse(s.STSEndpoint); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("STS endpoint %q is not an absolute URL", s.STSEndpoint)
		}
	}
	return nil
}

// Kind says how a pod comes to its credentials.
type Kind string

// The kinds of identity.
const (
	PodIdentity Kind = "pod-identity" // by the node agent, for an association
	WebIdentity Kind = "web-identity" // by AssumeRoleWithWebIdentity: IAM roles for service accounts
)

// Identity is what a pod is to get. The settings of a service account are the
// texts of its annotations, read when a pod is patched: what is wrong with one
// is told with the pod that it concerns.
type Identity struct {
	Kind        Kind
	RoleARN     string            // WebIdentity only
	Annotations map[string]string // of the service account; may be nil
}

// OfServiceAccount is what holds for the pods of a service account that say
// nothing themselves: the life of their tokens, and whether STS is regional.
// What cannot be read is left out.
func (s *Settings) OfServiceAccount(id Identity) (life time.Duration, regionalSTS bool) {
	life, _ = s.expiration(&Pod{}, id)
	regionalSTS, _ = s.regionalSTS(id)
	return life, regionalSTS
}

// expiration is the life asked for: the pod's annotation goes before the
// service account's, and that before the setting. What cannot be read is left
// out, and told.
func (s *Settings) expiration(p *Pod, id Identity) (time.Duration, []string) {
	var warnings []string
	for _, from := range []struct {
		what        string
		annotations map[string]string
	}{{"pod", p.Metadata.Annotations}, {"service account", id.Annotations}} {
		text, ok := from.annotations[AnnotationExpiration]
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("annotation %s of the %s is not a number of seconds: ignored", AnnotationExpiration, from.what))
			continue
		}
		return time.Duration(min(max(n, int64(MinExpiration/time.Second)), int64(maxExpiration/time.Second))) * time.Second, warnings
	}
	return s.Expiration, warnings
}

// regionalSTS: the service account's annotation goes before the setting.
func (s *Settings) regionalSTS(id Identity) (bool, []string) {
	text, ok := id.Annotations[AnnotationRegionalSTS]
	if !ok {
		return s.RegionalSTS, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return s.RegionalSTS, []string{"annotation " + AnnotationRegionalSTS + " of the service account is neither true nor false: ignored"}
	}
	return on, nil
}

// agentHost is the agent's address in the form that proxy exceptions take:
// AWS' documentation names 169.254.170.23 and [fd00:ec2::23].
func (s *Settings) agentHost() string {
	u, err := url.Parse(s.CredentialsURI)
	if err != nil {
		return ""
	}
	host := u.Hostname()
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		return "[" + host + "]"
	}
	return host
}

// excepts reports whether a NO_PROXY value names host already. A network that
// holds it does not count: Python's clients do not know networks there.
func excepts(list, host string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || item == host || item == strings.Trim(host, "[]") {
			return true
		}
	}
	return false
}
