// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package admissionpolicy

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"podid/internal/operator/podpatch"
)

// Name is that of policy, binding, and the parameters in each namespace.
const Name = "podid-operator"

// Group, Policy and Binding are the kinds of the API server's policies.
const (
	Group   = "admissionregistration.k8s.io"
	Policy  = "MutatingAdmissionPolicy"
	Binding = Policy + "Binding"
)

// Parameter is what a service account's entry in its namespace's parameters says.
func Parameter(s *podpatch.Settings, id podpatch.Identity) map[string]any {
	life, regional := s.OfServiceAccount(id)
	out := object{"kind": string(id.Kind), "tokenExpirationSeconds": int64(life / time.Second), "regionalSTS": regional, "audience": podpatch.AudiencePodIdentity}
	if id.Kind == podpatch.WebIdentity {
		out["audience"], out["roleARN"] = podpatch.AudienceSTS, id.RoleARN
		if a := id.Annotations[podpatch.AnnotationAudience]; a != "" {
			out["audience"] = a
		}
	}
	return out
}

// quote writes a string of CEL: its escapes are those of Go, for what is valid UTF-8.
func quote(s string) string { return strconv.Quote(strings.ToValidUTF8(s, "�")) }

// object is JSON's.
type object = map[string]any

func list[T any](items ...T) []any {
	out := make([]any, len(items))
	for i, x := range items {
		out[i] = x
	}
	return out
}

// Objects are policy and binding in a version that the API server has.
// Excluded are the namespaces that are left alone.
func Objects(version string, s *podpatch.Settings, excluded []string, owners []metav1.OwnerReference) []*unstructured.Unstructured {
	policy := object{
		"paramKind": object{"apiVersion": Kind().GroupVersion().String(), "kind": Kind().Kind},
		"matchConstraints": object{
			"resourceRules": list(object{
				"apiGroups": list(""), "apiVersions": list("v1"), "resources": list("pods"), "operations": list("CREATE"), "scope": "Namespaced",
			}),
			"matchPolicy": "Equivalent",
			"namespaceSelector": object{"matchExpressions": list(
				object{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(excluded...)},
				object{"key": "podid.dev/injection", "operator": "NotIn", "values": list("disabled")},
			)},
			"objectSelector": object{"matchExpressions": list(object{"key": podpatch.LabelSkip, "operator": "DoesNotExist"})},
		},
		"matchConditions":    list(object{"name": "has-identity", "expression": "object.spec.?serviceAccountName.orValue('default') in params.?serviceAccounts.orValue({})"}),
		"failurePolicy":      "Ignore",
		"reinvocationPolicy": "IfNeeded",
		"variables":          variables(s),
		"mutations":          mutations(),
	}
	binding := object{"policyName": Name, "paramRef": object{"name": Name, "parameterNotFoundAction": "Allow"}}
	return []*unstructured.Unstructured{made(version, Policy, policy, owners), made(version, Binding, binding, owners)}
}

func made(version, kind string, spec object, owners []metav1.OwnerReference) *unstructured.Unstructured {
	return named(schema.GroupVersionKind{Group: Group, Version: version, Kind: kind}, Name, spec, owners)
}

func named(gvk schema.GroupVersionKind, name string, spec object, owners []metav1.OwnerReference) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: object{"spec": spec}}
	u.SetGroupVersionKind(gvk)
	u.SetName(name)
	u.SetLabels(map[string]string{labelManager: manager})
	u.SetOwnerReferences(owners)
	return u
}

// both writes an expression for either kind of identity.
func both(pod, web string) string { return "(variables.pod ? " + pod + " : " + web + ")" }

// file writes the name of a file as the pod's operating system has it.
func file(path string) string {
	return "(variables.windows ? " + quote("C:"+strings.ReplaceAll(path, "/", `\`)) + " : " + quote(path) + ")"
}

// literal is an object of fields and their values, one after the other. Values
// of different kinds stand together as dyn only, and the types of the object's
// own fields are not known where variables are.
func literal(fields ...string) string {
	var out []string
	for pair := range slices.Chunk(fields, 2) {
		out = append(out, quote(pair[0])+": dyn("+pair[1]+")")
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func variable(name, expression string) object {
	return object{"name": name, "expression": expression}
}

// The places of the two kinds, as podpatch has them.
const (
	podVolume, podDir, podFile = "eks-pod-identity-token", "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount", "eks-pod-identity-token"
	webVolume, webDir, webFile = "aws-iam-token", "/var/run/secrets/eks.amazonaws.com/serviceaccount", "token"
	caVolume, caDir            = "podid-ca", "/var/run/secrets/podid.dev/ca"
)

func variables(s *podpatch.Settings) []any {
	annotation := func(name string) string {
		return "object.metadata.?annotations[?" + quote(name) + "].orValue('')"
	}
	const asks = "variables.asks"
	out := list(
		variable("id", "params.serviceAccounts[object.spec.?serviceAccountName.orValue('default')]"),
		variable("pod", "variables.id.kind == "+quote(string(podpatch.PodIdentity))),
		variable("windows", "object.spec.?os.?name.orValue('') == 'windows' || object.spec.?nodeSelector[?'kubernetes.io/os'].orValue('') == 'windows' || object.spec.?nodeSelector[?'beta.kubernetes.io/os'].orValue('') == 'windows'"),
		variable("skip", annotation(podpatch.AnnotationSkipContainers)+".split(',').map(n, n.trim())"),
		variable("asks", annotation(podpatch.AnnotationExpiration)),
		// What is no number, or none of 64 bits, is left out; the rest is kept within Kubernetes' limits.
		variable("wanted", asks+".matches('^[+-]?[0-9]{1,18}$') ? int("+asks+") : "+
			asks+".matches('^[+]?[0-9]{19}$') && "+asks+".find('[0-9]+') <= '9223372036854775807' ? 4294967296 : "+
			asks+".matches('^-[0-9]{19}$') && "+asks+".find('[0-9]+') <= '9223372036854775808' ? 0 : variables.id.tokenExpirationSeconds"),
		variable("life", "variables.wanted < 600 ? 600 : variables.wanted > 4294967296 ? 4294967296 : variables.wanted"),
		variable("volume", both(quote(podVolume), quote(webVolume))),
		variable("directory", both(quote(podDir), quote(webDir))),
		variable("token", both(file(podDir+"/"+podFile), file(webDir+"/"+webFile))),
	)
	for _, of := range []string{"containers", "initContainers"} {
		out = append(
			out,
			variable(of, "object.spec.?"+of+".orValue([])"),
			variable(of+"Env", "variables."+of+".map(c, c.name in variables.skip ? [] : "+environment(s)+")"),
			variable(of+"Mounts", "variables."+of+".map(c, c.name in variables.skip ? [] : "+mounts(s)+")"),
		)
	}
	return append(out, variable("volumes", volumes(s)))
}

// environment is what a container's is to be: its own, with the way to the
// agent around proxies, and what it lacks.
func environment(s *podpatch.Settings) string {
	const own = "c.?env.orValue([])"
	entry := func(name, value string) string {
		return literal("name", name, "value", value)
	}
	lacks := func(names ...string) string {
		for i, n := range names {
			names[i] = quote(n)
		}
		return "!" + own + ".exists(e, e.name in [" + strings.Join(names, ", ") + "])"
	}
	agent, bare := agentOf(s)
	value := "e.?value.orValue('')"
	around := "variables.pod && e.name in ['NO_PROXY', 'no_proxy'] && !has(e.valueFrom) && !" + value + ".split(',').exists(x, x.trim() in ['*', " + quote(agent) + ", " + quote(bare) + "])"
	kept := value + ".find('(?s)^.*[^, ]')"
	parts := []string{own + ".map(e, " + around + " ? " + entry("e.name", "("+kept+" == '' ? "+quote(agent)+" : "+kept+" + "+quote(","+agent)+")") + " : e)"}
	add := func(condition string, entries ...string) {
		parts = append(parts, "("+condition+" ? ["+strings.Join(entries, ", ")+"] : [])")
	}
	add("variables.id.regionalSTS && "+lacks("AWS_STS_REGIONAL_ENDPOINTS"), entry("'AWS_STS_REGIONAL_ENDPOINTS'", "'regional'"))
	if s.Region != "" {
		add(lacks("AWS_REGION", "AWS_DEFAULT_REGION"), entry("'AWS_DEFAULT_REGION'", quote(s.Region)), entry("'AWS_REGION'", quote(s.Region)))
	}
	add("variables.pod && "+lacks("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
		entry("'AWS_CONTAINER_CREDENTIALS_FULL_URI'", quote(s.CredentialsURI)), entry("'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'", "variables.token"))
	add("!variables.pod && "+lacks("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
		entry("'AWS_ROLE_ARN'", "variables.id.roleARN"), entry("'AWS_WEB_IDENTITY_TOKEN_FILE'", "variables.token"))
	if s.DisableIMDS {
		add(lacks("AWS_EC2_METADATA_DISABLED"), entry("'AWS_EC2_METADATA_DISABLED'", "'true'"))
	}
	if s.STSEndpoint != "" {
		add(lacks("AWS_ENDPOINT_URL_STS"), entry("'AWS_ENDPOINT_URL_STS'", quote(s.STSEndpoint)))
	}
	if s.CA.ConfigMap != "" {
		for _, name := range []string{"AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
			add(lacks(name), entry(quote(name), file(caDir+"/"+s.CA.Key)))
		}
	}
	return strings.Join(parts, " + ")
}

// agentOf is the agent's address as proxy exceptions have it, and without brackets.
func agentOf(s *podpatch.Settings) (agent, bare string) {
	u, err := url.Parse(s.CredentialsURI)
	if err != nil {
		return "", ""
	}
	bare = u.Hostname()
	if a, err := netip.ParseAddr(bare); err == nil && a.Is6() {
		return "[" + bare + "]", bare
	}
	return bare, bare
}

func mounts(s *podpatch.Settings) string {
	const own = "c.?volumeMounts.orValue([])"
	mount := func(name, dir string) string {
		return "(" + own + ".exists(m, m.name == " + name + ") ? [] : [" + literal("name", name, "readOnly", "true", "mountPath", dir) + "])"
	}
	out := own + " + " + mount("variables.volume", "variables.directory")
	if s.CA.ConfigMap != "" {
		out += " + " + mount(quote(caVolume), quote(caDir))
	}
	return out
}

// volumes are those that the pod lacks.
func volumes(s *podpatch.Settings) string {
	const own = "object.spec.?volumes.orValue([])"
	lacking := func(name, kind, value string) string {
		return "(" + own + ".exists(v, v.name == " + name + ") ? [] : [" + literal("name", name, kind, value) + "])"
	}
	token := literal("audience", "variables.id.audience", "expirationSeconds", "variables.life", "path", both(quote(podFile), quote(webFile)))
	out := lacking("variables.volume", "projected", literal("sources", "["+literal("serviceAccountToken", token)+"]"))
	if s.CA.ConfigMap != "" {
		key := quote(s.CA.Key)
		out += " + " + lacking(quote(caVolume), "configMap", literal("name", quote(s.CA.ConfigMap), "items", "["+literal("key", key, "path", key)+"]"))
	}
	return out
}

// mutations write whole lists of one container or of volumes: they run within
// the API server, whose own types lose no field.
func mutations() []any {
	patch := func(expression string) object {
		return object{"patchType": "JSONPatch", "jsonPatch": object{"expression": expression}}
	}
	label := quote(podpatch.LabelEnabled)
	out := list(
		patch("!variables.pod || object.metadata.?labels["+"?"+label+"].orValue('') == 'enabled' ? [] : size(object.metadata.?labels.orValue({})) == 0"+
			" ? [JSONPatch{op: 'add', path: '/metadata/labels', value: {"+label+": 'enabled'}}]"+
			" : [JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey("+label+"), value: 'enabled'}]"),
		patch("size(variables.volumes) == 0 ? [] : [JSONPatch{op: 'add', path: '/spec/volumes', value: variables.volumes + object.spec.?volumes.orValue([])}]"),
	)
	for _, of := range []string{"containers", "initContainers"} {
		for _, field := range []struct{ variable, name string }{{"Env", "env"}, {"Mounts", "volumeMounts"}} {
			out = append(out, patch("variables."+of+field.variable+".transformList(i, l, size(l) > 0, JSONPatch{op: 'add', path: '/spec/"+of+"/' + string(i) + '/"+field.name+"', value: l})"))
		}
	}
	return out
}
